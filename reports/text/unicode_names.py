"""Names as people give them: from right to left, with emoji, with letters that no font of the machine can draw."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from babel.dates import format_date, format_time
from babel.numbers import format_currency, format_percent

from models.documents import DocumentHeader
from models.text_direction import kept_to_itself
from reports.assets.fonts import FAMILY, is_in_font

if TYPE_CHECKING:
    from weasyprint.text.fonts import FontConfiguration

NOTE = (
    "Letters that no font of this machine has stand here by their names or numbers, in brackets. "
    "A package of fonts such as Noto brings them."
)

DRAWABLE_LOCALE = "en_US"

_DEPENDS_ON_NEIGHBOURS = re.compile("[\u0590-\u08ff\u0900-\u109f\u1780-\u17ff\u200d\ufb1d-\ufdff\ufe70-\ufeff]")
"""Scripts whose letters change places or shapes by what stands beside them."""

_FLAG_CHARACTERS = range(0x1F1E6, 0x1F200)
_ADDRESSES = ("decideUrl",)


D = TypeVar("D", bound=DocumentHeader)


def readable(document: D) -> D:
    """The document with every text from right to left kept to itself, so that it turns no number beside it around.

    Letters that control a device are left out: no page, picture or mail may have them.
    """
    return _rewritten(document, kept_to_itself)


def printable(document: D) -> D:
    """`readable`, with the letters that cannot be drawn here named in brackets, and a note that says so.

    Where these are the letters of the locale itself, dates are written in English.
    """
    document = readable(document)
    rendered = _rewritten(document, _named)
    if characters_without_font(_characters_of(document.locale)):
        rendered = rendered.model_copy(update={"locale": DRAWABLE_LOCALE})
    return rendered if rendered is document else rendered.model_copy(update={"notes": (*rendered.notes, NOTE)})


def needs_shaping(text: str) -> bool:
    """Whether a text is only right where somebody lays out more than one letter at a time."""
    return _DEPENDS_ON_NEIGHBOURS.search(text) is not None


# ----------------------------------------------------------------------------------------------------------------------


def _rewritten(document: D, change: Callable[[str], str]) -> D:
    """The same document where no text changes."""
    content = document.model_dump(mode="json", by_alias=True)
    changed = _walked(content, change)
    return document if changed == content else type(document).model_validate(changed)


def _walked(part: Any, change: Callable[[str], str]) -> Any:
    if isinstance(part, str):
        return part if part.isascii() and part.isprintable() else change(part)
    if isinstance(part, dict):
        return {name: inner if name in _ADDRESSES else _walked(inner, change) for name, inner in part.items()}
    return [_walked(inner, change) for inner in part] if isinstance(part, list) else part


def _named(text: str) -> str:
    missing = characters_without_font(_not_in_font(text))
    if not missing:
        return text
    # What only joins or colours a picture says nothing beside its name.
    text = re.sub("(?<=[\U0001f000-\U0001faff\ufe0f\u200d])[\u200d\ufe0f\U0001f3fb-\U0001f3ff]|\u200d", "", text)
    runs = re.compile(f"[{''.join(map(re.escape, sorted(missing)))}]+")
    return runs.sub(lambda run: f"[{' '.join(map(_character_name, run[0]))}]", text)


def _character_name(character: str) -> str:
    if ord(character) in _FLAG_CHARACTERS:
        return chr(ord(character) - _FLAG_CHARACTERS.start + ord("A"))
    if unicodedata.category(character) == "So":
        return unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return f"U+{ord(character):04X}"


class _Style(dict[str, Any]):
    font_config: FontConfiguration


@cache
def _characters_of(locale: str) -> str:
    """Those that dates, times and numbers take in a locale and that the house's font lacks."""
    days = [datetime(2026, month, month, 12 * (month % 2)) for month in range(1, 13)]  # noqa: DTZ001 - a specimen
    dates = [format_date(day, form, locale=locale) for day in days for form in ("full", "medium", "EEE")]
    times = [format_time(day, "short", locale=locale) for day in days]
    numbers = [format_percent(-1234.5, locale=locale), format_currency(-1234.5, "USD", locale=locale)]
    return _not_in_font("".join((*dates, *times, *numbers)))


def _not_in_font(text: str) -> str:
    return "".join(sorted({character for character in text if not (character.isspace() or is_in_font(character))}))


@lru_cache(maxsize=256)
def characters_without_font(characters: str) -> frozenset[str]:
    """Those of the letters for which the layout engine finds no font."""
    if not characters:
        return frozenset()
    # What lays out pages takes half a second to import, and only paper needs it.
    from weasyprint.css.properties import INITIAL_VALUES  # noqa: PLC0415
    from weasyprint.text.ffi import ffi, pango  # noqa: PLC0415
    from weasyprint.text.fonts import FontConfiguration  # noqa: PLC0415
    from weasyprint.text.line_break import Layout  # noqa: PLC0415

    style = _Style(INITIAL_VALUES)
    style.font_config = FontConfiguration()
    style["font_family"] = [FAMILY, "sans-serif"]
    layout = Layout(style)
    layout.set_text(characters)
    line, _ = layout.get_first_line()
    missing, run = set(), line.runs[0]
    while run != ffi.NULL:
        glyphs = run.data.glyphs
        for index in range(glyphs.num_glyphs):
            glyph = glyphs.glyphs[index].glyph
            if glyph != pango.PANGO_GLYPH_EMPTY and glyph & pango.PANGO_GLYPH_UNKNOWN_FLAG:
                missing.add(chr(glyph - pango.PANGO_GLYPH_UNKNOWN_FLAG))
        run = run.next
    return frozenset(missing)
