"""The charts of the cost report: spend over time, by group, by model and by hour of the week."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import altair as alt

from models.documents import (
    CostReport,
    GroupCost,
    TimelinePoint,
)
from reports.charts.axes import epoch, time_axis, time_ticks_for, value_axis
from reports.charts.bars import Bar, bars
from reports.charts.distributions import MOST_MODELS
from reports.charts.heatmap import Grid, heatmap, hour_words, short_number
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    BLUE,
    INK,
    NARROW,
    NOTHING,
    WIDE,
    Layer,
    from_zero,
    layer,
    layered,
    ticks_to,
    words,
)
from reports.charts.timelines import BUCKET_LENGTHS, gap_words, largest_point
from reports.text.formatting import Formats

_DAYS_AS_BARS = timedelta(days=4)
"""From this length on, spend is drawn by day."""

_HEIGHT, _LOW_HEIGHT = 170, 150


_BARS_WITH_NUMBERS = 16
"""More bars leave no room for a number above each."""


def spend_timeline(document: CostReport, show: Formats, width: int = WIDE) -> Layer:
    """Spend per bucket, by day where the period is long; a bucket without a known cost is a gap, not a zero."""
    bars = spend_bars(document, show)
    known, gaps = [bar for bar in bars if bar["usd"] is not None], [bar for bar in bars if bar["usd"] is None]
    y = value_axis("usd:Q", ticks_to(max(bar["usd"] for bar in known) * 1.08), show.round_money)
    x = time_axis(
        document.period, _bar_ticks(bars, show, width) if _by_day(document) else time_ticks_for(document, show, width)
    )
    layers = [layer(gaps).mark_rect(color=NOTHING).encode(x=x, x2=alt.X2("to:Q"))] if gaps else []
    layers.append(layer(known).mark_rect(color=BLUE).encode(x=x, x2=alt.X2("to:Q"), y=y, y2=from_zero("y")))
    if len(bars) <= _BARS_WITH_NUMBERS and width > NARROW:
        middles = [{**bar, "t": bar["mid"]} for bar in known]
        layers.append(words(middles, x, y, align="center", dy=-7, fontSize=10, color=INK))
    return layered(*layers, width=width - 62, height=_HEIGHT if width > NARROW else _LOW_HEIGHT)


def _by_day(document: CostReport) -> bool:
    long = document.period.end - document.period.start > _DAYS_AS_BARS
    return long or document.charts.bucket == "day"


def _bar_ticks(bars: list[dict[str, Any]], show: Formats, width: int) -> dict[float, str]:
    """The days under the middles of their bars, as many as there is room for."""
    every = math.ceil(len(bars) / (width // 48))
    return {bar["mid"]: show.short_day(datetime.fromtimestamp(bar["mid"] / 1000, UTC)) for bar in bars[::every]}


def spend_bars(document: CostReport, show: Formats) -> list[dict[str, Any]]:
    """One row a bar: from, to (epoch ms), usd or None, text."""
    points = document.charts.timeline
    length = BUCKET_LENGTHS[document.charts.bucket]
    groups: dict[object, list[TimelinePoint]] = {}
    by_day = _by_day(document)
    for point in points:
        groups.setdefault(show.local(point.start).date() if by_day else point.start, []).append(point)
    return [_bar(group, length, show) for group in groups.values()]


def _bar(group: Sequence[TimelinePoint], length: timedelta, show: Formats) -> dict[str, Any]:
    known = [point.cost_usd for point in group if point.cost_usd is not None]
    start, end = epoch(group[0].start), epoch(group[-1].start + length)
    gap = (end - start) * 0.08
    usd = sum(known) if known else None
    return {
        "t": start + gap, "to": end - gap, "mid": (start + end) / 2, "usd": usd, "text": show.rough_money(usd),
    }  # fmt: skip


def spend_by_model(document: CostReport, show: Formats, width: int = NARROW) -> Layer:
    """Spend per model, dearest first, with its share and its cost per request."""
    models = sorted(document.model_cost_breakdown, key=lambda model: -(model.total_cost or 0))[:MOST_MODELS]
    rows = [
        Bar(
            model.model_id, model.total_cost, _action_text(model.total_cost, f"{show.money(model.avg_cost)} each", show)
        )
        for model in models
    ]
    return bars([("", rows)], width)


def spend_by_group(document: CostReport, show: Formats, width: int = NARROW) -> Layer:
    """Spend per complexity class, and per team where teams are known."""
    groups = [("by complexity", document.complexity_cost_breakdown[:4]), ("by team", document.team_cost_breakdown[:6])]
    return bars([(title, [_spent(group, show) for group in found]) for title, found in groups if found], width)


def _spent(group: GroupCost, show: Formats) -> Bar:
    return Bar(group.name, group.total_cost, _action_text(group.total_cost, show.percent(group.cost_share), show))


def _action_text(usd: float | None, beside: str, show: Formats) -> str:
    return "cost unknown" if usd is None else f"{show.rough_money(usd)} · {beside}"


def spend_heatmap(document: CostReport, show: Formats, width: int = WIDE) -> str:
    """Spend in USD per hour of the week."""
    spent = {(cell.weekday, cell.hour): cell.cost_usd for cell in document.charts.heatmap}
    return heatmap(Grid(spent, lambda usd: short_number(usd, show), show.rough_money), show, width)


def timeline_text(document: CostReport, show: Formats) -> str:
    """The dearest bucket, and how many have no requests."""
    worst = largest_point(document.charts.timeline, "cost_usd")
    text = "Bar chart of spend over time."
    if worst is not None:
        text += f" The dearest {document.charts.bucket} cost {show.money(worst.cost_usd)}, {show.instant(worst.start)}."
    return text + gap_words(document.charts.timeline, document.charts.bucket)


def groups_text(document: CostReport, show: Formats) -> str:
    """What each complexity class and team spent."""
    named = [*document.complexity_cost_breakdown, *document.team_cost_breakdown]
    return "Bars of spend: " + ", ".join(f"{group.name} {show.money(group.total_cost)}" for group in named[:8]) + "."


def models_text(document: CostReport, show: Formats) -> str:
    """What each model spent."""
    models = document.model_cost_breakdown[:8]
    return "Bars of spend: " + ", ".join(f"{model.model_id} {show.money(model.total_cost)}" for model in models) + "."


def week_text(document: CostReport, show: Formats) -> str:
    """The dearest hour of the week."""
    known = [cell for cell in document.charts.heatmap if cell.cost_usd is not None]
    worst = max(known, key=lambda cell: cell.cost_usd or 0)
    return f"Grid of spend per weekday and hour. Highest: {show.money(worst.cost_usd)}, {hour_words(worst, show)}."


def _has_timeline(document: CostReport) -> bool:
    return any(point.cost_usd is not None for point in document.charts.timeline)


def _has_groups(document: CostReport) -> bool:
    groups = (*document.complexity_cost_breakdown, *document.team_cost_breakdown)
    return any(group.total_cost is not None for group in groups)


def _has_models(document: CostReport) -> bool:
    return any(model.total_cost is not None for model in document.model_cost_breakdown)


def _has_week(document: CostReport) -> bool:
    """One hour alone makes no week."""
    return sum(cell.cost_usd is not None for cell in document.charts.heatmap) > 1


TIMELINE = ChartSpec("Spend over time", spend_timeline, timeline_text, _has_timeline)
GROUPS = ChartSpec("Who spent it", spend_by_group, groups_text, _has_groups)
MODELS = ChartSpec("Spend per model", spend_by_model, models_text, _has_models)
WEEK = ChartSpec("Spend by hour of the week, in US dollars", spend_heatmap, week_text, _has_week)
