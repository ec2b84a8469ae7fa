"""Every hour: count what came in, tell what alerts, and bring the dashboard up to date."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from prefect import flow

from flows.hooks import tell_failure, tell_success
from flows.report_pipeline import Outcome, tell
from flows.run_time import skipped_where_late, time_of_run
from models.context import load_workplace
from tasks.optimizer.prefect_tasks import verify_optimizations
from tasks.orchestration.prefect_tasks import look_after_runs
from tasks.reporting.request import scheduled
from tasks.sources.prefect_tasks import pull_sources


@flow(
    name="hourly",
    flow_run_name="hourly",
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
    on_completion=[tell_success],
)
def hourly(as_of: datetime | None = None) -> Outcome:
    """Pull from the sources, judge the last hour's minutes, show its report on the dashboard, take back what harms.

    A run that comes an hour late is skipped: of those that were missed only the newest counts.

    Args:
        as_of: Act as though it were this time. Empty: when the run was due.
    """
    place, now = load_workplace(), time_of_run(as_of)
    if (skipped := skipped_where_late(as_of, now)) is not None:
        # What Prefect takes for a result, and its type does not tell.
        return cast("Outcome", skipped)
    if any(source.enabled for source in place.settings.sources.values()):
        pull_sources(place, now)
    request, recipients = scheduled("hourly", place.settings, now)
    outcome = tell(place, request, recipients, now, watch=True)
    verify_optimizations(place, now, early=True)
    look_after_runs(place, now)
    return outcome
