"""The one font of every report, from its package: the same look on every machine, and nothing fetched."""

from __future__ import annotations

import base64
import unicodedata
from functools import cache
from importlib.resources import files
from io import BytesIO
from itertools import accumulate
from pathlib import Path

from models.text_direction import cut_off

FAMILY = "Source Sans Pro"
DIRECTORY = Path(str(files("font_source_sans_pro") / "files"))
_FACES = {400: "SourceSansPro-Regular.ttf", 600: "SourceSansPro-Semibold.ttf", 700: "SourceSansPro-Bold.ttf"}
_WEB_WEIGHTS = (400, 600)
_WEB_RANGES = ((0x20, 0x17F), (0x2010, 0x2044), (0x20A0, 0x20BF), (0x2190, 0x2195))
_WEB_SIGNS = "−±≤≥≈×▲▼◆■✓"


_ABOUT_EM = 0.7
"""The width of a letter of which only that it is not one of the wide ones is known."""

FONT_SCHEME = "routewatch-font"
"""Of an address that names one of the font's files: as data in a style sheet they would take long to read."""


def print_faces() -> str:
    """CSS font faces with the whole fonts; a PDF takes from them only the glyphs that it shows."""
    return "\n".join(_face(weight, f"{FONT_SCHEME}:{name}", "truetype") for weight, name in _FACES.items())


@cache
def web_faces() -> str:
    """CSS font faces of two weights with Latin letters, small enough to travel in a page."""
    return "\n".join(_face(weight, _web_address(weight), "woff2") for weight in _WEB_WEIGHTS)


def text_em(text: str, *, bold: bool = False) -> float:
    """How wide a text is, in heights of its letters; of letters that the font lacks it is about so."""
    return sum(_character_em(character, 600 if bold else 400) for character in text)


def shortened(text: str, em: float, *, bold: bool = False) -> str:
    """A text with as many of its letters as have room, and "…" for the others."""
    if text_em(text, bold=bold) <= em:
        return text
    ends = accumulate(_character_em(character, 600 if bold else 400) for character in text)
    kept = sum(end <= em - _character_em("…", 400) for end in ends)
    return cut_off(text, kept + 1)


def _character_em(character: str, weight: int) -> float:
    known = _widths(DIRECTORY / _FACES[weight]).get(ord(character))
    if known is not None:
        return known
    if unicodedata.category(character) in ("Cf", "Mn"):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in ("W", "F") else _ABOUT_EM


def is_in_font(character: str) -> bool:
    """Whether the house's font can draw a letter."""
    return ord(character) in _widths(DIRECTORY / _FACES[400])


@cache
def _widths(path: Path) -> dict[int, float]:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped] # noqa: PLC0415 - most formats measure no text

    with TTFont(path, lazy=True) as font:
        widths, height = font["hmtx"], font["head"].unitsPerEm
        return {code: widths[glyph][0] / height for code, glyph in font.getBestCmap().items()}


@cache
def register_for_charts() -> None:
    """Make the font known to the chart renderer, once in a process."""
    import vl_convert  # noqa: PLC0415 - only what draws needs it

    vl_convert.register_font_directory(str(DIRECTORY))


def _face(weight: int, address: str, kind: str) -> str:
    return (
        f'@font-face {{ font-family: "{FAMILY}"; font-weight: {weight}; font-style: normal; '
        f'src: url("{address}") format("{kind}"); }}'
    )


def _web_address(weight: int) -> str:
    return f"data:font/woff2;base64,{base64.b64encode(_subset(DIRECTORY / _FACES[weight])).decode()}"


def _subset(path: Path) -> bytes:
    from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped] # noqa: PLC0415
    from fontTools.ttLib import TTFont  # noqa: PLC0415

    font = TTFont(path, recalcTimestamp=False)
    subsetter = Subsetter(Options(layout_features=["kern", "tnum"], hinting=False))
    characters = {code for low, high in _WEB_RANGES for code in range(low, high + 1)} | set(map(ord, _WEB_SIGNS))
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font.flavor = "woff2"
    out = BytesIO()
    font.save(out)
    return out.getvalue()
