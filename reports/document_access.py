"""What every template has, wherever its document keeps it."""

from __future__ import annotations

from datetime import timedelta

from models.documents import (
    AppliedOptimization,
    Bottleneck,
    CostReport,
    CostSummary,
    Direction,
    Document,
    OptimizationReport,
    OptimizationSummary,
    PerformanceReport,
    PerformanceSummary,
    Trend,
    UsageReport,
    UsageSummary,
)

Summary = PerformanceSummary | CostSummary | OptimizationSummary | UsageSummary


def summary_of(document: Document) -> Summary:
    """The headline numbers."""
    match document:
        case CostReport():
            return document.cost_summary
        case UsageReport():
            return document.usage_summary
        case _:
            return document.summary


def total_of(document: Document) -> int:
    """How many selections the report is over."""
    return summary_of(document).total_selections


def spent_of(document: Document) -> float | None:
    """What they cost in USD, as far as it is known."""
    summary = summary_of(document)
    return summary.total_spent if isinstance(summary, CostSummary) else summary.total_cost


def trends_of(document: Document) -> tuple[Trend, ...]:
    """Every trend of a report; a report about optimizations compares each change by itself and has none."""
    match document:
        case CostReport():
            return document.cost_summary.cost_trend
        case UsageReport():
            return document.usage_trend
        case PerformanceReport():
            return document.performance_trends
        case OptimizationReport():
            return ()


def trend_of(document: Document, metrics: tuple[str, ...]) -> Trend | None:
    """The change of a metric, by any of its names, against the period that says most.

    That is the period before; of one shorter than a week the same of the week before, where that is known, for every
    Monday differs from its Sunday.
    """
    trends = {trend.compared_with: trend for trend in reversed(trends_of(document)) if trend.metric in metrics}
    if isinstance(document, UsageReport):
        return trends.get("sameWeekdaysBefore")
    last_week = trends.get("samePeriodLastWeek")
    is_short = document.period.end - document.period.start < timedelta(days=6)
    is_known = last_week is not None and last_week.direction is not Direction.UNKNOWN
    return last_week if is_short and is_known else trends.get("previousPeriod")


def bottlenecks_of(document: Document) -> tuple[Bottleneck, ...]:
    """What was found; reports about cost and usage tell of none."""
    match document:
        case PerformanceReport():
            return document.optimization_opportunities
        case OptimizationReport():
            return document.bottlenecks
        case _:
            return ()


def applied_of(document: Document) -> tuple[AppliedOptimization, ...]:
    """The changes of the router's config by optimizations; a cost report tells of none."""
    return () if isinstance(document, CostReport) else document.applied_optimizations
