"""A spend spike is measured against the baseline of the same hours; noise, rhythm and growth are not spikes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from models.documents import SpendSpike
from tasks.bottlenecks.spend_spikes import find_spikes, spend_spikes
from tasks.rollups.aggregate import INSTANT
from tests.support.chance import few_or_all, most_by_chance
from tests.support.factories import MONDAY

WEEK = timedelta(weeks=1)
TEAMS = ("red", "green", "blue")
Rate = Callable[[datetime], float]


def steady(_: datetime) -> float:
    return 60.0


def office(hour: datetime) -> float:
    """A hundred requests an hour at work, a tenth of it at night and at weekends."""
    return 100.0 if 9 <= hour.hour < 18 and hour.weekday() < 5 else 10.0


def spending(
    seed: int,
    *,
    start: datetime = MONDAY,
    days: int = 35,
    rate: Rate = steady,
    zone: str = "UTC",
    usd: float = 0.1,
    sigma: float = 1.0,
    busy: float = 0.0,
) -> pl.DataFrame:
    """Return hours by team: Poisson requests at `rate` on the zone's clock, of skewed costs about `usd`.

    `busy` is how much the rate itself varies from hour to hour.
    """
    draw, tz = np.random.default_rng(seed), ZoneInfo(zone)
    hours = [start + timedelta(hours=hour) for hour in range(24 * days)]
    rates = np.array([rate(hour.astimezone(tz)) for hour in hours])
    rates = np.repeat(rates * draw.lognormal(-(busy**2) / 2, busy, len(hours)), len(TEAMS)) / len(TEAMS)
    count = draw.poisson(rates)
    costs = usd * draw.lognormal(-(sigma**2) / 2, sigma, count.sum())
    ends = np.cumsum(count)
    sums, squares = (np.diff(np.concatenate([[0.0], values.cumsum()])[[0, *ends]]) for values in (costs, costs**2))
    return pl.DataFrame(
        {
            "bucket": [hour for hour in hours for _ in TEAMS],
            "model_id": "m",
            "complexity": "",
            "team": TEAMS * len(hours),
            "count": count,
            "cost_count": count,
            "cost_sum_usd": sums,
            "cost_sum_sq": squares,
        },
        schema_overrides={"bucket": INSTANT},
    ).filter(pl.col("count") > 0)


def split(rollups: pl.DataFrame, start: datetime, length: timedelta = WEEK) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The period from `start`, and all that lies before it."""
    within = pl.col("bucket").is_between(start, start + length, closed="left")
    return rollups.filter(within), rollups.filter(pl.col("bucket") < start)


def times(rollups: pl.DataFrame, factor: int, start: datetime, hours: int, team: str | None = None) -> pl.DataFrame:
    """Return the same with as many times the requests in some hours, of all teams or one."""
    there = pl.col("bucket").is_between(start, start + timedelta(hours=hours), closed="left")
    there &= pl.lit(True) if team is None else pl.col("team") == team
    columns = ("count", "cost_count", "cost_sum_usd", "cost_sum_sq")
    return rollups.with_columns(pl.when(there).then(pl.col(columns) * factor).otherwise(pl.col(columns)))


def reported(rollups: pl.DataFrame, start: datetime, length: timedelta = WEEK, zone: str = "UTC") -> list[SpendSpike]:
    return spend_spikes(*split(rollups, start, length), zone, rollups)


FIFTH_WEEK = MONDAY + 4 * WEEK
WEDNESDAY_NOON = FIFTH_WEEK + timedelta(days=2, hours=12)


def test_a_spike_is_found_with_its_hours_and_its_team() -> None:
    """One team asks fifteen times as much for three hours: one spike, its baseline cost, and the rest without it."""
    [spike] = reported(times(spending(1), 15, WEDNESDAY_NOON, 3, "green"), FIFTH_WEEK)
    assert (spike.start, spike.end) == (WEDNESDAY_NOON, WEDNESDAY_NOON + timedelta(hours=3))
    assert spike.usual_cost_usd == pytest.approx(3 * 6, rel=0.3)
    assert spike.cost_usd == pytest.approx(3 * (4 + 15 * 2), rel=0.3)
    [hotspot] = spike.where
    assert (hotspot.dimension, hotspot.value) == ("team", "green")
    assert hotspot.share == pytest.approx(hotspot.rate / spike.cost_usd)
    assert hotspot.rate_without == pytest.approx(spike.cost_usd - hotspot.rate)
    assert hotspot.rate_without is not None
    assert hotspot.rate_without < spike.usual_cost_usd


def test_a_spike_of_everybody_is_nobodys() -> None:
    """Where all teams spend five times as much, none is named."""
    [spike] = reported(times(spending(2), 5, WEDNESDAY_NOON, 2), FIFTH_WEEK)
    assert spike.where == ()


