"""Schedules: when each flow runs, some minutes after its period ends, so that late rows have arrived.

Hourly runs use UTC, because an hourly cron in a zone loses hours when the clocks change; daily and weekly runs use
the reporting zone, after the hours in which clocks change.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Kind = Literal["hourly", "daily", "weekly"]
SCHEDULES: tuple[Kind, ...] = ("hourly", "daily", "weekly")

HOURLY_MINUTE = 5
DAILY_AT = time(6, 15)
WEEKLY_AT = time(6, 30)

CRONS: dict[Kind, str] = {
    "hourly": f"{HOURLY_MINUTE} * * * *",
    "daily": f"{DAILY_AT.minute} {DAILY_AT.hour} * * *",
    "weekly": f"{WEEKLY_AT.minute} {WEEKLY_AT.hour} * * 1",
}

HOUR = timedelta(hours=1)
SKIPPED = "Skipped"
"""Name of the final state of a run that started too late."""


def is_overdue(due: datetime, now: datetime) -> bool:
    """Return whether an hourly run is so late that the next one is due too."""
    return now >= due + HOUR


def due_times(kind: Literal["daily", "weekly"], after: datetime, until: datetime, zone: str) -> list[datetime]:
    """Return a schedule's due times in (after, until], oldest first, by the zone's clock."""
    tz = ZoneInfo(zone)
    at = DAILY_AT if kind == "daily" else WEEKLY_AT
    first, last = after.astimezone(tz).date(), until.astimezone(tz).date()
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    times = (datetime.combine(day, at, tzinfo=tz) for day in days if kind == "daily" or day.weekday() == 0)
    return [due.astimezone(UTC) for due in times if after < due <= until]
