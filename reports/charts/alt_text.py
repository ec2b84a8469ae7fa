"""What a chart shows, for whoever cannot see it."""

from __future__ import annotations

from collections.abc import Iterable

from models.documents import (
    CostReport,
    Document,
    ErrorBurst,
    HeatmapCell,
    OptimizationReport,
    PerformanceReport,
    TimelinePoint,
    UsageReport,
)
from models.kpi import KpiName
from models.settings import ChartName
from reports.charts.change_markers import marks_of
from reports.report_templates.usage.alt_text import usage_text
from reports.text.formatting import Formats
from reports.text.verdicts import drawable, goal_words, state_word


def alt_text(document: Document, name: ChartName, show: Formats) -> str:
    """One or two sentences with the chart's own extremes."""
    if isinstance(document, CostReport):
        return {ChartName.TIMELINE: _spend_time, ChartName.DISTRIBUTION: _spend_groups,
                ChartName.COMPARISON: _spend_models, ChartName.HEATMAP: _spend_week}[name](document, show)  # fmt: skip
    if isinstance(document, UsageReport):
        return usage_text(document, name, show)
    if isinstance(document, PerformanceReport) and name is ChartName.COMPARISON:
        return _comparison(document, show)
    return {ChartName.TIMELINE: _timeline, ChartName.DISTRIBUTION: _distribution,
            ChartName.HEATMAP: _week}[name](document, show)  # fmt: skip


def _timeline(document: Document, show: Formats) -> str:
    points = document.charts.timeline
    worst = _largest(points, "p95_response_time")
    text = f"Line chart of median and p95 response time per {document.charts.bucket}, with the error rate below."
    if worst is not None:
        text += f" The p95 was highest at {show.milliseconds(worst.p95_response_time)}, {show.instant(worst.start)}."
    for found in document.found_bottlenecks:
        if isinstance(found, ErrorBurst):
            text += f" Marked: {show.percent(found.error_rate)} errors, {show.range(found.start, found.end)}."
    for at, change in marks_of(document):
        text += f" Marked: change {change}, {show.instant(at)}."
    return text + _gaps(points, document.charts.bucket)


def _gaps(points: Iterable[TimelinePoint], bucket: str) -> str:
    empty = sum(point.count == 0 for point in points)
    return f" {empty} {bucket}{'' if empty == 1 else 's'} without requests." if empty else ""


def _distribution(document: Document, show: Formats) -> str:
    bins = document.charts.distribution
    most = max(bins, key=lambda item: item.count)
    text = (
        f"Histogram of the response times of {show.count(sum(item.count for item in bins))} requests. Most took "
        f"{show.milliseconds(most.from_ms)} to {show.milliseconds(most.to_ms)}."
    )
    kpi = next((kpi for kpi in document.kpis if kpi.name is KpiName.RESPONSE_TIME), None)
    return text if kpi is None else f"{text} Marked: the target of {show.short_duration(kpi.target)}."


def _comparison(document: PerformanceReport, show: Formats) -> str:
    timed = [model for model in document.model_breakdown if model.p95_response_time is not None]
    text = f"Median to p95 response time of {len(document.model_breakdown)} models."
    if not timed:
        return f"{text} No response time is known."
    fast = min(timed, key=lambda model: model.p95_response_time or 0)
    slow = max(timed, key=lambda model: model.p95_response_time or 0)
    return (
        f"{text} Lowest p95: {fast.model_id}, {show.milliseconds(fast.p95_response_time)}. "
        f"Highest: {slow.model_id}, {show.milliseconds(slow.p95_response_time)}."
    )


def _week(document: Document, show: Formats) -> str:
    known = [cell for cell in document.charts.heatmap if cell.p95_response_time is not None]
    worst = max(known, key=lambda cell: cell.p95_response_time or 0)
    return (
        f"Grid of p95 response time per weekday and hour. Highest: "
        f"{show.milliseconds(worst.p95_response_time)}, {_hour(worst, show)}."
    )


# --- changes ----------------------------------------------------------------------------------------------------------


def changes_text(document: OptimizationReport, show: Formats) -> str:
    """Each optimization's goal before and after."""
    told = [
        f"{trial.number} {trial.settings(show)[0]}, {state_word(trial.state)}: "
        f"{goal_words(trial.goal, show) if trial.goal else 'no goal is known'}"
        for trial in drawable(document)
    ]
    return f"Changes of the goals of {len(told)} optimizations against before. {'. '.join(map(str.strip, told))}."


# --- money ------------------------------------------------------------------------------------------------------------


def _spend_time(document: CostReport, show: Formats) -> str:
    worst = _largest(document.charts.timeline, "cost_usd")
    text = "Bar chart of spend over time."
    if worst is not None:
        text += f" The dearest {document.charts.bucket} cost {show.money(worst.cost_usd)}, {show.instant(worst.start)}."
    return text + _gaps(document.charts.timeline, document.charts.bucket)


def _spend_groups(document: CostReport, show: Formats) -> str:
    named = [*document.complexity_cost_breakdown, *document.team_cost_breakdown]
    return "Bars of spend: " + ", ".join(f"{group.name} {show.money(group.total_cost)}" for group in named[:8]) + "."


def _spend_models(document: CostReport, show: Formats) -> str:
    models = document.model_cost_breakdown[:8]
    return "Bars of spend: " + ", ".join(f"{model.model_id} {show.money(model.total_cost)}" for model in models) + "."


def _spend_week(document: CostReport, show: Formats) -> str:
    known = [cell for cell in document.charts.heatmap if cell.cost_usd is not None]
    worst = max(known, key=lambda cell: cell.cost_usd or 0)
    return f"Grid of spend per weekday and hour. Highest: {show.money(worst.cost_usd)}, {_hour(worst, show)}."


def _hour(cell: HeatmapCell, show: Formats) -> str:
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return f"{days[cell.weekday]} {cell.hour:02d}:00 to {cell.hour + 1:02d}:00 in {show.zone}"


def _largest(points: Iterable[TimelinePoint], field: str) -> TimelinePoint | None:
    known = [point for point in points if getattr(point, field) is not None]
    return max(known, key=lambda point: float(getattr(point, field)), default=None)
