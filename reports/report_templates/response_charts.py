"""The charts of response times, which the performance and the optimization report share."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import Document
from models.settings import ChartName
from reports.charts.alt_text import distribution_text, response_timeline_text, response_week_text
from reports.charts.distributions import distribution
from reports.charts.heatmap import response_heatmap
from reports.charts.timelines import response_timeline
from reports.report_templates.definition import ChartSpec


def _has_timeline(document: Document) -> bool:
    return any(
        known is not None
        for point in document.charts.timeline
        for known in (point.p50_response_time, point.p95_response_time, point.error_rate)
    )


def _has_distribution(document: Document) -> bool:
    return any(item.count for item in document.charts.distribution)


def _has_week(document: Document) -> bool:
    """One hour alone makes no week."""
    return sum(cell.p95_response_time is not None for cell in document.charts.heatmap) > 1


RESPONSE_CHARTS: Mapping[ChartName, ChartSpec[Document]] = {
    ChartName.TIMELINE: ChartSpec(
        "Response time and errors over time", response_timeline, response_timeline_text, _has_timeline
    ),
    ChartName.DISTRIBUTION: ChartSpec("How long requests took", distribution, distribution_text, _has_distribution),
    ChartName.HEATMAP: ChartSpec(
        "p95 response time by hour of the week, in seconds", response_heatmap, response_week_text, _has_week
    ),
}
