"""The product document's worked rules: each at, just under and just over its limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.simulated_router import DEFAULT_CONFIG, INCIDENT, INCIDENT_MODEL, simulate
from models.documents import Bottleneck, ErrorBurst, HighCost, Hotspot, LowCacheHitRate, SlowResponse
from models.kpis import KpiName
from models.period import Level
from models.settings import PerformanceMetrics
from tasks.bottlenecks.detect import detect_bottlenecks
from tasks.bottlenecks.hotspots import Measure, find_hotspots, hotspot_frames
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up
from tests.support.chance import few_or_all, most_by_chance
from tests.support.factories import MONDAY, hours

LIMITS = PerformanceMetrics()


def found(rollups: pl.DataFrame) -> list[str]:
    return [bottleneck.type for bottleneck in detect_bottlenecks(rollups, LIMITS, "UTC")]


def mix(part: int, whole: int, yes: dict[str, Any], no: dict[str, Any]) -> pl.DataFrame:
    return hours(*([yes] * part + [no] * (whole - part)))


@pytest.mark.parametrize(
    ("slow", "expected"), [(99, []), (100, []), (101, ["slow_response"])], ids=["under", "at", "over"]
)
def test_slow_response_is_over_ten_percent(slow: int, expected: list[str]) -> None:
    """Exactly 10 % of selections slower than target is not yet a bottleneck."""
    assert found(mix(slow, 1000, {"response_time_ms": 2500.0}, {"response_time_ms": 1500.0})) == expected


@pytest.mark.parametrize(("time_ms", "expected"), [(2000.0, []), (2000.001, ["slow_response"])], ids=["at", "over"])
def test_slow_is_slower_than_target(time_ms: float, expected: list[str]) -> None:
    """A selection of exactly the target's time is not slow."""
    assert found(hours(*[{"response_time_ms": time_ms}] * 10)) == expected


@pytest.mark.parametrize(
    ("hits", "expected"), [(899, ["low_cache_hit_rate"]), (900, []), (901, [])], ids=["under", "at", "over"]
)
def test_low_cache_hit_rate_is_below_target(hits: int, expected: list[str]) -> None:
    """A hit rate of exactly 0.9 meets its target."""
    assert found(mix(hits, 1000, {"cache_hit": True}, {"cache_hit": False})) == expected


@pytest.mark.parametrize(
    ("cost_usd", "expected"), [(0.0499, []), (0.05, []), (0.0501, ["high_cost"])], ids=["under", "at", "over"]
)
def test_high_cost_is_over_five_cents(cost_usd: float, expected: list[str]) -> None:
    """An average of exactly 0.05 USD is not high."""
    assert found(hours(*[{"cost_usd": cost_usd}] * 16)) == expected


def test_the_documents_fields_are_there() -> None:
    """Type, severity and figures are the product document's."""
    rows = [{"response_time_ms": 2500.0, "cache_hit": i < 4, "cost_usd": 0.08} for i in range(8)]
    slow, cache, cost = detect_bottlenecks(hours(*rows), LIMITS, "UTC")
    assert isinstance(slow, SlowResponse)
    assert (slow.severity, slow.affected, slow.percentage) == ("high", 8, 100.0)
    assert isinstance(cache, LowCacheHitRate)
    assert (cache.severity, cache.current_rate, cache.target_rate) == ("medium", 0.5, 0.9)
    assert isinstance(cost, HighCost)
    assert (cost.severity, round(cost.average_cost, 4)) == ("medium", 0.08)
    assert cost.recommendation == "Consider using cheaper models for simple tasks"


def test_failures_without_a_time_are_neither_fast_nor_slow() -> None:
    """The share of slow selections is over those with a known time."""
    failed, slow, fast = {"error": True}, {"response_time_ms": 9000.0}, {"response_time_ms": 10.0}
    [bottleneck] = detect_bottlenecks(hours(*[failed] * 5, *[slow] * 12, *[fast] * 88), LIMITS, "UTC")
    assert isinstance(bottleneck, SlowResponse)
    assert (bottleneck.sample, bottleneck.percentage) == (100, 12.0)


def test_what_is_unknown_is_no_bottleneck() -> None:
    """Without any known value no rule says anything."""
    assert found(hours(*[{}] * 50)) == []
    assert found(hours()) == []


