"""Charts for paper, whose renderer lays out the letters of a chart one by one."""

from __future__ import annotations

import html
import re

from reports.assets.fonts import is_in_font, text_em
from reports.charts.style import EDGE_ATTRIBUTES

_BOLD = ("600", "bold")
_SHIFT = {"start": 0.0, "middle": 0.5, "end": 1.0}
_ASCENT, _HEIGHT, _OPACITY = 0.78, 1.0, 0.8
"""Of the ground behind a text, in heights of its letters."""

_TEXT = re.compile(
    r'<text text-anchor="(?P<anchor>start|middle|end)" transform="translate\((?P<x>[-\d.e]+),(?P<y>[-\d.e]+)\)"'
    r'(?P<family> font-family="[^"]*") font-size="(?P<size>[\d.]+)px"'
    r'(?P<rest>(?: font-weight="(?P<weight>\w+)")?[^>]*)>'
    r"(?P<text>[^<]*)</text>"
)


def for_print(svg: str) -> str:
    """The SVG with texts placed by their start, and with a ground instead of an edge behind those that have one.

    Of a text that is placed by its middle or end the renderer makes a drawing of its own, and edges are more letters:
    together they would make the file twice as large and take longer than the rest.
    """
    return _TEXT.sub(_started, svg)


def _started(found: re.Match[str]) -> str:
    text, size = html.unescape(found["text"]), float(found["size"])
    if not all(map(is_in_font, text)):
        return found[0]
    width = text_em(text, bold=found["weight"] in _BOLD) * size
    place = f"translate({float(found['x']) - width * _SHIFT[found['anchor']]:.3f},{found['y']})"
    if EDGE_ATTRIBUTES in found["rest"]:
        return (
            f'<rect transform="{place}" x="-2" y="{-_ASCENT * size:.2f}" width="{width + 4:.2f}" '
            f'height="{_HEIGHT * size:.2f}" rx="2" fill="#ffffff" fill-opacity="{_OPACITY}"/>'
        )
    return (
        f'<text transform="{place}"{found["family"]} font-size="{found["size"]}px"{found["rest"]}>'
        f"{found['text']}</text>"
    )
