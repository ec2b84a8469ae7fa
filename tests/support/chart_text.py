"""Where the texts of a chart begin and end, read from its SVG with the widths of the font."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from reports.assets.fonts import text_em

_TRANSLATED = re.compile(r"translate\(([-\d.e]+),([-\d.e]+)\)")
_SHARES = {"start": 0.0, "middle": 0.5, "end": 1.0}


def chart_width(svg: str) -> float:
    """In px."""
    return float(_root(svg).attrib["width"])


def chart_texts(svg: str) -> Iterator[tuple[str, float, float]]:
    """Each level text with where it begins and ends, in px from the chart's left."""
    yield from _texts(_root(svg), 0.0)


def _root(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - it is our own


def _texts(element: ElementTree.Element, left: float) -> Iterator[tuple[str, float, float]]:
    transform = element.get("transform", "")
    left += sum(float(found[1]) for found in _TRANSLATED.finditer(transform))
    if element.tag.endswith("}text") and element.text and "rotate" not in transform:
        bold = element.get("font-weight", "normal") in ("600", "bold")
        width = text_em(element.text, bold=bold) * float(element.get("font-size", "11px").removesuffix("px"))
        start = left - width * _SHARES[element.get("text-anchor", "start")]
        yield element.text, start, start + width
    for child in element:
        yield from _texts(child, left)