def test_a_team_that_spent_alone_leaves_nothing() -> None:
    """The only team that spent in those hours, of several in the baseline, is named."""
    rollups = times(spending(3), 30, WEDNESDAY_NOON, 1, "blue")
    alone = rollups.filter((pl.col("bucket") != WEDNESDAY_NOON) | (pl.col("team") == "blue"))
    [spike] = reported(alone, FIFTH_WEEK)
    assert [(hotspot.value, hotspot.share, hotspot.rate_without) for hotspot in spike.where] == [("blue", 1.0, 0.0)]


def test_the_three_largest_spikes_are_reported() -> None:
    """Of five, the three that cost most above the baseline, the largest first."""
    rollups = spending(4)
    for day, factor in enumerate((5, 9, 6, 8, 7)):
        rollups = times(rollups, factor, FIFTH_WEEK + timedelta(days=day, hours=12), 1)
    assert [spike.start.day - FIFTH_WEEK.day for spike in reported(rollups, FIFTH_WEEK)] == [1, 3, 4]


def test_a_single_hour_is_assessed_too() -> None:
    """A report of one hour finds the spike in it."""
    rollups = times(spending(5), 5, WEDNESDAY_NOON, 1)
    assert len(reported(rollups, WEDNESDAY_NOON, timedelta(hours=1))) == 1
    assert reported(rollups, WEDNESDAY_NOON + timedelta(hours=1), timedelta(hours=1)) == []


def test_the_rhythm_of_the_week_is_no_spike() -> None:
    """Monday morning costs ten times what the weekend did, after four weeks and after a little over one."""
    for weeks in (4, 1):
        assert reported(spending(6, rate=office), MONDAY + weeks * WEEK) == []


def test_the_same_hour_is_that_of_the_clock() -> None:
    """Where the clock was put back, work still begins at nine, an hour later in UTC."""
    start = datetime(2026, 10, 4, 22, tzinfo=UTC)
    rollups = spending(7, start=start, rate=office, zone="Europe/Berlin")
    after = datetime(2026, 10, 25, 23, tzinfo=UTC)
    assert reported(rollups, after, zone="Europe/Berlin") == []
    assert reported(rollups, after, zone="UTC")


def test_days_stand_in_for_weeks_that_are_missing() -> None:
    """With ten days of history a spike is found by the hour of the day; with four nothing is reported."""
    rollups = times(spending(8, days=20), 5, MONDAY + timedelta(days=10, hours=12), 2)
    assert len(reported(rollups, MONDAY + timedelta(days=10))) == 1
    late = rollups.filter(pl.col("bucket") >= MONDAY + timedelta(days=6))
    assert reported(late, MONDAY + timedelta(days=10), timedelta(days=1)) == []


def test_a_small_spike_is_not_reported() -> None:
    """Ten times the baseline cost is reported only where the excess is at least some USD."""
    cents = spending(9).with_columns(pl.col("cost_sum_usd") / 100, pl.col("cost_sum_sq") / 10_000)
    assert reported(times(cents, 10, WEDNESDAY_NOON, 2), FIFTH_WEEK) == []


def test_costs_that_begin_to_be_recorded_are_no_spike() -> None:
    """While a tenth of the costs was known, an hour's baseline cost is unknown."""
    rollups = spending(10)
    before = pl.col("bucket") < FIFTH_WEEK
    known = rollups.with_columns(
        pl.when(before).then(pl.col("cost_count") // 10).otherwise("cost_count").alias("cost_count"),
        pl.when(before).then(pl.col("cost_sum_usd") / 10).otherwise("cost_sum_usd").alias("cost_sum_usd"),
    )
    assert reported(known, FIFTH_WEEK) == []


def test_hours_without_a_known_cost_are_not_free() -> None:
    """Unknown costs make neither a spike nor a baseline of zero."""
    unknown = {"cost_count": 0, "cost_sum_usd": 0.0, "cost_sum_sq": 0.0}
    rollups = spending(11).with_columns(
        pl.when(pl.col("bucket") < FIFTH_WEEK).then(value).otherwise(name).alias(name)
        for name, value in unknown.items()
    )
    assert reported(rollups, FIFTH_WEEK) == []
    assert reported(spending(11).clear(), FIFTH_WEEK) == []


@few_or_all(20, 100)
@pytest.mark.parametrize(
    ("sigma", "busy"), [(1.0, 0.0), (1.5, 0.0), (1.0, 0.3)], ids=["requests", "costs of a heavy tail", "bursts"]
)
def test_noise_is_seldom_a_spike(sigma: float, busy: float, draws: int) -> None:
    """Of 100 weeks of nothing but noise, at most five show a spike, though each has 168 hours."""
    most = 5 if draws == 100 else most_by_chance(0.05, draws)
    weeks = (spending(seed, rate=office, usd=1.0, sigma=sigma, busy=busy) for seed in range(draws))
    assert sum(bool(find_spikes(*split(rollups, FIFTH_WEEK), "UTC")) for rollups in weeks) <= most
