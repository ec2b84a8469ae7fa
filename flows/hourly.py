"""Every hour: count what came in, tell what alerts, and bring the dashboard up to date."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from prefect import flow

from flows.hooks import notify_failure, notify_recovery
from flows.report_pipeline import Outcome, run_pipeline
from flows.run_time import skipped_where_late, time_of_run
from models.context import load_context
from tasks.optimizer.prefect_tasks import verify_optimizations
from tasks.orchestration.prefect_tasks import monitor_flow_runs
from tasks.reporting.request import scheduled
from tasks.sources.prefect_tasks import pull_sources


@flow(
    name="hourly",
    flow_run_name="hourly",
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
    on_completion=[notify_recovery],
)
def hourly(as_of: datetime | None = None) -> Outcome:
    """Pull from the sources, judge the last hour's minutes, show its report on the dashboard, take back what harms.

    A run that comes an hour late is skipped: of those that were missed only the newest counts.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    ctx, now = load_context(), time_of_run(as_of)
    if (skipped := skipped_where_late(as_of, now)) is not None:
        # What Prefect takes for a result, and its type does not tell.
        return cast("Outcome", skipped)
    if any(source.enabled for source in ctx.settings.sources.values()):
        pull_sources(ctx, now)
    request, recipients = scheduled("hourly", ctx.settings, now)
    outcome = run_pipeline(ctx, request, recipients, now, watch=True)
    verify_optimizations(ctx, now, early=True)
    monitor_flow_runs(ctx, now)
    return outcome
