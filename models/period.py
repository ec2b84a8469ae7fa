"""Instants, periods and the reporting zone. Everything stored is UTC; zones apply at the edges."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import tzdata

from models.errors import InvalidPeriod
from routewatch import gate

EARLIEST = gate.EARLIEST
LATEST = gate.LATEST

FIRST_BUCKET = EARLIEST - timedelta(days=8)
LAST_BUCKET = LATEST + timedelta(days=8)
"""No bucket of a valid instant starts outside these: in a zone, its hour, day or week may start in another year."""

LONGEST_SPAN = LATEST - EARLIEST


def is_zone(name: str) -> bool:
    """Whether a name is an IANA time zone, such as Europe/Berlin."""
    # The list of the package tzdata is one file; to list the system's zones, every one of its files is opened.
    known = (Path(tzdata.__file__).parent / "zones").read_text(encoding="utf-8").split()
    return name in known or name in available_timezones()


class Level(StrEnum):
    """Rollup bucket lengths, finest first."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, order=True)
class Period:
    """Half-open [start, end) between two UTC instants, shown in `zone`."""

    start: datetime
    end: datetime
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidPeriod("a period needs times with an offset")
        if not self.start < self.end:
            raise InvalidPeriod(
                f"the period starts at {self.start.isoformat()} and ends at {self.end.isoformat()}: "
                "the start must come before the end"
            )
        if self.start < EARLIEST or self.end > LATEST:
            raise InvalidPeriod(
                f"the period {self.start.isoformat()} to {self.end.isoformat()} "
                f"reaches outside the years {EARLIEST.year} to {LATEST.year - 1}"
            )

        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def hours(self) -> float:
        return self.length / timedelta(hours=1)

    def before(self) -> Period:
        """The same number of local days (or, for parts of days, the same span) that ends where this one starts."""
        start, end = self.start.astimezone(self._tz), self.end.astimezone(self._tz)
        if start.time() == end.time() == time(0):
            return Period(_local(start.date() - (end.date() - start.date()), self._tz), self.start, self.zone)
        return Period(self.start - self.length, self.start, self.zone)

    def week_before(self) -> Period:
        """The same local times seven calendar days earlier."""
        return Period(_shift_days(self.start, -7, self._tz), _shift_days(self.end, -7, self._tz), self.zone)

    def same_weekdays_before(self) -> Period:
        """The same local times as few whole weeks earlier as keep the two apart."""
        start, end = (self.local(edge).replace(tzinfo=None) for edge in (self.start, self.end))
        days = 7 * max(1, math.ceil((end - start) / timedelta(days=7)))
        return Period(_shift_days(self.start, -days, self._tz), _shift_days(self.end, -days, self._tz), self.zone)

    def local(self, instant: datetime) -> datetime:
        """An instant on the zone's clock."""
        return instant.astimezone(self._tz)

    @property
    def _tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


def last_complete(level: Level, now: datetime, zone: str) -> Period:
    """The newest whole hour, day or week (from Monday) of the zone that had ended at `now`."""
    tz = ZoneInfo(zone)
    end = floor_to(level, now, zone)
    if level is Level.HOUR:
        return Period(floor_to(level, end - timedelta(microseconds=1), zone), end, zone)
    days = {Level.DAY: 1, Level.WEEK: 7}[level]
    return Period(_shift_days(end, -days, tz), end, zone)


class PeriodName(StrEnum):
    """Named periods. Today, this week and this month end with the last whole hour."""

    LAST_24_HOURS = "last 24 hours"
    LAST_7_DAYS = "last 7 days"
    LAST_30_DAYS = "last 30 days"
    TODAY = "today"
    YESTERDAY = "yesterday"
    THIS_WEEK = "this week"
    LAST_WEEK = "last week"
    THIS_MONTH = "this month"
    LAST_MONTH = "last month"


