"""Blocks of old and new value in random order: what their pairs show, at every look."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.kpis import KpiName
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.switchback import (
    BlockPair,
    conclude_switchback,
    read_every_look,
    read_switchback,
)
from tests.support.factories import MONDAY

HITS = JudgedMetric(KpiName.CACHE_HIT_RATE, margin=0.002)
ERRORS = JudgedMetric(KpiName.ERROR_RATE, margin=0.005)
ACCURACY = JudgedMetric(KpiName.SELECTION_ACCURACY, margin=0.01)
COST = JudgedMetric("averageCost", margin=0.05, relative=True)
TIME = JudgedMetric(KpiName.RESPONSE_TIME, margin=0.10, relative=True, limit=2_000.0)
METRICS = (HITS, ACCURACY, ERRORS, TIME, COST)
REQUESTS = 2_000

NOTHING = {"hits": 0.0, "errors": 0.0, "accuracy": 0.0, "cost": 1.0, "time": 1.0}


def block(
    random: np.random.Generator, level: float, requests: int = REQUESTS, rated: float = 1.0, **effect: float
) -> dict[str, float]:
    """Return the sums of a block of traffic at a level that comes and goes with the hour."""
    of = NOTHING | effect
    errors = random.binomial(requests, min(0.02 * level + of["errors"], 1))
    known = requests - errors
    ratings = round(known * rated)
    hits = random.binomial(known, 0.3 + 0.05 * math.log(level) + of["hits"])
    return {
        "count": requests, "error_count": int(errors), "response_time_count": known, "over_target_count": 0,
        "response_time_sum_ms": known * 2_500 * level * of["time"] * random.normal(1, 0.02), "cost_count": known,
        "cost_sum_usd": known * 0.05 * level * of["cost"] * random.normal(1, 0.03), "cache_count": known,
        "cache_hit_count": int(hits), "accuracy_count": ratings,
        "accuracy_sum": float(random.binomial(ratings, 0.9 + of["accuracy"])),
    }  # fmt: skip


def trial(seed: int, pairs: int = 16, rated: float = 1.0, requests: int = REQUESTS, **effect: Any) -> list[BlockPair]:
    """Return pairs whose blocks share most of their level; the candidate's comes first as often as not."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(pairs):
        levels = np.exp(0.3 * math.sin(number) + random.normal(0, 0.05, 2))
        first = int(random.random() < 0.5)
        candidate = block(random, levels[first], requests, rated, **effect)
        baseline = block(random, levels[1 - first], requests, rated)
        found.append(BlockPair(number, MONDAY + timedelta(hours=4 * (number + 1)), candidate, baseline))
    return found


def concluded(
    pairs: list[BlockPair], *, over: bool = True, metrics: tuple[JudgedMetric, ...] = METRICS
) -> tuple[Any, str]:
    reading = read_switchback(pairs, metrics, minimum_pairs=12, series=False)
    return conclude_switchback(reading, over=over, minimum_pairs=12)


# --- conclusions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "named"),
    [
        ({"hits": -0.05}, "cache hit rate"),
        ({"hits": 0.1, "errors": 0.025}, "error rate"),
        ({"hits": 0.1, "accuracy": -0.05}, "accuracy"),
        ({"hits": 0.1, "cost": 1.15}, "cost"),
        ({"hits": 0.1, "time": 1.3}, "response time"),
    ],
)
def test_harm_to_goal_or_guard_is_found_whatever_got_better(effect: dict[str, Any], named: str) -> None:
    conclusion, reason = concluded(trial(1, 24, **effect), over=False)
    assert conclusion == "worse"
    assert named in reason


def test_what_is_better_with_all_guards_safe_is_better_and_its_saving_is_measured() -> None:
    pairs = trial(2, 36, hits=0.1, cost=0.8)
    reading = read_switchback(pairs, METRICS, minimum_pairs=12)
    conclusion, reason = conclude_switchback(reading, over=False, minimum_pairs=12)
    assert conclusion == "better"
    assert "36 pairs" in reason
    saved = reading.saved_usd()
    paid = sum(pair.candidate["cost_sum_usd"] for pair in pairs)
    assert saved is not None
    assert saved.low is not None
    assert saved.high is not None
    assert 0 < saved.low < paid / 4 < saved.high


