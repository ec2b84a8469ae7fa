"""On demand: a report for any period, models and teams, from the Prefect UI's form or the command line."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from prefect import flow

from flows.report_pipeline import Outcome, run_pipeline
from flows.run_time import time_of_run
from models.context import load_context
from models.documents import Filters
from models.errors import UsageError
from models.file_format import FileFormat, in_order
from models.period import Period, PeriodName, named_period
from models.report_template import Template
from tasks.reporting.request import Request, default_formats


class Depth(StrEnum):
    SUMMARY = "summary"
    DETAILED = "detailed"


@flow(name="custom report", flow_run_name="custom {template} report")
def custom_report(
    template: Template = Template.PERFORMANCE,
    period: PeriodName = PeriodName.LAST_7_DAYS,
    start: datetime | None = None,
    end: datetime | None = None,
    models: list[str] = [],  # noqa: B006 - a form shows a list only for a list; it is not changed
    teams: list[str] = [],  # noqa: B006 - a form shows a list only for a list; it is not changed
    complexities: list[str] = [],  # noqa: B006 - a form shows a list only for a list; it is not changed
    depth: Depth = Depth.DETAILED,
    formats: list[FileFormat] = [],  # noqa: B006 - a form shows a list only for a list; it is not changed
    recipients: list[str] = [],  # noqa: B006 - a form shows a list only for a list; it is not changed
) -> Outcome:
    """Create a report for any period, models, teams and complexities.

    Args:
        template: Subject of the report.
        period: Named period. Ignored if start and end are given.
        start: Start of the period. Empty: that of the named period.
        end: End of the period (exclusive). Empty: that of the named period.
        models: Only these models. Empty: all.
        teams: Only these teams. Empty: all.
        complexities: Only these, such as simple or complex; "unclassified": without complexity. Empty: all.
        depth: A summary of one or two pages, or the full report.
        formats: Files to write and to attach to mails. Empty: html, and the settings' customReports.exportFormats.
        recipients: Names in the settings' delivery.recipients to send the report to. Empty: not sent.
    """
    ctx, now = load_context(), time_of_run(None)
    offered = ctx.settings.reporting.custom_reports.templates
    if template.value not in offered:
        raise UsageError(f"{template.value} reports are not offered here, only {', '.join(offered)}: see customReports")
    filters = Filters(models=_names(models), teams=_names(teams), complexities=_names(complexities))
    requested = _period(period, start, end, now, ctx.settings.timezone)
    request = Request(
        "custom",
        template,
        requested,
        depth.value,
        filters=filters,
        formats=in_order(formats) or default_formats(ctx.settings),
    )
    return run_pipeline(ctx, request, _names(recipients), now)


# ----------------------------------------------------------------------------------------------------------------------


def _period(name: PeriodName, start: datetime | None, end: datetime | None, now: datetime, zone: str) -> Period:
    if start is None and end is None:
        return named_period(name, now, zone)
    if start is None or end is None:
        raise UsageError("start and end go together: give both, or only a period")
    return Period(start, end, zone)


def _names(given: list[str]) -> tuple[str, ...]:
    """Drop the empty lines of a form."""
    return tuple(name.strip() for name in given if name.strip())
