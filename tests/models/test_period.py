"""Periods, buckets and times across zones and clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidPeriod
from models.period import (
    Level,
    Period,
    PeriodName,
    floor_to,
    last_complete,
    named_period,
    next_start,
    parse_instant,
    parse_span,
)

ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe",
         "America/Santiago", "Pacific/Apia"]  # fmt: skip
INSTANTS = st.datetimes(datetime(2010, 1, 1), datetime(2035, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


@given(INSTANTS, st.sampled_from(ZONES), st.sampled_from(Level))
def test_every_instant_lies_in_its_bucket(instant: datetime, zone: str, level: Level) -> None:
    """A bucket starts at or before its instants and the next one after them; starts are their own floor."""
    start = floor_to(level, instant, zone)
    assert start <= instant < next_start(level, start + timedelta(microseconds=1), zone)
    assert floor_to(level, start, zone) == start


@given(INSTANTS, st.sampled_from(ZONES))
def test_days_are_local_dates(instant: datetime, zone: str) -> None:
    """All instants of a day bucket have one local date, weeks begin on Mondays."""
    local = instant.astimezone(ZoneInfo(zone))
    assert floor_to(Level.DAY, instant, zone).astimezone(ZoneInfo(zone)).date() == local.date()
    monday = floor_to(Level.WEEK, instant, zone).astimezone(ZoneInfo(zone)).date()
    assert monday.weekday() == 0
    assert 0 <= (local.date() - monday).days < 7


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-07-01", 24)], ids=["spring", "autumn", "summer"]
)
def test_days_have_the_hours_that_the_clock_gives_them(day: str, hours: int) -> None:
    """A day in New York has 23 or 25 hours when the clocks change."""
    now = parse_instant(day, "America/New_York") + timedelta(hours=30)
    assert last_complete(Level.DAY, now, "America/New_York").hours == hours


def test_the_last_complete_period_ends_at_or_before_now() -> None:
    """At the very end of an hour, day or week it counts as complete."""
    monday = datetime(2026, 9, 21, tzinfo=UTC)
    assert last_complete(Level.HOUR, monday, "UTC") == Period(monday - timedelta(hours=1), monday)
    assert last_complete(Level.DAY, monday, "UTC") == Period(monday - timedelta(days=1), monday)
    assert last_complete(Level.WEEK, monday, "UTC") == Period(monday - timedelta(days=7), monday)
    just_before = monday - timedelta(microseconds=1)
    assert last_complete(Level.DAY, just_before, "UTC").end == monday - timedelta(days=1)


def test_the_period_before_a_local_day_is_the_local_day_before() -> None:
    """The day before the 23-hour day has 24 hours."""
    spring = last_complete(Level.DAY, parse_instant("2026-03-09", "America/New_York"), "America/New_York")
    assert spring.before().hours == 24
    assert spring.week_before().hours == 24
    assert spring.before().end == spring.start


def test_times_without_offset_are_in_the_reporting_zone() -> None:
    """The command line reads times in the reports' zone."""
    assert parse_instant("2026-09-07T08:00", "Asia/Shanghai") == datetime(2026, 9, 7, tzinfo=UTC)
    assert parse_instant("2026-09-07T08:00Z", "Asia/Shanghai") == datetime(2026, 9, 7, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "0001-01-01", "2100-01-01", "2026-13-01", ""])
def test_an_invalid_time_is_refused(text: str) -> None:
    """Nonsense and implausible years are reported as errors."""
    with pytest.raises(InvalidPeriod, match=r"is not an ISO 8601 time|outside the years"):
        parse_instant(text, "UTC")


@pytest.mark.parametrize("text", ["0d", "-1h", "7", "d", "1y", "٣d", "9" * 500 + "d"])
def test_an_invalid_length_is_refused(text: str) -> None:
    """Lengths are a number and one of m, h, d, w."""
    with pytest.raises(InvalidPeriod, match="is not a length"):
        parse_span(text)


@pytest.mark.parametrize("text", ["100000d", "99999w", "999999999999h", "9" * 90 + "m"])
def test_a_length_that_no_period_has_is_refused_as_too_long(text: str) -> None:
    with pytest.raises(InvalidPeriod, match=r"is longer than 100 years; expected a length such as 24h"):
        parse_span(text)


def test_a_period_must_run_forward() -> None:
    """An empty or reversed period is refused."""
    now = datetime(2026, 9, 21, tzinfo=UTC)
    with pytest.raises(InvalidPeriod, match="must come before"):
        Period(now, now)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("last 24 hours", "2026-11-01T09:00-05:00", "2026-11-02T09:00-05:00"),
        ("today", "2026-11-02T00:00-05:00", "2026-11-02T09:00-05:00"),
        ("yesterday", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00"),
        ("this week", "2026-11-02T00:00-05:00", "2026-11-02T09:00-05:00"),
        ("last week", "2026-10-26T00:00-04:00", "2026-11-02T00:00-05:00"),
        ("this month", "2026-11-01T00:00-04:00", "2026-11-02T09:00-05:00"),
        ("last month", "2026-10-01T00:00-04:00", "2026-11-01T00:00-04:00"),
    ],
)
def test_periods_have_names_that_hold_when_the_clocks_change(name: str, start: str, end: str) -> None:
    """New York, the Monday after its clocks were put back: Sunday had 25 hours."""
    now = datetime.fromisoformat("2026-11-02T09:40-05:00")
    period = named_period(PeriodName(name), now, "America/New_York")
    assert (period.start, period.end) == (datetime.fromisoformat(start), datetime.fromisoformat(end))


def test_a_period_that_has_just_begun_is_refused() -> None:
    with pytest.raises(InvalidPeriod, match="today has only just begun"):
        named_period(PeriodName.TODAY, datetime.fromisoformat("2026-11-02T00:40+00:00"), "UTC")


@pytest.mark.parametrize(("days", "weeks"), [(1 / 24, 1), (1, 1), (7, 1), (8, 2), (14, 2), (30, 5)])
def test_the_same_weekdays_before_touch_the_period_at_most(days: float, weeks: int) -> None:
    """Berlin, up to a midnight after its clocks were put back: that week has 169 hours."""
    end = datetime.fromisoformat("2026-10-26T00:00+01:00")
    wall_start = end.replace(tzinfo=None) - timedelta(days=days)
    period = Period(wall_start.replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC), end, "Europe/Berlin")
    before = period.same_weekdays_before()
    assert before.local(before.start).replace(tzinfo=None) == wall_start - timedelta(weeks=weeks)
    assert before.end <= period.start


@given(INSTANTS, st.sampled_from(ZONES))
def test_hours_follow_one_another_without_a_gap(instant: datetime, zone: str) -> None:
    """Each hour ends where the next begins, also where one is half an hour long."""
    start = floor_to(Level.HOUR, instant, zone)
    end = next_start(Level.HOUR, start + timedelta(microseconds=1), zone)
    assert floor_to(Level.HOUR, end, zone) == end
    assert floor_to(Level.HOUR, end - timedelta(microseconds=1), zone) == start
    assert end - start in (timedelta(hours=1), timedelta(minutes=30))


def test_the_hour_after_a_change_by_half_an_hour_is_half_as_long() -> None:
    """Lord Howe, 2026-04-05: 2:00 becomes 1:30, and the hour from there has thirty minutes."""
    change = datetime(2026, 4, 4, 15, 0, tzinfo=UTC)
    hours = [floor_to(Level.HOUR, change + timedelta(minutes=m), "Australia/Lord_Howe") for m in (-31, 0, 29, 30)]
    assert hours == [change - timedelta(hours=1), change, change, change + timedelta(minutes=30)]
