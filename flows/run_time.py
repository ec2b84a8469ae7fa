"""The time that a run covers."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import State
from prefect.runtime import flow_run
from prefect.states import Completed

from tasks.orchestration.schedules import SKIPPED, is_overdue


def time_of_run(as_of: datetime | None) -> datetime:
    """Return `as_of` if given, else the run's due time: a late run reports on its intended period."""
    due = as_of or flow_run.scheduled_start_time or datetime.now(UTC)
    aware = due if due.tzinfo else due.replace(tzinfo=UTC)
    # Prefect's datetime type does not calculate like the standard library's.
    return datetime.fromtimestamp(aware.timestamp(), UTC)


def skipped_where_late(as_of: datetime | None, due: datetime) -> State[None] | None:
    """Return the state of an hourly run so late that the next one is due too, which covers the same work."""
    if as_of is not None or not is_overdue(due, datetime.now(UTC)):
        return None
    return Completed(
        name=SKIPPED, message=f"Due at {due:%Y-%m-%d %H:%M} UTC: its hour is over, a newer run does its work."
    )
