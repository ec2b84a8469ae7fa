"""A report document as a view: which sections there are, and in which order."""

from __future__ import annotations

from models.documents import CostReport, Document, OptimizationReport, PerformanceReport, UsageReport
from models.kpi import KpiName
from reports.report_templates.optimization.sections import optimization_sections
from reports.report_templates.optimization.tables import trials_table
from reports.report_templates.performance.alert_tables import fired_table, fired_text
from reports.report_templates.usage.sections import usage_sections
from reports.text.formatting import Formats
from reports.text.headline import headline
from reports.text.labels import alert_text
from reports.text.spend_drivers import cause_text
from reports.view.blocks import Block, Section, Text, Tile, Tiles, View
from reports.view.sections import (
    action_blocks,
    budget_text,
    budget_tone,
    chart_blocks,
    found_blocks,
    kpi_tile,
    kpi_tiles,
    notes_block,
    plain_tile,
    savings_text,
    spend_tile,
    trend_blocks,
    wants,
)
from reports.view.tables import (
    alerts_table,
    coverage_table,
    group_table,
    model_cost_table,
    models_table,
    savings_table,
    token_table,
)


def view_of(document: Document) -> View:
    """The whole report as blocks. The metrics that the schedule asked for decide which sections there are."""
    show = Formats(document.locale, document.period.zone)
    return View(
        title=f"{document.kind.capitalize()} {document.template} report",
        period=show.period(document.period),
        headline=headline(document),
        facts=_facts(document, show),
        sections=tuple(section for section in _sections(document, show) if section.blocks),
    )


def _facts(document: Document, show: Formats) -> tuple[tuple[str, str], ...]:
    facts = [("Period", show.period(document.period))]
    if document.period.rounded:
        asked = show.range(document.period.requested_start, document.period.requested_end)
        facts.append(("Asked for", f"{asked}; rounded outward to what is stored"))
    return (
        *facts,
        ("Models", ", ".join(document.filters.models) or "all"),
        ("Teams", ", ".join(document.filters.teams) or "all"),
        ("Complexities", ", ".join(document.filters.complexities) or "all"),
        ("Newest request", show.instant(document.freshness.last_selection_at)),
        ("Made", show.instant(document.generated_at)),
    )


def _sections(document: Document, show: Formats) -> list[Section]:
    if isinstance(document, CostReport):
        return _cost_sections(document, show)
    if isinstance(document, OptimizationReport):
        return optimization_sections(document, show)
    if isinstance(document, UsageReport):
        return usage_sections(document, show)
    return _performance_sections(document, show)


# --- performance ------------------------------------------------------------------------------------------------------


def _performance_sections(document: PerformanceReport, show: Formats) -> list[Section]:
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


def _cost_sections(document: CostReport, show: Formats) -> list[Section]:
    savings = document.cost_optimization_savings
    classes = (savings_table(savings, show),) if savings.classes else ()
    trends = trend_blocks(document, document.cost_summary.cost_trend, show) if document.cost_summary.cost_trend else ()
    return [
        Section("overview", "At a glance", (Tiles(_cost_tiles(document, show)),)),
        Section("charts", "Charts", chart_blocks(document)),
        Section("models", "Where the money went", _spend_tables(document, show)),
        Section("savings", "Savings", (savings_text(savings, show), *classes)),
        Section("budget", "Budget", (budget_text(document.budget_projection, show),)),
        Section("done", "Recommendations", action_blocks(document, show)),
        Section("trends", "Trends", trends),
        Section("notes", "Notes", (notes_block(document),)),
    ]


def _cost_tiles(document: CostReport, show: Formats) -> tuple[Tile, ...]:
    summary = document.cost_summary
    average = show.money(summary.average_cost_per_request)
    names = ("averageCostPerRequest", "averageCost")
    tiles = [
        spend_tile(document, show),
        plain_tile(
            document,
            "Average per request",
            average,
            names,
            show,
            note=f"{show.count(summary.total_selections)} requests",
        ),
        *_budget_tiles(document, show),
    ]
    if any(kpi.name is KpiName.COST_EFFICIENCY for kpi in document.kpis):
        tiles.append(kpi_tile(document, KpiName.COST_EFFICIENCY, show))
    return tuple(tiles)


def _budget_tiles(document: CostReport, show: Formats) -> tuple[Tile, Tile]:
    budget = document.budget_projection
    limit = (
        "no budget is set"
        if budget.monthly_usd is None
        else f"of {show.rough_money(budget.monthly_usd)} for {budget.month}"
    )
    tone = budget_tone(budget)
    bounds = show.interval(budget.projected_usd, "rough_money")
    return (
        Tile(
            "Budget used",
            show.percent(document.cost_summary.budget_used),
            tone="critical" if tone == "critical" else "plain",
            state="used up" if tone == "critical" else "",
            note=limit,
        ),
        Tile(
            "Projected month end",
            show.rough_money(budget.projected_usd.estimate if budget.projected_usd else None),
            tone=tone,
            state={"warning": "over budget", "critical": "over budget"}.get(tone, ""),
            note=f"80% interval {bounds}" if bounds else budget.reason or "",
        ),
    )


def _spend_tables(document: CostReport, show: Formats) -> tuple[Block, ...]:
    if not document.model_cost_breakdown:
        return (Text("No model served a request.", "unknown"),)
    blocks: list[Block] = [Text(cause_text(document.cause, show))] if document.cause else []
    blocks.append(model_cost_table(document, show))
    if document.complexity_cost_breakdown:
        blocks.append(group_table("complexities", "Complexity", document.complexity_cost_breakdown, show))
    if document.team_cost_breakdown:
        blocks.append(group_table("teams", "Team", document.team_cost_breakdown, show))
    if document.teams_left_out:
        blocks.append(Text(f"{show.count(document.teams_left_out)} smaller teams are left out here."))
    if document.depth == "detailed":
        blocks.append(token_table(document, show))
    return tuple(blocks)
