"""The product document's worked rules: each at, just under and just over its limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from models.document import ErrorBurst, HighCost, LowCacheHitRate, SlowResponse
from models.settings import PerformanceMetrics
from tasks.diagnose import diagnose
from tests.factories import MONDAY, hours

LIMITS = PerformanceMetrics()


def found(rollups: pl.DataFrame) -> list[str]:
    return [bottleneck.type for bottleneck in diagnose(rollups, LIMITS, "UTC")]


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
    slow, cache, cost = diagnose(hours(*rows), LIMITS, "UTC")
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
    [bottleneck] = diagnose(hours(*[failed] * 5, *[slow] * 12, *[fast] * 88), LIMITS, "UTC")
    assert isinstance(bottleneck, SlowResponse)
    assert (bottleneck.sample, bottleneck.percentage) == (100, 12.0)


def test_what_is_unknown_is_no_bottleneck() -> None:
    """Without any known value no rule says anything."""
    assert found(hours(*[{}] * 50)) == []
    assert found(hours()) == []


def test_a_bottleneck_says_where_it_sits() -> None:
    """The model that causes the slowness is named, with its own rate and its share of the slow."""
    quick = [{"model_id": "quick", "response_time_ms": 100.0}] * 300
    slow = [{"model_id": "slow", "response_time_ms": 8000.0, "team": "red"}] * 60
    [bottleneck] = diagnose(hours(*quick, *slow), LIMITS, "UTC")
    model = next(place for place in bottleneck.where if place.dimension == "model")
    assert (model.value, model.rate, model.affected, model.share) == ("slow", 1.0, 60, 1.0)


def test_an_error_burst_is_found_with_its_hours() -> None:
    """Two bad hours in two days of few errors are one burst; the usual rate is that of the other hours."""
    rows = [
        {"timestamp": MONDAY + timedelta(hours=hour), "error": (hour in (20, 21) and i < 15) or i == 0}
        for hour in range(48)
        for i in range(50)
    ]
    [burst] = diagnose(hours(*rows), LIMITS, "UTC")
    assert isinstance(burst, ErrorBurst)
    assert (burst.start, burst.end) == (MONDAY + timedelta(hours=20), MONDAY + timedelta(hours=22))
    assert (burst.affected, burst.sample) == (30, 100)
    assert burst.usual_error_rate == pytest.approx(0.02)


def test_a_few_errors_in_a_quiet_hour_are_no_burst() -> None:
    """Three failures out of four say little."""
    rows = [{"timestamp": MONDAY + timedelta(hours=hour)} for hour in range(24) for _ in range(50)]
    few = [{"timestamp": MONDAY + timedelta(hours=30), "error": i < 3} for i in range(4)]
    assert found(hours(*rows, *few)) == []
