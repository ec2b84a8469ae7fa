"""What every template has, wherever its document keeps it."""

from __future__ import annotations

from models.document import AppliedOptimization, Bottleneck, CostReport, Document, OptimizationReport, Trend


def total_of(document: Document) -> int:
    """How many selections the report is over."""
    summary = document.cost_summary if isinstance(document, CostReport) else document.summary
    return summary.total_selections


def spent_of(document: Document) -> float | None:
    """What they cost in USD, as far as it is known."""
    return document.cost_summary.total_spent if isinstance(document, CostReport) else document.summary.total_cost


def trends_of(document: Document) -> tuple[Trend, ...]:
    """Every trend of a report; a report about optimizations compares each change by itself and has none."""
    if isinstance(document, OptimizationReport):
        return ()
    return document.cost_summary.cost_trend if isinstance(document, CostReport) else document.performance_trends


def trend_of(document: Document, metrics: tuple[str, ...]) -> Trend | None:
    """The change of a metric, by any of its names, against the period before."""
    trends = (trend for trend in trends_of(document) if trend.compared_with == "previousPeriod")
    return next((trend for trend in trends if trend.metric in metrics), None)


def bottlenecks_of(document: Document) -> tuple[Bottleneck, ...]:
    """What was found; a cost report tells of none."""
    if isinstance(document, CostReport):
        return ()
    return document.bottlenecks if isinstance(document, OptimizationReport) else document.optimization_opportunities


def applied_of(document: Document) -> tuple[AppliedOptimization, ...]:
    """The changes of the router's config by optimizations; a cost report tells of none."""
    return () if isinstance(document, CostReport) else document.applied_optimizations
