"""The sections of the performance report: the KPIs, what was found and done, models, trends and money."""

from __future__ import annotations

from collections.abc import Sequence

from models.documents import (
    FiredAlert,
    ModelStats,
    PerformanceReport,
)
from models.kpis import LOWER_IS_BETTER, KpiName
from models.text_direction import kept_to_itself
from reports.text.alerts import amount, rule_label
from reports.text.formatting import Formats
from reports.text.headline import done_and_waiting_clause, spend_clause, worst_kpi_clause
from reports.text.labels import (
    KPI_LABELS,
    alert_text,
    kpi_value,
    limit_value,
)
from reports.text.spend_drivers import cause_text
from reports.text.verdicts import TRIALS_CHART, drawable_trials
from reports.view.blocks import Block, Cell, ChartsHere, Section, Table, Text, Tile, Tiles, table
from reports.view.sections import (
    action_blocks,
    budget_text,
    chart_blocks,
    found_blocks,
    notes_block,
    savings_table,
    savings_text,
    trend_blocks,
    trials_table,
    wants,
)
from reports.view.tiles import kpi_tile, plain_tile, spend_tile


def sections(document: PerformanceReport, show: Formats) -> list[Section]:
    """Its sections; the metrics that the schedule asked for decide which of them have blocks."""
    tuning = wants(document, "optimization")
    return [
        Section("overview", "At a glance", (Tiles(kpi_tiles(document, show)),)),
        Section("found", "What was found", found_blocks(document, show) if tuning else ()),
        Section("done", "What was done and what waits", _done(document, show) if tuning else ()),
        Section("charts", "Charts", chart_blocks(document)),
        Section("models", "Models", _models(document, show)),
        Section("trends", "Trends", _trends(document, show) if wants(document, "trends") else ()),
        Section(
            "money", "Savings and budget", _money(document, show) if wants(document, "cost", "optimization") else ()
        ),
        Section("alerts", "Alerts", _alerts(document, show)),
        Section("notes", "Notes", (notes_block(document),)),
    ]


def _alerts(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    if document.depth == "detailed":
        crossed: tuple[Block, ...] = (alerts_table(document, show),) if document.alerts else ()
        return (*((fired_table(document, show),) if document.fired_alerts else ()), *crossed)
    over = "Limits crossed over the period: " + "; ".join(alert_text(it, show) for it in document.alerts) + "."
    return (*fired_text(document, show), *((Text(over),) if document.alerts else ()))


def _done(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    applied = (trials_table(document, show),) if document.applied_optimizations else ()
    chart = (ChartsHere((TRIALS_CHART,)),) if drawable_trials(document) else ()
    return (*action_blocks(document, show), *applied, *chart)


def _models(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    if not document.model_breakdown:
        return (Text("No model served a request.", "unknown"),)
    known = (coverage_table(document, show),) if document.depth == "detailed" else ()
    return (models_table(document, show), *known)


def _trends(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    return trend_blocks(document, document.performance_trends, show)


def _money(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    blocks: list[Block] = [Text(cause_text(document.cause, show))] if document.cause else []
    if document.savings is not None:
        blocks.append(savings_text(document.savings, show))
        if document.depth == "detailed" and document.savings.classes:
            blocks.append(savings_table(document.savings, show))
    if document.budget is not None:
        blocks.append(budget_text(document.budget, show))
    return tuple(blocks)


def kpi_tiles(document: PerformanceReport, show: Formats) -> tuple[Tile, ...]:
    """The KPIs that were asked for (all of them where none was), then volume and spend."""
    selected = [kpi.name for kpi in document.kpis if kpi.name.value in document.metrics]
    names = selected or [kpi.name for kpi in document.kpis]
    tiles = [kpi_tile(document, name, show) for name in names]
    if KpiName.RESPONSE_TIME in names:
        p95 = show.milliseconds(document.summary.p95_response_time)
        tiles.append(plain_tile(document, "p95 response time", p95, ("p95ResponseTime",), show))
    requests = show.count(document.selection_count)
    tiles.append(plain_tile(document, "Requests", requests, ("totalSelections",), show))
    return (*tiles, spend_tile(document, show))


def clauses(document: PerformanceReport, show: Formats) -> list[str]:
    """What was spent, the worst KPI, and what was done and waits."""
    return [
        spend_clause(document, show),
        worst_kpi_clause(document, show),
        done_and_waiting_clause(document, show),
    ]


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


MOST_NAMED = 3


def fired_table(document: PerformanceReport, show: Formats) -> Table:
    """Each alert that fired in the period, by when."""
    rows = [
        (
            Cell(alert.severity, tone=alert.severity),
            Cell(rule_label(alert.rule)),
            Cell(alert.subject or "all models"),
            Cell(amount(alert.rule, alert.value, show)),
            Cell(amount(alert.rule, alert.threshold, show) + (" learned" if alert.learned else "")),
            Cell(show.instant(alert.fired_at)),
            Cell("still fires" if alert.resolved_at is None else show.instant(alert.resolved_at)),
        )
        for alert in document.fired_alerts
    ]
    columns = "<Severity | <Alert | <Where | Last value | Limit | <Fired | <Over"
    return table("fired", "Alerts that fired", columns, rows)


def fired_summary(alert: FiredAlert, show: Formats) -> str:
    """An alert that fired, in a few words: what, of what, when."""
    of = f" of {kept_to_itself(alert.subject)}" if alert.subject else ""
    until = "still" if alert.resolved_at is None else f"until {show.instant(alert.resolved_at)}"
    return f"{rule_label(alert.rule)}{of} from {show.instant(alert.fired_at)}, {until}"


def fired_text(document: PerformanceReport, show: Formats) -> tuple[Text, ...]:
    """How many alerts fired, the most severe by name."""
    fired = sorted(document.fired_alerts, key=lambda it: (it.severity != "critical", it.fired_at))
    if not fired:
        return ()
    still = sum(it.resolved_at is None for it in fired)
    named = "; ".join(fired_summary(it, show) for it in fired[:MOST_NAMED])
    more = f"; and {show.count(len(fired) - MOST_NAMED)} more" if len(fired) > MOST_NAMED else ""
    firing = f", {show.count(still)} of them still" if still else ""
    return (Text(f"{show.count(len(fired))} {'alert' if len(fired) == 1 else 'alerts'} fired{firing}: {named}{more}."),)


def _bars(numbers: Sequence[float | None]) -> list[float | None]:
    largest = max((number for number in numbers if number), default=0)
    return [number / largest if number is not None and largest else None for number in numbers]
