"""What all charts share: colours that colour-blind readers tell apart, the font, sizes, and small layers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import altair as alt

from reports.fonts import FAMILY

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
BOARD = 560
NARROW = 335
"""Outer widths in px: of the printed page, of half a screen, and of half the page."""

Layer = Any


def data(rows: list[dict[str, Any]]) -> alt.InlineData:
    """Rows inline, in their order; as a tuple, because altair copies a list anew for every layer."""
    return alt.InlineData(values=tuple(rows))


def layer(rows: list[dict[str, Any]]) -> Layer:
    """An empty chart over some rows."""
    return alt.Chart(data(rows))


def words(rows: list[dict[str, Any]], x: Any, y: Any, **mark: Any) -> Layer:
    """The field `text` of each row as a label, on a white edge that keeps it apart from lines behind it."""
    style = {"color": MUTED, "fontSize": 11, "align": "left", "baseline": "middle", **mark}
    edge = layer(rows).mark_text(**{**style, "color": "#ffffff", "stroke": "#ffffff", "strokeWidth": 4})
    return alt.layer(*(text.encode(x=x, y=y, text="text:N") for text in (edge, layer(rows).mark_text(**style))))


def number_labels(texts: Iterable[str]) -> str:
    """An axis' labels for its ticks, in order: made here, for the renderer knows neither the zone nor the locale."""
    quoted = ["'" + text.replace("\\", "").replace("'", "’") + "'" for text in texts]
    return f"[{','.join(quoted)}][round(datum.index * {len(quoted) - 1})]"


def finished(chart: Layer) -> dict[str, Any]:
    """The chart's specification in the house style."""
    styled = chart.configure(
        font=FAMILY, background="#ffffff", padding={"left": 2, "right": 6, "top": 4, "bottom": 2}
    ).configure_axis(
        labelColor=MUTED, labelFontSize=11, titleColor=MUTED, titleFontSize=11, titleFontWeight="normal",
        gridColor=GRID, domainColor=MUTED, tickColor=MUTED, domain=False, ticks=False, labelPadding=5,
    ).configure_view(stroke=None)  # fmt: skip
    spec: dict[str, Any] = styled.to_dict(validate=False)
    return spec


def ticks_to(largest: float, wanted: int = 4) -> list[float]:
    """Even round ticks from 0; the last is the first at or above the largest value."""
    rough = (largest if largest > 0 else 1.0) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    return [step * index for index in range(math.ceil(largest / step - 1e-9) + 1)] if largest > 0 else [0.0, step]
