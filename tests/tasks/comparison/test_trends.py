"""Trends distinguish a change from noise, hour by hour."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.documents import Direction, Filters, Trend
from models.period import Period
from tasks.comparison.periods import LATE_ARRIVAL_GRACE
from tasks.comparison.trends import NOT_COMPARABLE, OF_PATTERN, PARTLY_RECORDED, TOO_SHORT, against, trends
from tasks.reporting.data_notes import data_notes
from tasks.rollups.aggregate import ROLLUP_SUMS, empty
from tasks.rollups.query import RollupSlice
from tasks.rollups.totals import total
from tests.support.chance import few_or_all, most_by_chance
from tests.support.factories import MONDAY, hours

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def rollup_slice(start_day: int, rows: list[dict[str, Any]]) -> RollupSlice:
    period = Period(MONDAY + start_day * DAY, MONDAY + (start_day + 1) * DAY)
    rollups = hours(*rows)
    return RollupSlice(period, period, Filters(), rollups, rollups, empty(), None, None)


def day_of(start_day: int, times_ms: list[float]) -> RollupSlice:
    start = MONDAY + start_day * DAY
    return rollup_slice(
        start_day,
        [
            {"timestamp": start + i * DAY / len(times_ms), "response_time_ms": ms, "cost_usd": ms / 1e5}
            for i, ms in enumerate(times_ms)
        ],
    )


def trend_of(metric: str, now: RollupSlice, before: RollupSlice) -> Trend:
    return next(trend for trend in trends(now, before, "previousPeriod") if trend.metric == metric)


def noise(seed: int, mean: float) -> list[float]:
    return list(np.random.default_rng(seed).gamma(4, mean / 4, 480))


def test_a_clear_rise_in_response_time_is_worse() -> None:
    """A doubled average is a change, with an interval around it."""
    trend = trend_of("responseTime", day_of(1, noise(1, 2000)), day_of(0, noise(2, 1000)))
    assert trend.direction is Direction.WORSE
    assert trend.change is not None
    assert trend.change.low is not None
    assert trend.change.low > 0


def test_a_clear_fall_in_response_time_is_better() -> None:
    """The same the other way round."""
    assert trend_of("responseTime", day_of(1, noise(1, 1000)), day_of(0, noise(2, 2000))).direction is Direction.BETTER


@few_or_all(20, 100)
def test_noise_is_seldom_a_change(draws: int) -> None:
    """Of many equal days, about one in twenty looks different, as a 95 % interval promises."""
    verdicts = [
        trend_of("responseTime", day_of(1, noise(2 * i, 1000)), day_of(0, noise(2 * i + 1, 1000))).direction
        for i in range(draws)
    ]
    most = 12 if draws == 100 else most_by_chance(0.05, draws)
    assert sum(verdict is not Direction.SAME for verdict in verdicts) <= most


def test_more_traffic_is_neither_good_nor_bad() -> None:
    """The number of selections rises; it is called more."""
    trend = trend_of("totalSelections", day_of(1, noise(1, 1000) * 2), day_of(0, noise(2, 1000)))
    assert trend.direction is Direction.MORE
    assert trend.change_share == pytest.approx(1.0)


def test_without_data_there_is_no_verdict() -> None:
    """A period without rows is not compared, and the trend says so."""
    trend = trend_of("responseTime", day_of(1, noise(1, 1000)), rollup_slice(0, []))
    assert (trend.direction, trend.before, trend.change) == (Direction.UNKNOWN, None, None)
    assert trend.reason == "no data in the period compared with"
    assert trend_of("cacheHitRate", day_of(1, [1.0]), day_of(0, [1.0])).reason == "no data in this period"


def test_a_few_hours_are_too_short_for_a_verdict() -> None:
    """With data in fewer than six hours there is a change but no verdict."""
    trend = trend_of("responseTime", day_of(1, [1000.0] * 3), day_of(0, [2000.0] * 3))
    assert trend.direction is Direction.UNKNOWN
    assert trend.change is not None
    assert trend.change.low is None
    assert trend.reason == "too short to tell a change from chance"


# --- comparable periods -----------------------------------------------------------------------------------------------


def by_hour(
    period: Period, seed: int = 0, *, factor: float = 1.0, requested_period: Period | None = None
) -> RollupSlice:
    """Hours with the rhythm of an office: weekends have a third, nights a fifth; numbers, costs and times scatter."""
    draw = np.random.default_rng([seed, int(period.start.timestamp())])
    starts = [period.start + step * HOUR for step in range(round(period.hours))]
    locals_ = [period.local(start) for start in starts]
    usual = [100 * factor * (1 if 8 <= it.hour < 19 else 0.2) * (1 if it.weekday() < 5 else 0.33) for it in locals_]
    counts = draw.poisson(usual)
    columns: dict[str, Any] = {
        "bucket": starts,
        "count": counts,
        "cost_count": counts,
        "cost_sum_usd": counts * 0.01 * draw.lognormal(0, 0.1, len(counts)),
        "response_time_count": counts,
        "response_time_sum_ms": counts * 1000 * draw.lognormal(0, 0.1, len(counts)),
        "error_count": draw.binomial(counts, 0.02),
    }
    rows = pl.DataFrame(columns, schema_overrides={"bucket": pl.Datetime("us", "UTC")}).with_columns(
        *(pl.lit(0).alias(name) for name in ROLLUP_SUMS if name not in columns),
        *(pl.lit("(unknown)").alias(name) for name in ("model_id", "complexity", "team")),
    )
    return RollupSlice(requested_period or period, period, Filters(), rows, rows, empty(), None, None)


def days(first: int, count: int, zone: str = "UTC") -> Period:
    return Period(MONDAY + first * DAY, MONDAY + (first + count) * DAY, zone)


def reported(now: RollupSlice, before: RollupSlice, **known: Any) -> dict[str, Trend]:
    return {trend.metric: trend for trend in trends(now, before, "previousPeriod", **known)}


def test_a_monday_against_its_sunday_is_rhythm() -> None:
    """It has three times the requests, and no verdict; nor has a Saturday against its Friday."""
    for first in (7, 5):
        found = reported(by_hour(days(first, 1)), by_hour(days(first - 1, 1)))
        assert {trend.direction for trend in found.values()} == {Direction.UNKNOWN}
        assert found["totalSelections"].reason == NOT_COMPARABLE
        assert found["totalSelections"].change is not None


def test_a_monday_is_compared_with_the_monday_before() -> None:
    """A fifth more is a change there, as it is of a Tuesday against its Monday."""
    more = by_hour(days(7, 1), factor=1.2)
    assert reported(more, by_hour(days(0, 1)))["totalSelections"].direction is Direction.MORE
    assert reported(by_hour(days(1, 1), factor=0.8), by_hour(days(0, 1)))["totalSelections"].direction is Direction.LESS
    assert reported(by_hour(days(7, 1)), by_hour(days(0, 1)))["totalSelections"].direction is Direction.SAME


def test_other_hours_of_a_day_are_not_comparable() -> None:
    """A morning is compared not with the night before it, but with the same morning a week before."""
    morning, night = (Period(MONDAY + (7 * 24 + hour) * HOUR, MONDAY + (7 * 24 + hour + 8) * HOUR) for hour in (8, 0))
    assert reported(by_hour(morning), by_hour(night))["responseTime"].reason == NOT_COMPARABLE
    week_before = Period(morning.start - 7 * DAY, morning.end - 7 * DAY)
    assert reported(by_hour(morning), by_hour(week_before))["totalSelections"].direction is Direction.SAME


def test_one_weekend_more_is_no_change_of_thirty_days() -> None:
    """Where their mix of weekdays differs, only changes of totals beyond that difference are reported."""
    now, before = days(30 + 5, 30), days(5, 30)
    found = reported(by_hour(now), by_hour(before))["totalSelections"]
    assert found.direction is Direction.SAME or found.reason == OF_PATTERN
    assert reported(by_hour(now, factor=1.3), by_hour(before))["totalSelections"].direction is Direction.MORE
    assert reported(by_hour(now), by_hour(before))["responseTime"].direction is Direction.SAME


def test_weeks_around_a_change_of_the_clocks_face_each_other_by_the_clock() -> None:
    """The week in which the clocks go back is as comparable with the one before as any other."""
    start = datetime(2026, 10, 18, 22, tzinfo=UTC)
    week = Period(start, start + 7 * DAY + HOUR, "Europe/Berlin")
    before = Period(start - 7 * DAY, start, "Europe/Berlin")
    found = reported(by_hour(week), by_hour(before))
    assert found["totalSelections"].direction is Direction.SAME
    assert found["responseTime"].direction is Direction.SAME


def test_a_period_in_which_recording_began_has_no_total_to_compare_with() -> None:
    """Half a week of requests against a full one is not growth; the average response time is known all the same."""
    whole, half = by_hour(days(7, 7)), by_hour(days(0, 7))
    began = MONDAY + 3 * DAY
    half = replace(half, hours=half.hours.filter(pl.col("bucket") >= began))
    found = reported(whole, half, recorded_from=began)
    assert found["totalSelections"].reason == PARTLY_RECORDED
    assert found["responseTime"].direction is Direction.SAME
    assert reported(whole, half, recorded_from=MONDAY)["totalSelections"].reason is None


def news_of(draws: int, spell: float) -> Counter[str]:
    """Return how often each metric is reported as changed, of days that differ only by chance and slow spells."""
    news: Counter[str] = Counter()
    for seed in range(draws):
        sides = []
        for first in (7, 0):
            side, draw = by_hour(days(first + seed % 7, 1), seed), np.random.default_rng([seed, first])
            slow = draw.normal(0, 0.3, 24)
            for hour in range(1, 24):
                slow[hour] = spell * slow[hour - 1] + np.sqrt(1 - spell**2) * slow[hour]
            slowed = pl.col("response_time_sum_ms") * pl.Series(np.exp(slow))
            sides.append(replace(side, hours=side.hours.with_columns(response_time_sum_ms=slowed)))
        found = reported(*sides)
        news.update(name for name, trend in found.items() if trend.direction not in (Direction.SAME, Direction.UNKNOWN))
    return news


@few_or_all(40, 200)
def test_chance_makes_changes_as_seldom_as_promised(draws: int) -> None:
    """Of days with their rhythm against the same days a week before, about one in twenty of each metric."""
    news = news_of(draws, 0.0)
    most = draws / 12 if draws == 200 else most_by_chance(0.05, draws)
    assert all(news[name] <= most for name in ("totalSelections", "totalCost", "responseTime", "errorRate"))


@few_or_all(100, 200)
def test_autocorrelated_hours_alone_make_no_change(draws: int) -> None:
    """A slow spell of some hours is one event; with its hours taken as independent, a third would be a change."""
    most = 0.17 * draws if draws == 200 else most_by_chance(0.14, draws)
    assert news_of(draws, 0.6)["responseTime"] <= most


def test_growth_is_a_change_by_day_and_by_week() -> None:
    """A tenth more of everything is found in a week, a fifth in most days."""
    days_found = [
        reported(by_hour(days(7, 1), seed, factor=1.2), by_hour(days(0, 1), seed))["totalSelections"].direction
        for seed in range(20)
    ]
    assert days_found.count(Direction.MORE) >= 18
    assert reported(by_hour(days(7, 7), factor=1.1), by_hour(days(0, 7)))["totalSelections"].direction is Direction.MORE


# --- finished periods -------------------------------------------------------------------------------------------------


def test_an_unfinished_day_is_compared_with_the_same_part_of_the_other() -> None:
    """At half past two in the afternoon, both are compared up to two o'clock."""
    now = MONDAY + 8 * DAY + 14.5 * HOUR
    today = by_hour(days(8, 1))
    so_far = replace(today, hours=today.hours.filter(pl.col("bucket") < now), rollups_updated_at=now)
    found = against(so_far, {"samePeriodLastWeek": by_hour(days(1, 1))}, now, None)
    requests = next(trend for trend in found if trend.metric == "totalSelections")
    assert requests.upto == MONDAY + 8 * DAY + 14 * HOUR
    assert requests.direction is Direction.SAME
    assert requests.current == today.hours.filter(pl.col("bucket") < requests.upto)["count"].sum()
    assert requests.before == by_hour(days(1, 1)).hours.head(14)["count"].sum()
    assert "compared up to 2026-09-15 14:28 UTC at most" in " ".join(data_notes(so_far, total(so_far.parts), now))


