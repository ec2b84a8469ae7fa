"""Due: when each schedule runs, some minutes after its period has ended, so that late rows are in.

Hourly runs by UTC, because an hourly cron in a zone loses hours when the clocks change; daily and weekly run in the
reporting zone, past the hours in which clocks change.
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
"""The name of the state that a run which came too late ends in."""


def is_overdue(due: datetime, now: datetime) -> bool:
    """Whether an hourly run that was due comes so late that the next one is due too."""
    return now >= due + HOUR


def due_times(kind: Literal["daily", "weekly"], after: datetime, until: datetime, zone: str) -> list[datetime]:
    """When a schedule was due in (after, until], oldest first, as the zone's clock has it."""
    tz = ZoneInfo(zone)
    at = DAILY_AT if kind == "daily" else WEEKLY_AT
    first, last = after.astimezone(tz).date(), until.astimezone(tz).date()
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    times = (datetime.combine(day, at, tzinfo=tz) for day in days if kind == "daily" or day.weekday() == 0)
    return [due.astimezone(UTC) for due in times if after < due <= until]
