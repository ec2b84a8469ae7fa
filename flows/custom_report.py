"""On demand: a report for any period, models and teams, from the Prefect UI's form or the command line."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from prefect import flow

from flows.clock import time_of_run
from flows.telling import Outcome, tell
from models.document import Filters
from models.period import Period
from models.workplace import load_workplace
from tasks.compose import Request


class Template(StrEnum):
    PERFORMANCE = "performance"
    COST = "cost"
    OPTIMIZATION = "optimization"


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
    return tell(place, request, tuple(recipients or ()), now)