def test_fewer_pairs_than_the_minimum_decide_nothing_however_clear() -> None:
    pairs = trial(3, 11, errors=0.5)
    assert concluded(pairs, over=False)[0] is None
    conclusion, reason = concluded(pairs)
    assert conclusion == "cannotBeTold"
    assert "11 of at least 12 pairs" in reason
    assert concluded([], over=True)[0] == "cannotBeTold"


def test_a_guard_that_is_not_known_is_not_passed_and_is_named() -> None:
    """Nobody rates answers: however much better the rest is, it is unproven, never better."""
    pairs = trial(4, 24, rated=0.0, hits=0.1)
    assert concluded(pairs, over=False)[0] is None
    conclusion, reason = concluded(pairs)
    assert conclusion == "unproven"
    assert "accuracy unknown (known in 0 pairs" in reason


def test_ratings_of_a_few_answers_are_too_few_to_be_no_worse() -> None:
    """Eight of a thousand rated, all right: nothing was seen to get worse, and nothing is sure."""
    assert concluded(trial(5, 24, rated=0.008, hits=0.1))[0] == "cannotBeTold"


def test_ratings_of_another_share_of_the_answers_are_no_evidence() -> None:
    """Only the new value's good answers are rated: they are not what the old one's are compared with."""
    random = np.random.default_rng(6)
    pairs = [
        BlockPair(
            it.number,
            it.ended_at,
            dict(it.candidate) | {"accuracy_count": 400 + int(random.integers(50)), "accuracy_sum": 400.0},
            it.baseline,
        )
        for it in trial(6, 30, hits=0.1)
    ]
    conclusion, reason = concluded(pairs)
    assert conclusion == "unproven"
    assert "another share" in reason


def test_nothing_that_changes_nothing_is_no_worse_where_margins_allow_it_and_cannot_be_told_where_not() -> None:
    pairs = trial(7, 40)
    assert concluded(pairs, metrics=(COST, ERRORS))[0] == "noWorse"
    conclusion, reason = concluded(pairs, metrics=(HITS, ERRORS))
    assert conclusion == "cannotBeTold"
    assert "cache hit rate" in reason


def test_time_that_got_worse_within_its_target_does_no_harm() -> None:
    """From 2,500 to 1,250 ms is better; the limit only excuses what stays on its good side."""
    slower = JudgedMetric(KpiName.RESPONSE_TIME, margin=0.10, relative=True, limit=5_000.0)
    assert concluded(trial(8, 24, time=1.3), metrics=(COST, slower))[0] == "noWorse"
    assert concluded(trial(8, 24, time=1.3), metrics=(COST, TIME))[0] == "worse"


# --- kinds of data ----------------------------------------------------------------------------------------------------


def test_no_events_among_few_requests_are_no_certainty() -> None:
    """Ten requests a block, no errors at all on either side: half a point more could well be there."""
    pairs = [
        BlockPair(number, MONDAY, {"count": 10, "error_count": 0}, {"count": 10, "error_count": 0})
        for number in range(42)
    ]
    conclusion, _ = concluded(pairs, metrics=(ERRORS,))
    assert conclusion == "cannotBeTold"


