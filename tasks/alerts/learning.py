"""Learning: whether a KPI has enough history to learn its limits. Pure; imports no data frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

LENGTH = timedelta(weeks=4)
"""Length of the history that limits are learned from."""

LEARNING_DAYS = 14
"""Minimum history for a baseline: each hour of the week must have occurred twice."""

LEAST_HOUR = 20
"""Minimum selections of an hour for it to count towards the baseline."""

NEIGHBOURS = timedelta(hours=1)
"""Maximum distance of an hour of the week whose baseline it counts towards."""


@dataclass(frozen=True)
class InsufficientHistory:
    """The KPI's history is too short: `days` of LEARNING_DAYS."""

    days: int

    @property
    def reason(self) -> str:
        return f"still learning what is usual: {self.days} of {LEARNING_DAYS} days are known"


def known_days(hours: Sequence[datetime], at: datetime, zone: str) -> int:
    """Return the whole days from the first known hour to `at`, or the days with a known hour if fewer."""
    if not hours:
        return 0
    ctx = ZoneInfo(zone)
    return min((at - min(hours)).days, len({hour.astimezone(ctx).date() for hour in hours}))


def is_enough(hours: Sequence[datetime], at: datetime, zone: str) -> bool:
    """Return whether these hours, each of at least LEAST_HOUR selections, suffice for a baseline at `at`."""
    if known_days(hours, at, zone) < LEARNING_DAYS:
        return False
    ctx = ZoneInfo(zone)
    near = {_hour_of_week(at + beside, ctx) for beside in (-NEIGHBOURS, timedelta(), NEIGHBOURS)}
    return any(_hour_of_week(hour, ctx) in near for hour in hours)


# ----------------------------------------------------------------------------------------------------------------------


def _hour_of_week(instant: datetime, ctx: ZoneInfo) -> tuple[int, int]:
    local = instant.astimezone(ctx)
    return local.weekday(), local.hour
