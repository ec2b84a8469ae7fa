"""The description of the usage report."""

from __future__ import annotations

from collections.abc import Mapping

from models.documents import UsageReport
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.definition import ChartSpec, ReportTemplate
from reports.report_templates.rows import Parts, Rows, listed, note_table, plain_values
from reports.report_templates.usage.alt_text import groups_text, movers_text, timeline_text, week_text
from reports.report_templates.usage.charts import movers, request_heatmap, usage_by_group, volume_timeline
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


def _has_volume(document: UsageReport) -> bool:
    return any(point.count for point in document.volume)


def _has_groups(document: UsageReport) -> bool:
    return bool(document.complexity_usage or document.team_usage)


def _has_movers(document: UsageReport) -> bool:
    return bool(document.top_movers)


def _has_week(document: UsageReport) -> bool:
    """Of a single day the timeline tells as much."""
    return len({hour.weekday for hour in document.hours_of_week}) > 1


TEMPLATE = ReportTemplate(
    name=Template.USAGE,
    document=UsageReport,
    sections=sections,
    clauses=usage_clauses,
    csv_tables=_csv_tables,
    charts={
        ChartName.TIMELINE: ChartSpec("Requests over time", volume_timeline, timeline_text, _has_volume),
        ChartName.DISTRIBUTION: ChartSpec("Who asked", usage_by_group, groups_text, _has_groups),
        ChartName.COMPARISON: ChartSpec("What changed most", movers, movers_text, _has_movers),
        ChartName.HEATMAP: ChartSpec("Requests per hour, by hour of the week", request_heatmap, week_text, _has_week),
    },
    mail_state=volume_state,
)
