"""What all charts share: colours that colour-blind readers tell apart, the font, sizes, and small layers."""

from __future__ import annotations

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
VERMILLION = "#c44601"
"""Okabe and Ito's palette; its vermillion is darkened so that text in it can be read on white."""

WIDE = 690
NARROW = 335
"""Outer widths in px: the width of the printed page, and of half of it."""

Layer = Any


def data(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows inline, in their order."""
    return alt.Data(values=rows)


def layer(rows: list[dict[str, Any]]) -> Layer:
    """An empty chart over some rows."""
    return alt.Chart(data(rows))


def words(rows: list[dict[str, Any]], x: Any, y: Any, **mark: Any) -> Layer:
    """The field `text` of each row as a label."""
    style = {"color": MUTED, "fontSize": 11, "align": "left", "baseline": "middle", **mark}
    return layer(rows).mark_text(**style).encode(x=x, y=y, text="text:N")


def number_labels(texts: dict[float, str]) -> str:
    """An axis' labels for chosen ticks, made here and not by the renderer, which knows neither zone nor locale."""
    ticks = ",".join(repr(float(tick)) for tick in texts)
    labels = ",".join("'" + text.replace("\\", "").replace("'", "’") + "'" for text in texts.values())
    return f"[{labels}][indexof([{ticks}], datum.value)]"


def finished(chart: Layer) -> dict[str, Any]:
    """The chart's specification in the house style."""
    styled = chart.configure(
        font=FAMILY, background="#ffffff", padding={"left": 2, "right": 6, "top": 4, "bottom": 2}
    ).configure_axis(
        labelColor=MUTED, labelFontSize=11, titleColor=MUTED, titleFontSize=11, titleFontWeight="normal",
        gridColor=GRID, domainColor=MUTED, tickColor=MUTED, domain=False, ticks=False, labelPadding=5,
    ).configure_view(stroke=None)  # fmt: skip
    spec: dict[str, Any] = styled.to_dict()
    return spec


def nice_top(largest: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten at or above a number."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** (len(f"{largest:.0f}") - 1) if largest >= 1 else 1e-9
    while power * 10 < largest:
        power *= 10
    return next(power * step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power * step >= largest)


def ticks_to(top: float, wanted: int = 4) -> list[float]:
    """Even ticks from 0 up to a nice top."""
    step = nice_top(top / wanted)
    return [step * index for index in range(int(top / step + 1e-9) + 1)]
