"""Intervals for shares, means and sums, from counts and sums. Two-sided at models.documents.CONFIDENCE by default."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from models.documents import CONFIDENCE, Interval


def z(level: float = CONFIDENCE) -> float:
    """Standard normal quantile for a two-sided interval at `level`."""
    return NormalDist().inv_cdf((1 + level) / 2)


Z_95 = z(0.95)

Z_80 = z(0.80)
"""The quantile of the budget's projection."""


def student(level: float, freedom: float) -> float:
    """Student's t for a two-sided interval at `level` (Wallace 1959), at most 2 % too wide from freedom 6 on."""
    deviate = z(level) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(deviate**2 / freedom))


def share_interval(part: float, of: float, level: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share (Wilson 1927). `part` may be a sum of values in 0..1.

    For such a sum the interval is conservative: values strictly between 0 and 1 vary less than a coin does.
    """
    share, quantile = part / of, z(level)
    middle = (share + quantile**2 / (2 * of)) / (1 + quantile**2 / of)
    spread = quantile / (1 + quantile**2 / of) * math.sqrt(share * (1 - share) / of + quantile**2 / (4 * of**2))
    # Rounding may put a bound slightly past the estimate at 0 and 1.
    return Interval(
        estimate=share, low=min(share, max(0.0, middle - spread)), high=max(share, min(1.0, middle + spread))
    )


def mean_interval(count: float, total: float, total_sq: float, level: float = CONFIDENCE) -> Interval:
    """The mean with its normal interval; without bounds below two values."""
    mean, error = total / count, standard_error(count, total, total_sq)
    return Interval(estimate=mean) if error is None else around(mean, z(level) * error)


def around(estimate: float, spread: float) -> Interval:
    """The interval with half-width `spread`."""
    return Interval(estimate=estimate, low=estimate - spread, high=estimate + spread)


def shifted(interval: Interval, by: float) -> Interval:
    """The interval shifted by a known number."""
    low, high = interval.low, interval.high
    return Interval(
        estimate=interval.estimate + by,
        low=None if low is None else low + by,
        high=None if high is None else high + by,
    )


def less(known: float, interval: Interval) -> Interval:
    """The interval of a known number minus the quantity."""
    low, high = interval.low, interval.high
    return Interval(
        estimate=known - interval.estimate,
        low=None if high is None else known - high,
        high=None if low is None else known - low,
    )


def added(intervals: Sequence[Interval]) -> Interval:
    """The interval of the sum of quantities whose errors are independent; without bounds if one has none."""
    estimate = sum(interval.estimate for interval in intervals)
    below = [interval.estimate - interval.low for interval in intervals if interval.low is not None]
    above = [interval.high - interval.estimate for interval in intervals if interval.high is not None]
    return Interval(
        estimate=estimate,
        low=estimate - math.hypot(*below) if len(below) == len(intervals) else None,
        high=estimate + math.hypot(*above) if len(above) == len(intervals) else None,
    )


def standard_error(count: float, total: float, total_sq: float) -> float | None:
    """Standard error of the mean, from count, sum and sum of squares; None below two values."""
    deviation = standard_deviation(count, total, total_sq)
    return None if deviation is None else deviation / math.sqrt(count)


def standard_deviation(count: float, total: float, total_sq: float) -> float | None:
    """Standard deviation of single values, from count, sum and sum of squares; None below two values."""
    if count < 2:  # noqa: PLR2004
        return None
    return math.sqrt(max(0.0, (total_sq - total * total / count) / (count - 1)))
