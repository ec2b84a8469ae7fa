"""Cost efficiency and savings against the cheapest adequate model of each complexity class."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.settings import PerformanceMetrics
from tasks.efficiency import MINIMUM_SAMPLE, NO_ADEQUATE_MODEL, measure_efficiency
from tests.factories import hours

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
    efficiency = measure_efficiency(hours(*calls("m", MINIMUM_SAMPLE - 1, 0.01)), LIMITS)
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


def test_classes_without_an_adequate_model_are_left_out_and_counted() -> None:
    """The efficiency is over the covered class; the coverage says how much that is."""
    hard = calls("m", 100, 0.03, complexity="complex", accuracy=0.5)
    efficiency = measure_efficiency(hours(*calls("m", 100, 0.01), *hard), LIMITS)
    assert efficiency.value == pytest.approx(1.0)
    assert efficiency.coverage.share == 0.5
    assert efficiency.savings.covered_share == pytest.approx(0.25)


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
