"""Where each text of a PDF stands, read from the finished file, with the widths of the embedded fonts."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pypdf import PdfReader

Matrix = tuple[float, float, float, float, float, float]

_START: Matrix = (1, 0, 0, 1, 0, 0)
_PAINTS = {"S", "s", "f", "F", "f*", "B", "B*", "b", "b*"}
_STRING = re.compile(r"<([0-9A-Fa-f]*)>|(-?\d*\.?\d+)")
_ASCENT, _DESCENT = 0.7, 0.15
"""Of a character's height above and below its line: what most characters really fill."""


@dataclass(frozen=True)
class Text:
    """One text in points from the page's top left; `tag` is Figure, Artifact, Text for all else, or None."""

    page: int
    words: str
    left: float
    top: float
    right: float
    bottom: float
    tag: str

    def covers(self, other: Text, *, at_least: float) -> bool:
        """Return whether both overlap by more than `at_least` points in both directions."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return min(wide, high) > at_least


@dataclass
class Sheet:
    """One page: its size in points, its texts, and how often something was painted within each figure."""

    width: float
    height: float
    texts: list[Text] = field(default_factory=list)
    painted: list[int] = field(default_factory=list)


def sheets_of(pdf: bytes) -> list[Sheet]:
    """Return every page with its texts, in the order of drawing."""
    return [_Pen(number, page).sheet for number, page in enumerate(PdfReader(io.BytesIO(pdf)).pages, start=1)]


class _Font:
    def __init__(self, font: Any) -> None:
        inner = font["/DescendantFonts"][0].get_object()
        self.default = float(inner.get("/DW", 1000))
        self.widths = dict(_widths(list(inner["/W"])))
        self.letters = dict(_letters(font["/ToUnicode"].get_object().get_data().decode("latin1")))


class _Pen:
    """Interprets a page's content as far as texts go."""

    def __init__(self, number: int, page: Any) -> None:
        box = page.mediabox
        self.number, self.sheet = number, Sheet(float(box.width), float(box.height))
        self.matrix, self.stack, self.tags, self.fonts = _START, [], [], {}  # type: ignore[var-annotated]
        self.draw(page.get_contents(), page["/Resources"])

    def draw(self, content: Any, resources: Any) -> None:
        for operator, operands in _operations(content.get_data().decode("latin1")):
            self.state(operator, operands)
            self.tagging(operator, operands)
            self.text(operator, operands, resources)
            if operator in _PAINTS and "/Figure" in self.tags:
                self.sheet.painted[-1] += 1
            if operator == "Do":
                self.form(resources["/XObject"][operands[0]].get_object(), resources)

    def state(self, operator: str, operands: list[str]) -> None:
        if operator == "q":
            self.stack.append(self.matrix)
        elif operator == "Q":
            self.matrix = self.stack.pop()
        elif operator == "cm":
            self.matrix = _times(_matrix(operands), self.matrix)

    def tagging(self, operator: str, operands: list[str]) -> None:
        if operator in ("BDC", "BMC"):
            self.tags.append(operands[0])
            if operands[0] == "/Figure":
                self.sheet.painted.append(0)
        elif operator == "EMC":
            self.tags.pop()

    def form(self, form: Any, resources: Any) -> None:
        if form["/Subtype"] != "/Form":
            if "/Figure" in self.tags:
                self.sheet.painted[-1] += 1_000
            return
        depth, before = len(self.stack), self.matrix
        self.matrix = _times(_matrix([str(number) for number in form.get("/Matrix", _START)]), self.matrix)
        self.draw(form, form.get("/Resources", resources))
        self.matrix, self.stack = before, self.stack[:depth]

    def text(self, operator: str, operands: list[str], resources: Any) -> None:
        if operator == "BT":
            self.placed: list[tuple[float, float, float, float, str]] = []
        elif operator == "Tm":
            self.at = _times(_matrix(operands), self.matrix)
        elif operator == "Tf":
            font = resources["/Font"][operands[0]]
            self.font = self.fonts.setdefault(
                font.idnum if hasattr(font, "idnum") else operands[0] + str(id(resources)), None
            ) or _Font(font.get_object())
            self.size = float(operands[1])
        elif operator in ("TJ", "Tj"):
            self.write(" ".join(operands))
        elif operator == "ET" and self.placed:
            lefts, tops, rights, bottoms, letters = zip(*self.placed, strict=True)
            known = next((tag for tag in reversed(self.tags) if tag in ("/Figure", "/Artifact")), "/Text")
            tag = known if self.tags else "/None"
            self.sheet.texts.append(
                Text(self.number, "".join(letters), min(lefts), min(tops), max(rights), max(bottoms), tag[1:])
            )

    def write(self, strings: str) -> None:
        """Add what one operator shows, as a box around it; the advance of each glyph is its width in the font."""
        advance, letters = 0.0, ""
        for found in _STRING.finditer(strings):
            if found[2]:
                advance -= float(found[2]) / 1000 * self.size
                continue
            for at in range(0, len(found[1]), 4):
                glyph = int(found[1][at : at + 4], 16)
                advance += self.font.widths.get(glyph, self.font.default) / 1000 * self.size
                letters += self.font.letters.get(glyph, "\ufffd")
        corners = [_point(self.at, x, y) for x in (0.0, advance) for y in (-_DESCENT * self.size, _ASCENT * self.size)]
        lefts, ups = zip(*corners, strict=True)
        height = self.sheet.height
        if letters.strip():
            self.placed.append((min(lefts), height - max(ups), max(lefts), height - min(ups), letters))


# --- reading ----------------------------------------------------------------------------------------------------------


def _operations(content: str) -> Iterator[tuple[str, list[str]]]:
    """Operators with their operands. The writer puts whitespace between them, and no strings but in hexadecimal."""
    operands: list[str] = []
    for token in content.split():
        if token[0].isalpha() or token in ("'", '"'):
            yield token, operands
            operands = []
        else:
            operands.append(token)


def _widths(array: list[Any]) -> Iterator[tuple[int, float]]:
    at = 0
    while at < len(array):
        first, second = int(array[at]), array[at + 1]
        if isinstance(second, list):
            yield from ((first + index, float(width)) for index, width in enumerate(second))
            at += 2
        else:
            yield from ((glyph, float(array[at + 2])) for glyph in range(first, int(second) + 1))
            at += 3


def _letters(table: str) -> Iterator[tuple[int, str]]:
    for block in re.findall(r"beginbfchar(.*?)endbfchar", table, re.DOTALL):
        for glyph, text in re.findall(r"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]*)>", block):
            yield int(glyph, 16), bytes.fromhex(text).decode("utf-16-be", errors="replace")


def _matrix(operands: list[str]) -> Matrix:
    a, b, c, d, e, f = map(float, operands)
    return a, b, c, d, e, f


def _times(first: Matrix, then: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    p, q, r, s, t, u = then
    return a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u


def _point(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f
