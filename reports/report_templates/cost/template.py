"""The description of the cost report."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import CostReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.cost.alt_text import groups_text, models_text, timeline_text, week_text
from reports.report_templates.cost.charts import spend_by_group, spend_by_model, spend_heatmap, spend_timeline
from reports.report_templates.cost.sections import sections
from reports.report_templates.definition import ChartSpec, ReportTemplate
from reports.report_templates.rows import Rows, cause_table, listed, note_table, period_tables, plain_values
from reports.text.formatting import Formats
from reports.text.headline import done_and_waiting_clause, spend_clause


def _clauses(document: CostReport, show: Formats) -> list[str]:
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


def _csv_tables(document: CostReport) -> Mapping[str, Rows]:
    data = plain_values(document)
    summary = data["costSummary"]
    trends = summary.pop("costTrend")
    return {
        "summary": [summary],
        **cause_table(data),
        **listed(data, "modelCostBreakdown", "complexityCostBreakdown", "teamCostBreakdown", "recommendations"),
        "costTrend": trends,
        "savings": data["costOptimizationSavings"]["classes"],
        "budget": [data["budgetProjection"]],
        **period_tables(document, data),
        **note_table(data),
    }


def _has_timeline(document: CostReport) -> bool:
    return any(point.cost_usd is not None for point in document.charts.timeline)


def _has_groups(document: CostReport) -> bool:
    groups = (*document.complexity_cost_breakdown, *document.team_cost_breakdown)
    return any(group.total_cost is not None for group in groups)


def _has_models(document: CostReport) -> bool:
    return any(model.total_cost is not None for model in document.model_cost_breakdown)


def _has_week(document: CostReport) -> bool:
    """One hour alone makes no week."""
    return sum(cell.cost_usd is not None for cell in document.charts.heatmap) > 1


TEMPLATE = ReportTemplate(
    name=Template.COST,
    document=CostReport,
    sections=sections,
    clauses=_clauses,
    csv_tables=_csv_tables,
    charts={
        ChartName.TIMELINE: ChartSpec("Spend over time", spend_timeline, timeline_text, _has_timeline),
        ChartName.DISTRIBUTION: ChartSpec("Who spent it", spend_by_group, groups_text, _has_groups),
        ChartName.COMPARISON: ChartSpec("Spend per model", spend_by_model, models_text, _has_models),
        ChartName.HEATMAP: ChartSpec("Spend by hour of the week, in US dollars", spend_heatmap, week_text, _has_week),
    },
)
