"""Baselines are learned from a KPI's own history, by hour of the week, and incidents do not change them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.kpis import KpiName
from tasks.alerts.learned_limits import CRITICAL_BEYOND, LearnedBaseline, learn, warning_at
from tasks.alerts.learning import InsufficientHistory
from tests.support.factories import MONDAY

WEEKS = 4
WARNING = warning_at(25, 96)
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)
NOON = MONDAY + WEEKS * WEEK + timedelta(hours=12)


def rate_at(at: datetime) -> float:
    """Twice as many errors by day as by night."""
    return 0.02 if 8 <= at.hour < 20 else 0.01


def history(weeks: float = WEEKS, seed: int = 1, spoiled: timedelta = timedelta()) -> pl.DataFrame:
    """Return hours of about 400 selections with errors, up to NOON; the last `spoiled` at thirty times the rate."""
    draw = np.random.default_rng(seed)
    start = NOON - timedelta(weeks=weeks)
    hours = [start + HOUR * number for number in range(int((NOON - start) / HOUR))]
    counts = draw.poisson(400, len(hours))
    rates = [min(1.0, rate_at(hour) * (30 if NOON - hour <= spoiled else 1)) for hour in hours]
    schema: Any = {"bucket": pl.Datetime("us", "UTC"), "above": pl.Int64, "below": pl.Int64, "sample": pl.Int64}
    failed = draw.binomial(counts, rates)
    return pl.DataFrame({"bucket": hours, "above": failed, "below": counts, "sample": counts}, schema=schema)


def baseline(frame: pl.DataFrame, at: datetime = NOON) -> LearnedBaseline:
    found = learn(frame, KpiName.ERROR_RATE, at, "UTC")
    assert isinstance(found, LearnedBaseline)
    return found


def test_each_hour_of_the_week_has_its_own_baseline() -> None:
    assert baseline(history()).value == pytest.approx(0.02, rel=0.3)
    assert baseline(history(), NOON - timedelta(hours=9)).value == pytest.approx(0.01, rel=0.4)


def test_an_incident_does_not_change_the_baseline() -> None:
    """Six hours in which most calls fail shift neither the value nor the scatter by much."""
    calm, spoiled = baseline(history()), baseline(history(spoiled=timedelta(hours=6)))
    assert spoiled.value == pytest.approx(calm.value, rel=0.25)
    assert spoiled.limit(WARNING, 100) < 0.3


@pytest.mark.parametrize("weeks", [0.5, 1.0, 1.9])
def test_under_two_weeks_it_says_that_it_is_learning(weeks: float) -> None:
    found = learn(history(weeks), KpiName.ERROR_RATE, NOON, "UTC")
    assert isinstance(found, InsufficientHistory)
    assert found.days < 14
    assert "still learning what is usual" in found.reason


def test_nothing_known_is_learning_too() -> None:
    assert learn(history().clear(), KpiName.ERROR_RATE, NOON, "UTC") == InsufficientHistory(0)


def test_a_small_window_may_deviate_further() -> None:
    """Of fifty selections one more error is nothing; of five thousand it would be."""
    found = baseline(history())
    assert found.limit(WARNING, 50) > found.limit(WARNING, 5_000) > found.value


def test_the_worse_side_is_the_kpis_own() -> None:
    """A hit rate is unusual where it is low."""
    found = LearnedBaseline(KpiName.CACHE_HIT_RATE, 0.6, 0.02, 0.5, 28)
    assert found.limit(WARNING + CRITICAL_BEYOND, 400) < found.limit(WARNING, 400) < 0.6
    assert found.limit(WARNING, 400, worse=False) > 0.6


def test_no_limit_lies_where_no_value_can() -> None:
    """All of twenty selections may fail by chance where half of them do in the baseline."""
    found = LearnedBaseline(KpiName.ERROR_RATE, 0.5, 0.02, 0.5, 28)
    assert found.limit(WARNING, 10) == math.inf
    assert 0.5 < found.limit(WARNING, 40) < 1


@pytest.mark.parametrize("share", [0.002, 0.02, 0.3, 0.8])
@pytest.mark.parametrize("sample", [40, 300, 4_000])
def test_chance_goes_beyond_a_limit_as_seldom_as_it_says(share: float, sample: int) -> None:
    """At three standard deviations about one window in 740, whatever the share, skewed ones too."""
    found = LearnedBaseline(KpiName.ERROR_RATE, share, 0.0, 0.5, 28, inputs=1_000_000)
    limit, draw = found.limit(3.0, sample), np.random.default_rng(5)
    assert (draw.binomial(sample, share, 100_000) / sample > limit).mean() < 0.004


def test_the_more_series_are_watched_the_further_a_window_must_deviate() -> None:
    """So that chance alone gives about one warning in four weeks, over everything."""
    assert 3.5 < warning_at(5, 96) < warning_at(25, 96) < warning_at(1_500, 96) < 6


def test_normal_windows_are_seldom_unusual() -> None:
    """Of 4,000 quarters of an hour like those before, at most a few are beyond the warning."""
    found, draw = baseline(history()), np.random.default_rng(7)
    counts = draw.poisson(100, 4_000)
    values = draw.binomial(counts, 0.02) / np.maximum(counts, 1)
    beyond = sum(value > found.limit(WARNING, int(count)) for value, count in zip(values, counts, strict=True))
    assert beyond <= 12


def test_a_planted_rise_is_unusual() -> None:
    """Five times the baseline rate, in a quarter of an hour of three hundred selections."""
    assert baseline(history()).limit(WARNING, 300) < 0.1
