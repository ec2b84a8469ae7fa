"""A drawn chart: an SVG that is the same for the same plan, with a text that says what it shows."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import vl_convert

from reports.assets.fonts import register_for_charts
from reports.assets.template_engine import svg_url
from reports.charts.print_svg import for_print
from reports.charts.style import edged, finished
from reports.charts.vega import svg_of
from reports.text.unicode_names import needs_shaping

_PRINT_SCALE = 3.0
"""Px of a bitmap for one of the chart's: about 290 to the inch on paper."""


@dataclass(frozen=True)
class Chart:
    """One drawn chart. The SVG has its own white ground and carries `alt_text` as its label."""

    name: str
    title: str
    alt_text: str
    svg: str
    wide: bool

    @property
    def address(self) -> str:
        """A data: address for paper, whose renderer lays letters out one by one: a bitmap where that would be wrong."""
        if not needs_shaping(self.svg):
            return svg_url(for_print(self.svg))
        return f"data:image/png;base64,{base64.b64encode(png(self, _PRINT_SCALE)).decode()}"


def png(chart: Chart, scale: float = 2.0) -> bytes:
    """The chart as a bitmap, `scale` times as many pixels as it is wide in CSS px."""
    register_for_charts()
    return bytes(vl_convert.svg_to_png(chart.svg, scale=scale))


def svg_of_plan(plan: Any, name: str, label: str) -> str:
    """What a plan looks like, a specification or an SVG already, with ids under the chart's name."""
    if isinstance(plan, str):
        return stable(plan, name, label)
    return stable(edged(_rendered(json.dumps(finished(plan)))), name, label)


@lru_cache(maxsize=32)
def _rendered(specification: str) -> str:
    """The SVG of a Vega-Lite specification; on a live page some charts look as they did a moment ago."""
    return svg_of(specification)


def stable(svg: str, name: str, label: str) -> str:
    """The SVG with ids that are numbered by their order under the chart's name, so that several fit in one page."""
    ids: dict[str, str] = {}
    for found in re.findall(r'\bid="([^"]+)"', svg):
        ids.setdefault(found, f"{name}-{len(ids)}")
    svg = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{ids[match[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{ids.get(match[1], match[1])})", svg)
    svg = re.sub(r'\b(aria-[a-z]+|role)="[^"]*" ?', "", svg)
    quoted = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{quoted}" ', 1)
