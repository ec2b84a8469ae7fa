"""Traffic to measure with: 30 days of selections, day by day, reproducible for the same number of rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from models.period import Period
from tasks.ingestion.column_mapping import ASSIGNMENT, SELECTION_COLUMNS

DAYS = 30
PERIOD = Period(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=DAYS))
CHUNK_ROWS = 200_000

MODELS = {
    "swift-mini": 0.38,
    "swift-pro": 0.22,
    "atlas-medium": 0.16,
    "atlas-large": 0.12,
    "local-8b": 0.08,
    "nova": 0.04,
}
MEDIAN_MS = np.array([420.0, 640.0, 910.0, 1480.0, 700.0, 1100.0])
MEAN_USD = np.array([0.0006, 0.002, 0.011, 0.05, 0.0002, 0.02])
COMPLEXITIES = {"simple": 0.55, "moderate": 0.3, "complex": 0.15}
COMPLEXITY_FACTOR = np.array([0.7, 1.0, 2.2])
TEAMS = {f"team {letter}": 1 / rank for rank, letter in enumerate("ABCDEFGHIJKL", start=1)}

ERROR_SHARE, HIT_SHARE, ACCURACY_SHARE, SATISFACTION_SHARE = 0.02, 0.4, 0.4, 0.08
WEEKEND, LATE_MS_SIGMA = 0.45, 0.55


def traffic(rows: int) -> Iterator[pl.DataFrame]:
    """Yield frames of up to CHUNK_ROWS with tasks.ingestion.column_mapping.SELECTION_COLUMNS, `rows` in all."""
    made = 0
    for day, count in enumerate(_rows_by_day(rows)):
        frame = _day(day, int(count), made)
        made += int(count)
        yield from frame.iter_slices(CHUNK_ROWS)


# ----------------------------------------------------------------------------------------------------------------------


def _rows_by_day(rows: int) -> Any:
    weekdays = [(PERIOD.start + timedelta(days=day)).weekday() for day in range(DAYS)]
    shares = np.array([WEEKEND if weekday in (5, 6) else 1.0 for weekday in weekdays])
    ends = np.rint(np.cumsum(shares) / shares.sum() * rows).astype(np.int64)
    return np.diff(ends, prepend=0)


def _day(day: int, count: int, made: int) -> pl.DataFrame:
    random = np.random.default_rng([7, day])
    model, complexity = _codes(random, MODELS, count), _codes(random, COMPLEXITIES, count)
    error = random.random(count) < ERROR_SHARE
    hit = random.random(count) < HIT_SHARE
    seconds = _seconds(random, count)
    busy = 1 + 0.5 * np.sin(np.pi * seconds / 86_400)
    time = MEDIAN_MS[model] * COMPLEXITY_FACTOR[complexity] * busy * random.lognormal(0, LATE_MS_SIGMA, count)
    cost = MEAN_USD[model] * random.lognormal(-0.3, 0.7, count)
    columns = {
        "timestamp": pl.Series(_instants(day, seconds)).cast(pl.Datetime("us", "UTC")),
        "request_id": "r" + pl.Series(np.arange(made, made + count)).cast(pl.String),
        "model_id": _named(MODELS, model),
        "complexity": _named(COMPLEXITIES, complexity),
        "team": _named(TEAMS, _codes(random, TEAMS, count)),
        "response_time_ms": _unknown(np.where(hit, time * 0.1, time), error),
        "cost_usd": np.where(hit, cost * 0.05, cost),
        "cache_hit": hit,
        "accuracy": _unknown(random.beta(30, 2, count), random.random(count) > ACCURACY_SHARE),
        "user_satisfaction": _unknown(random.beta(9, 2, count), random.random(count) > SATISFACTION_SHARE),
        "error": error,
        "error_type": _named({"timeout": 1.0}, np.zeros(count, dtype=np.int64)).set(pl.Series(~error), None),
        "prompt_tokens": random.integers(20, 4_000, count),
        "completion_tokens": random.integers(1, 900, count),
    }
    unsplit = [pl.lit(None, dtype=pl.String).alias(name) for name in ASSIGNMENT]
    return pl.DataFrame(columns).with_columns(unsplit).select(SELECTION_COLUMNS)


def _seconds(random: Any, count: int) -> Any:
    """Draw seconds of the day, in order, most of them in working hours."""
    hours = np.arange(24)
    weights = 0.08 + np.exp(-((hours - 14) ** 2) / 22)
    hour = random.choice(hours, count, p=weights / weights.sum())
    return np.sort(hour * 3_600 + random.uniform(0, 3_600, count))


def _instants(day: int, seconds: Any) -> Any:
    """Return microseconds since 1970."""
    midnight = PERIOD.start + timedelta(days=day)
    return int(midnight.timestamp()) * 1_000_000 + (seconds * 1_000_000).astype(np.int64)


def _codes(random: Any, shares: dict[str, float], count: int) -> Any:
    weights = np.array(list(shares.values()))
    return random.choice(len(shares), count, p=weights / weights.sum())


def _named(names: dict[str, float], codes: Any) -> pl.Series:
    return pl.Series(list(names)).gather(codes)


def _unknown(values: Any, where: Any) -> pl.Series:
    return pl.Series(values).set(pl.Series(where), None)
