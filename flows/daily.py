"""Every day: tell what the day was like, and carry out what may safely be done about it."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.hooks import tell_failure, tell_success
from flows.report_pipeline import Outcome, tell
from flows.run_time import time_of_run
from models.context import load_workplace
from tasks.orchestration.prefect_tasks import look_after_runs
from tasks.reporting.request import scheduled
from tasks.retention.prefect_tasks import retain_what_is_kept
from tasks.rollups.prefect_tasks import reconcile_rollups


@flow(
    name="daily",
    flow_run_name="daily",
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
    on_completion=[tell_success],
)
def daily(as_of: datetime | None = None) -> Outcome:
    """Measure the last whole day, apply the safe optimizations, deliver the report, and remove what is too old.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    place, now = load_workplace(), time_of_run(as_of)
    request, recipients = scheduled("daily", place.settings, now)
    reconcile_rollups(place)
    outcome = tell(place, request, recipients, now, optimize=True)
    retain_what_is_kept(place, now)
    look_after_runs(place, now)
    return outcome
