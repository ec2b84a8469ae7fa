"""The description of the performance report."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import PerformanceReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.definition import ReportTemplate, TemplateCharts
from reports.report_templates.performance.sections import clauses, sections
from reports.report_templates.rows import Rows, cause_table, listed, note_table, period_tables, plain_values
from reports.text.verdicts import TRIALS_CHART


def _csv_tables(document: PerformanceReport) -> Mapping[str, Rows]:
    data = plain_values(document)
    return {
        "summary": [data["summary"]],
        **cause_table(data),
        **listed(data, "modelBreakdown", "performanceTrends", "recommendations", "appliedOptimizations", "alerts"),
        **listed(data, "firedAlerts", "optimizationOpportunities"),
        "savings": (data["savings"] or {}).get("classes", []),
        "budget": [data["budget"]] * bool(data["budget"]),
        **period_tables(document, data),
        **note_table(data),
    }


def _charts() -> TemplateCharts[PerformanceReport]:
    from reports.charts.distributions import RESPONSE_DISTRIBUTION  # noqa: PLC0415
    from reports.charts.heatmap import RESPONSE_WEEK  # noqa: PLC0415
    from reports.charts.timelines import RESPONSE_TIMELINE  # noqa: PLC0415
    from reports.charts.trials import TRIALS  # noqa: PLC0415
    from reports.report_templates.performance.charts import COMPARISON  # noqa: PLC0415

    return TemplateCharts(
        chosen={
            ChartName.TIMELINE: RESPONSE_TIMELINE,
            ChartName.DISTRIBUTION: RESPONSE_DISTRIBUTION,
            ChartName.COMPARISON: COMPARISON,
            ChartName.HEATMAP: RESPONSE_WEEK,
        },
        own={TRIALS_CHART: TRIALS},
    )


TEMPLATE = ReportTemplate(
    name=Template.PERFORMANCE,
    document=PerformanceReport,
    sections=sections,
    clauses=clauses,
    csv_tables=_csv_tables,
    charts=_charts,
)
