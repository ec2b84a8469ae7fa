"""Every week: report on the week, the applied changes, and pending decisions."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.hooks import notify_failure, notify_recovery
from flows.report_pipeline import Outcome, run_pipeline
from flows.run_time import time_of_run
from models.context import load_context
from tasks.reporting.request import scheduled


@flow(
    name="weekly",
    flow_run_name="weekly",
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
    on_completion=[notify_recovery],
)
def weekly(as_of: datetime | None = None) -> Outcome:
    """Measure the last full week, apply safe optimizations, and deliver the report.

    Args:
        as_of: Run as of this time. Empty: the run's due time.
    """
    ctx, now = load_context(), time_of_run(as_of)
    request, recipients = scheduled("weekly", ctx.settings, now)
    return run_pipeline(ctx, request, recipients, now, optimize=True)
