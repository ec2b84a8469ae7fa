"""Sign flips: tests and bounds of paired differences whose order within the pair was drawn by a fair coin. Pure.

If a treatment adds the same to whichever half of a pair it gets, the coin makes the difference symmetric around that
effect, whatever the level did meanwhile: drift, seasons, heavy tails. So nothing is assumed about the differences, and
nothing is asymptotic. Given its distance from the effect, each difference is above or below it like a fair coin.

Looks: whoever bets on those coins, the stakes fixed before each is thrown, multiplies a capital that reaches 1 / alpha
at any time with probability alpha at most (Ville 1939; betting on signs: de la Peña 1999, Howard et al. 2020). A bound
is the effect up to which the bets have won that much: it holds at all looks at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

EXACT_UP_TO = 16
"""Differences up to which all flips are counted: 65,536."""

RANDOM_FLIPS = 20_000

STAKES = ((0.3, 0.2), (0.55, 0.5), (1.0, 0.3))
"""Stakes per standard deviation, each with its part of the capital: one that is about as large as the effect in
standard deviations wins fastest. Small effects need many pairs, large ones few. Chosen beforehand, not from the data.
"""

LARGEST_BET = 1.2
"""A difference far out counts no more than this: an incident in one block neither decides nor spoils the trial."""

SCALED_FROM = 3
"""Earlier differences from which a spread is known; until then only signs are bet on."""

FIRST_BET = 0.45

_MOST_STEPS, _PRECISION = 64, 1e-7
"""Halvings of the range in which a bound is looked for, until it is known to this part of the usual distance."""


def sign_flip_p_value(differences: Any, *, seed: int = 0) -> float:
    """Return the one-sided p-value of positive differences: the share of sign flips with a mean at least as large.

    For one look only. Exact for up to EXACT_UP_TO differences, otherwise from RANDOM_FLIPS draws, the observed one
    included, which keeps it valid. 1 without differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    if not np.isfinite(values).all():
        raise ValueError("expected finite differences")
    observed = values.sum()
    # Sums of the same numbers in another order differ in their last digits.
    reached = observed - 1e-9 * np.abs(values).sum()
    if len(values) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in np.abs(values):
            sums = np.concatenate([sums + value, sums - value])
        return float((sums >= reached).mean())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(RANDOM_FLIPS, len(values)))
    return float((1 + (signs @ np.abs(values) >= reached).sum()) / (1 + RANDOM_FLIPS))


def log_capital(differences: Any, effect: Any, *, spreads: Sequence[float] | None = None) -> Any:
    """Return, after each difference, the log of the capital of who bets that the true effect is above `effect`.

    It falls in `effect`. `effect` is a number, or an array with one row for each look: then row t is judged at all
    looks, and the result has a row each. `spreads` are relative: how much each pair's chance is expected to vary beside
    the others, from what does not depend on the order, such as numbers of requests.
    """
    values = np.asarray(differences, dtype=np.float64)
    effects = np.atleast_1d(np.asarray(effect, dtype=np.float64))[:, None]
    capital = _capital(values, _scales(values, spreads), effects)
    return capital[0] if np.ndim(effect) == 0 else capital


def lower_bounds(
    differences: Any, alpha: float, *, spreads: Sequence[float] | None = None, at: Sequence[int] | None = None
) -> Any:
    """Return, after each difference, the one-sided lower bound of the effect; -inf where nothing is known yet.

    All of them hold at once with probability 1 - alpha. With `at`, only those after the differences of these
    numbers, from 0, are returned.
    """
    values = np.asarray(differences, dtype=np.float64)
    return _crossings(values, _scales(values, spreads), at, math.log(1 / _checked(alpha)))


def upper_bounds(
    differences: Any, alpha: float, *, spreads: Sequence[float] | None = None, at: Sequence[int] | None = None
) -> Any:
    """Return, after each difference, the one-sided upper bound of the effect; inf where nothing is known yet."""
    return -lower_bounds(-np.asarray(differences, dtype=np.float64), alpha, spreads=spreads, at=at)