@pytest.mark.parametrize("requests", [3, 10, 30])
def test_rare_harm_to_few_requests_is_not_called_no_worse(requests: int) -> None:
    """Most pairs differ by nothing, so their middle says nothing of the mean: at 2.5 points more errors."""
    wrong = sum(
        concluded(trial(seed, 42, requests=requests, errors=0.025), metrics=(ERRORS,))[0] in ("noWorse", "better")
        for seed in range(12)
    )
    assert wrong <= 2


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.sampled_from([0, 1, 7, 1000]), st.sampled_from([0.0, 1e-9, 3.5, 1e9])] * 2),
        min_size=0,
        max_size=16,
    )
)
@example([(1, 1e-9, 1, 0.0), (1, 1e-9, 1, 0.0), (1, 1e-9, 1, 3.5), (1_000, 0.0, 1_000, 0.0)])
def test_any_sums_give_a_conclusion(blocks: list[tuple[int, float, int, float]]) -> None:
    """Blocks without requests, without cost, of huge cost: never an error, never a number that is none."""
    pairs = [
        BlockPair(
            number,
            MONDAY,
            {"count": n, "cost_count": n, "cost_sum_usd": usd * bool(n)},
            {"count": m, "cost_count": m, "cost_sum_usd": other * bool(m)},
        )
        for number, (n, usd, m, other) in enumerate(blocks)
    ]
    for over in (True, False):
        conclusion, _ = concluded(pairs, over=over, metrics=(COST,))
        assert conclusion is not None or not over
    reading = read_switchback(pairs, (COST,), minimum_pairs=1, series=False)
    for metric in reading.metrics:
        numbers = [
            metric.before,
            metric.after,
            *(() if metric.change is None else (metric.change.estimate, metric.change.low, metric.change.high)),
        ]
        assert all(it is None or math.isfinite(it) for it in numbers)


def test_a_metric_that_some_pairs_do_not_know_is_judged_on_the_others() -> None:
    pairs = trial(9, 20)
    unknown = {"accuracy_count": 0, "accuracy_sum": 0.0}
    pairs = [
        BlockPair(it.number, it.ended_at, dict(it.candidate) | (unknown if it.number in (3, 4) else {}), it.baseline)
        for it in pairs
    ]
    reading = read_switchback(pairs, METRICS, minimum_pairs=12)
    accuracy = next(it for it in reading.metrics if it.metric == KpiName.SELECTION_ACCURACY)
    assert accuracy.judgement != "unknown"
    assert accuracy.sample_after == sum(it.candidate["accuracy_count"] for it in pairs)
    assert reading.pairs == 20


def test_every_look_is_what_a_reading_of_the_pairs_so_far_is() -> None:
    """No look knows of what comes later."""
    pairs = trial(10, 20, hits=0.02)
    for number, look in enumerate(read_every_look(pairs, METRICS, minimum_pairs=6), start=1):
        alone = read_switchback(pairs[:number], METRICS, minimum_pairs=6, series=False)
        for one, other in zip(look.metrics, alone.metrics, strict=True):
            assert (one.judgement, one.before, one.sample_after) == (other.judgement, other.before, other.sample_after)
            if one.change is not None and other.change is not None and other.change.high is not None:
                assert one.change.high == pytest.approx(other.change.high, rel=1e-4)


def test_the_picture_has_a_point_for_each_pair_from_the_sixth_on() -> None:
    reading = read_switchback(trial(11, 20, hits=0.1), METRICS, minimum_pairs=12)
    hits = [point for point in reading.series if point.metric == KpiName.CACHE_HIT_RATE]
    assert len(hits) == 15, "also before a verdict is allowed"
    assert reading.goal.change is not None
    assert (hits[-1].estimate, hits[-1].low, hits[-1].high) == (
        reading.goal.change.estimate, reading.goal.change.low, reading.goal.change.high,
    )  # fmt: skip


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_old_and_new_swaps_the_effect(seed: int) -> None:
    """Neither value has an advantage in how it is compared."""
    pairs = trial(seed, 14)
    swapped = [BlockPair(it.number, it.ended_at, it.baseline, it.candidate) for it in pairs]
    one, other = (read_switchback(it, (ERRORS, HITS), minimum_pairs=12, series=False) for it in (pairs, swapped))
    for before, after in zip(one.metrics, other.metrics, strict=True):
        assert before.change is not None
        assert after.change is not None
        assert before.change.estimate == pytest.approx(-after.change.estimate, abs=1e-9)
