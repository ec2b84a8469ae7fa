"""A fair coin decides the order of each pair: that alone makes the test exact, whatever the traffic does."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.statistics.sign_flips import centres, log_capital, lower_bounds, sign_flip_p_value, upper_bounds

SIZES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda it: round(it, 6))


# --- p-value ----------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=6))
def test_over_all_flips_the_p_value_is_exact(sizes: list[float]) -> None:
    """Of all sign vectors of any magnitudes, at most a share p has a p-value of p or less."""
    values = [sign_flip_p_value([s * m for s, m in zip(signs, sizes, strict=True)]) for signs in _signs(len(sizes))]
    for level in (0.01, 0.05, 0.25, 0.5):
        assert np.mean([value <= level for value in values]) <= level


def test_twelve_differences_of_one_sign_are_as_rare_as_twelve_heads() -> None:
    assert sign_flip_p_value([0.1 * number for number in range(1, 13)]) == 2**-12
    assert sign_flip_p_value([-0.1] * 12) == 1.0


def test_many_differences_are_drawn_and_the_same_seed_draws_the_same() -> None:
    values = np.random.default_rng(4).normal(0.4, 1, 40)
    assert sign_flip_p_value(values, seed=1) == sign_flip_p_value(values, seed=1)
    assert sign_flip_p_value(values, seed=1) == pytest.approx(sign_flip_p_value(values, seed=2), abs=0.01)
    assert sign_flip_p_value(np.full(40, 1.0)) > 0, "a draw that includes the observed flip is never 0"


def test_without_differences_nothing_is_proven() -> None:
    assert sign_flip_p_value([]) == sign_flip_p_value([0.0] * 20) == 1.0
    with pytest.raises(ValueError, match="finite"):
        sign_flip_p_value([1.0, math.inf])


# --- sequence ---------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(0.001, 1e9), min_size=1, max_size=6))
def test_over_all_flips_the_capital_is_a_fair_bet(sizes: list[float]) -> None:
    """Stakes may depend on earlier differences, never on the coin: on average nothing is won, at any look."""
    capital = np.exp(
        [log_capital([s * m for s, m in zip(signs, sizes, strict=True)], 0.0) for signs in _signs(len(sizes))]
    )
    assert capital.mean(axis=0) == pytest.approx(np.ones(len(sizes)))


@settings(max_examples=12, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=12), SIZES, SIZES)
def test_evidence_for_more_than_an_effect_falls_with_the_effect(values: list[float], one: float, other: float) -> None:
    """So a test of any effect holds for all smaller ones, and a bound is one number."""
    low, high = sorted((one, other))
    assert (log_capital(values, low) >= log_capital(values, high) - 1e-9).all()


@settings(max_examples=12, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=14))
def test_bounds_are_where_the_capital_reaches_its_level_and_mirror_one_another(values: list[float]) -> None:
    low, high, centre = lower_bounds(values, 0.05), upper_bounds(values, 0.05), centres(values)
    slack = 1e-6 * (1 + np.ptp(values) + np.abs(values).max())
    assert (low <= centre + slack).all()
    assert (centre <= high + slack).all()
    assert upper_bounds([-it for it in values], 0.05) == pytest.approx(-low)
    for look, bound in enumerate(low):
        if np.isfinite(bound):
            assert log_capital(values, bound - slack)[look] >= math.log(20) - 1e-6
            assert log_capital(values, bound + slack)[look] <= math.log(20) + 1e-6


@settings(max_examples=12, deadline=None)
@given(st.lists(SIZES, min_size=4, max_size=10), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_bounds_move_with_the_unit_and_the_level(values: list[float], factor: float, shift: float) -> None:
    """What is in milliseconds is no surer than what is in seconds."""
    moved = [factor * it + shift for it in values]
    slack = 1e-6 * (1 + np.ptp(moved) + np.abs(moved).max())
    assert lower_bounds(moved, 0.05) == pytest.approx(factor * lower_bounds(values, 0.05) + shift, abs=slack, rel=1e-6)


LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Any]] = {
    "normal": lambda random, size: random.normal(size=size),
    "cauchy": lambda random, size: random.standard_cauchy(size=size),
    "drift": lambda random, size: np.cumsum(random.normal(size=size), axis=1),
    "trend": lambda random, size: np.arange(size[1]) * 3.0 + random.normal(size=size),
    "skewed": lambda random, size: random.lognormal(0, 2, size=size),
    "bursts": lambda random, size: random.normal(size=size) * 30.0 ** (random.random(size) < 0.1),
    "rare": lambda random, size: random.poisson(0.05, size=size).astype(float),
}


def _null(law: str, random: np.random.Generator, lives: int, pairs: int) -> Any:
    """Return differences of pairs in random order, when nothing was changed: levels that drift, and chance."""
    chance = LAWS[law](random, (lives, 2 * pairs))
    return (chance[:, 0::2] - chance[:, 1::2]) * random.choice([-1.0, 1.0], size=(lives, pairs))


@pytest.mark.parametrize("law", LAWS)
def test_looked_at_after_every_pair_a_change_that_does_nothing_is_rarely_found(law: str) -> None:
    """At 10 %, of 120 whole lives with a look after each of 42 pairs; binomial: above 21 has a chance below 0.5 %."""
    lives = _null(law, np.random.default_rng(11), 120, 42)
    found = sum(log_capital(life, 0.0).max() >= math.log(10) for life in lives)
    assert found <= 21


@pytest.mark.parametrize(("effect", "pairs"), [(1.0, 36), (2.0, 16)])
def test_an_effect_is_found_soon(effect: float, pairs: int) -> None:
    """In standard deviations of a pair: at 1.25 %, in at least 36 of 40."""
    random = np.random.default_rng(5)
    found = [log_capital(random.normal(effect, 1, pairs), 0.0).max() >= math.log(80) for _ in range(40)]
    assert sum(found) >= 36


def test_one_wild_pair_neither_decides_nor_spoils_it() -> None:
    values = np.random.default_rng(7).normal(1, 1, 30)
    calm = lower_bounds(values, 0.05)[-1]
    for wild in (1e9, -1e9, math.inf, -math.inf):
        assert lower_bounds([*values[:15], wild, *values[15:]], 0.05)[-1] == pytest.approx(calm, abs=0.35)


def test_pairs_without_any_difference_bound_nothing_by_chance() -> None:
    assert lower_bounds([0.0] * 3, 0.05).tolist() == [-math.inf] * 3
    assert lower_bounds([], 0.05).tolist() == []
    with pytest.raises(ValueError, match="alpha"):
        lower_bounds([1.0], 1.5)
    with pytest.raises(ValueError, match="spread"):
        lower_bounds([1.0, 2.0], 0.05, spreads=[1.0, 0.0])


def _signs(count: int) -> list[tuple[float, ...]]:
    return list(itertools.product([-1.0, 1.0], repeat=count))