def named_period(name: PeriodName, now: datetime, zone: str) -> Period:
    """The named period at `now`; days, weeks (from Monday) and months are the zone's.

    Raises InvalidPeriod for a period that began within this hour.
    """
    hour, tz = floor_to(Level.HOUR, now, zone), ZoneInfo(zone)
    day, week = floor_to(Level.DAY, now, zone), floor_to(Level.WEEK, now, zone)
    month = _local(now.astimezone(tz).date().replace(day=1), tz)
    month_before = _local((month.astimezone(tz) - timedelta(days=1)).date().replace(day=1), tz)
    start, end = {
        PeriodName.LAST_24_HOURS: (hour - timedelta(hours=24), hour),
        PeriodName.LAST_7_DAYS: (hour - timedelta(days=7), hour),
        PeriodName.LAST_30_DAYS: (hour - timedelta(days=30), hour),
        PeriodName.TODAY: (day, hour),
        PeriodName.YESTERDAY: (_shift_days(day, -1, tz), day),
        PeriodName.THIS_WEEK: (week, hour),
        PeriodName.LAST_WEEK: (_shift_days(week, -7, tz), week),
        PeriodName.THIS_MONTH: (month, hour),
        PeriodName.LAST_MONTH: (month_before, month),
    }[name]
    if start >= end:
        raise InvalidPeriod(f"{name} has only just begun: there is no whole hour of it yet")
    return Period(start, end, zone)


def floor_to(level: Level, instant: datetime, zone: str) -> datetime:
    """The UTC start of the bucket that holds the instant.

    Hours are whole hours of the zone's clock, so that days are made of hours in half-hour zones too.
    """
    tz = ZoneInfo(zone)
    local = instant.astimezone(tz)
    if level is Level.MINUTE:
        return instant.astimezone(UTC).replace(second=0, microsecond=0)
    if level is Level.HOUR:
        past_the_hour = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        start = instant.astimezone(UTC) - past_the_hour
        # Where clocks change by part of an hour, at a full hour, the hour after the change is that part short.
        changed = (local.utcoffset() or timedelta()) - (start.astimezone(tz).utcoffset() or timedelta())
        return start + changed % timedelta(hours=1)
    back = local.weekday() if level is Level.WEEK else 0
    return _local(local.date() - timedelta(days=back), tz)


def next_start(level: Level, instant: datetime, zone: str) -> datetime:
    """The instant itself where it starts a bucket, else the start of the next one."""
    start = floor_to(level, instant, zone)
    if start == instant:
        return start
    if level in (Level.MINUTE, Level.HOUR):
        return floor_to(level, start + timedelta(**{f"{level.value}s": 1}), zone)
    return _shift_days(start, 7 if level is Level.WEEK else 1, ZoneInfo(zone))


def parse_instant(text: str, zone: str) -> datetime:
    """An ISO 8601 time as a UTC instant; a time without an offset is in `zone`.

    Raises InvalidPeriod if it is not a time, or lies outside 2000 to 2099.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidPeriod(f"{text!r} is not an ISO 8601 time such as 2026-09-06T16:00Z or 2026-09-06") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=ZoneInfo(zone))
    # Compared by year first: converting the year 1 to UTC can overflow.
    if not EARLIEST.year <= instant.year < LATEST.year:
        raise InvalidPeriod(f"{text!r} lies outside the years {EARLIEST.year} to {LATEST.year - 1}")
    return instant.astimezone(UTC)


def parse_span(text: str) -> timedelta:
    """A length such as 15m, 24h, 7d or 2w. Raises InvalidPeriod for anything else."""
    match = re.fullmatch(r"\s*([0-9]{1,100})\s*([mhdw])\s*", text)
    if match is None or int(match[1]) == 0:
        raise InvalidPeriod(f"{text[:100]!r} is not a length such as 24h, 7d or 2w")
    unit = timedelta(**{{"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]: 1})
    if int(match[1]) > LONGEST_SPAN // unit:
        raise InvalidPeriod(
            f"{text[:100]!r} is longer than 100 years; expected a length such as 24h, 7d or 2w, within the years "
            "2000 to 2099"
        )
    return int(match[1]) * unit


def _local(day: date, tz: ZoneInfo) -> datetime:
    """Local midnight of a date as UTC (the first instant of the day if the zone skips midnight)."""
    return datetime.combine(day, time(0), tzinfo=tz).astimezone(UTC)


def _shift_days(instant: datetime, days: int, tz: ZoneInfo) -> datetime:
    local = instant.astimezone(tz)
    return (local.replace(tzinfo=None) + timedelta(days=days)).replace(tzinfo=tz).astimezone(UTC)
