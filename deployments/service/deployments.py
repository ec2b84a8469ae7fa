"""The timetable: which flow runs when. The slugs keep a schedule's identity over redeployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.settings import Settings

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.deployments.runner import RunnerDeployment

    from tasks.orchestration.schedules import Kind

NAME = "routewatch"
"""Of every deployment."""


def scheduled_deployments(settings: Settings, waiting: tuple[tuple[int, str], ...] = ()) -> list[RunnerDeployment]:
    """The deployments of every flow, scheduled where the settings enable it; the others wait for a person.

    `waiting` are the optimizations that a person can decide on, by id: the choices of a form.
    """
    from flows.backfill import backfill
    from flows.custom_report import custom_report
    from flows.daily import daily
    from flows.decide import decide
    from flows.hourly import hourly
    from flows.weekly import weekly
    from tasks.reporting.request import usual_formats

    schedules = settings.reporting.schedules
    plan = (
        (hourly, schedules.hourly.enabled, _schedule("hourly", "UTC")),
        (daily, schedules.daily.enabled, _schedule("daily", settings.timezone)),
        (weekly, schedules.weekly.enabled, _schedule("weekly", settings.timezone)),
    )
    timed = [_deployment(flow, 1, schedules=[schedule] if enabled else []) for flow, enabled, schedule in plan]
    on_demand: list[tuple[Flow[..., Any], int, dict[str, Any]]] = [(backfill, 1, {})]
    custom = settings.reporting.custom_reports
    if custom.enabled and custom.templates:
        # What the form is filled with, so that nobody has to know what the settings export.
        formats = [form.value for form in usual_formats(settings)]
        on_demand.append((custom_report, 2, {"formats": formats, "template": custom.templates[0]}))
    by_hand = [_deployment(flow, limit, parameters=filled) for flow, limit, filled in on_demand]
    for deployment in by_hand:
        # The form offers what the settings do.
        if (choice := deployment._parameter_openapi_schema.definitions.get("Template")) is not None:
            choice["enum"] = list(custom.templates)
    return [*timed, *by_hand, _form(_deployment(decide, None), waiting)]


# ----------------------------------------------------------------------------------------------------------------------


def _deployment(flow: Flow[..., Any], limit: int | None, **options: Any) -> RunnerDeployment:
    """Found by its module, so that it runs from any folder, and in an image; `limit` runs at once, others wait."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    return RunnerDeployment.from_flow(
        flow, name=NAME, concurrency_limit=limit, entrypoint_type=EntrypointType.MODULE_PATH, **options
    )


def _schedule(kind: Kind, zone: str) -> DeploymentScheduleCreate:
    """It does not say whether it is active: what a person has paused stays so, and a new one is active anyway."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from tasks.orchestration.schedules import CRONS

    return DeploymentScheduleCreate(schedule=CronSchedule(cron=CRONS[kind], timezone=zone), slug=kind)


def _form(deployment: RunnerDeployment, waiting: tuple[tuple[int, str], ...]) -> RunnerDeployment:
    """With the optimizations that wait as choices; the choices change with every run, so the server does not check."""
    from tasks.optimizer.decision_form import with_options

    schema = deployment._parameter_openapi_schema
    schema.properties = with_options(schema.model_dump(), waiting)["properties"]
    deployment.enforce_parameter_schema = False
    return deployment
