"""Shares that were kept are hardly ever called off, at whatever look; shares that were not are found."""

from __future__ import annotations

from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.statistics.sample_ratio import e_values, sample_ratio, sample_ratios, sample_ratios_by_cluster

SHARES = np.repeat([0.05, 0.2, 0.5], [24, 48, 96])


def counts(seed: int, got: Any = SHARES, per_hour: int = 400) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    every = random.poisson(per_hour, len(got))
    yes = random.binomial(every, got)
    return yes, every - yes


def test_kept_shares_are_hardly_ever_called_off_over_a_whole_life() -> None:
    assert sum(sample_ratio(*counts(seed), SHARES).is_off for seed in range(150)) <= 1


@settings(deadline=None, max_examples=25)
@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.integers(1, 5), st.integers(1, 5))
def test_the_mean_evidence_against_kept_shares_is_one(first: float, second: float, n: int, m: int) -> None:
    total = 0.0
    for k, j in product(range(n + 1), range(m + 1)):
        chance = comb(n, k) * first**k * (1 - first) ** (n - k) * comb(m, j) * second**j * (1 - second) ** (m - j)
        total += chance * e_values([k, j], [n - k, m - j], [first, second])[-1]
    assert total == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    "got",
    [
        SHARES * 0.9,
        np.minimum(SHARES * 1.1, 1),
        np.zeros_like(SHARES),
        np.where(SHARES > 0.05, 0.05, SHARES),
        np.where(SHARES > 0.3, 0.45, SHARES),
    ],
    ids=["a tenth is missing", "a tenth too many", "none", "steps are not obeyed", "off since the last step"],
)
def test_shares_that_were_not_kept_are_found_and_stay_found(got: Any) -> None:
    looks = sample_ratios(*counts(3, got), SHARES)
    off = [look.is_off for look in looks]
    assert off[-1]
    assert off == sorted(off)
    assert looks[-1].observed is not None
    assert looks[-1].asked is not None
    assert abs(looks[-1].observed - looks[-1].asked) > 0.005


def test_a_last_error_is_found_although_much_went_well_before() -> None:
    shares = np.repeat([0.05, 0.2], [500, 8])
    got = np.where(shares > 0.1, 0.16, shares)
    assert sample_ratio(*counts(1, got), shares).is_off


def test_a_share_of_none_is_off_with_one_request_and_no_hours_are_not() -> None:
    assert sample_ratio([1], [5], [0.0]).is_off
    assert not sample_ratio([0], [5], [0.0]).is_off
    assert not sample_ratio([], [], []).is_off


def by_user(seed: int, *, share: float, asked: float, users: int = 150) -> tuple[Any, Any, Any]:
    """Counts by hour and bucket of users who make very different numbers of requests."""
    random = np.random.default_rng(seed)
    weight = random.lognormal(0, 1.0, users)
    bucket, is_candidate = random.integers(0, 64, users), random.random(users) < share
    requests = random.poisson(400 * weight / weight.sum(), (72, users))
    sides = [np.zeros((72, 64)), np.zeros((72, 64))]
    for user in range(users):
        sides[0 if is_candidate[user] else 1][:, bucket[user]] += requests[:, user]
    return sides[0], sides[1], np.full(72, asked)


def test_users_with_unlike_traffic_are_no_broken_share() -> None:
    lives = [by_user(seed, share=0.3, asked=0.3) for seed in range(40)]
    assert sum(sample_ratios_by_cluster(*life)[-1].is_off for life in lives) <= 1
    # Taken for independent requests, most of the same lives would be called off.
    assert sum(sample_ratio(life[0].sum(axis=1), life[1].sum(axis=1), life[2]).is_off for life in lives) > 20


def test_a_share_of_users_that_was_not_kept_is_found() -> None:
    lives = [by_user(seed, share=0.3, asked=0.6, users=600) for seed in range(10)]
    assert all(sample_ratios_by_cluster(*life)[-1].is_off for life in lives)
