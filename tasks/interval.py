"""Intervals for shares, means and ratios, from counts and sums. Two-sided at models.document.CONFIDENCE."""

from __future__ import annotations

import math

from models.document import Interval

Z_95 = 1.959964
"""Standard normal quantile for a two-sided interval at 95 %."""

Z_80 = 1.281552
"""The same at 80 %, as the budget's projection has it."""


def share_interval(part: float, of: float) -> Interval:
    """Wilson's score interval of a share (Wilson 1927). `part` may be a sum of values in 0..1.

    For such a sum the interval is on the safe side: values strictly between 0 and 1 vary less than a coin does.
    """
    share = part / of
    middle = (share + Z_95**2 / (2 * of)) / (1 + Z_95**2 / of)
    spread = Z_95 / (1 + Z_95**2 / of) * math.sqrt(share * (1 - share) / of + Z_95**2 / (4 * of**2))
    # Rounding may put a bound past the estimate by a hair at 0 and 1.
    return Interval(
        estimate=share, low=min(share, max(0.0, middle - spread)), high=max(share, min(1.0, middle + spread))
    )


def mean_interval(count: float, total: float, total_sq: float) -> Interval:
    """The mean with its normal interval; without bounds below two values."""
    mean, error = total / count, standard_error(count, total, total_sq)
    if error is None:
        return Interval(estimate=mean)
    return Interval(estimate=mean, low=mean - Z_95 * error, high=mean + Z_95 * error)


def standard_error(count: float, total: float, total_sq: float) -> float | None:
    """Of the mean, from count, sum and sum of squares; None below two values."""
    if count < 2:  # noqa: PLR2004
        return None
    variance = max(0.0, (total_sq - total * total / count) / (count - 1))
    return math.sqrt(variance / count)