def test_a_bottleneck_names_its_hotspots() -> None:
    """The model that causes the slowness is named, with its own rate and its share of the slow."""
    quick = [{"model_id": "quick", "response_time_ms": 100.0}] * 300
    slow = [{"model_id": "slow", "response_time_ms": 8000.0, "team": "red"}] * 60
    [bottleneck] = detect_bottlenecks(hours(*quick, *slow), LIMITS, "UTC")
    model = next(hotspot for hotspot in bottleneck.where if hotspot.dimension == "model")
    assert (model.value, model.rate, model.affected, model.share) == ("slow", 1.0, 60, 1.0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1_000_000))
def test_a_hotspot_and_the_rest_make_the_total(seed: int) -> None:
    """For every hotspot: share and rate, with the rate without it, add up to the bottleneck's own figures."""
    for bottleneck in detect_bottlenecks(hours(*uneven(seed)), LIMITS, "Asia/Kolkata"):
        for hotspot in bottleneck.where:
            whole, part, known = figures(bottleneck, hotspot)
            rest = bottleneck.sample - known
            assert hotspot.share == pytest.approx(part / (whole * bottleneck.sample))
            assert hotspot.rate_without is not None
            assert hotspot.rate * known + hotspot.rate_without * rest == pytest.approx(
                rate_of(bottleneck) * bottleneck.sample
            )


def uneven(seed: int) -> list[dict[str, Any]]:
    """Draw selections of which some models, teams and hours are slower, costlier, less cached and more often fail."""
    draw = np.random.default_rng(seed)
    worse = {name: draw.random(3) for name in ("model", "team", "hour")}
    rows = []
    for hour in range(30):
        for _ in range(60):
            model, team = draw.integers(3), draw.integers(3)
            bad = (worse["model"][model] + worse["team"][team] + worse["hour"][hour % 3]) / 3
            failed = draw.random() < (0.6 if hour == 20 and model == 1 else 0.01)
            rows.append(
                {
                    "timestamp": MONDAY + timedelta(hours=hour),
                    "model_id": f"m{model}",
                    "team": None if team == 2 else f"t{team}",
                    "complexity": "complex" if bad > 0.5 else "simple",
                    "error": failed,
                    "response_time_ms": None if failed else 4000.0 * bad,
                    "cost_usd": None if failed else 0.2 * bad * draw.random(),
                    "cache_hit": bool(draw.random() > bad),
                }
            )
    return rows


def rate_of(bottleneck: Bottleneck) -> float:
    """Return the bottleneck's own measure, over all of it."""
    match bottleneck:
        case SlowResponse():
            return bottleneck.percentage / 100
        case LowCacheHitRate():
            return bottleneck.current_rate
        case HighCost():
            return bottleneck.average_cost
        case ErrorBurst():
            return bottleneck.error_rate
    raise AssertionError(bottleneck.type)


def figures(bottleneck: Bottleneck, hotspot: Hotspot) -> tuple[float, float, float]:
    """Return a bottleneck's overall rate, a hotspot's share of it, and its number of selections."""
    if isinstance(bottleneck, HighCost):
        return bottleneck.average_cost, hotspot.rate * hotspot.affected, hotspot.affected
    if isinstance(bottleneck, LowCacheHitRate):
        return 1 - bottleneck.current_rate, hotspot.affected, hotspot.affected / (1 - hotspot.rate)
    return rate_of(bottleneck), hotspot.affected, hotspot.affected / hotspot.rate


def test_the_hours_of_a_problem_are_one_stretch_past_midnight() -> None:
    """From 23:00 to 02:00 on the zone's clock half is slow, so little is left of it in the other hours."""
    rows = [
        {
            "timestamp": MONDAY + timedelta(hours=hour),
            "response_time_ms": 9000.0 if (hour + 9) % 24 in (23, 0, 1) and i % 2 else 100.0,
        }
        for hour in range(40)
        for i in range(60)
    ]
    rows += [{"timestamp": MONDAY + timedelta(hours=hour), "response_time_ms": 9000.0} for hour in range(40)] * 3
    [bottleneck] = detect_bottlenecks(hours(*rows), LIMITS, "Asia/Tokyo")
    [hotspot] = bottleneck.where
    assert (hotspot.dimension, hotspot.value) == ("hour", "23:00–02:00")
    assert hotspot.rate == pytest.approx(33 / 63)
    assert hotspot.rate_without == pytest.approx(3 / 63)


