"""What the charts of spend show, for whoever cannot see them."""

from __future__ import annotations

from models.documents import (
    CostReport,
)
from reports.charts.alt_text import gap_words, hour_words, largest_point
from reports.text.formatting import Formats


def timeline_text(document: CostReport, show: Formats) -> str:
    """The dearest bucket, and how many have no requests."""
    worst = largest_point(document.charts.timeline, "cost_usd")
    text = "Bar chart of spend over time."
    if worst is not None:
        text += f" The dearest {document.charts.bucket} cost {show.money(worst.cost_usd)}, {show.instant(worst.start)}."
    return text + gap_words(document.charts.timeline, document.charts.bucket)


def groups_text(document: CostReport, show: Formats) -> str:
    """What each complexity class and team spent."""
    named = [*document.complexity_cost_breakdown, *document.team_cost_breakdown]
    return "Bars of spend: " + ", ".join(f"{group.name} {show.money(group.total_cost)}" for group in named[:8]) + "."


def models_text(document: CostReport, show: Formats) -> str:
    """What each model spent."""
    models = document.model_cost_breakdown[:8]
    return "Bars of spend: " + ", ".join(f"{model.model_id} {show.money(model.total_cost)}" for model in models) + "."


def week_text(document: CostReport, show: Formats) -> str:
    """The dearest hour of the week."""
    known = [cell for cell in document.charts.heatmap if cell.cost_usd is not None]
    worst = max(known, key=lambda cell: cell.cost_usd or 0)
    return f"Grid of spend per weekday and hour. Highest: {show.money(worst.cost_usd)}, {hour_words(worst, show)}."
