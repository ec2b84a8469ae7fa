"""A model's regression is reported when it exists, with values before and after, and seldom when it does not."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from models.kpis import KpiName
from models.settings import PerformanceMetrics
from tasks.bottlenecks.model_regressions import REGRESSING, regressions
from tasks.rollups.aggregate import INSTANT
from tests.support.chance import few_or_all, most_by_chance
from tests.support.factories import MONDAY

LIMITS = PerformanceMetrics()
CLASSES = ("simple", "moderate", "complex")


def traffic(
    seed: int,
    model_id: str = "m",
    *,
    hours: int = 24,
    mean_ms: float = 1000.0,
    errors: float = 0.01,
    accuracy: float = 0.96,
    mix: tuple[float, float, float] = (20.0, 10.0, 5.0),
) -> pl.DataFrame:
    """Return hours of one model by complexity: `mix` selections an hour; times are skewed and rise with complexity."""
    draw = np.random.default_rng(seed)
    shape = (hours, len(CLASSES))
    count = draw.poisson(np.broadcast_to(mix, shape))
    failed = draw.binomial(count, errors)
    served = count - failed
    times = draw.gamma(np.maximum(2 * served, 1e-9), mean_ms * np.array([0.5, 1.0, 2.0]) / 2)
    judged = draw.binomial(served, 0.6)
    sums = (count, failed, served, np.where(served, times, 0.0), judged, draw.binomial(judged, accuracy).astype(float))
    return pl.DataFrame(
        {
            "bucket": [MONDAY + timedelta(hours=hour) for hour in range(hours) for _ in CLASSES],
            "model_id": [model_id] * count.size,
            "complexity": CLASSES * hours,
            **{name: values.ravel() for name, values in zip(REGRESSING, sums, strict=True)},
        },
        schema_overrides={"bucket": INSTANT},
    )


def several(seed: int, *, hours: int = 24, mix: tuple[float, float, float] = (20.0, 10.0, 5.0)) -> pl.DataFrame:
    return pl.concat([traffic(100 * seed + i, f"m{i}", hours=hours, mix=mix) for i in range(12)])


def total(rollups: pl.DataFrame, column: str) -> float:
    return float(rollups[column].sum())


def test_a_slower_model_is_named_and_no_other() -> None:
    """One of thirteen models takes half as long again; its times before and after are stated with an interval."""
    now = pl.concat([several(1), traffic(90, "worse", mean_ms=1500.0)])
    [found] = regressions(now, [pl.concat([several(2), traffic(91, "worse")])], LIMITS)
    assert (found.model_id, found.metric, found.severity) == ("worse", KpiName.RESPONSE_TIME, "low")
    assert found.after / found.before == pytest.approx(1.5, rel=0.15)
    assert found.change.estimate == pytest.approx(found.after - found.before)
    assert found.change.low is not None
    assert found.change.low > 0
    assert found.sample == now.filter(pl.col("model_id") == "worse")["response_time_count"].sum()


@pytest.mark.parametrize(("errors", "severity"), [(0.04, "low"), (0.075, "medium"), (0.2, "high")])
def test_more_errors_are_as_grave_as_their_kpi(errors: float, severity: str) -> None:
    """Beyond critical a regression is high, beyond warning medium."""
    [found] = regressions(traffic(1, errors=errors, hours=96), [traffic(2, errors=0.01, hours=96)], LIMITS)
    assert (found.metric, found.severity) == (KpiName.ERROR_RATE, severity)


def test_lost_accuracy_is_a_regression() -> None:
    """Of accuracy, less is worse."""
    [found] = regressions(traffic(1, accuracy=0.8), [traffic(2, accuracy=0.96)], LIMITS)
    assert found.metric is KpiName.SELECTION_ACCURACY
    assert found.change.estimate < 0


def test_a_better_model_is_no_regression() -> None:
    """Faster, more accurate, fewer errors: nothing to report here."""
    now, before = traffic(1, mean_ms=500.0, errors=0.0, accuracy=1.0), traffic(2, errors=0.1, accuracy=0.8)
    assert regressions(now, [before], LIMITS) == []


def test_a_significant_but_small_regression_is_not_reported() -> None:
    """5 % slower over so many selections is significant, but too small to report."""
    busy = (20_000.0, 10_000.0, 5_000.0)
    assert regressions(traffic(1, mean_ms=1050.0, mix=busy), [traffic(2, mix=busy)], LIMITS) == []
    assert regressions(traffic(1, mean_ms=1150.0, mix=busy), [traffic(2, mix=busy)], LIMITS)


def test_harder_requests_do_not_make_a_model_worse() -> None:
    """The average rises by half because the mix changed, in no class alone."""
    now, before = traffic(1, mix=(5.0, 10.0, 20.0)), traffic(2, mix=(20.0, 10.0, 5.0))
    after, earlier = (total(frame, "response_time_sum_ms") / total(frame, "count") for frame in (now, before))
    assert after > 1.4 * earlier
    assert regressions(now, [before], LIMITS) == []


def test_a_class_that_is_new_is_not_compared() -> None:
    """A model that now gets complex requests too is assessed by the others alone."""
    now, before = traffic(1, mix=(20.0, 10.0, 50.0)), traffic(2).filter(pl.col("complexity") != "complex")
    assert regressions(now, [before], LIMITS) == []


def test_the_first_period_with_data_is_compared_with() -> None:
    """A model is compared with the week before if it served then, else with the period before."""
    now, same, slower = traffic(1, mean_ms=2000.0), traffic(2, mean_ms=2000.0), traffic(3)
    assert regressions(now, [same, slower], LIMITS) == []
    assert len(regressions(now, [same.clear(), slower], LIMITS)) == 1
    assert len(regressions(now, [same.head(9), slower], LIMITS)) == 1
    assert regressions(now, [same.clear(), same.clear()], LIMITS) == []


def test_a_few_hours_are_too_few() -> None:
    """Five hours on one side are too few, however far apart the sides are."""
    assert regressions(traffic(1, hours=5, mean_ms=9000.0), [traffic(2)], LIMITS) == []
    assert regressions(traffic(1, mean_ms=9000.0), [traffic(2, hours=5)], LIMITS) == []


def test_only_the_three_worst_are_reported() -> None:
    """The gravest first, and of equally grave ones the one that changed most."""
    after = {"a": 1400.0, "b": 9000.0, "c": 2500.0, "d": 1800.0, "e": 4000.0}
    now = pl.concat([traffic(seed, name, mean_ms=ms) for seed, (name, ms) in enumerate(after.items())])
    before = pl.concat([traffic(10 + seed, name) for seed, name in enumerate(after)])
    found = regressions(now, [before], LIMITS)
    assert [(item.model_id, item.severity) for item in found] == [("b", "high"), ("e", "medium"), ("c", "low")]


@few_or_all(20, 100)
@pytest.mark.parametrize("hours", [6, 24])
def test_noise_is_seldom_a_regression(hours: int, draws: int) -> None:
    """Of 100 periods like the one before, at most five show one, though each makes three dozen comparisons."""
    mix = (4.0, 3.0, 2.0) if hours > 6 else (12.0, 8.0, 5.0)
    periods = (several(seed, hours=hours, mix=mix) for seed in range(draws + 1))
    most = 5 if draws == 100 else most_by_chance(0.05, draws)
    assert sum(bool(regressions(now, [before], LIMITS)) for before, now in pairwise(periods)) <= most
