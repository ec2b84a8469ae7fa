"""The time that a run is about."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import flow_run


def time_of_run(as_of: datetime | None) -> datetime:
    """`as_of` where it is given, else when the run was due: a late run tells the period it was meant for."""
    due = as_of or flow_run.scheduled_start_time or datetime.now(UTC)
    return due if due.tzinfo else due.replace(tzinfo=UTC)
