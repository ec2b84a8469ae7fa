"""The true clock, which is not the time that a run acts as (`--as-of`): nothing is remembered beyond it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

TOLERANCE = timedelta(minutes=1)
"""How far clocks of several machines may differ before a stored time counts as ahead."""


def true_now() -> datetime:
    """Return what this machine's clock says, in UTC."""
    return datetime.now(UTC)


def not_ahead(instant: datetime, clock: datetime | None = None) -> datetime:
    """Return an instant, but no later than the clock: the upper bound of everything that is remembered."""
    return min(instant, clock or true_now())


def is_ahead(instant: datetime | None, clock: datetime, room: timedelta = timedelta()) -> bool:
    """Return whether a stored instant is further ahead of the clock than clocks differ, and than its `room`."""
    return instant is not None and instant > clock + room + TOLERANCE
