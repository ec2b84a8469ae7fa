"""The time that a run is about."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import flow_run


def time_of_run(as_of: datetime | None) -> datetime:
    """`as_of` where it is given, else when the run was due: a late run tells the period it was meant for."""
    due = as_of or flow_run.scheduled_start_time or datetime.now(UTC)
    aware = due if due.tzinfo else due.replace(tzinfo=UTC)
    # Prefect's own kind of datetime does not do arithmetic like the standard library's.
    return datetime.fromtimestamp(aware.timestamp(), UTC)
