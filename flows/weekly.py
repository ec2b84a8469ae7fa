"""Every week: tell how the week went, what was changed, and what waits for a decision."""

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
    """Measure the last whole week, apply the safe optimizations, and deliver the report.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    ctx, now = load_context(), time_of_run(as_of)
    request, recipients = scheduled("weekly", ctx.settings, now)
    return run_pipeline(ctx, request, recipients, now, optimize=True)
