"""The router beside everything sent to the cheapest model, and beside models shuffled at the same cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import Baseline, Interval
from tasks.kpis.routing_baselines import NO_ACCURACY, NO_COST, ONE_MODEL, UNCOMPARED, UNMATCHED, UNRATED, baselines
from tasks.statistics.randomization import Split
from tests.support.factories import hours

Numbers = npt.NDArray[np.float64]


def calls(model_id: str, complexity: str, count: int, cost_usd: float, **more: Any) -> list[dict[str, Any]]:
    base = {"model_id": model_id, "complexity": complexity, "cost_usd": cost_usd, "accuracy": 1.0}
    return [base | more] * count


def cost_of(baseline: Baseline) -> float:
    assert baseline.cost_usd is not None
    return baseline.cost_usd.estimate


def accuracy_of(baseline: Baseline) -> float:
    assert baseline.accuracy is not None
    return baseline.accuracy.estimate


ROUTED = [
    *calls("cheap", "simple", 150, 0.01),
    *calls("dear", "simple", 50, 0.04),
    *calls("cheap", "complex", 50, 0.01, accuracy=0.5),
    *calls("dear", "complex", 150, 0.04),
]
"""A router that knows where the dear model is needed."""


def test_all_three_by_hand() -> None:
    """Half of the selections with either model costs the same, and gets half of the complex ones half wrong."""
    found = baselines(hours(*ROUTED))
    three = (found.router, found.all_cheapest, found.shuffled)
    assert found.all_cheapest.model == "cheap"
    assert [cost_of(item) for item in three] == pytest.approx([10.0, 4.0, 10.0])
    assert [accuracy_of(item) for item in three] == pytest.approx([0.9375, 0.75, 0.875])
    assert [item.covered_share for item in three] == [1, 1, 1]
    assert found.accuracy_gained is not None
    assert found.accuracy_gained.estimate == pytest.approx(0.0625)
    assert found.accuracy_gained.low is not None
    assert found.accuracy_gained.low > 0


def test_a_shuffle_is_mixed_until_it_costs_the_same() -> None:
    """Complex selections cost ten times as much, so a router that spends there leaves a shuffle more of the dear."""
    rows = [
        *calls("cheap", "simple", 100, 0.01, accuracy=0.5),
        *calls("dear", "simple", 100, 0.02),
        *calls("cheap", "complex", 50, 0.1, accuracy=0.5),
        *calls("dear", "complex", 150, 0.2),
    ]
    # All cheap costs 22, all dear 44, and the router 1 + 2 + 5 + 30 = 38: 8/11 of the shuffle are dear.
    shuffled = baselines(hours(*rows)).shuffled
    assert cost_of(shuffled) == pytest.approx(38.0)
    assert accuracy_of(shuffled) == pytest.approx(8 / 11 + 3 / 11 * 0.5)


def test_requests_without_a_comparison_keep_their_routing() -> None:
    """Cache hits keep their cost, and a class that the cheap model never served its models."""
    hits = calls("dear", "simple", 100, 0.001, cache_hit=True)
    other = calls("dear", "unseen", 100, 0.04, accuracy=0.9)
    found = baselines(hours(*ROUTED, *hits, *other))
    assert cost_of(found.all_cheapest) == pytest.approx(4.0 + 0.1 + 4.0)
    assert found.all_cheapest.covered_share == pytest.approx(500 / 600)
    assert found.accuracy_gained is not None
    assert found.accuracy_gained.estimate == pytest.approx(0.0625 * 400 / 600)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], NO_COST),
        ([row | {"cost_usd": None} for row in ROUTED], NO_COST),
        ([row | {"accuracy": None} for row in ROUTED], NO_ACCURACY),
        ([row | {"model_id": "only"} for row in ROUTED], ONE_MODEL),
        ([row | {"complexity": None} for row in ROUTED], UNCOMPARED),
        (
            [
                *calls("a", "x", 100, 0.4), *calls("b", "x", 30, 0.1),
                *calls("a", "y", 30, 0.1), *calls("b", "y", 100, 0.4),
            ],
            UNMATCHED,
        ),
    ],
    ids=["nothing", "no cost", "no accuracy", "one model", "one class", "dearer than any mix"],
)  # fmt: skip
def test_an_unknown_gain_gives_its_reason(rows: list[dict[str, Any]], reason: str) -> None:
    found = baselines(hours(*rows))
    assert (found.accuracy_gained, found.shuffled.accuracy, found.reason) == (None, None, reason)


def test_the_cost_of_the_cheapest_is_stated_without_its_accuracy() -> None:
    """Accuracy that is known for one class only does not stand for all."""
    rows = [row | ({} if row["complexity"] == "simple" else {"accuracy": None}) for row in ROUTED]
    found = baselines(hours(*rows)).all_cheapest
    assert cost_of(found) == pytest.approx(4.0)
    assert (found.accuracy, found.reason) == (None, UNRATED)


def test_a_trial_of_a_few_calls_is_no_way_of_routing() -> None:
    """A model that served five selections neither becomes the cheapest nor keeps the rest from being compared."""
    found = baselines(hours(*ROUTED, *calls("trial", "simple", 5, 0.0)))
    assert found.all_cheapest.model == "cheap"
    assert found.accuracy_gained is not None


def test_what_was_not_split_at_random_is_marked() -> None:
    """Unless a random split is declared and nothing contradicts it."""
    rollups = hours(*ROUTED)
    assert baselines(rollups).observational
    assert not baselines(rollups, Split(declared=True)).observational
    uneven = baselines(rollups, Split(declared=True, uneven={"simple": "in the class simple, other teams"}))
    assert uneven.observational
    assert uneven.reason is not None


CELLS = st.lists(st.tuples(st.integers(30, 60), st.floats(0.001, 1.0)), min_size=6, max_size=6)


def cells_of(drawn: list[tuple[int, float]]) -> list[dict[str, Any]]:
    places = [(model_id, name) for model_id in "abc" for name in ("simple", "complex")]
    return [
        row
        for (model_id, name), (count, usd) in zip(places, drawn, strict=True)
        for row in calls(model_id, name, count, usd, accuracy=1 - usd / 2)
    ]


@settings(deadline=None, max_examples=60)
@given(CELLS)
def test_a_shuffle_costs_what_the_router_does(drawn: list[tuple[int, float]]) -> None:
    """Where accuracy falls with cost alike everywhere, equal cost is equal accuracy, so nothing can be gained."""
    found = baselines(hours(*cells_of(drawn)))
    if found.accuracy_gained is None:
        assert found.reason == UNMATCHED
        return
    assert found.shuffled.cost_usd == found.router.cost_usd
    assert found.accuracy_gained.estimate == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(CELLS, st.permutations(range(6)))
def test_equal_runs_give_equal_results(drawn: list[tuple[int, float]], order: list[int]) -> None:
    """The same rollups exactly, and in another order but for rounding."""
    rollups = hours(*cells_of(drawn))
    once, again, moved = baselines(rollups), baselines(rollups), baselines(rollups[order])
    assert once == again
    for name in ("router", "all_cheapest", "shuffled"):
        assert shown(getattr(moved, name)) == pytest.approx(shown(getattr(once, name)), abs=1e-9)


@pytest.mark.parametrize("chances", [(0.3, 0.3), (0.2, 0.6)], ids=["at random", "dear for complex"])
def test_the_interval_of_the_gain_holds_the_truth(chances: tuple[float, float]) -> None:
    """At least as often as its level says; the truth of a router that selects at random is 0."""
    random = np.random.default_rng(7)
    usd, right = np.array([[0.01, 0.04], [0.03, 0.2]]), np.array([[0.9, 0.95], [0.5, 0.9]])
    held = []
    for _ in range(150):
        kind = random.integers(0, 2, 1000)
        model = (random.random(1000) < np.array(chances)[kind]).astype(int)
        cost, hit = usd[kind, model] * random.lognormal(0, 0.5, 1000), random.random(1000) < right[kind, model]
        rows = [
            {"model_id": "ab"[m], "complexity": ("simple", "complex")[k], "cost_usd": c, "accuracy": float(h)}
            for k, m, c, h in zip(kind, model, cost, hit, strict=True)
        ]
        gained = baselines(hours(*rows), level=0.90).accuracy_gained
        assert gained is not None
        low, _, high = shown_interval(gained)
        held.append(low <= gain_of(np.array(chances), np.bincount(kind) / 1000, usd, right) <= high)
    assert np.mean(held) >= 0.87


# ----------------------------------------------------------------------------------------------------------------------


def gain_of(chances: Numbers, sizes: Numbers, usd: Numbers, right: Numbers) -> float:
    """Return the gain over a shuffle of equal cost of a router that selects model two with such a chance per class."""

    def averaged(values: Numbers, share: Any) -> float:
        return float((sizes * ((1 - share) * values[:, 0] + share * values[:, 1])).sum())

    share = (averaged(usd, chances) - averaged(usd, 0.0)) / (averaged(usd, 1.0) - averaged(usd, 0.0))
    return averaged(right, chances) - averaged(right, share)


def shown(baseline: Baseline) -> list[float]:
    known = [value for value in (baseline.cost_usd, baseline.accuracy) if value is not None]
    return [number for value in known for number in shown_interval(value)] + [baseline.covered_share]


def shown_interval(interval: Interval) -> tuple[float, float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.estimate, interval.high
