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


def timetable(settings: Settings) -> list[RunnerDeployment]:
    """The deployments of every flow, scheduled where the settings enable it; the others wait for a person."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron

    from flows.backfill import backfill, task_runner
    from flows.custom_report import custom_report
    from flows.daily import daily
    from flows.hourly import hourly
    from flows.weekly import weekly

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
    on_demand: list[tuple[Flow[..., Any], int]] = [(backfill.with_options(task_runner=task_runner()), 1)]
    if settings.reporting.custom_reports.enabled:
        on_demand.append((custom_report, 2))
    waiting = [
        RunnerDeployment.from_flow(flow, name="routewatch", concurrency_limit=limit) for flow, limit in on_demand
    ]
    return [*timed, *waiting]
