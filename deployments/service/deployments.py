"""Prefect deployments: which flow runs when. The slugs keep a schedule's identity over redeployments."""

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
    """Return the deployments of all flows, scheduled where the settings enable it; the others run on demand.

    `waiting` holds the optimizations that await a decision, by id: the options of the decision form.
    """
    from flows.backfill import backfill
    from flows.custom_report import custom_report
    from flows.daily import daily
    from flows.decide import decide
    from flows.hourly import hourly
    from flows.weekly import weekly
    from tasks.reporting.request import default_formats

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
        # The form's defaults, so that users need not know which formats the settings export.
        formats = [form.value for form in default_formats(settings)]
        on_demand.append((custom_report, 2, {"formats": formats, "template": custom.templates[0]}))
    by_hand = [_deployment(flow, limit, parameters=prefilled) for flow, limit, prefilled in on_demand]
    for deployment in by_hand:
        # The form's options come from the settings.
        if (choice := deployment._parameter_openapi_schema.definitions.get("Template")) is not None:
            choice["enum"] = list(custom.templates)
    return [*timed, *by_hand, _form(_deployment(decide, None), waiting)]


# ----------------------------------------------------------------------------------------------------------------------


def _deployment(flow: Flow[..., Any], limit: int | None, **options: Any) -> RunnerDeployment:
    """Return a flow's deployment by module path, so that it runs from any folder and in images.

    `limit` is the number of concurrent runs; others wait.
    """
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    return RunnerDeployment.from_flow(
        flow, name=NAME, concurrency_limit=limit, entrypoint_type=EntrypointType.MODULE_PATH, **options
    )


def _schedule(kind: Kind, zone: str) -> DeploymentScheduleCreate:
    """Return a schedule without `active`: one paused by a user stays paused, and a new one is active by default."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from tasks.orchestration.schedules import CRONS

    return DeploymentScheduleCreate(schedule=CronSchedule(cron=CRONS[kind], timezone=zone), slug=kind)


def _form(deployment: RunnerDeployment, waiting: tuple[tuple[int, str], ...]) -> RunnerDeployment:
    """Offer the waiting optimizations as options; as they change with every run, the server does not validate them."""
    from tasks.optimizer.decision_form import with_options

    schema = deployment._parameter_openapi_schema
    schema.properties = with_options(schema.model_dump(), waiting)["properties"]
    deployment.enforce_parameter_schema = False
    return deployment
