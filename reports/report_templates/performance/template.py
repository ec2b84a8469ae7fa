"""The description of the performance report."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import PerformanceReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.definition import ChartSpec, ReportTemplate
from reports.report_templates.performance.alt_text import comparison_text
from reports.report_templates.performance.charts import comparison
from reports.report_templates.performance.sections import sections
from reports.report_templates.response_charts import RESPONSE_CHARTS
from reports.report_templates.rows import Rows, cause_table, listed, note_table, period_tables, plain_values
from reports.text.formatting import Formats
from reports.text.headline import done_and_waiting_clause, spend_clause, worst_kpi_clause


def _clauses(document: PerformanceReport, show: Formats) -> list[str]:
    """What was spent, the worst KPI, and what was done and waits."""
    return [
        spend_clause(document, show),
        worst_kpi_clause(document, show),
        done_and_waiting_clause(document, show),
    ]


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


def _has_models(document: PerformanceReport) -> bool:
    return any(model.p95_response_time is not None for model in document.model_breakdown)


TEMPLATE = ReportTemplate(
    name=Template.PERFORMANCE,
    document=PerformanceReport,
    sections=sections,
    clauses=_clauses,
    csv_tables=_csv_tables,
    charts={
        **RESPONSE_CHARTS,
        ChartName.COMPARISON: ChartSpec(
            "Models: median to p95 response time", comparison, comparison_text, _has_models
        ),
    },
)
