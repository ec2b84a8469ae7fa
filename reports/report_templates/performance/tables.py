"""The tables of the performance report."""

from __future__ import annotations

from models.documents import (
    ModelStats,
    PerformanceReport,
)
from models.kpi import LOWER_IS_BETTER, KpiName
from reports.text.formatting import Formats
from reports.text.labels import (
    KPI_LABELS,
    kpi_value,
    limit_value,
)
from reports.view.blocks import Cell, Table, table
from reports.view.tables import _bars


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
