"""How response times are spread, how models compare, and who spends what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import altair as alt

from models.documents import (
    DistributionBin,
    Document,
    Kpi,
)
from models.kpis import KpiName
from reports.assets.fonts import text_em
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    BLUE,
    INK,
    NARROW,
    ORANGE,
    VERMILLION,
    Layer,
    at_y,
    from_zero,
    layer,
    layered,
    number_labels,
    ticks_to,
    words,
)
from reports.text.formatting import Formats

MOST_MODELS = 10
"""More rows than this are no picture any more; the table has them all."""

_LOGARITHMIC_FROM = 30.0
"""Above this ratio of the longest to the shortest time, even steps would squeeze most bars into one."""

_AXIS_FONT_PX = 11
_BESIDE_PX = 4
_FIRST_LINE, _NEXT_LINE = 6, 19
"""How far from the top the names of limits stand, in px."""


# --- distribution -----------------------------------------------------------------------------------------------------


def distribution(document: Document, show: Formats, width: int = NARROW) -> Layer:
    """Requests per response time; what was slower than target, and than critical, in its own colour."""
    kpi = next((kpi for kpi in document.kpis if kpi.name is KpiName.RESPONSE_TIME), None)
    bins = [item for item in document.charts.distribution if item.to_ms > 0]
    low, high, logarithmic = extent = _extent(bins)
    rows = [_bar(item, low, kpi) for item in bins if item.count]
    steps = ticks_to(max((item.count for item in bins), default=1), 3)
    ticks = [tick for tick in _time_steps(low, high, logarithmic=logarithmic) if low <= tick <= high]
    ticks = ticks[:: _every(ticks, show.short_duration, width - 62)]
    scale = alt.Scale(type="log" if logarithmic else "linear", domain=[low, high], nice=False)
    x = alt.X("t:Q", title="response time", scale=scale, axis=_axis(ticks, show.short_duration, grid=False))
    height = alt.Scale(domain=[0, steps[-1]], nice=False)
    y = alt.Y("n:Q", title="requests", scale=height, axis=_axis(steps, show.count, grid=True))
    colour = alt.Color("colour:N", scale=None, legend=None)
    bars = (
        layer(rows)
        .mark_rect(stroke="#ffffff", strokeWidth=0.6)
        .encode(x=x, x2=alt.X2("to:Q"), y=y, y2=from_zero("y"), color=colour)
    )
    across = width - 62
    marks = _limit_marks(kpi, extent, across, x, show) if kpi else []
    return layered(bars, *marks, width=across, height=170)


def _axis(ticks: list[float], text: Callable[[float], str], *, grid: bool) -> alt.Axis:
    return alt.Axis(values=ticks, labelExpr=number_labels(map(text, ticks)), grid=grid)


def _every(ticks: list[float], text: Callable[[float], str], width: int) -> int:
    """Every how many-th of the ticks has room for its label."""
    widest = max((text_em(text(tick)) * _AXIS_FONT_PX + _AXIS_FONT_PX for tick in ticks), default=0)
    return max(1, math.ceil(len(ticks) * widest / width))


class _Extent(NamedTuple):
    low: float
    high: float
    logarithmic: bool

    def share(self, ms: float) -> float:
        """How far from the left a time is."""
        if self.logarithmic:
            return math.log(ms / self.low) / math.log(self.high / self.low)
        return (ms - self.low) / (self.high - self.low)


def _extent(bins: Sequence[DistributionBin]) -> _Extent:
    used = [item for item in bins if item.count] or list(bins)
    high = max((item.to_ms for item in used), default=1.0)
    positive = min((item.from_ms or item.to_ms / 1.5 for item in used), default=0.1)
    if high / positive > _LOGARITHMIC_FROM:
        return _Extent(positive, high, logarithmic=True)
    return _Extent(min((item.from_ms for item in used), default=0.0), high, logarithmic=False)


def _bar(item: DistributionBin, low: float, kpi: Kpi | None) -> dict[str, Any]:
    middle = math.sqrt(max(item.from_ms, low, 1e-9) * item.to_ms)
    late = kpi is not None and middle > kpi.target
    very_late = kpi is not None and middle > kpi.critical
    colour = VERMILLION if very_late else ORANGE if late else BLUE
    return {"t": max(item.from_ms, low), "to": item.to_ms, "n": item.count, "colour": colour}


def _limit_marks(kpi: Kpi, extent: _Extent, across: int, x: Any, show: Formats) -> list[Layer]:
    named = (("target", kpi.target), ("critical", kpi.critical))
    limits = [(name, limit) for name, limit in named if extent.low < limit < extent.high]
    layers: list[Layer] = []
    for row, (name, limit) in enumerate(limits):
        text = f"{name} {show.short_duration(limit)}"
        mark = [{"t": limit, "text": text}]
        layers.append(layer(mark).mark_rule(color=INK, strokeDash=[4, 3], strokeWidth=1).encode(x=x))
        # The lower limit's name stands left of its line, so that it does not run into the next one; where it would
        # leave the chart there, right of it and a line lower.
        is_lower = row < len(limits) - 1
        has_room = extent.share(limit) * across >= text_em(text) * _AXIS_FONT_PX + _BESIDE_PX
        side = {"align": "right", "dx": -_BESIDE_PX} if is_lower and has_room else {"dx": _BESIDE_PX}
        line = _NEXT_LINE if is_lower and not has_room else _FIRST_LINE
        layers.append(words(mark, x, at_y(line), color=INK, **side))
    return layers


def _time_steps(low: float, high: float, *, logarithmic: bool) -> list[float]:
    if not logarithmic:
        return [tick for tick in ticks_to(high, 4) if tick <= high]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 3) if high / low < 3_000 else (1,)  # noqa: PLR2004 - room for two labels in each power of ten
    return [step * 10.0**power for power in powers for step in steps]


# --- models -----------------------------------------------------------------------------------------------------------


# --- money ------------------------------------------------------------------------------------------------------------


# --- bars -------------------------------------------------------------------------------------------------------------


def distribution_text(document: Document, show: Formats) -> str:
    """Where most of the requests are."""
    bins = document.charts.distribution
    most = max(bins, key=lambda item: item.count)
    text = (
        f"Histogram of the response times of {show.count(sum(item.count for item in bins))} requests. Most took "
        f"{show.milliseconds(most.from_ms)} to {show.milliseconds(most.to_ms)}."
    )
    kpi = next((kpi for kpi in document.kpis if kpi.name is KpiName.RESPONSE_TIME), None)
    return text if kpi is None else f"{text} Marked: the target of {show.short_duration(kpi.target)}."


def _has_distribution(document: Document) -> bool:
    return any(item.count for item in document.charts.distribution)


RESPONSE_DISTRIBUTION = ChartSpec("How long requests took", distribution, distribution_text, _has_distribution)
