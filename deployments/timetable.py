"""The timetable: which flow runs when.

Hourly runs by UTC, because an hourly cron in a zone loses hours when the clocks change; daily and weekly run in the
reporting zone, past the hours in which clocks change. All of them some minutes after their period has ended, so that
late rows are in. The slugs keep a schedule's identity over redeployments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.settings import Settings

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

HOURLY_CRON = "5 * * * *"
DAILY_CRON = "15 6 * * *"
WEEKLY_CRON = "30 6 * * 1"


def timetable(settings: Settings, waiting: tuple[tuple[int, str], ...] = ()) -> list[RunnerDeployment]:
    """The deployments of every flow, scheduled where the settings enable it; the others wait for a person.

    `waiting` are the optimizations that a person can decide on, by id: the choices of a form.
    """
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron

    from flows.backfill import backfill, task_runner
    from flows.custom_report import custom_report
    from flows.daily import daily
    from flows.decide import decide
    from flows.hourly import hourly
    from flows.weekly import weekly
    from tasks.request import usual_formats

    schedules = settings.reporting.schedules
    plan = (
        (hourly, schedules.hourly.enabled, Cron(HOURLY_CRON, timezone="UTC", slug="hourly")),
        (daily, schedules.daily.enabled, Cron(DAILY_CRON, timezone=settings.timezone, slug="daily")),
        (weekly, schedules.weekly.enabled, Cron(WEEKLY_CRON, timezone=settings.timezone, slug="weekly")),
    )
    timed = [
        RunnerDeployment.from_flow(flow, name="routewatch", schedules=[cron] if enabled else [], concurrency_limit=1)
        for flow, enabled, cron in plan
    ]
    backfilling = backfill.with_options(task_runner=task_runner())
    on_demand: list[tuple[Flow[..., Any], int, dict[str, Any]]] = [(backfilling, 1, {})]
    custom = settings.reporting.custom_reports
    if custom.enabled and custom.templates:
        # What the form is filled with, so that nobody has to know what the settings export.
        formats = [form.value for form in usual_formats(settings)]
        on_demand.append((custom_report, 2, {"formats": formats, "template": custom.templates[0]}))
    by_hand = [
        RunnerDeployment.from_flow(flow, name="routewatch", concurrency_limit=limit, parameters=filled)
        for flow, limit, filled in on_demand
    ]
    for deployment in by_hand:
        # The form offers what the settings do.
        if (choice := deployment._parameter_openapi_schema.definitions.get("Template")) is not None:
            choice["enum"] = list(custom.templates)
    return [*timed, *by_hand, _form(RunnerDeployment.from_flow(decide, name="routewatch"), waiting)]


def _form(deployment: RunnerDeployment, waiting: tuple[tuple[int, str], ...]) -> RunnerDeployment:
    """With the optimizations that wait as choices; the choices change with every run, so the server does not check."""
    from tasks.offer import with_choices

    schema = deployment._parameter_openapi_schema
    schema.properties = with_choices(schema.model_dump(), waiting)["properties"]
    deployment.enforce_parameter_schema = False
    return deployment
