"""The description of the cost report."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import CostReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.cost.sections import clauses, sections
from reports.report_templates.definition import ReportTemplate, TemplateCharts
from reports.report_templates.rows import Rows, cause_table, listed, note_table, period_tables, plain_values


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


def _charts() -> TemplateCharts[CostReport]:
    from reports.report_templates.cost.charts import GROUPS, MODELS, TIMELINE, WEEK  # noqa: PLC0415

    return TemplateCharts(
        chosen={
            ChartName.TIMELINE: TIMELINE,
            ChartName.DISTRIBUTION: GROUPS,
            ChartName.COMPARISON: MODELS,
            ChartName.HEATMAP: WEEK,
        },
    )


TEMPLATE = ReportTemplate(
    name=Template.COST,
    document=CostReport,
    sections=sections,
    clauses=clauses,
    csv_tables=_csv_tables,
    charts=_charts,
)
