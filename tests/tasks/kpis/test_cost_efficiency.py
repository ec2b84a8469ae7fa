"""Cost efficiency and savings against the cheapest adequate model of each complexity class."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import Interval
from models.settings import Optimizer, PerformanceMetrics
from tasks.kpis.cost_efficiency import (
    EFFICIENCY_MINIMUM_SAMPLE,
    NO_ADEQUATE_MODEL,
    cheapest_adequate,
    measure_efficiency,
    optimization_savings,
)
from tasks.statistics.randomization import Split
from tests.support.factories import hours

LIMITS = PerformanceMetrics()


def calls(model_id: str, count: int, cost_usd: float | None, **more: Any) -> list[dict[str, Any]]:
    base = {
        "model_id": model_id,
        "complexity": "simple",
        "cost_usd": cost_usd,
        "response_time_ms": 500.0,
        "accuracy": 1.0,
    }
    return [base | more] * count


def test_the_cheapest_adequate_model_is_the_baseline() -> None:
    """Half the selections on a model at four times the price: efficiency is the baseline's share of the spend."""
    efficiency = measure_efficiency(hours(*calls("cheap", 100, 0.01), *calls("costly", 100, 0.04)), LIMITS)
    assert efficiency.value == pytest.approx(2.0 / 5.0)
    assert efficiency.savings.savings_usd is not None
    assert efficiency.savings.savings_usd.estimate == pytest.approx(3.0)
    assert efficiency.by_model == {"cheap": pytest.approx(1.0), "costly": pytest.approx(0.25)}
    assert efficiency.coverage.share == 1.0


@pytest.mark.parametrize(
    "spoiled",
    [
        {"accuracy": 0.0},
        {"accuracy": None},
        {"response_time_ms": 3100.0},
        {"response_time_ms": None, "error": True},
    ],
    ids=["inaccurate", "accuracy unknown", "slow", "never answered"],
)
def test_an_inadequate_model_is_no_baseline(spoiled: dict[str, Any]) -> None:
    """A cheaper model that is wrong, slow or unknown does not make the others look wasteful."""
    efficiency = measure_efficiency(hours(*calls("cheap", 100, 0.01, **spoiled), *calls("good", 100, 0.04)), LIMITS)
    assert efficiency.cheapest["simple"].model_id == "good"


def test_few_rows_are_no_knowledge() -> None:
    """Below the minimum sample a model is not called adequate, and the KPI says why it has no value."""
    efficiency = measure_efficiency(hours(*calls("m", EFFICIENCY_MINIMUM_SAMPLE - 1, 0.01)), LIMITS)
    assert efficiency.value is None
    assert efficiency.savings.reason == NO_ADEQUATE_MODEL
    assert efficiency.coverage.known == 0


def test_spending_less_than_the_baseline_is_a_loss_of_savings() -> None:
    """Traffic on a cheaper but inadequate model: the baseline would cost more, so the saving is negative."""
    rows = [*calls("wrong", 300, 0.01, accuracy=0.2), *calls("right", 100, 0.05)]
    efficiency = measure_efficiency(hours(*rows), LIMITS)
    assert efficiency.savings.savings_usd is not None
    assert efficiency.savings.savings_usd.estimate == pytest.approx(300 * (0.01 - 0.05))
    assert efficiency.value == 1.0


def test_cache_hits_count_at_their_own_cost() -> None:
    """A hit on the costly model is not charged the baseline's price."""
    hits = calls("costly", 100, 0.001, cache_hit=True)
    efficiency = measure_efficiency(hours(*calls("cheap", 100, 0.01), *hits), LIMITS)
    assert efficiency.value == pytest.approx(1.0)


def test_classes_without_an_adequate_model_are_skipped_and_counted() -> None:
    """The efficiency is over the covered class; the coverage says how much that is."""
    hard = calls("m", 100, 0.03, complexity="complex", accuracy=0.5)
    efficiency = measure_efficiency(hours(*calls("m", 100, 0.01), *hard), LIMITS)
    assert efficiency.value == pytest.approx(1.0)
    assert efficiency.coverage.share == 0.5
    assert efficiency.savings.covered_share == pytest.approx(0.25)


VARIED = [*calls("cheap", 50, 0.01), *calls("cheap", 50, 0.03), *calls("costly", 400, 0.08)]
"""The cheap model costs 0.02 USD on average, with a standard deviation of 0.01."""


def test_the_interval_holds_the_error_of_the_average_and_the_scatter_around_it() -> None:
    """400 selections moved to an average known from 100: 0.01 × √(400 + 400² / 100), times 1.96."""
    savings = measure_efficiency(hours(*VARIED), LIMITS).savings.savings_usd
    assert savings is not None
    assert savings.low is not None
    assert savings.high is not None
    spread = 1.96 * 0.01 * (400 + 400**2 / 100) ** 0.5
    assert savings.estimate == pytest.approx(400 * 0.06)
    assert (savings.estimate - savings.low, savings.high - savings.estimate) == pytest.approx(
        (spread, spread), rel=0.01
    )


