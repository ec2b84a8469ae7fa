"""The tables of the cost report."""

from __future__ import annotations

from collections.abc import Sequence

from models.documents import (
    CostReport,
    GroupCost,
)
from reports.text.formatting import Formats
from reports.view.blocks import Cell, Table, table


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