@few_or_all(20, 100)
@pytest.mark.parametrize("dimension", ["model", "complexity", "team", "hour"])
def test_noise_seldom_has_a_hotspot(dimension: Any, draws: int) -> None:
    """Of 100 problems that are evenly distributed, at most ten get a hotspot in a dimension."""
    slow = Measure("slow", "known", "slow")

    def strewn(seed: int) -> pl.DataFrame:
        draw = np.random.default_rng(seed)
        known = draw.poisson([30, 10, 3, 1, 0.5, 0.4] * 24)
        names = {name: [f"{name}{i % 6}" for i in range(known.size)] for name in ("model_id", "complexity", "team")}
        buckets = [MONDAY + timedelta(hours=i // 6) for i in range(known.size)]
        return pl.DataFrame({"bucket": buckets, **names, "known": known, "slow": draw.binomial(known, 0.2)})

    frames = [strewn(seed) for seed in range(draws)]
    most = 10 if draws == 100 else most_by_chance(0.1, draws)
    assert sum(bool(find_hotspots(hotspot_frames(frame, frame, "UTC"), slow, [dimension])) for frame in frames) <= most


def test_an_error_burst_is_found_with_its_hours() -> None:
    """Two bad hours in two days of few errors are one burst; the baseline rate is that of the other hours."""
    rows = [
        {"timestamp": MONDAY + timedelta(hours=hour), "error": (hour in (20, 21) and i < 15) or i == 0}
        for hour in range(48)
        for i in range(50)
    ]
    [burst] = detect_bottlenecks(hours(*rows), LIMITS, "UTC")
    assert isinstance(burst, ErrorBurst)
    assert (burst.start, burst.end) == (MONDAY + timedelta(hours=20), MONDAY + timedelta(hours=22))
    assert (burst.affected, burst.sample) == (30, 100)
    assert burst.usual_error_rate == pytest.approx(0.02)


def test_an_error_burst_names_its_main_contributors() -> None:
    """Its hotspots cover its own hours alone: one model fails then, another fails more often at other times."""
    rows = [
        {
            "timestamp": MONDAY + timedelta(hours=hour),
            "model_id": f"m{i % 4}",
            "error": (i % 4 == 1 and hour == 20) or (i % 4 == 2 and i < 10),
        }
        for hour in range(48)
        for i in range(200)
    ]
    [burst] = detect_bottlenecks(hours(*rows), LIMITS, "UTC")
    assert isinstance(burst, ErrorBurst)
    [hotspot] = burst.where
    assert (hotspot.dimension, hotspot.value, hotspot.rate, hotspot.affected) == ("model", "m1", 1.0, 50)
    assert hotspot.rate_without == pytest.approx(2 / 150)


def test_the_simulated_incident_is_found() -> None:
    """The provider of one model failed for three hours: the burst has these hours, and this model is its hotspot."""
    start, end = (INCIDENT[0] - timedelta(days=2), INCIDENT[1] + timedelta(days=1))
    rows = simulate(start, end, DEFAULT_CONFIG).select(*SELECTION_SCHEMA)
    found = detect_bottlenecks(roll_up(rows, "UTC", 2000.0)[Level.HOUR], LIMITS, "UTC")
    [burst] = [bottleneck for bottleneck in found if isinstance(bottleneck, ErrorBurst)]
    assert (burst.start, burst.end) == INCIDENT
    model = next(hotspot for hotspot in burst.where if hotspot.dimension == "model")
    assert model.value == INCIDENT_MODEL
    assert model.share > 0.9
    assert model.rate_without is not None
    assert (
        model.rate_without
        < LIMITS.of(KpiName.ERROR_RATE).target
        < LIMITS.of(KpiName.ERROR_RATE).critical
        < burst.error_rate
    )


def test_a_few_errors_in_a_quiet_hour_are_no_burst() -> None:
    """Three failures out of four are weak evidence."""
    rows = [{"timestamp": MONDAY + timedelta(hours=hour)} for hour in range(24) for _ in range(50)]
    few = [{"timestamp": MONDAY + timedelta(hours=30), "error": i < 3} for i in range(4)]
    assert found(hours(*rows, *few)) == []
