"""Hours after a change are compared with matched hours before it, and the error is estimated over hours."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from models.kpis import KpiName
from tasks.optimizer.matched_hours import MATCHED_SUMS, JudgedMetric, compare, match, saved
from tests.support.chance import few_or_all, most_by_chance
from tests.support.factories import MONDAY

ERRORS = JudgedMetric(KpiName.ERROR_RATE, margin=0.005)
HITS = JudgedMetric(KpiName.CACHE_HIT_RATE, margin=0.01)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)


def hours_of(start: datetime, length: timedelta, seed: int = 1, **rates: float) -> pl.DataFrame:
    """Return hours of about 200 selections in the daytime and 40 at night, with rates that vary from hour to hour."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(int(length / timedelta(hours=1))):
        bucket = start + timedelta(hours=number)
        count = int(draw.poisson(200 if 8 <= bucket.hour < 20 else 40))
        wave = 1 + 0.2 * draw.standard_normal()
        errors = draw.binomial(count, min(1.0, max(0.0, rates.get("errors", 0.02) * wave)))
        hits = draw.binomial(count, min(1.0, max(0.0, rates.get("hits", 0.5) * wave)))
        rows.append(
            dict.fromkeys(MATCHED_SUMS, 0)
            | {"bucket": bucket, "count": count, "error_count": errors, "cache_count": count, "cache_hit_count": hits}
            | {"cost_count": count, "cost_sum_usd": rates.get("usd", 0.01) * count * wave}
        )
    return pl.DataFrame(rows, schema_overrides={"bucket": pl.Datetime("us", "UTC"), "cost_sum_usd": pl.Float64})


def test_a_day_is_compared_with_the_same_day_of_earlier_weeks() -> None:
    """With three weeks before, each hour of the week has a match."""
    before, after = hours_of(MONDAY - 3 * WEEK, 3 * WEEK), hours_of(MONDAY, DAY, seed=2)
    matched = match(before, after, "UTC")
    assert (matched.by, matched.hours) == ("hour of the week", 24)
    assert matched.before["count"].sum() > 2 * matched.after["count"].sum()


def test_a_working_day_stands_in_for_another_but_not_for_a_weekend() -> None:
    """Where no week lies before, hours of the day are matched, working days and weekends separately."""
    monday = hours_of(MONDAY, DAY)
    tuesday, saturday = hours_of(MONDAY + DAY, DAY), hours_of(MONDAY + 5 * DAY, DAY)
    assert match(monday, tuesday, "UTC").by == "hour of the day"
    assert match(monday, saturday, "UTC").by is None


def test_busier_hours_are_no_change() -> None:
    """Errors that are always more frequent at night do not look worse because a night is assessed."""
    before = hours_of(MONDAY, WEEK, errors=0.0).with_columns(
        error_count=pl.when(pl.col("bucket").dt.hour() < 6).then(pl.col("count") // 4).otherwise(0)
    )
    after = before.with_columns(pl.col("bucket") + pl.duration(weeks=1)).filter(pl.col("bucket").dt.hour() < 12)
    change = compare(match(before, after.head(24), "UTC"), ERRORS, seed=1)
    assert change.after is not None
    assert change.after > int(before["error_count"].sum()) / int(before["count"].sum())
    assert change.change is not None
    assert abs(change.change.estimate) < 1e-12


@pytest.mark.parametrize(
    ("rates", "metric", "judged"),
    [
        ({"errors": 0.08}, ERRORS, "worse"),
        ({"errors": 0.004}, ERRORS, "better"),
        ({"hits": 0.3}, HITS, "worse"),
        ({"hits": 0.8}, HITS, "better"),
        ({"hits": 0.5}, HITS, "unclear"),
    ],
)
def test_clear_changes_are_reported_by_direction(rates: dict[str, float], metric: JudgedMetric, judged: str) -> None:
    before, after = hours_of(MONDAY - 2 * WEEK, 2 * WEEK), hours_of(MONDAY, DAY, seed=5, **rates)
    assert compare(match(before, after, "UTC"), metric, seed=1).judgement == judged


def test_what_is_worse_but_on_its_good_side_harms_nobody() -> None:
    """A limit says up to where a worse value does not matter."""
    lenient = JudgedMetric(KpiName.ERROR_RATE, margin=0.005, limit=0.2)
    before, after = hours_of(MONDAY - WEEK, WEEK), hours_of(MONDAY, DAY, seed=5, errors=0.08)
    assert compare(match(before, after, "UTC"), lenient, seed=1).judgement == "same"


@few_or_all(25, 100)
def test_noise_is_seldom_called_a_change(draws: int) -> None:
    """Of a hundred days like those before, the interval at 95 % misses no change about as often as stated."""
    missed = 0
    for seed in range(draws):
        before, after = hours_of(MONDAY - WEEK, WEEK, seed=seed), hours_of(MONDAY, DAY, seed=1_000 + seed)
        change = compare(match(before, after, "UTC"), HITS, seed=seed).change
        assert change is not None
        missed += not (change.low or 0.0) <= 0 <= (change.high or 0.0)
    assert missed <= (12 if draws == 100 else most_by_chance(0.05, draws))


def test_too_few_hours_are_not_assessed() -> None:
    before, after = hours_of(MONDAY - WEEK, WEEK), hours_of(MONDAY, timedelta(hours=6), seed=3)
    change = compare(match(before, after, "UTC"), ERRORS, seed=1)
    assert (change.judgement, change.change) == ("unknown", None)
    assert change.reason == "known in 0 matched hours, 12 are needed"


def test_a_saving_is_measured_with_its_sign() -> None:
    """At half the price half the spend is saved; at twice the price as much is lost."""
    before = hours_of(MONDAY - WEEK, WEEK)
    for usd, sign in ((0.005, 1), (0.02, -1)):
        after = hours_of(MONDAY, DAY, seed=7, usd=usd)
        interval = saved(match(before, after, "UTC"), seed=1)
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        truth = (0.01 - usd) * int(after["cost_count"].sum())
        assert interval.low <= truth <= interval.high
        assert sign * interval.estimate > 0


def test_equal_runs_give_equal_intervals() -> None:
    matched = match(hours_of(MONDAY - WEEK, WEEK), hours_of(MONDAY, DAY, seed=2), "UTC")
    assert compare(matched, ERRORS, seed=4) == compare(matched, ERRORS, seed=4)
