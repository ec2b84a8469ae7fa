"""Forecast future days from past days, by weekday.

A day is the weekday's factor times a level, plus noise. The level drifts from day to day and may have a damped trend
(Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, ch. 2 and 3; Gardner and McKenzie 1985). The
amount of drift is not chosen but averaged over, each candidate weighted by how well it forecast each known day from
those before it (West and Harrison, Bayesian Forecasting and Dynamic Models, ch. 12). A day far off its forecast moves
the level no more than a merely surprising one (Gelper, Fried and Croux 2010), and widens the interval.

docs/forecast.md has the backtest that led to this model, against other methods and libraries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEEK = 7
SATURDAY = 5

WANDERING = (0.0, 0.03, 0.1, 0.3, 0.9)
"""Possible standard deviations of the level's step from one day to the next, as a multiple of the noise of a day."""
WANDERING_WEIGHTS = (1.0, 1.0, 1.0, 2.0, 3.0)
"""Prior weights favour large drift: real demand is seldom as steady as its first days."""
TREND_STEP, DAMPING = 0.015, 0.98
"""The standard deviation of a trend's step, likewise, and how much of a trend is left after a day."""
FIRST_TREND_STEPS = 10.0
"""The variance of the trend that a history begins with, in steps of a trend."""

PRIOR_NOISE, PRIOR_NOISE_DAYS = 0.2, 4.0
"""A day's noise as a part of the level before anything is known, and how many known days that counts for."""
LARGEST_SURPRISE = 3.0
"""In standard deviations."""

LEAST_FACTOR = 0.05
"""Weekdays with less than this share of an average day do not inform the level: a shop closed on Sundays."""
PRIOR_WEEKS = 1.0
"""Shrinkage in weeks: a weekday's own factor weighs its known weeks, that of all working days or weekends this."""


@dataclass(frozen=True)
class DailyForecast:
    """For each future day, the cumulative sum up to its end: the expectation, and a standard deviation."""

    expected: Floats
    spread: Floats


def forecast_days(days: Floats, weekday: int, ahead: Floats) -> DailyForecast:
    """Forecast the cumulative sums of future days.

    `days` are the known ones by time, NaN if unknown, the first on `weekday` (0 is Monday); at least one must be known.
    `ahead` has an entry for each future day: the part of it that is still to come, which is 1 except perhaps for the
    first.
    """
    grouping = weekday_factors(days, weekday)
    factors = grouping[(weekday + np.arange(len(days) + len(ahead))) % WEEK]
    level = np.where(factors[: len(days)] < LEAST_FACTOR, np.nan, days / np.maximum(factors[: len(days)], LEAST_FACTOR))
    scale = float(np.nanmean(level)) if np.isfinite(level).any() else 0.0
    if scale <= 0:
        return DailyForecast(np.zeros(len(ahead)), np.zeros(len(ahead)))
    weights, means, variances = _sums(_filtered(level / scale), factors[len(days) :], ahead)
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    return DailyForecast(np.maximum.accumulate(np.maximum(0.0, mean)) * scale, np.sqrt(variance) * scale)


def weekday_factors(days: Floats, weekday: int) -> Floats:
    """The share of each weekday, Monday first, in an average day; the mean is 1. All are 1 before a week is known.

    The median of each weekday's ratios to the week around it, shrunk towards the median of all working days or
    weekends.
    """
    around = _weeks_around(days)
    known = np.isfinite(days) & (around > 0)
    weekdays = ((weekday + np.arange(len(days))) % WEEK)[known]
    if len(set(weekdays.tolist())) < WEEK:
        return np.ones(WEEK)
    ratios = days[known] / around[known]
    at_weekend = weekdays >= SATURDAY
    factors = np.empty(WEEK)
    for day in range(WEEK):
        own, same_kind = ratios[weekdays == day], ratios[at_weekend == (day >= SATURDAY)]
        factors[day] = (np.median(own) * len(own) + np.median(same_kind) * PRIOR_WEEKS) / (len(own) + PRIOR_WEEKS)
    mean = float(factors.mean())
    return factors / mean if mean > 0 else np.ones(WEEK)


# ----------------------------------------------------------------------------------------------------------------------