def test_the_last_minutes_are_compared_only_once_final() -> None:
    """A minute after midnight the last hour of the day is left out of it; soon after, nothing is."""
    day, earlier = by_hour(days(8, 1)), {"samePeriodLastWeek": by_hour(days(1, 1))}
    early = against(day, earlier, day.period.end + timedelta(minutes=1), None)  # type: ignore[arg-type]
    later = against(day, earlier, day.period.end + LATE_ARRIVAL_GRACE, None)  # type: ignore[arg-type]
    assert {trend.upto for trend in early} == {day.period.end - HOUR}
    assert {trend.upto for trend in later} == {None}
    uncounted = replace(day, rollups_updated_at=day.period.end - 2.5 * HOUR)
    assert against(uncounted, earlier, day.period.end + DAY, None)[0].upto == day.period.end - 3 * HOUR  # type: ignore[arg-type]


def test_a_period_that_has_hardly_begun_is_not_compared() -> None:
    """Within its first hour there is no full one; within its first six, too few."""
    day, earlier = by_hour(days(8, 1)), by_hour(days(1, 1))
    none = reported(day, earlier, final_at=day.period.start + 0.5 * HOUR)["responseTime"]
    few = reported(day, earlier, final_at=day.period.start + 4 * HOUR)["responseTime"]
    assert (none.current, none.reason) == (None, "too little of this period is over")
    assert (few.direction, few.reason) == (Direction.UNKNOWN, TOO_SHORT)