def test_the_interval_is_at_the_level_asked_for() -> None:
    """At 90 % it is narrower than at 95 %, by the ratio of the normal quantiles."""
    low = [measure_efficiency(hours(*VARIED), LIMITS, level=level).savings.savings_usd for level in (0.90, 0.95)]
    at_90, at_95 = (item.estimate - item.low for item in low if item is not None and item.low is not None)
    assert at_90 / at_95 == pytest.approx(1.6449 / 1.96, rel=1e-3)


def test_accuracy_after_is_less_certain_than_what_was_measured() -> None:
    """Of few selections moved, it may differ much from the class's average."""
    rows = [*calls("cheap", 380, 0.01), *calls("cheap", 20, 0.01, accuracy=0.0)]
    candidate = cheapest_adequate(hours(*rows), PerformanceMetrics.model_validate({"selectionAccuracy": LOW}))["simple"]
    few, many = candidate.accuracy_of(10), candidate.accuracy_of(10**9)
    assert few.estimate == many.estimate == candidate.accuracy.estimate
    assert many.low == pytest.approx(candidate.accuracy.low)
    assert few.low is not None
    assert few.low < 0.8


LOW = {"target": 0.9, "warning": 0.8, "critical": 0.7}


@pytest.mark.parametrize(
    ("split", "observational", "reason"),
    [
        (Split(), True, None),
        (Split(declared=True), False, None),
        (Split(declared=True, uneven={"simple": "other teams"}), True, "does not show in the data: other teams"),
        (Split(declared=True, uneven={"complex": "other teams"}), False, None),
    ],
    ids=["not declared", "declared", "contradicted", "contradicted elsewhere"],
)
def test_savings_are_observational_unless_split_at_random(
    split: Split, observational: bool, reason: str | None
) -> None:
    savings = measure_efficiency(hours(*VARIED), LIMITS, split).savings
    assert savings.observational == observational
    assert (savings.reason is None) if reason is None else (reason in (savings.reason or ""))


def test_measured_savings_stand_beside_the_estimate_net_of_the_router() -> None:
    """Verdicts add up, a loss too, their errors in quadrature; router overhead is subtracted from the estimate."""
    estimated = measure_efficiency(hours(*VARIED), LIMITS).savings
    assert estimated.savings_usd is not None
    verdicts = [Interval(estimate=5.0, low=2.0, high=8.0), Interval(estimate=-1.0, low=-5.0, high=3.0)]
    found = optimization_savings(estimated, verdicts, 500, Optimizer(router_usd_per_request=0.01))
    assert found.measured_usd == Interval(estimate=4.0, low=-1.0, high=9.0)
    assert (found.measured_count, found.router_cost_usd) == (2, 5.0)
    assert found.net_usd is not None
    assert found.net_usd.estimate == pytest.approx(estimated.savings_usd.estimate - 5.0)


def test_router_overhead_is_unknown_unless_given() -> None:
    """Nor is anything measured before a change was assessed."""
    found = optimization_savings(measure_efficiency(hours(*VARIED), LIMITS).savings, [], 500, Optimizer())
    assert (found.measured_usd, found.measured_count, found.router_cost_usd, found.net_usd) == (None, 0, None, None)
    unbounded = optimization_savings(found.estimated, [Interval(estimate=1.0)], 500, Optimizer())
    assert unbounded.measured_usd == Interval(estimate=1.0)


def test_nothing_is_known_of_nothing() -> None:
    """Without selections there is neither an efficiency nor a saving."""
    efficiency = measure_efficiency(hours(), LIMITS)
    assert efficiency.value is None
    assert efficiency.savings.spent_usd is None


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["simple", "complex", None]), st.floats(0, 1), st.floats(0.9, 1)
        ),
        max_size=60,
    )
)
def test_efficiency_and_savings_belong_together(cells: list[tuple[str, str | None, float, float]]) -> None:
    """Efficiency is within 0 and 1, and savings are covered spend × (1 - efficiency) unless they are a loss."""
    rows = [row for m, c, usd, acc in cells for row in calls(m, 40, usd, complexity=c, accuracy=acc)]
    efficiency = measure_efficiency(hours(*rows), LIMITS)
    if efficiency.value is None:
        return
    savings = efficiency.savings
    assert 0 <= efficiency.value <= 1
    assert savings.spent_usd is not None
    assert savings.savings_usd is not None
    expected = savings.spent_usd * savings.covered_share * (1 - efficiency.value)
    assert max(0.0, savings.savings_usd.estimate) == pytest.approx(expected, abs=1e-9)
