"""Learning: whether enough is known of a KPI for its limits to be learned. Pure; it needs no table of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

LENGTH = timedelta(weeks=4)
"""How far back limits are learned from."""

LEARNING_DAYS = 14
"""History below which nothing is called unusual: each hour of the week must have come twice."""

LEAST_HOUR = 20
"""Selections in an hour below which its value tells nothing of what is usual."""

NEIGHBOURS = timedelta(hours=1)
"""How far an hour of the week may be from another that it tells of."""


@dataclass(frozen=True)
class InsufficientHistory:
    """Too little is known of the KPI yet: so many days of LEARNING_DAYS."""

    days: int

    @property
    def reason(self) -> str:
        return f"still learning what is usual: {self.days} of {LEARNING_DAYS} days are known"


def known_days(hours: Sequence[datetime], at: datetime, zone: str) -> int:
    """Whole days from the first known hour on up to `at`, or days that have one where those are fewer."""
    if not hours:
        return 0
    ctx = ZoneInfo(zone)
    return min((at - min(hours)).days, len({hour.astimezone(ctx).date() for hour in hours}))


def is_enough(hours: Sequence[datetime], at: datetime, zone: str) -> bool:
    """Whether what is usual at `at` can be told from these hours, each of LEAST_HOUR selections at least."""
    if known_days(hours, at, zone) < LEARNING_DAYS:
        return False
    ctx = ZoneInfo(zone)
    near = {_hour_of_week(at + beside, ctx) for beside in (-NEIGHBOURS, timedelta(), NEIGHBOURS)}
    return any(_hour_of_week(hour, ctx) in near for hour in hours)


# ----------------------------------------------------------------------------------------------------------------------


def _hour_of_week(instant: datetime, ctx: ZoneInfo) -> tuple[int, int]:
    local = instant.astimezone(ctx)
    return local.weekday(), local.hour