def test_a_week_before_that_overlaps_is_left_out() -> None:
    """Thirty days are not compared with a period that is mostly themselves."""
    month, before, overlapping = days(30, 30), days(0, 30), days(23, 30)
    sides = {"previousPeriod": by_hour(before), "samePeriodLastWeek": by_hour(overlapping)}
    found = against(by_hour(month), sides, month.end + DAY, None)  # type: ignore[arg-type]
    assert {trend.compared_with for trend in found} == {"previousPeriod"}


def test_what_was_rounded_outward_is_compared_over_whole_hours() -> None:
    """From half past to half past, of which a week ago only hours are kept: 25 hours there are no growth."""
    start = MONDAY + 8 * DAY + 14.5 * HOUR
    requested_period, earlier = Period(start, start + DAY), Period(start - 7 * DAY, start - 6 * DAY)
    rounded = Period(earlier.start - 0.5 * HOUR, earlier.end + 0.5 * HOUR)
    hours_now = by_hour(Period(start - 0.5 * HOUR, start + DAY + 0.5 * HOUR))
    requests = reported(
        replace(hours_now, requested_period=requested_period, period=requested_period),
        by_hour(rounded, requested_period=earlier),
    )["totalSelections"]
    assert requests.direction is Direction.SAME
    assert requests.current == hours_now.hours["count"][1:-1].sum()


def test_totals_of_a_single_hour_are_not_assessed() -> None:
    """Its minutes do not show how hours differ; its averages can be compared with those of the hour before."""
    noon, eleven = (Period(MONDAY + hour * HOUR, MONDAY + (hour + 1) * HOUR) for hour in (12, 11))
    sides = []
    for period in (noon, eleven):
        minutes = by_hour(Period(period.start, period.start + 60 * HOUR)).hours
        places = pl.Series([period.start + step * timedelta(minutes=1) for step in range(60)])
        sides.append(
            replace(by_hour(period), minutes=minutes.with_columns(bucket=places.cast(minutes["bucket"].dtype)))
        )
    found = reported(*sides)
    assert found["totalSelections"].reason == NOT_COMPARABLE
    assert found["responseTime"].direction is Direction.SAME
