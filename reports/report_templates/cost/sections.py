"""The sections of the cost report: what was spent, where it went, and what is left of the budget."""

from __future__ import annotations

from collections.abc import Sequence

from models.documents import (
    CostReport,
    GroupCost,
)
from models.kpis import KpiName
from reports.text.formatting import Formats
from reports.text.headline import done_and_waiting_clause, spend_clause
from reports.text.spend_drivers import cause_text
from reports.view.blocks import Block, Cell, Section, Table, Text, Tile, Tiles, table
from reports.view.sections import (
    action_blocks,
    budget_text,
    budget_tone,
    chart_blocks,
    notes_block,
    savings_table,
    savings_text,
    trend_blocks,
)
from reports.view.tiles import kpi_tile, plain_tile, spend_tile


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


def clauses(document: CostReport, show: Formats) -> list[str]:
    """What was spent, where the month is heading, and what was done and waits."""
    return [spend_clause(document, show), _month(document, show), done_and_waiting_clause(document, show)]


def _month(document: CostReport, show: Formats) -> str:
    budget = document.budget_projection
    if budget.projected_usd is None:
        return "the month's end could not be projected"
    heading = f"the month is heading for {show.rough_money(budget.projected_usd.estimate)}"
    if budget.monthly_usd is None or budget.projected_share is None:
        return heading
    heading += f", {show.percent(budget.projected_share)} of the {show.rough_money(budget.monthly_usd)} budget"
    return heading if budget.runs_out_on is None else f"{heading}, which runs out on {show.day(budget.runs_out_on)}"


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
