"""Random results: how many draws a test makes, and how often a result may occur in so few."""

from __future__ import annotations

from math import comb

import pytest

CONFIDENCE = 0.99


def few_or_all(few: int, count: int) -> pytest.MarkDecorator:
    """Give a test `draws`: a few for every change, all of them for a release. The same ones each time."""
    return pytest.mark.parametrize("draws", [few, pytest.param(count, marks=pytest.mark.slow)])


def most_by_chance(rate: float, draws: int) -> int:
    """Return how often, at most, something with that chance happens in so many draws, in 99 of 100 cases."""
    chance, count = (1 - rate) ** draws, 0
    while chance < CONFIDENCE:
        count += 1
        chance += comb(draws, count) * rate**count * (1 - rate) ** (draws - count)
    return count
