"""Find the comparable parts of two periods.

Only what is over and final is compared, with the same part of the earlier period. Only comparable hours are compared:
a Monday has more requests than its Sunday, which is rhythm, not a change. Hours are comparable if they are the same
hour of the day, with working days and weekends separate, as for a config change (docs/loop.md).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from models.period import Level, Period, floor_to, next_start
from tasks.rollups.query import RollupSlice

LATE_ARRIVAL_GRACE = timedelta(minutes=2)
"""How late the last rows of a minute may arrive: a router writes within seconds, in batches later."""

HOUR_MATCHED_SHARE = 0.95
"""Share of the hours that must match one of their own kind for an hour-matched comparison."""
SAME_MIX_SHARE = 0.9
"""Share of the hours that must be of the same kinds for a comparison as a whole: thirty days and the thirty before them
may differ by two weekdays."""

SATURDAY = 5
HOUR = timedelta(hours=1)


class Comparability(StrEnum):
    """The comparability of two periods: hour-matched, same mix of hours, adjacent, or none of these."""

    HOUR_MATCHED = "paired"
    SAME_MIX = "mixed"
    ADJACENT = "next"
    NONE = "none"


@dataclass(frozen=True)
class ComparedPeriods:
    """The compared parts of both periods; `until` is where the later one is cut, because the rest is not final."""

    now: Period
    then: Period
    comparability: Comparability
    until: datetime | None


OVERLAPS = "it overlaps this period"
NOTHING_OVER = "too little of this period is over"
TOO_COARSE = "of that time only hours are kept, which do not face those of this period"


def comparable_periods(
    current: RollupSlice, before: RollupSlice, final_at: datetime | None = None
) -> ComparedPeriods | str:
    """The comparable parts of two periods, or why there are none. Data before `final_at` is final.

    If an edge of either was rounded outward, both are cut to the whole hours within.
    """
    requested, earlier, zone = current.requested_period, before.requested_period, current.period.zone
    if earlier.end > requested.start:
        return OVERLAPS
    by_minute = not current.minutes.is_empty() and not before.minutes.is_empty()
    end, until = requested.end, None
    if final_at is not None and final_at < requested.end:
        end = until = floor_to(Level.MINUTE if by_minute else Level.HOUR, final_at, zone)
    if end <= requested.start:
        return NOTHING_OVER
    earlier_end = (
        earlier.end if until is None else _at_clock(earlier.start, clock_length(requested.start, end, zone), zone)
    )
    now, then = Period(requested.start, end, zone), Period(earlier.start, earlier_end, zone)
    if (current.period, before.period) != (requested, earlier):
        cut_now, cut_then = _whole_hours(now), _whole_hours(then)
        if cut_now is None or cut_then is None or _shift(cut_now, cut_then) != _shift(requested, earlier):
            return TOO_COARSE
        now, then = cut_now, cut_then
    return ComparedPeriods(now, then, _comparability(now, then, by_minute=by_minute), until)


def final_until(current: RollupSlice, now: datetime) -> datetime:
    """The instant before which data is final, given the time of the last rollup update."""
    return min(now, current.rollups_updated_at or now) - LATE_ARRIVAL_GRACE


def known_end(current: RollupSlice, now: datetime) -> datetime:
    """The end of a period, or the minute up to which it is over and final."""
    return min(current.period.end, floor_to(Level.MINUTE, final_until(current, now), current.period.zone))


def clock_length(start: datetime, end: datetime, zone: str) -> timedelta:
    """The distance between two instants on the zone's clock: 24 hours on days of 23 and 25 as well."""
    return _clock(end, zone) - _clock(start, zone)


def kind_of(local: datetime) -> tuple[bool, int]:
    """The kind of an hour on the zone's clock: whether it lies on a weekend, and its hour of the day."""
    return local.weekday() >= SATURDAY, local.hour


# ----------------------------------------------------------------------------------------------------------------------


def _comparability(now: Period, then: Period, *, by_minute: bool) -> Comparability:
    hours = max(1, math.ceil(clock_length(now.start, now.end, now.zone) / HOUR))
    starts = (_clock(now.start, now.zone), _clock(then.start, then.zone))
    kinds, earlier = ([kind_of(start + step * HOUR) for step in range(hours)] for start in starts)
    if sum(one == other for one, other in zip(kinds, earlier, strict=True)) >= HOUR_MATCHED_SHARE * hours:
        return Comparability.HOUR_MATCHED
    if (Counter(kinds) & Counter(earlier)).total() >= SAME_MIX_SHARE * hours:
        return Comparability.SAME_MIX
    return Comparability.ADJACENT if by_minute and then.end == now.start else Comparability.NONE


def _whole_hours(period: Period) -> Period | None:
    start, end = next_start(Level.HOUR, period.start, period.zone), floor_to(Level.HOUR, period.end, period.zone)
    return Period(start, end, period.zone) if start < end else None


def _shift(now: Period, then: Period) -> tuple[timedelta, timedelta]:
    return clock_length(then.start, now.start, now.zone), clock_length(then.end, now.end, now.zone)


def _clock(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _at_clock(start: datetime, length: timedelta, zone: str) -> datetime:
    return (_clock(start, zone) + length).replace(tzinfo=ZoneInfo(zone)).astimezone(start.tzinfo)
