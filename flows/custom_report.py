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
from tasks.reporting.request import Request, usual_formats


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
    """A report for any period, models, teams and complexities.

    Args:
        template: What the report is about.
        period: Which period. Where start and end are given, they are taken instead.
        start: Where the period begins. Empty: as the period says.
        end: Where it ends; this instant is no longer in it. Empty: as the period says.
        models: Only these models. Empty: all.
        teams: Only these teams. Empty: all.
        complexities: Only these, such as simple or complex; "unclassified" is what has none. Empty: all.
        depth: A page or two, or everything.
        formats: The files to write, and to attach to mails. Empty: html, and the settings' customReports.exportFormats.
        recipients: Names from the settings' delivery.recipients that the report is sent to. Empty: nobody.
    """
    ctx, now = load_context(), time_of_run(None)
    offered = ctx.settings.reporting.custom_reports.templates
    if template.value not in offered:
        raise UsageError(f"{template.value} reports are not offered here, only {', '.join(offered)}: see customReports")
    filters = Filters(models=_names(models), teams=_names(teams), complexities=_names(complexities))
    asked = _period(period, start, end, now, ctx.settings.timezone)
    request = Request(
        "custom",
        template,
        asked,
        depth.value,
        filters=filters,
        formats=in_order(formats) or usual_formats(ctx.settings),
    )
    return run_pipeline(ctx, request, _names(recipients), now)


# ----------------------------------------------------------------------------------------------------------------------


def _period(name: PeriodName, start: datetime | None, end: datetime | None, now: datetime, zone: str) -> Period:
    if start is None and end is None:
        return named_period(name, now, zone)
    if start is None or end is None:
        raise UsageError("start and end go together: give both, or neither and a period")
    return Period(start, end, zone)


def _names(given: list[str]) -> tuple[str, ...]:
    """Without the empty lines that a form is left with."""
    return tuple(name.strip() for name in given if name.strip())
