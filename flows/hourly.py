"""Every hour: roll up new selections, evaluate alerts, and update the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from prefect import flow

from flows.hooks import notify_failure, notify_recovery
from flows.report_pipeline import Outcome, run_pipeline
from flows.run_time import skipped_where_late, time_of_run
from models.context import load_context
from tasks.alerts.prefect_tasks import bound_times
from tasks.optimizer.prefect_tasks import flip_switchbacks, update_decision_form, verify_optimizations
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
    """Pull from the sources, evaluate the last hour's minutes, update the dashboard, revert harmful changes.

    Switchbacks that are due are flipped first, in case that no monitor runs.

    Skips a run that is an hour late: of missed runs only the newest counts.

    Args:
        as_of: Run as of this time. Empty: the run's due time.
    """
    ctx, now = load_context(), time_of_run(as_of)
    if (skipped := skipped_where_late(as_of, now)) is not None:
        # Prefect accepts this as a result, but its type hints do not declare it.
        return cast("Outcome", skipped)
    bound_times(ctx)
    if as_of is None:
        # A run of another time must not change what is in force now.
        flip_switchbacks(ctx)
    if any(source.enabled for source in ctx.settings.sources.values()):
        pull_sources(ctx, now)
    request, recipients = scheduled("hourly", ctx.settings, now)
    outcome = run_pipeline(ctx, request, recipients, now, watch=True)
    if any(verdict.trial is not None for verdict in verify_optimizations(ctx, now, early=True)):
        update_decision_form(ctx)
    monitor_flow_runs(ctx, now)
    return outcome
