"""What the charts of response times show, for whoever cannot see them, and the words that other charts share."""

from __future__ import annotations

from collections.abc import Iterable

from models.documents import (
    Document,
    ErrorBurst,
    HeatmapCell,
    TimelinePoint,
)
from models.kpi import KpiName
from reports.charts.change_markers import marks_of
from reports.text.formatting import Formats


def response_timeline_text(document: Document, show: Formats) -> str:
    """The highest p95, and what is marked on the timeline."""
    points = document.charts.timeline
    worst = largest_point(points, "p95_response_time")
    text = f"Line chart of median and p95 response time per {document.charts.bucket}, with the error rate below."
    if worst is not None:
        text += f" The p95 was highest at {show.milliseconds(worst.p95_response_time)}, {show.instant(worst.start)}."
    for found in document.found_bottlenecks:
        if isinstance(found, ErrorBurst):
            text += f" Marked: {show.percent(found.error_rate)} errors, {show.range(found.start, found.end)}."
    for at, change in marks_of(document):
        text += f" Marked: change {change}, {show.instant(at)}."
    return text + gap_words(points, document.charts.bucket)


def gap_words(points: Iterable[TimelinePoint], bucket: str) -> str:
    """How many buckets have no requests; empty where all have some."""
    empty = sum(point.count == 0 for point in points)
    return f" {empty} {bucket}{'' if empty == 1 else 's'} without requests." if empty else ""


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


def response_week_text(document: Document, show: Formats) -> str:
    """The slowest hour of the week."""
    known = [cell for cell in document.charts.heatmap if cell.p95_response_time is not None]
    worst = max(known, key=lambda cell: cell.p95_response_time or 0)
    return (
        f"Grid of p95 response time per weekday and hour. Highest: "
        f"{show.milliseconds(worst.p95_response_time)}, {hour_words(worst, show)}."
    )


# --- changes ----------------------------------------------------------------------------------------------------------


# --- money ------------------------------------------------------------------------------------------------------------


def hour_words(cell: HeatmapCell, show: Formats) -> str:
    """An hour of the week in the report's zone."""
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return f"{days[cell.weekday]} {cell.hour:02d}:00 to {cell.hour + 1:02d}:00 in {show.zone}"


def largest_point(points: Iterable[TimelinePoint], field: str) -> TimelinePoint | None:
    """The point with the most of a field; None where it is known of none."""
    known = [point for point in points if getattr(point, field) is not None]
    return max(known, key=lambda point: float(getattr(point, field)), default=None)
