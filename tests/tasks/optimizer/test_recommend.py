"""Recommendations are ranked by expected gain, confidence and effort."""

from __future__ import annotations

from typing import Any

import pytest

from models.documents import Recommendation
from models.settings import Optimizer, PerformanceMetrics
from tasks.bottlenecks.detect import detect_bottlenecks
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.optimizer.recommend import recommend
from tasks.optimizer.router_values import Setting
from tasks.statistics.randomization import Split
from tests.support.factories import hours

CONFIG = {
    "cache.max_entries": Setting(1000, 1),
    "cache.ttl_seconds": Setting(600, 1),
    "cache.key_strategy": Setting("exact", 1),
    "cache.eviction_policy": Setting("fifo", 1),
}


def calls(model_id: str, count: int, cost_usd: float, complexity: str = "simple") -> list[dict[str, Any]]:
    base = {"complexity": complexity, "accuracy": 1.0, "response_time_ms": 100.0}
    return [base | {"model_id": model_id, "cost_usd": cost_usd}] * count


def recommended(
    *rows: dict[str, Any], config: dict[str, Setting] = CONFIG, split: Split | None = None
) -> tuple[Recommendation, ...]:
    rollups, limits = hours(*rows), PerformanceMetrics()
    found = detect_bottlenecks(rollups, limits, "UTC")
    return recommend(found, rollups, cheapest_adequate(rollups, limits), config, Optimizer(), split=split)


SLOW = [{"response_time_ms": 5000.0}] * 60 + [{"response_time_ms": 100.0}] * 140
UNCACHED = [{"cache_hit": False}] * 100 + [{"cache_hit": True}] * 300
COSTLY = [*calls("cheap", 100, 0.01), *calls("costly", 100, 0.2)]


def test_expected_gain_is_a_share_and_the_best_comes_first() -> None:
    """19 of 21 USD could be saved; slow are 20 % of 400 too many by 5; hits fall short by 15, at twice the effort."""
    found = recommended(*SLOW, *UNCACHED, *COSTLY)
    assert [item.type for item in found] == ["model_selection", "cache_strategy", "cache_optimization"]
    assert [item.expected_gain for item in found] == pytest.approx([19 / 21, 0.15, 0.05])
    assert [item.confidence for item in found] == pytest.approx([1.0, 1.0, 0.9996], abs=1e-3)
    assert [item.score for item in found] == pytest.approx([19 / 21, 0.075, 0.05], rel=1e-2)


def test_what_may_be_chance_counts_for_less() -> None:
    """24 slow of 200 are 2 points over the limit, and 83 % likely to be over it at all."""
    [item] = recommended(*[{"response_time_ms": 5000.0}] * 24, *[{"response_time_ms": 1.0}] * 176)
    assert item.expected_gain == pytest.approx(0.02)
    assert item.confidence == pytest.approx(0.827, abs=1e-3)
    assert item.score == pytest.approx(0.02 * 0.827, rel=1e-3)


def test_what_cannot_be_done_comes_last_and_has_no_score() -> None:
    """Though the cache has the larger expected gain, its keys are not in the router's config."""
    slow = {key: value for key, value in CONFIG.items() if key in ("cache.max_entries", "cache.ttl_seconds")}
    found = recommended(*SLOW, *UNCACHED, config=slow)
    assert [(item.type, item.score is None) for item in found] == [
        ("cache_optimization", False),
        ("cache_strategy", True),
    ]
    assert found[1].expected_gain == pytest.approx(0.15)


def test_an_unknown_effect_has_an_unknown_expected_gain() -> None:
    """High cost of unknown accuracy: neither expected gain nor confidence nor score."""
    [item] = recommended(*[{"cost_usd": 0.2}] * 100)
    assert (item.status, item.expected_gain, item.confidence, item.score) == ("impossible", None, None, None)


def test_a_model_is_named_per_class_the_larger_saving_first() -> None:
    """Both are shares of the whole spend."""
    hard = [*calls("cheap", 100, 0.01, "complex"), *calls("costly", 300, 0.2, "complex")]
    found = recommended(*COSTLY, *hard)
    assert [item.complexity for item in found] == ["complex", "simple"]
    assert [item.expected_gain for item in found] == pytest.approx([57 / 82, 19 / 82])


@pytest.mark.parametrize(
    ("split", "observational", "said"),
    [
        (Split(), True, False),
        (Split(declared=True), False, False),
        (Split(declared=True, uneven={"simple": "in the class simple, other teams"}), True, True),
    ],
    ids=["not declared", "at random", "contradicted"],
)
def test_whether_the_saving_is_observational(split: Split, observational: bool, said: bool) -> None:
    """A declaration that the data contradict is reported in the note."""
    [item] = recommended(*COSTLY, split=split)
    assert item.observational == observational
    assert item.note is not None
    assert item.note.startswith("waits for a person to decide")
    assert ("does not show in the data" in item.note) == said
