"""On demand: a report for any period, models and teams, from the Prefect UI's form or the command line."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from prefect import flow
from tasks.deliver import deliver_reports

from flows.clock import time_of_run
from flows.outcome import Outcome
from models.document import Filters
from models.period import Period
from models.workplace import load_workplace
from tasks.compose import Request, compose_report
from tasks.fold import fold_selections
from tasks.publish import find_told, show_report, store, write_report
from tasks.survey import survey_period


class Template(StrEnum):
    PERFORMANCE = "performance"
    COST = "cost"


class Depth(StrEnum):
    SUMMARY = "summary"
    DETAILED = "detailed"


@flow(name="custom report", flow_run_name="custom {template} report")
def custom_report(
    template: Template,
    start: datetime,
    end: datetime,
    models: list[str] | None = None,
    teams: list[str] | None = None,
    depth: Depth = Depth.DETAILED,
    recipients: list[str] | None = None,
) -> Outcome:
    """A report for any period, models and teams.

    Args:
        template: What the report is about.
        start: Where the period begins.
        end: Where the period ends; this instant is no longer in it.
        models: Only these models. Empty: all.
        teams: Only these teams. Empty: all.
        depth: A page or two, or everything.
        recipients: Names from the settings' delivery.recipients that the report is sent to. Empty: nobody.
    """
    place, now = load_workplace(), time_of_run(None)
    period = Period(start, end, place.settings.timezone)
    filters = Filters(models=tuple(models or ()), teams=tuple(teams or ()))
    request = Request("custom", template.value, period, depth.value, filters=filters)
    fold_selections(place, now)
    report = find_told(place, request)
    if report is None:
        material = survey_period(place, request, now)
        document = compose_report(place, request, material, now)
        report = store(place, request, document, tuple(recipients or ()), now)
    files = write_report(place, report)
    show_report(report)
    return Outcome(report, files, deliver_reports(place))
