"""Every day: report on the day, and apply safe optimizations."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.hooks import notify_failure, notify_recovery
from flows.report_pipeline import Outcome, run_pipeline
from flows.run_time import time_of_run
from models.context import load_context
from tasks.orchestration.prefect_tasks import monitor_flow_runs
from tasks.reporting.request import scheduled
from tasks.retention.prefect_tasks import retain_what_is_kept
from tasks.rollups.prefect_tasks import reconcile_rollups


@flow(
    name="daily",
    flow_run_name="daily",
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
    on_completion=[notify_recovery],
)
def daily(as_of: datetime | None = None) -> Outcome:
    """Measure the last full day, apply safe optimizations, deliver the report, and delete expired data.

    Args:
        as_of: Run as of this time. Empty: the run's due time.
    """
    ctx, now = load_context(), time_of_run(as_of)
    request, recipients = scheduled("daily", ctx.settings, now)
    reconcile_rollups(ctx)
    outcome = run_pipeline(ctx, request, recipients, now, optimize=True)
    retain_what_is_kept(ctx, now)
    monitor_flow_runs(ctx, now)
    return outcome
