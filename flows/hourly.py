"""Every hour: count what came in, and bring the dashboard up to date."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.clock import time_of_run
from flows.telling import Outcome, tell
from models.workplace import load_workplace
from tasks.request import scheduled
from tasks.verify import verify_optimizations


@flow(name="hourly", flow_run_name="hourly")
def hourly(as_of: datetime | None = None) -> Outcome:
    """Measure the last whole hour, deliver it to the dashboard, and take back a change that surely harms.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    place, now = load_workplace(), time_of_run(as_of)
    request, recipients = scheduled("hourly", place.settings, now)
    outcome = tell(place, request, recipients, now)
    verify_optimizations(place, now, early=True)
    return outcome
