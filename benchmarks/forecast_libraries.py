"""The same by libraries that are not dependencies: `pip install statsforecast statsmodels` where they are to run.

Each simulates 500 paths and returns the distribution of their sums; a history that is too short or irregular falls back
to the mean.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.forecast_methods import Method, MonthForecast, mean_of_four_weeks
from tasks.forecasting.daily_model import WEEK, Floats

PATHS, SEED = 500, 1


def auto_ets(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """statsforecast: the exponential smoothing that AICc prefers among those with and without trend and weekdays."""
    models: Any = importlib.import_module("statsforecast.models")
    try:
        model = models.AutoETS(season_length=WEEK if len(days) >= 2 * WEEK else 1)
        model.fit(np.asarray(days, dtype=np.float64))
        sums = np.asarray(model.simulate(h=left, n_paths=PATHS, seed=SEED)).reshape(PATHS, left).sum(axis=1)
        return _month_forecast(float(model.predict(h=left)["mean"].sum()), sums)
    except (ValueError, ArithmeticError, NotImplementedError, np.linalg.LinAlgError):
        return mean_of_four_weeks(days, weekday, over, left)


def ets(days: Floats, weekday: int, over: int, left: int) -> MonthForecast:
    """statsmodels: exponential smoothing with damped trend and weekdays, multiplicative where no day is zero."""
    if len(days) < 3 * WEEK:
        return mean_of_four_weeks(days, weekday, over, left)
    module: Any = importlib.import_module("statsmodels.tsa.exponential_smoothing.ets")
    kind = "mul" if days.min() > 0 else "add"
    try:
        fitted = module.ETSModel(
            days, error=kind, trend="add", damped_trend=True, seasonal=kind, seasonal_periods=WEEK
        ).fit(disp=0)
        paths = fitted.simulate(left, repetitions=PATHS, anchor="end", rng=np.random.default_rng(SEED))
        forecast = _month_forecast(
            float(np.sum(fitted.forecast(left))), np.asarray(paths).reshape(left, PATHS).sum(axis=0)
        )
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return mean_of_four_weeks(days, weekday, over, left)
    return forecast if np.isfinite(forecast).all() else mean_of_four_weeks(days, weekday, over, left)


METHODS: Mapping[str, Method] = {"statsforecast AutoETS": auto_ets, "statsmodels ETS, damped": ets}


def _month_forecast(estimate: float, sums: Floats) -> MonthForecast:
    low, high = (float(bound) for bound in np.quantile(sums, [0.1, 0.9]))
    return MonthForecast(estimate, low, high)
