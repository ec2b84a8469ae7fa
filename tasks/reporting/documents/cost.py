"""The cost report's document."""

from __future__ import annotations

from models.documents import CostReport, CostSummary
from models.report_template import Template
from tasks.kpis.measures import group_costs, model_costs
from tasks.reporting.composition import LARGEST_TEAMS_SHOWN, Composer, Composition


def compose_cost(composition: Composition) -> CostReport:
    """Build the document: spend, its breakdown, and budget."""
    material, measured = composition.material, composition.measured
    budget = composition.budget()
    trends = tuple(trend for trend in composition.trends() if trend.metric in ("totalCost", "averageCost"))
    teams = group_costs(material.current.parts, "team")
    summary = CostSummary(
        period=composition.period,
        total_selections=measured.count,
        total_spent=measured.cost_usd,
        budget_used=budget.used_share,
        average_cost_per_request=measured.average_cost_usd,
        cost_trend=trends,
    )
    return CostReport(
        **composition.header,
        cost_summary=summary,
        model_cost_breakdown=model_costs(material.current.parts),
        complexity_cost_breakdown=group_costs(material.current.parts, "complexity"),
        team_cost_breakdown=teams[:LARGEST_TEAMS_SHOWN],
        teams_left_out=max(0, len(teams) - LARGEST_TEAMS_SHOWN),
        cost_optimization_savings=composition.efficiency.savings,
        budget_projection=budget,
        recommendations=tuple(item for item in material.recommendations if item.type == "model_selection"),
        cause=composition.cause(trends),
    )


COMPOSER = Composer(Template.COST, compose_cost)
