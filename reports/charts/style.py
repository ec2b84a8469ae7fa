"""Shared chart style: colours that colour-blind readers can distinguish, the font, sizes, and small layers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

import altair as alt
from altair.utils.schemapi import debug_mode

from reports.assets.fonts import FAMILY, shortened, text_em

INK = "#1f2933"
MUTED = "#5b6775"
GRID = "#e4e8ec"
NOTHING = "#eef1f4"
BLUE = "#0072b2"
SKY = "#56b4e9"
ORANGE = "#e69f00"
AMBER = "#8a5a00"
VERMILLION = "#c44601"
"""Okabe and Ito's palette; its vermillion is darkened so that text in it can be read on white."""

WIDE = 690
DASHBOARD_WIDTH = 560
NARROW = 335
"""Outer widths in px: of the printed page, of half a screen, and of half the page."""

_LEAST_ROOM, _APART = 40, 14
"""Px for a name, and between it and what stands beside it."""

Layer = Any
"""An altair chart of one mark, or a specification that is put together from such."""

Spec = dict[str, Any]

_EDGE, _EDGE_PX = "#ffffff", 4
EDGE_ATTRIBUTES = f' stroke="{_EDGE}" stroke-width="{_EDGE_PX}"'
_EDGED = re.compile(f"(?:<text [^>]*{EDGE_ATTRIBUTES}>[^<]*</text>)+")

_CONFIG: Spec = {
    "font": FAMILY,
    "background": "#ffffff",
    "padding": {"left": 2, "right": 6, "top": 4, "bottom": 2},
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "labelFontSize": 11, "titleColor": MUTED, "titleFontSize": 11, "titleFontWeight": "normal",
        "gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED, "domain": False, "ticks": False, "labelPadding": 5,
    },
}  # fmt: skip


_altair: Any = alt
"""Without types, which its classes for fixed places lack. A channel by its class is one it need not search for."""


def at_x(px: float) -> Any:
    """So far from the left, whatever the data."""
    return _altair.XValue(px)


def at_y(px: float) -> Any:
    """So far from the top, whatever the data."""
    return _altair.YValue(px)


def to_x(px: float) -> Any:
    """The right end of a mark, so far from the left."""
    return _altair.X2Value(px)


def from_zero(axis: Literal["x", "y"]) -> Any:
    """The other end of a bar: nothing."""
    return _altair.X2Datum(0) if axis == "x" else _altair.Y2Datum(0)


class _ChartRows:
    """Rows that altair hands on as they are: it would look at every value of them, in every layer."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows


def layer(rows: list[dict[str, Any]]) -> Layer:
    """An empty chart over some rows, in their order."""
    with debug_mode(False):
        return alt.Chart(_altair.InlineData(values=_ChartRows(rows)))


def layered(*layers: Layer, **properties: Any) -> Spec:
    """Layers on one another, the first at the bottom.

    Put together as specifications: altair would copy every part again at every step.
    """
    return {"layer": [_spec(part) for part in layers], **properties}


def stacked(*charts: Layer, spacing: int) -> Spec:
    """Charts below one another."""
    return {"vconcat": [_spec(chart) for chart in charts], "spacing": spacing}


def text_marks(rows: list[dict[str, Any]], x: Any, y: Any, **mark: Any) -> Layer:
    """The field `text` of each row as a label, on a white edge that keeps it apart from lines behind it.

    What is longer than `limit` px is cut.
    """
    style = {"color": MUTED, "fontSize": 11, "align": "left", "baseline": "middle", **mark}
    em = style.pop("limit", math.inf) / style["fontSize"]
    shown_text = [{**row, "text": shortened(row["text"], em, bold="fontWeight" in style)} for row in rows]
    text = layer(shown_text).mark_text(**style, stroke=_EDGE, strokeWidth=_EDGE_PX)
    return text.encode(x=x, y=y, text=alt.Text("text:N"))


def edged(svg: str) -> str:
    """The SVG with the edges of `text_marks` behind their letters.

    They are drawn over them at first: as marks of their own they would be measured too, which takes the longest.
    """
    return _EDGED.sub(lambda run: _edges(run[0]) + run[0].replace(EDGE_ATTRIBUTES, ""), svg)


def _edges(texts: str) -> str:
    return re.sub(r'fill="[^"]*"', f'fill="{_EDGE}"', texts)


def room_beside(texts: Iterable[str], width: int, font_px: float) -> float:
    """Px that the longest of some texts, which stand at the right, leaves for what stands at the left of it."""
    return max(_LEAST_ROOM, width - max((text_em(text) * font_px for text in texts), default=0.0) - _APART)


def number_labels(texts: Iterable[str]) -> str:
    """An axis' labels for its ticks, in order: made here, for the renderer knows neither the zone nor the locale."""
    quoted = ["'" + text.replace("\\", "").replace("'", "’") + "'" for text in texts]
    return f"[{','.join(quoted)}][round(datum.index * {len(quoted) - 1})]"


def finished(chart: Layer) -> Spec:
    """The chart's whole specification, in the house style."""
    return {"$schema": alt.SCHEMA_URL, **_spec(chart), "config": _CONFIG}


def _spec(chart: Layer) -> Spec:
    if isinstance(chart, dict):
        return chart
    with alt.data_transformers.enable(consolidate_datasets=False):
        whole: Spec = chart.to_dict(validate=False)
    if isinstance(whole.get("data"), dict):
        whole["data"] = {"values": whole["data"]["values"].rows}
    return {name: part for name, part in whole.items() if name not in ("$schema", "config")}


def ticks_to(largest: float, count: int = 4) -> list[float]:
    """Even round ticks from 0; the last is the first at or above the largest value."""
    rough = (largest if largest > 0 else 1.0) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)] if largest > 0 else [0.0, step]
