"""Project the rest of a month from the whole days before, with an 80 % interval each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tasks.forecasting.daily_model import WEEK, Floats, forecast_days, weekday_factors
from tasks.statistics.intervals import Z_80

SMOOTHING = 0.2
"""The constant of simple exponential smoothing: close to the best here over all variants."""


class MonthForecast(NamedTuple):
    """The expected spend for the rest of the month, and its bounds."""

    estimate: float
    low: float
    high: float


Method = Callable[[Floats, int, int, int], MonthForecast]
"""From the known days, the first one's weekday, the number of days of the month that are over, and of those left."""


def mean_of_four_weeks(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """The first method of Routewatch."""
    return _carried_on(days[-28:], left)


def straight_line(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """Project the mean of the month so far; before three days of it, of the last four weeks."""
    return _carried_on(days[-over:] if over >= 3 else days[-28:], left)  # noqa: PLR2004


def seasonal_naive(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """Repeat each weekday of a week before; the error grows with every week that it is projected."""
    week = days[-WEEK:] if len(days) >= WEEK else np.resize(days, WEEK)
    apart = days[WEEK:] - days[:-WEEK] if len(days) > WEEK + 2 else days - days.mean()
    repeats = np.array([len(range(day, left, WEEK)) for day in range(WEEK)])
    variance = float(np.mean(apart**2)) * float(sum(n * (n + 1) * (2 * n + 1) / 6 for n in repeats))
    return _month_forecast(float(np.resize(week, left).sum()), variance)


def weekday_means(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """Project the mean of each weekday over four weeks."""
    known = days[-4 * WEEK :]
    if len(known) < 2 * WEEK:
        return _carried_on(known, left)
    weekdays = (weekday + len(days) - len(known) + np.arange(len(known))) % WEEK
    means = np.array([known[weekdays == day].mean() for day in range(WEEK)])
    variance = float(((known - means[weekdays]) ** 2).sum()) / (len(known) - WEEK)
    coming = (weekday + len(days) + np.arange(left)) % WEEK
    return _month_forecast(float(means[coming].sum()), variance * (left + left**2 / len(known)))


def exponential_smoothing(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """Project the level, between weekday factors, with one constant for every router (Hyndman et al. 2008, ch. 6)."""
    factors = weekday_factors(days, weekday)[(weekday + np.arange(len(days) + left)) % WEEK]
    adjusted = days / np.maximum(factors[: len(days)], 0.05)
    level, errors = adjusted[0], []
    for day in adjusted[1:]:
        errors.append(day - level)
        level += SMOOTHING * errors[-1]
    coming = factors[len(days) :]
    later = coming[::-1].cumsum()[::-1] - coming
    return _month_forecast(
        float(level * coming.sum()), float(np.var(errors)) * float(((coming + SMOOTHING * later) ** 2).sum())
    )


def chosen(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """tasks.forecasting.daily_model."""
    coming = forecast_days(days, weekday, np.ones(left))
    return _month_forecast(float(coming.expected[-1]), float(coming.spread[-1]) ** 2)


METHODS: Mapping[str, Method] = {
    "mean of four weeks (as it was)": mean_of_four_weeks,
    "straight line of the month": straight_line,
    "seasonal-naive": seasonal_naive,
    "weekday means": weekday_means,
    "exponential smoothing": exponential_smoothing,
    "**level and damped trend, by weekday**": chosen,
}


# ----------------------------------------------------------------------------------------------------------------------


def _carried_on(days: Floats, left: int) -> MonthForecast:
    """Project the mean of days; the remaining days vary individually, and their mean is uncertain too."""
    variance = float(days.var(ddof=1)) * (left + left**2 / len(days))
    return _month_forecast(float(days.mean()) * left, variance)


def _month_forecast(estimate: float, variance: float) -> MonthForecast:
    reach = Z_80 * math.sqrt(variance)
    return MonthForecast(estimate, estimate - reach, estimate + reach)
