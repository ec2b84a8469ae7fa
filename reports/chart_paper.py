"""Charts for paper, whose renderer lays out the letters of a chart one by one."""

from __future__ import annotations

import html
import re

from reports.fonts import is_in_font, text_em

_BOLD = ("600", "bold")
_SHIFT = {"middle": 0.5, "end": 1.0}
_ANCHORED = re.compile(
    r'<text text-anchor="(?P<anchor>middle|end)" transform="translate\((?P<x>[-\d.e]+),(?P<y>[-\d.e]+)\)"'
    r'(?P<family> font-family="[^"]*") font-size="(?P<size>[\d.]+)px"'
    r'(?P<rest>(?: font-weight="(?P<weight>\w+)")?[^>]*)>'
    r"(?P<text>[^<]*)</text>"
)


def starting_left(svg: str) -> str:
    """The SVG with texts that were placed by their middle or end placed by their start.

    For every other text the renderer makes a drawing of its own, and the file twice as large.
    """
    return _ANCHORED.sub(_started, svg)


def _started(found: re.Match[str]) -> str:
    text = html.unescape(found["text"])
    if not all(map(is_in_font, text)):
        return found[0]
    width = text_em(text, bold=found["weight"] in _BOLD) * float(found["size"])
    x = float(found["x"]) - width * _SHIFT[found["anchor"]]
    return (
        f'<text transform="translate({x:.3f},{found["y"]})"{found["family"]} '
        f'font-size="{found["size"]}px"{found["rest"]}>{found["text"]}</text>'
    )
