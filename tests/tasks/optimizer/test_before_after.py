"""Hours after a change are held against the same hours before, and judged by what the past shows by chance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.documents import MetricChange
from models.kpis import KpiName
from models.settings import PerformanceMetrics
from tasks.optimizer.before_after import BeforeAfter, BeforeAfterReading, ReadingLimits
from tasks.optimizer.hour_grid import MATCHED_SUMS, ObservedHours
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.placebos import MINIMUM_SPANS
from tests.support.factories import MONDAY
from tests.support.hourly_rollups import HOUR, hourly_rollups

ERRORS = JudgedMetric(KpiName.ERROR_RATE, margin=0.005)
HITS = JudgedMetric(KpiName.CACHE_HIT_RATE, margin=0.01)
ACCURACY = JudgedMetric(KpiName.SELECTION_ACCURACY, margin=0.01)
COST = JudgedMetric("averageCost", margin=0.05, relative=True)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
PAST = 7 * WEEK
LIMITS = ReadingLimits(longest=168, keep_from=24, minimum_sample=100, prompts_comparable=True)
NOTHING = hourly_rollups(MONDAY, timedelta())
SHORT = "14 pretended changes fit into the past, 20 are needed"


def read(
    before: pl.DataFrame, after: pl.DataFrame, *metrics: JudgedMetric, at: datetime = MONDAY, zone: str = "UTC",
    limits: ReadingLimits = LIMITS, untouched: pl.DataFrame = NOTHING,
) -> BeforeAfterReading:  # fmt: skip
    frames = [frame.select("bucket", "complexity", *MATCHED_SUMS) for frame in (before, after, untouched)]
    end = max([at, *(bucket + HOUR for bucket in after["bucket"])])
    hours = ObservedHours(frames[0], frames[1], frames[2], at, at, end)
    return BeforeAfter(hours, metrics, limits, PerformanceMetrics(), zone).read()


def quiet_past(seed: int = 1, **rates: float) -> pl.DataFrame:
    return hourly_rollups(MONDAY - PAST, PAST, seed, **rates)


@pytest.mark.parametrize(
    ("rates", "metric", "judged"),
    [
        ({"errors": 0.08}, ERRORS, "worse"),
        ({"errors": 0.002}, ERRORS, "better"),
        ({"errors": 0.01}, ERRORS, "same"),
        ({"hits": 0.3}, HITS, "worse"),
        ({"hits": 0.8}, HITS, "better"),
        ({"hits": 0.5}, HITS, "unclear"),
        ({"usd": 0.07}, COST, "worse"),
        ({"usd": 0.03}, COST, "better"),
        ({"usd": 0.05}, COST, "same"),
        ({"accuracy": 0.8}, ACCURACY, "worse"),
    ],
)
def test_clear_changes_are_reported_by_direction(rates: dict[str, float], metric: JudgedMetric, judged: str) -> None:
    goal = read(quiet_past(), hourly_rollups(MONDAY, 30 * HOUR, 5, **rates), metric).goal
    assert goal.judgement == judged
    assert goal.change is not None
    assert (goal.change.low or 0) <= goal.change.estimate <= (goal.change.high or 0)
    assert goal.after is not None
    assert goal.before is not None
    assert goal.change.estimate == pytest.approx(goal.after - goal.before, abs=1e-9)


@pytest.mark.parametrize("metric", [ERRORS, COST])
def test_a_guard_is_safe_by_the_worse_end_of_its_interval(metric: JudgedMetric) -> None:
    """A past that varies much leaves the interval wide: an estimate within the margin proves nothing."""
    draw = np.random.default_rng(2)

    def stirred(frame: pl.DataFrame) -> pl.DataFrame:
        wave = pl.Series(np.exp(0.8 * draw.standard_normal(frame.height)))
        return frame.with_columns(
            cost_sum_usd=pl.col("cost_sum_usd") * wave,
            error_count=pl.min_horizontal("count", (pl.col("error_count") * 3 * wave).cast(pl.Int64)),
        )

    after = stirred(hourly_rollups(MONDAY, 30 * HOUR, 5))
    goal = read(stirred(quiet_past()), after, metric).goal
    assert goal.judgement == "unclear"


def test_what_is_worse_but_on_its_good_side_harms_nobody() -> None:
    """A limit says up to where a worse value does not matter."""
    lenient = JudgedMetric(KpiName.ERROR_RATE, margin=0.005, limit=0.2)
    assert read(quiet_past(), hourly_rollups(MONDAY, 30 * HOUR, 5, errors=0.08), lenient).goal.judgement == "same"


def test_a_short_past_describes_and_judges_nothing() -> None:
    """Two weeks are no twenty placebos: there is an estimate, and no interval."""
    before = hourly_rollups(MONDAY - 2 * WEEK, 2 * WEEK)
    seen = read(before, hourly_rollups(MONDAY, WEEK, 5, errors=0.5), ERRORS, COST)
    assert (seen.matched_by, seen.judged_hours, seen.savings_usd) == ("hour of the week", 0, None)
    assert seen.placebos.spans < MINIMUM_SPANS
    for change in seen.changes:
        assert (change.judgement, change.reason) == ("unclear", SHORT)
        assert change.change is not None
        assert (change.change.low, change.change.high) == (None, None)
    assert seen.goal.change is not None
    assert seen.goal.change.estimate == pytest.approx(0.49, abs=0.02)


def test_a_working_day_stands_in_for_another_but_not_for_a_weekend() -> None:
    """Where no week lies before, hours of the day are matched, working days and weekends separately."""
    monday = hourly_rollups(MONDAY, DAY)
    tuesday, saturday = hourly_rollups(MONDAY + DAY, DAY), hourly_rollups(MONDAY + 5 * DAY, DAY)
    assert read(monday, tuesday, ERRORS, at=MONDAY + DAY).matched_by == "hour of the day"
    seen = read(monday, saturday, ERRORS, at=MONDAY + 5 * DAY)
    assert (seen.matched_by, seen.goal.judgement) == (None, "unknown")


@pytest.mark.parametrize("past", [2 * WEEK, PAST])
def test_busier_hours_are_no_change(past: timedelta) -> None:
    """Errors that are always more frequent at night do not look worse because more of the night is assessed."""
    nightly = pl.when(pl.col("bucket").dt.hour() < 6).then(pl.col("count") // 25).otherwise(0)
    before = hourly_rollups(MONDAY - past, past).with_columns(error_count=nightly)
    after = hourly_rollups(MONDAY, 30 * HOUR, 5)
    busy = pl.when(pl.col("bucket").dt.hour() < 6).then(8).otherwise(1)
    sums = [pl.col(name) * busy for name in MATCHED_SUMS]
    change = read(before, after.with_columns(sums).with_columns(error_count=nightly), ERRORS).goal
    assert change.change is not None
    assert abs(change.change.estimate) < 1e-3
    assert (change.after or 0) > 0.02


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns"])
def test_hours_are_matched_by_the_local_clock(zone: str) -> None:
    """People sleep by it: in the week after the clocks changed, the same hours are others by UTC."""
    changed = datetime.fromisoformat("2026-10-26T03:00:00+00:00")
    local = pl.col("bucket").dt.convert_time_zone(zone).dt.hour()
    start = changed - PAST - (timedelta(minutes=30) if zone.startswith("America") else timedelta())
    nightly = pl.when(local < 6).then(pl.col("count") // 2).otherwise(pl.col("count") // 20)
    every = hourly_rollups(start, PAST + 3 * DAY).with_columns(error_count=nightly)
    at = start + PAST
    goal = read(
        every.filter(pl.col("bucket") < at), every.filter(pl.col("bucket") >= at), ERRORS, at=at, zone=zone
    ).goal
    assert goal.change is not None
    assert abs(goal.change.estimate) < 0.01


def test_a_drift_that_untouched_traffic_shares_is_no_harm() -> None:
    """All classes got dearer in the same hours, as often before: the other class shows what would have been."""
    draw = np.random.default_rng(4)
    number = int(PAST / HOUR) + 48
    wave = np.zeros(number)
    for hour in range(1, number):
        wave[hour] = 0.97 * wave[hour - 1] + 0.08 * draw.standard_normal()
    wave[-48:] += 0.5
    every = hourly_rollups(MONDAY - PAST, PAST + 48 * HOUR).sort("complexity", "bucket")
    every = every.with_columns(cost_sum_usd=pl.col("cost_sum_usd") * pl.Series(np.tile(np.exp(wave), 2)))
    mine = pl.col("complexity") == "simple"
    sides = [every.filter(mine & (pl.col("bucket") < MONDAY)), every.filter(mine & (pl.col("bucket") >= MONDAY))]
    seen = read(sides[0], sides[1], COST, untouched=every.filter(~mine))
    assert seen.placebos.designs[0].shares[0] == pytest.approx(1, abs=0.05)
    assert seen.goal.judgement == "same"
    assert seen.goal.change is not None
    assert seen.goal.before is not None
    assert abs(seen.goal.change.estimate) < 0.02 * seen.goal.before
    alone = read(sides[0], sides[1], COST).goal
    assert alone.change is not None
    assert alone.change.estimate > 0.3 * (alone.before or 0)


def test_prompts_that_get_longer_explain_costs_but_not_where_a_model_counts_others() -> None:
    draw = np.random.default_rng(5)
    longer = np.exp(0.5 * draw.standard_normal(int(PAST / HOUR) + 30))
    longer[-30:] *= 2
    every = hourly_rollups(MONDAY - PAST, PAST + 30 * HOUR).sort("complexity", "bucket")
    factor = pl.Series(np.tile(longer, 2))
    every = every.with_columns(
        cost_sum_usd=pl.col("cost_sum_usd") * factor,
        prompt_token_sum=(pl.col("prompt_token_sum") * factor).cast(pl.Int64),
    )
    sides = [every.filter(pl.col("bucket") < MONDAY), every.filter(pl.col("bucket") >= MONDAY)]
    explained = read(sides[0], sides[1], COST).goal
    assert explained.judgement == "same"
    other_tokens = ReadingLimits(longest=168, keep_from=24, minimum_sample=100, prompts_comparable=False)
    assert read(sides[0], sides[1], COST, limits=other_tokens).placebos.designs[0].shares == ()


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.3), (0.2, 0.9), (1.0, 0.0), (0.0, 1.0)])
def test_a_metric_that_is_known_of_other_selections_than_before_is_unknown(before: float, after: float) -> None:
    seen = read(quiet_past(rated=before), hourly_rollups(MONDAY, 30 * HOUR, 5, rated=after, accuracy=1.0), ACCURACY)
    assert (seen.goal.judgement, seen.goal.change) == ("unknown", None)
    assert seen.goal.reason


def test_it_is_said_how_many_values_a_guard_misses() -> None:
    """Fifty ratings are none; some hundreds are known, but leave the interval wider than the margin."""
    few = read(quiet_past(rated=0.002), hourly_rollups(MONDAY, 30 * HOUR, 5, rated=0.002), ACCURACY).goal
    assert (few.judgement, few.missing_sample) == ("unknown", 100 - min(few.sample_before, few.sample_after))
    some = read(quiet_past(rated=0.02), hourly_rollups(MONDAY, 30 * HOUR, 5, rated=0.02), ACCURACY).goal
    assert some.judgement == "unclear"
    assert (some.missing_sample or 0) > some.sample_after


def test_a_saving_is_observed_with_its_sign() -> None:
    """At half the price half the spend is saved; at twice the price as much is lost."""
    for usd, sign in ((0.025, 1), (0.10, -1)):
        after = hourly_rollups(MONDAY, 30 * HOUR, 5, usd=usd)
        interval = read(quiet_past(), after, ERRORS).savings_usd
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        truth = (0.05 - usd) * int(after["cost_count"].sum())
        assert interval.low <= truth <= interval.high
        assert sign * interval.low > 0
        assert sign * interval.high > 0


def test_without_known_costs_no_saving_is_observed() -> None:
    free = [pl.lit(0).cast(kind).alias(name) for name, kind in (("cost_count", pl.Int64), ("cost_sum_usd", pl.Float64))]
    after = hourly_rollups(MONDAY, 30 * HOUR, 7).with_columns(free)
    assert read(quiet_past().with_columns(free), after, ERRORS).savings_usd is None


@pytest.mark.parametrize("past", [timedelta(), DAY, PAST])
@pytest.mark.parametrize("after", [timedelta(), 5 * HOUR])
def test_too_few_hours_are_not_assessed(past: timedelta, after: timedelta) -> None:
    seen = read(hourly_rollups(MONDAY - past, past), hourly_rollups(MONDAY, after, 3), ERRORS, COST)
    changes: list[MetricChange] = list(seen.changes)
    assert [(change.judgement, change.change) for change in changes] == [("unknown", None)] * 2
    assert changes[0].reason == "known in 0 matched hours, 12 are needed"
    assert seen.savings_usd is None


def test_equal_runs_give_equal_verdicts() -> None:
    after = hourly_rollups(MONDAY, 30 * HOUR, 5)
    runs: list[Any] = [read(quiet_past(), after, ERRORS, COST) for _ in range(2)]
    assert runs[0].changes == runs[1].changes
