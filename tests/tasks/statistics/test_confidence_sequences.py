"""A confidence sequence holds at all looks at once, and is no wider than that takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.statistics.confidence_sequences import mixture_radius, widened

ALPHAS = st.floats(0.001, 0.2)
AMOUNTS = st.floats(1e-6, 1e9)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_truth_is_excluded_at_any_look_in_at_most_alpha_of_all_lives(alpha: float) -> None:
    information = np.geomspace(50, 20_000, 400)
    steps = np.sqrt(np.diff(information, prepend=0))
    score = np.cumsum(np.random.default_rng(5).normal(size=(4_000, 400)) * steps, axis=1)
    radius = mixture_radius(information, alpha, tuned_at=2_000)
    excluded = float(((score / information) > radius).any(axis=1).mean())
    assert alpha / 4 < excluded <= alpha + 2 * math.sqrt(alpha / 4_000)
    fixed = 2.3263 if alpha == 0.01 else 1.6449
    assert float(((score / np.sqrt(information)) > fixed).any(axis=1).mean()) > 3 * alpha


@settings(deadline=None, max_examples=40)
@given(ALPHAS, AMOUNTS, AMOUNTS, st.floats(1e-3, 1e3))
def test_a_change_of_the_unit_changes_the_radius_alike(
    alpha: float, information: float, tuned: float, unit: float
) -> None:
    radius = mixture_radius(information, alpha, tuned_at=tuned)
    assert mixture_radius(information / unit**2, alpha, tuned_at=tuned / unit**2) == pytest.approx(unit * radius)


@settings(deadline=None, max_examples=40)
@given(ALPHAS, AMOUNTS, AMOUNTS, st.floats(1.01, 100))
def test_more_information_narrows_it_and_less_error_widens_it(
    alpha: float, information: float, tuned: float, more: float
) -> None:
    radius = mixture_radius(information, alpha, tuned_at=tuned)
    assert mixture_radius(information * more, alpha, tuned_at=tuned) < radius
    own = mixture_radius(information, alpha, tuned_at=information)
    assert mixture_radius(information, alpha / more, tuned_at=information) > own


@settings(deadline=None, max_examples=40)
@given(ALPHAS, AMOUNTS)
def test_it_is_about_narrowest_where_it_is_tuned(alpha: float, information: float) -> None:
    best = min(mixture_radius(information, alpha, tuned_at=information * by) for by in np.geomspace(0.01, 100, 61))
    assert mixture_radius(information, alpha, tuned_at=information) <= 1.02 * best


def test_without_information_it_is_infinite() -> None:
    assert mixture_radius(0.0, 0.05, tuned_at=10.0) == math.inf
    assert mixture_radius(np.array([0.0, 10.0, math.nan]), 0.05, tuned_at=10.0)[[0, 2]].tolist() == [math.inf] * 2
    assert mixture_radius(10.0, 0.05, tuned_at=0.0) == math.inf


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, math.nan])
def test_an_alpha_that_is_none_is_named(alpha: float) -> None:
    with pytest.raises(ValueError, match="expected is a number between 0 and"):
        mixture_radius(1.0, alpha, tuned_at=1.0)


def test_a_variance_of_few_groups_widens_it_about_as_student_does() -> None:
    # One-sided at 2.5 %: Student's t is 2.228 for ten degrees of freedom, 1.960 for a normal.
    assert float(widened(1.96, 1.0, 10.0)) == pytest.approx(2.228, abs=0.05)
    assert float(widened(1.96, 1.0, math.inf)) == 1.96
    assert float(widened(1.96, 1.0, 0.0)) > 3
    assert float(widened(math.inf, 0.0, 5.0)) == math.inf


@settings(deadline=None, max_examples=40)
@given(ALPHAS, AMOUNTS, AMOUNTS, st.floats(0.0, 100.0))
def test_one_look_and_an_array_of_looks_agree(alpha: float, information: float, tuned: float, freedom: float) -> None:
    one = mixture_radius(information, alpha, tuned_at=tuned)
    many = mixture_radius(np.array([information] * 2), alpha, tuned_at=tuned)
    assert many.tolist() == pytest.approx([one] * 2)
    assert widened(many, information, freedom).tolist() == pytest.approx([widened(one, information, freedom)] * 2)
