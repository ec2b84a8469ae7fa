"""The tables of a report, row for row, with texts that are final."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.documents import (
    Bottleneck,
    CostReport,
    GroupCost,
    ModelStats,
    PerformanceReport,
    Savings,
    Trend,
)
from models.kpi import LOWER_IS_BETTER, KpiName
from reports.text.findings import place_name, place_rate, rate_label, share_words
from reports.text.formatting import Formats
from reports.text.labels import (
    COMPARED,
    DIRECTION_TONES,
    KPI_LABELS,
    bounds_words,
    kpi_value,
    limit_value,
    metric_change,
    metric_label,
    metric_value,
)
from reports.text.trends import is_news, trend_sentence
from reports.view.blocks import Cell, Table, table


def models_table(document: PerformanceReport, show: Formats) -> Table:
    """One row a model, busiest first as in the document; bars compare requests and spend."""
    models = document.model_breakdown
    counts = _bars([model.count for model in models])
    costs = _bars([model.total_cost for model in models])
    rows = [
        (
            Cell(model.model_id),
            Cell(show.count(model.count), bar),
            Cell(show.milliseconds(model.p50_response_time)),
            Cell(show.milliseconds(model.p95_response_time)),
            Cell(show.money(model.total_cost), cost),
            Cell(show.money(model.avg_cost)),
            Cell(show.percent(model.error_rate)),
            Cell(show.percent(model.cache_hit_rate)),
            Cell(show.percent(model.accuracy)),
            Cell(show.percent(model.efficiency)),
        )
        for model, bar, cost in zip(models, counts, costs, strict=True)
    ]
    columns = (
        "<Model | Requests | Median time | p95 time | Spend | Per request | Errors | Cache hits | Accuracy | Efficiency"
    )
    return table("models", "Per model", columns, rows, empty="No model served a request.")


def coverage_table(document: PerformanceReport, show: Formats) -> Table:
    """How much is known of each model: what an average is over."""
    rows = [_coverage_row(model, show) for model in document.model_breakdown]
    columns = "<Model | Requests | Time | Cost | Cache | Accuracy | Satisfaction | Mean time | p99 time"
    return table("coverage", "How much is known per model", columns, rows)


def _coverage_row(model: ModelStats, show: Formats) -> tuple[Cell, ...]:
    known = model.coverage
    columns = (known.response_time, known.cost, known.cache_hit, known.accuracy, known.user_satisfaction)
    shares = tuple(Cell(show.coverage(column).removeprefix("known for ") or "no data") for column in columns)
    times = (Cell(show.milliseconds(model.avg_response_time)), Cell(show.milliseconds(model.p99_response_time)))
    return (Cell(model.model_id), Cell(show.count(model.count)), *shares, *times)


def trends_table(trends: Iterable[Trend], compared_with: str, show: Formats) -> Table:
    """Every headline number against one earlier period; told are those that changed beyond chance."""
    against = [trend for trend in trends if trend.compared_with == compared_with]
    rows = [
        (
            Cell(metric_label(trend.metric)),
            Cell(metric_value(trend.metric, trend.current, show)),
            Cell(metric_value(trend.metric, trend.before, show)),
            Cell("" if trend.change is None else metric_change(trend.metric, trend.change.estimate, show)),
            Cell(bounds_words(trend.metric, trend.change, show)),
            Cell(_verdict(trend), tone=DIRECTION_TONES.get(trend.direction, "plain")),
        )
        for trend in against
    ]
    title = f"Against {COMPARED[compared_with]}"
    columns = "<Metric | Now | Before | Change | 95% interval | <Verdict"
    told = [trend_sentence(trend, show) for trend in against if is_news(trend)]
    return table(f"trends_{compared_with}", title, columns, rows, told=told)


def _verdict(trend: Trend) -> str:
    return f"unknown: {trend.reason}" if trend.reason else trend.direction.value


def places_table(found: Bottleneck, show: Formats) -> Table:
    """Every place where one bottleneck sits, and what would be left of it elsewhere where that is known."""
    without = any(place.rate_without is not None for place in found.where)
    rows = [
        (
            Cell(place_name(place)),
            Cell(show.count(place.affected)),
            Cell(show.percent(place.share), min(1.0, max(0.0, place.share))),
            Cell(place_rate(found, place.rate, show)),
            *((Cell(place_rate(found, place.rate_without, show)),) if without else ()),
        )
        for place in found.where
    ]
    columns = (
        f"<Where | Affected | Share {share_words(found)} | {rate_label(found)}{' | Without it' if without else ''}"
    )
    return table(f"places_{found.type}", "Where it sits", columns, rows)


def alerts_table(document: PerformanceReport, show: Formats) -> Table:
    """Each limit that was crossed over the period."""
    rows = [
        (
            Cell(alert.severity, tone=alert.severity),
            Cell(KPI_LABELS[kpi]),
            Cell(alert.subject),
            Cell(kpi_value(kpi, alert.value, show)),
            Cell(f"{'above' if kpi in LOWER_IS_BETTER else 'below'} {limit_value(kpi, alert.threshold, show)}"),
        )
        for alert, kpi in ((alert, KpiName(alert.rule)) for alert in document.alerts)
    ]
    return table("alerts", "Limits crossed over the period", "<Severity | <KPI | <Where | Value | Limit", rows)


# --- money ------------------------------------------------------------------------------------------------------------


def savings_table(savings: Savings, show: Formats) -> Table:
    """Per complexity class: spent, what the cheapest adequate model would have cost, and the difference."""
    rows = [
        (
            Cell(row.complexity),
            Cell(show.count(row.selections)),
            Cell(show.money(row.spent_usd)),
            Cell(row.baseline_model or f"none: {row.reason or 'not known'}"),
            Cell(show.money(row.baseline_usd.estimate if row.baseline_usd else None)),
            Cell(show.signed_money(row.savings_usd.estimate if row.savings_usd else None)),
            Cell(show.interval(row.savings_usd, "signed_money")),
        )
        for row in savings.classes
    ]
    columns = "<Complexity | Requests | Spent | <Cheapest adequate model | Would have cost | Saving | 95% interval"
    return table("savings", "By complexity", columns, rows)


def model_cost_table(document: CostReport, show: Formats) -> Table:
    """Spend per model; bars show the share of the spend."""
    rows = [
        (
            Cell(model.model_id),
            Cell(show.count(model.count)),
            Cell(show.money(model.total_cost)),
            Cell(show.percent(model.cost_share), model.cost_share),
            Cell(show.money(model.avg_cost)),
            Cell(show.money(model.cost_per_million_tokens)),
            Cell(show.coverage(model.coverage).removeprefix("known for ") or "no data"),
        )
        for model in document.model_cost_breakdown
    ]
    columns = "<Model | Requests | Spend | Share | Per request | Per million tokens | Cost known"
    return table("models", "Per model", columns, rows, empty="No model served a request.")


def token_table(document: CostReport, show: Formats) -> Table:
    """Tokens per model."""
    rows = [
        (Cell(model.model_id), Cell(show.count(model.prompt_tokens)), Cell(show.count(model.completion_tokens)))
        for model in document.model_cost_breakdown
    ]
    return table("tokens", "Tokens per model", "<Model | Prompt tokens | Completion tokens", rows)


def group_table(name: str, title: str, groups: Sequence[GroupCost], show: Formats) -> Table:
    """Spend per complexity class or team."""
    rows = [
        (
            Cell(group.name),
            Cell(show.count(group.count)),
            Cell(show.money(group.total_cost)),
            Cell(show.percent(group.cost_share), group.cost_share),
            Cell(show.money(group.avg_cost)),
        )
        for group in groups
    ]
    return table(name, f"Per {title.lower()}", f"<{title} | Requests | Spend | Share | Per request", rows)


def _bars(numbers: Sequence[float | None]) -> list[float | None]:
    largest = max((number for number in numbers if number), default=0)
    return [number / largest if number is not None and largest else None for number in numbers]
