"""The sections of the performance report: the KPIs, what was found and done, models, trends and money."""

from __future__ import annotations

from models.documents import PerformanceReport
from models.kpi import KpiName
from reports.report_templates.performance.alert_tables import fired_table, fired_text
from reports.report_templates.performance.tables import alerts_table, coverage_table, models_table
from reports.text.formatting import Formats
from reports.text.labels import (
    alert_text,
)
from reports.text.spend_drivers import cause_text
from reports.view.blocks import Block, Section, Text, Tile, Tiles
from reports.view.sections import (
    action_blocks,
    budget_text,
    chart_blocks,
    found_blocks,
    kpi_tile,
    notes_block,
    plain_tile,
    savings_text,
    spend_tile,
    trend_blocks,
    wants,
)
from reports.view.tables import savings_table, trials_table

# --- performance ------------------------------------------------------------------------------------------------------


def sections(document: PerformanceReport, show: Formats) -> list[Section]:
    """Its sections; the metrics that the schedule asked for decide which of them have blocks."""
    tuning = wants(document, "optimization")
    trends = trend_blocks(document, document.performance_trends, show) if wants(document, "trends") else ()
    return [
        Section("overview", "At a glance", (Tiles(kpi_tiles(document, show)),)),
        Section("found", "What was found", found_blocks(document, show) if tuning else ()),
        Section("done", "What was done and what waits", _done(document, show) if tuning else ()),
        Section("charts", "Charts", chart_blocks(document)),
        Section("models", "Models", _models(document, show)),
        Section("trends", "Trends", trends),
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
    return (*action_blocks(document, show), *applied)


def _models(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    if not document.model_breakdown:
        return (Text("No model served a request.", "unknown"),)
    known = (coverage_table(document, show),) if document.depth == "detailed" else ()
    return (models_table(document, show), *known)


def _money(document: PerformanceReport, show: Formats) -> tuple[Block, ...]:
    blocks: list[Block] = [Text(cause_text(document.cause, show))] if document.cause else []
    if document.savings is not None:
        blocks.append(savings_text(document.savings, show))
        if document.depth == "detailed" and document.savings.classes:
            blocks.append(savings_table(document.savings, show))
    if document.budget is not None:
        blocks.append(budget_text(document.budget, show))
    return tuple(blocks)


# --- cost -------------------------------------------------------------------------------------------------------------


def kpi_tiles(document: PerformanceReport, show: Formats) -> tuple[Tile, ...]:
    """The KPIs that were asked for (all of them where none was), then volume and spend."""
    asked = [kpi.name for kpi in document.kpis if kpi.name.value in document.metrics]
    names = asked or [kpi.name for kpi in document.kpis]
    tiles = [kpi_tile(document, name, show) for name in names]
    if KpiName.RESPONSE_TIME in names:
        p95 = show.milliseconds(document.summary.p95_response_time)
        tiles.append(plain_tile(document, "p95 response time", p95, ("p95ResponseTime",), show))
    requests = show.count(document.selection_count)
    tiles.append(plain_tile(document, "Requests", requests, ("totalSelections",), show))
    return (*tiles, spend_tile(document, show))
