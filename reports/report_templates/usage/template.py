"""The description of the usage report."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import UsageReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.definition import ReportTemplate, TemplateCharts
from reports.report_templates.rows import Parts, Rows, listed, note_table, plain_values
from reports.report_templates.usage.sections import sections
from reports.report_templates.usage.sentences import usage_clauses, volume_state


def _csv_tables(document: UsageReport) -> Mapping[str, Rows]:
    data = plain_values(document)
    compared = {key: data[key] for key in ("comparedFrom", "comparedTo", "leastSelections", "daysBefore")}
    return {
        "summary": [data["usageSummary"] | compared],
        **listed(data, "modelUsage", "complexityUsage", "teamUsage", "topMovers", "newModels", "vanishedModels"),
        **listed(data, "usageTrend"),
        "volume": Parts(document.volume),
        "hoursOfWeek": data["hoursOfWeek"],
        **note_table(data),
    }


def _charts() -> TemplateCharts[UsageReport]:
    from reports.report_templates.usage.charts import GROUPS, MOVERS, TIMELINE, WEEK  # noqa: PLC0415

    return TemplateCharts(
        chosen={
            ChartName.TIMELINE: TIMELINE,
            ChartName.DISTRIBUTION: GROUPS,
            ChartName.COMPARISON: MOVERS,
            ChartName.HEATMAP: WEEK,
        },
    )


TEMPLATE = ReportTemplate(
    name=Template.USAGE,
    document=UsageReport,
    sections=sections,
    clauses=usage_clauses,
    csv_tables=_csv_tables,
    charts=_charts,
    mail_state=volume_state,
)
