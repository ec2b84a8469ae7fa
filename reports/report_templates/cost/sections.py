"""The sections of the cost report: what was spent, where it went, and what is left of the budget."""

from __future__ import annotations

from models.documents import CostReport
from models.kpi import KpiName
from reports.report_templates.cost.tables import group_table, model_cost_table, token_table
from reports.text.formatting import Formats
from reports.text.spend_drivers import cause_text
from reports.view.blocks import Block, Section, Text, Tile, Tiles
from reports.view.sections import (
    action_blocks,
    budget_text,
    budget_tone,
    chart_blocks,
    kpi_tile,
    notes_block,
    plain_tile,
    savings_text,
    spend_tile,
    trend_blocks,
)
from reports.view.tables import savings_table


def sections(document: CostReport, show: Formats) -> list[Section]:
    """Its sections: where the money went before what could be saved."""
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
