"""Names from outside within our own lines: none turns what stands beside it around, or controls a terminal."""

from __future__ import annotations

import re
import unicodedata

ISOLATE, END = "\u2068", "\u2069"
"""FSI and PDI: what is between them has its own direction, and changes nothing around."""

_SPACES = "\t\n\r"
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile("[\n\r\x1c-\x1e\x85\u2028\u2029]+")
"""What ends a paragraph, and with it each isolation."""
_SEPARATORS = {0x2028: " ", 0x2029: " "}
_FROM_RIGHT = ("R", "AL", "AN")


def without_controls(text: str) -> str:
    """The text without what controls a device or its own direction; pairs of ISOLATE and END stay.

    An END without its ISOLATE would end the isolation that we put around the text. Calling it twice changes nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = [it for it in text if unicodedata.category(it) != "Cc" or it in _SPACES]
    text = "".join(kept).translate(_SEPARATORS)
    if not _DIRECTION.search(text):
        return text
    # Each isolation ends with its paragraph.
    return "".join(map(_without_directions, text.splitlines(keepends=True)))


def kept_to_itself(text: str) -> str:
    """`without_controls`, and in isolation where a part is read from right to left."""
    text = without_controls(_BREAKS.sub(" ", text) if ISOLATE in text else text)
    if text.isascii() or not any(unicodedata.bidirectional(character) in _FROM_RIGHT for character in text):
        return text
    text = _BREAKS.sub(" ", text)
    return text if _is_isolated(text) else f"{ISOLATE}{text}{END}"


def with_directions_escaped(text: str) -> str:
    """JSON that says the same, with what changes directions as `\\uXXXX`: nothing is lost or turned around."""
    return _DIRECTION.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut_off(text: str, most: int) -> str:
    """At most so many characters; an ellipsis stands for what is cut off, and no isolation loses its end."""
    if len(text) <= most:
        return text
    lost = _unended(text[: most - 1])
    kept = text[: max(0, most - 1 - lost)].rstrip()
    return f"{kept}…{END * _unended(kept)}"


# ----------------------------------------------------------------------------------------------------------------------


def _without_directions(text: str) -> str:
    kept: list[str] = []
    opened: list[int | None] = []
    """Where each isolation that has no end yet begins; None: it was another kind, and is left out."""
    for character in text:
        if character in "\u2066\u2067":
            opened.append(None)
        elif character == ISOLATE:
            opened.append(len(kept))
            kept.append(character)
        elif character == END:
            if opened and opened.pop() is not None:
                kept.append(character)
        elif not _DIRECTION.match(character):
            kept.append(character)
    for position in opened:
        if position is not None:
            kept[position] = ""
    return "".join(kept)


def _unended(text: str) -> int:
    return max(0, text.count(ISOLATE) - text.count(END))


def _is_isolated(text: str) -> bool:
    """Whether one isolation has all of the text."""
    if not text.startswith(ISOLATE):
        return False
    depth = 0
    for at, character in enumerate(text):
        depth += (character == ISOLATE) - (character == END)
        if depth == 0:
            return at == len(text) - 1
    return False
