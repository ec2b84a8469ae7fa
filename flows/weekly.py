"""Every week: tell how the week went, what was changed, and what waits for a decision."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.hooks import tell_failure, tell_success
from flows.report_pipeline import Outcome, tell
from flows.run_time import time_of_run
from models.context import load_workplace
from tasks.reporting.request import scheduled


@flow(
    name="weekly",
    flow_run_name="weekly",
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
    on_completion=[tell_success],
)
def weekly(as_of: datetime | None = None) -> Outcome:
    """Measure the last whole week, apply the safe optimizations, and deliver the report.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    place, now = load_workplace(), time_of_run(as_of)
    request, recipients = scheduled("weekly", place.settings, now)
    return tell(place, request, recipients, now, optimize=True)