def centres(differences: Any, *, spreads: Sequence[float] | None = None, at: Sequence[int] | None = None) -> Any:
    """Return, after each difference, the effect around which the bets for more and for less balance.

    It lies within the bounds of either side, and one far difference moves it little.
    """
    values = np.asarray(differences, dtype=np.float64)
    return _crossings(values, _scales(values, spreads), at, 0.0, balance=True)


# ----------------------------------------------------------------------------------------------------------------------


def _checked(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, expected is a number between 0 and 1")
    return alpha


def _scales(values: Any, spreads: Sequence[float] | None) -> Any:
    """Return the scale of each bet: of the earlier differences only, and the same wherever the effect lies.

    NaN where only the sign is bet on. The mean distance from the median, as one far value hardly moves it.
    """
    relative = np.ones(len(values)) if spreads is None else np.asarray(spreads, dtype=np.float64)
    if len(relative) != len(values) or not (relative > 0).all():
        raise ValueError("expected a positive spread for each difference")
    scales = np.full(len(values), np.nan)
    for number in range(SCALED_FROM, len(values)):
        earlier = values[:number]
        earlier, theirs = earlier[np.isfinite(earlier)], relative[:number][np.isfinite(earlier)]
        if len(earlier) < SCALED_FROM:
            continue
        around = np.abs(earlier - np.median(earlier)) / theirs
        # Of a normal law, the mean distance is 0.8 standard deviations; the median took one of the values.
        spread = around.sum() / (len(earlier) - 1) * math.sqrt(math.pi / 2)
        if spread > 0:
            scales[number] = spread * relative[number]
    return scales


def _capital(values: Any, scales: Any, effects: Any) -> Any:
    """Return the log of the capital after each difference (columns) if the true effect is at most that of each row."""
    apart = values[None, :] - effects
    by_sign = np.isnan(scales)[None, :]
    with np.errstate(invalid="ignore", over="ignore"):
        bets = np.where(by_sign, FIRST_BET * np.sign(apart), apart / scales[None, :])
    parts = []
    for stake, part in STAKES:
        size = np.clip(np.where(by_sign, bets, stake * bets), -LARGEST_BET, LARGEST_BET)
        parts.append(math.log(part) + np.cumsum(np.log1p(np.tanh(size)), axis=1))
    return np.logaddexp.reduce(parts)


def _crossings(values: Any, scales: Any, at: Sequence[int] | None, level: float, *, balance: bool = False) -> Any:
    """Return, after each difference, the largest effect at which the capital is at least `level`, by bisection.

    With `balance`, the effect at which the capital of both sides is the same.
    """
    numbers = np.arange(len(values)) if at is None else np.asarray(at, dtype=np.int64)
    finite = values[np.isfinite(values)]
    if not len(finite) or not len(numbers):
        return np.full(len(numbers), 0.0 if balance else -np.inf)
    used = slice(0, int(numbers.max()) + 1)
    values, scales, rows = values[used], scales[used], np.arange(len(numbers))
    known = scales[np.isfinite(scales)]
    reach = 20 * (max(known, default=0.0) + np.ptp(finite)) + 1e-9 * np.abs(finite).max() + 1e-12
    low, high = np.full(len(numbers), finite.min() - reach), np.full(len(numbers), finite.max() + reach)

    def is_below(effects: Any) -> Any:
        won = _capital(values, scales, effects[:, None])[rows, numbers]
        if balance:
            return won >= _capital(-values, scales, -effects[:, None])[rows, numbers]
        return won >= level

    nowhere = ~is_below(low)
    usual = float(np.median(np.abs(finite - np.median(finite))))
    for _ in range(_MOST_STEPS):
        if (high - low).max() <= _PRECISION * usual:
            break
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2 if balance else np.where(nowhere, -np.inf, low)