def _weeks_around(days: Floats) -> Floats:
    """The mean of the known days of the week around each day; at the ends, of the first and last whole week."""
    count = len(days)
    if count < WEEK:
        return np.full(count, np.nan)
    weeks = np.lib.stride_tricks.sliding_window_view(days, WEEK)
    known = np.isfinite(weeks)
    sums, counts = np.where(known, weeks, 0.0).sum(axis=1), known.sum(axis=1)
    means = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    around: Floats = means[np.clip(np.arange(count) - WEEK // 2, 0, len(means) - 1)]
    return around


@dataclass(frozen=True)
class _Members:
    """The state of each candidate after the last known day; variances are multiples of `noise`."""

    wandering: Floats
    trending: Floats
    level: Floats
    trend: Floats
    level_variance: Floats
    covariance: Floats
    trend_variance: Floats
    noise: Floats
    weight: Floats


def _filtered(days: Floats) -> _Members:
    """The Kalman filter over days around 1, for all candidates at once: those without a trend, then those with."""
    known = np.flatnonzero(np.isfinite(days))
    wandering = np.tile(WANDERING, 2)
    trending = np.repeat((0.0, TREND_STEP), len(WANDERING))
    level, trend = np.full(len(wandering), days[known[0]]), np.zeros(len(wandering))
    of_level, of_both, of_trend = np.ones_like(level), np.zeros_like(level), FIRST_TREND_STEPS * trending**2
    evidence, tame, all_of_it = np.zeros_like(level), np.zeros_like(level), np.zeros_like(level)
    seen, prior_variance = 0, PRIOR_NOISE_DAYS * PRIOR_NOISE**2
    for day in days[known[0] + 1 :]:
        level, trend = level + DAMPING * trend, DAMPING * trend
        of_level = of_level + 2 * DAMPING * of_both + DAMPING**2 * of_trend + wandering**2
        of_both, of_trend = DAMPING * of_both + DAMPING**2 * of_trend, DAMPING**2 * of_trend + trending**2
        if not np.isfinite(day):
            continue
        surprise, variance = day - level, of_level + 1
        most = LARGEST_SURPRISE * np.sqrt((prior_variance + tame) / (PRIOR_NOISE_DAYS + seen) * variance)
        moved = np.clip(surprise, -most, most)
        to_level, to_trend = of_level / variance, of_both / variance
        level, trend = level + to_level * moved, trend + to_trend * moved
        of_trend = of_trend - to_trend * of_both
        of_level, of_both = of_level - to_level * of_level, of_both - to_level * of_both
        tame, all_of_it = tame + moved**2 / variance, all_of_it + surprise**2 / variance
        evidence -= np.log(variance) / 2
        seen += 1
    # The noise's scale is integrated out, which leaves Student's density of all the surprises at once.
    evidence -= (PRIOR_NOISE_DAYS + seen) / 2 * np.log(prior_variance + tame)
    weight = np.exp(evidence - evidence.max()) * np.tile(WANDERING_WEIGHTS, 2)
    noise = (prior_variance + all_of_it) / (PRIOR_NOISE_DAYS + seen)
    return _Members(wandering, trending, level, trend, of_level, of_both, of_trend, noise, weight / weight.sum())


def _sums(members: _Members, factors: Floats, ahead: Floats) -> tuple[Floats, Floats, Floats]:
    """Weights of the candidates; means and variances of the sums, a row per candidate and a column per day.

    A step of the level moves the days from its own on, a step of the trend those after it, each less than the last.
    """
    parts, count = factors * ahead, len(ahead)
    damped = np.cumsum(DAMPING ** np.arange(1, count + 1))
    later = np.arange(count)[None, :] - np.arange(count)[:, None]
    from_level = np.cumsum(np.where(later >= 0, parts, 0.0), axis=1)
    from_trend = np.cumsum(np.where(later > 0, parts * damped[np.maximum(later, 1) - 1], 0.0), axis=1)
    of_level, of_trend = parts.cumsum(), (parts * damped).cumsum()
    column = {name: getattr(members, name)[:, None] for name in _Members.__dataclass_fields__}
    means = column["level"] * of_level + column["trend"] * of_trend
    variances = column["noise"] * (
        column["level_variance"] * of_level**2
        + 2 * column["covariance"] * of_level * of_trend
        + column["trend_variance"] * of_trend**2
        + column["wandering"] ** 2 * (from_level**2).sum(axis=0)
        + column["trending"] ** 2 * (from_trend**2).sum(axis=0)
        + (parts * factors).cumsum()
    )
    return members.weight, means, variances
