"""How response times are spread, how models compare, and who spends what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import altair as alt

from models.documents import CostReport, DistributionBin, Document, GroupCost, Kpi, ModelStats, PerformanceReport
from models.kpi import KpiName
from reports.assets.fonts import text_em
from reports.charts.style import (
    AMBER,
    BLUE,
    GRID,
    INK,
    NARROW,
    ORANGE,
    SKY,
    VERMILLION,
    Layer,
    at_x,
    at_y,
    from_zero,
    layer,
    layered,
    number_labels,
    room_beside,
    ticks_to,
    to_x,
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
_ROW = 36


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


def comparison(document: PerformanceReport, show: Formats, width: int = NARROW) -> Layer:
    """Per model the span from median to p95 against the target, with cost and errors in words."""
    models = sorted(document.model_breakdown, key=lambda model: -model.count)[:MOST_MODELS]
    kpi = next((kpi for kpi in document.kpis if kpi.name is KpiName.RESPONSE_TIME), None)
    height = len(models) * _ROW + 14
    longest = max([model.p95_response_time or 0 for model in models] + [kpi.target if kpi else 0]) or 1.0
    x = alt.X("ms:Q", scale=alt.Scale(domain=[0, longest], range=[46, width - 66], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height], nice=False), axis=None)
    rows = [(model, index * _ROW + 20) for index, model in enumerate(models)]
    layers = [*_target_mark(kpi, height, x, y, show), *_names(rows, y, width, show), *_spans(rows, x, y, show)]
    return layered(*layers, width=width - 8, height=height)


def _target_mark(kpi: Kpi | None, height: int, x: Any, y: Any, show: Formats) -> list[Layer]:
    if kpi is None:
        return []
    row = {"ms": kpi.target, "y": 8, "to": height, "text": f"target {show.short_duration(kpi.target)}"}
    rule = layer([row]).mark_rule(color=ORANGE, strokeDash=[4, 3], strokeWidth=1.2).encode(x=x, y=y, y2=alt.Y2("to:Q"))
    return [rule, words([row], x, y, dx=4, dy=-2, fontSize=10, color=AMBER)]


def _names(rows: list[tuple[ModelStats, int]], y: Any, width: int, show: Formats) -> list[Layer]:
    names = [{"text": model.model_id, "y": at} for model, at in rows]
    facts: list[dict[str, Any]] = [
        {"text": f"{show.money(model.avg_cost)} each · {show.percent(model.error_rate)} errors", "y": at}
        for model, at in rows
    ]
    for fact, (model, _) in zip(facts, rows, strict=True):
        if model.avg_cost is None:
            fact["text"] = f"cost unknown · {show.percent(model.error_rate)} errors"
    left, right = at_x(0), at_x(width - 8)
    room = room_beside((fact["text"] for fact in facts), width - 8, 10.5)
    named = words(names, left, y, color=INK, fontWeight=600, limit=room)
    return [named, words(facts, right, y, align="right", fontSize=10.5)]


def _spans(rows: list[tuple[ModelStats, int]], x: Any, y: Any, show: Formats) -> list[Layer]:
    timed = [_span(model, at, show) for model, at in rows if _is_timed(model)]
    untimed = [{"text": "response time unknown", "y": at + 16} for model, at in rows if not _is_timed(model)]
    if timed:
        timed[0]["high"] = f"p95 {timed[0]['high']}"
    end = alt.X("to:Q", axis=None)
    line = layer(timed).mark_rule(color=SKY, strokeWidth=3).encode(x=x, x2=alt.X2("to:Q"), y=y)
    median = layer(timed).mark_point(filled=True, size=55, color="#ffffff", stroke=BLUE, strokeWidth=1.6, opacity=1)
    p95 = layer(timed).mark_point(filled=True, size=55, color=BLUE, opacity=1)
    low = words([{**row, "text": row["low"]} for row in timed], x, y, dx=-8, align="right", fontSize=10.5, color=INK)
    high = words([{**row, "text": row["high"]} for row in timed], end, y, dx=8, fontSize=10.5, color=INK)
    layers = [line, median.encode(x=x, y=y), p95.encode(x=end, y=y), low, high]
    return [*layers, words(untimed, at_x(0), y, fontSize=10.5)] if untimed else layers


def _is_timed(model: ModelStats) -> bool:
    return model.p50_response_time is not None and model.p95_response_time is not None


def _span(model: ModelStats, at: int, show: Formats) -> dict[str, Any]:
    low, high = show.milliseconds(model.p50_response_time), show.milliseconds(model.p95_response_time)
    return {"ms": model.p50_response_time, "to": model.p95_response_time, "y": at + 16, "low": low, "high": high}


# --- money ------------------------------------------------------------------------------------------------------------


def spend_by_model(document: CostReport, show: Formats, width: int = NARROW) -> Layer:
    """Spend per model, dearest first, with its share and its cost per request."""
    models = sorted(document.model_cost_breakdown, key=lambda model: -(model.total_cost or 0))[:MOST_MODELS]
    rows = [
        Bar(model.model_id, model.total_cost, _told(model.total_cost, f"{show.money(model.avg_cost)} each", show))
        for model in models
    ]
    return bars([("", rows)], width)


def spend_by_group(document: CostReport, show: Formats, width: int = NARROW) -> Layer:
    """Spend per complexity class, and per team where teams are known."""
    groups = [("by complexity", document.complexity_cost_breakdown[:4]), ("by team", document.team_cost_breakdown[:6])]
    return bars([(title, [_spent(group, show) for group in found]) for title, found in groups if found], width)


def _spent(group: GroupCost, show: Formats) -> Bar:
    return Bar(group.name, group.total_cost, _told(group.total_cost, show.percent(group.cost_share), show))


def _told(usd: float | None, beside: str, show: Formats) -> str:
    return "cost unknown" if usd is None else f"{show.rough_money(usd)} · {beside}"


# --- bars -------------------------------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """A horizontal bar; of what is unknown there is no bar, and the text says so."""

    name: str
    value: float | None
    text: str


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], width: int) -> Layer:
    """Horizontal bars in groups under titles, with the name and the text above each."""
    rows, titles, height = _stacked(groups)
    largest = max((row["value"] for row in rows), default=0) or 1.0
    full = width - 8
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, largest], range=[0, full], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height], nice=False), axis=None)
    low = alt.Y("low:Q", axis=None)
    track = layer(rows).mark_rect(color=GRID).encode(x=at_x(0), x2=to_x(full), y=low, y2=alt.Y2("high:Q"))
    drawn = layer(rows).mark_rect(color=BLUE).encode(x=x, x2=from_zero("x"), y=low, y2=alt.Y2("high:Q"))
    room = room_beside((row["text"] for row in rows), full, 10.5)
    names = words([{**row, "text": row["name"]} for row in rows], at_x(0), y, color=INK, limit=room)
    numbers = words(rows, at_x(full), y, align="right", fontSize=10.5)
    heads = [words(titles, at_x(0), y, fontSize=10.5)] if titles else []
    return layered(track, drawn, names, numbers, *heads, width=full, height=height)


def _stacked(
    groups: Sequence[tuple[str, Sequence[Bar]]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Bars and headings with their place from the top, and the height of it all, in px."""
    rows: list[dict[str, Any]] = []
    titles: list[dict[str, Any]] = []
    at = 0
    for title, group in groups:
        if title:
            titles.append({"text": title, "y": at + 8})
            at += 20
        for name, value, text in group:
            place = {"y": at + 9, "low": at + 17, "high": at + 24}
            rows.append({"name": name, "value": value or 0.0, "text": text, **place})
            at += 30
        at += 8
    return rows, titles, at
