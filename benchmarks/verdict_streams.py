"""Traffic for the benchmark of verdicts: real or made up, with nothing changed or with an effect of known size.

A life is some days of one class's requests with both outcomes of each: what it would have been at the baseline and at
the candidate. Which of them is seen is decided by a number of the request (its hash) and the share of the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks.rollups.arms import ARM_SUMS, UNKNOWN_BUCKET

START = datetime(2026, 9, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY_HOURS, WEEK_HOURS = 24, 168

TARGET_MS = 2_000.0
SLOW_SHARE, ERROR_RATE, ACCURACY = 0.2, 0.02, 0.85
"""Of the baseline, in the mean over hours."""

REAL_TRACE = Path(__file__).parents[2] / "shared" / "data" / "servegen_14d.parquet"
REAL_TRACES = (REAL_TRACE, Path("/work/shared/data/servegen_14d.parquet"))


@dataclass(frozen=True)
class Change:
    """What the candidate does: cost as a factor, the others in points (0..1) added to the share."""

    name: str
    cost: float = 1.0
    slow: float = 0.0
    errors: float = 0.0
    accuracy: float = 0.0
    hits: float = 0.0


NOTHING = Change("nothing")


@dataclass(frozen=True)
class Rows:
    """Requests of one class in order of time; cost in USD, time in ms, accuracy 0 or 1; an error has none of these."""

    hour: Any
    tokens: Any
    cost: Any
    time: Any
    error: Any
    right: Any
    hours: int


@dataclass(frozen=True)
class Life:
    """Both outcomes of every request; `draw` decides the arm, `is_rated` whether its accuracy is known."""

    before: Rows
    after: Rows
    draw: Any
    is_rated: Any

    def arms(self, shares: Any) -> Any:
        """Return which requests go to the candidate, by the share of each hour."""
        return self.draw < np.asarray(shares)[self.before.hour]

    def outcomes(self, shares: Any) -> tuple[Any, dict[str, tuple[Any, Any]]]:
        """Return arm and, per metric, the values and which of them are known."""
        arm = self.arms(shares)
        cost, time, error, right = (
            np.where(arm, getattr(self.after, name), getattr(self.before, name))
            for name in ("cost", "time", "error", "right")
        )
        error = error.astype(bool)
        return arm, {
            "averageCost": (cost, ~error),
            "responseTime": (time, ~error),
            "slowShare": ((time > TARGET_MS).astype(float), ~error),
            "errorRate": (error.astype(float), np.ones(len(error), dtype=bool)),
            "selectionAccuracy": (right.astype(float), ~error & self.is_rated),
        }

    def frame(self, shares: Any) -> pl.DataFrame:
        """Return the hours by arm, as tasks.optimizer.split.read_split takes them."""
        arm, seen = self.outcomes(shares)
        cell = self.before.hour * 2 + arm
        cells = 2 * self.before.hours
        tokens = self.before.tokens

        def added(values: Any, known: Any) -> Any:
            return np.bincount(cell[known], weights=values[known], minlength=cells)

        every = np.ones(len(cell), dtype=bool)
        cost, is_known = seen["averageCost"]
        time, rated = seen["responseTime"][0], seen["selectionAccuracy"][1]
        right = seen["selectionAccuracy"][0]
        ones = np.ones(len(cell))
        n, known = added(ones, every), added(ones, is_known)
        x, xx = added(tokens, is_known), added(tokens**2, is_known)
        sums = {
            "count": n, "error_count": added(seen["errorRate"][0], every), "response_time_count": known,
            "response_time_sum_ms": added(time, is_known), "response_time_sum_sq": added(time**2, is_known),
            "over_target_count": added(seen["slowShare"][0], is_known), "cost_count": known,
            "cost_sum_usd": added(cost, is_known), "cost_sum_sq": added(cost**2, is_known), "cache_count": 0 * n,
            "cache_hit_count": 0 * n, "accuracy_count": added(ones, rated), "accuracy_sum": added(right, rated),
            "accuracy_sum_sq": added(right**2, rated), "prompt_token_count": n,
            "prompt_token_sum": added(tokens, every), "prompt_token_sum_sq": added(tokens**2, every),
            "response_time_prompt_count": known, "response_time_prompt_sum_tokens": x,
            "response_time_prompt_sum_sq": xx, "response_time_prompt_product": added(tokens * time, is_known),
            "cost_prompt_count": known, "cost_prompt_sum_tokens": x, "cost_prompt_sum_sq": xx,
            "cost_prompt_product": added(tokens * cost, is_known),
        }  # fmt: skip
        buckets = np.repeat([START + hour * HOUR for hour in range(self.before.hours)], 2)
        frame = pl.DataFrame(
            {
                "bucket": pl.Series(buckets.tolist(), dtype=pl.Datetime("us", "UTC")),
                "arm": ["baseline", "candidate"] * self.before.hours,
                "unit_bucket": [UNKNOWN_BUCKET] * cells,
                **{name: sums[name] for name in ARM_SUMS},
            }
        )
        return frame.filter(pl.col("count") > 0)


def real_trace() -> pl.DataFrame | None:
    """Return the real trace in order of time; None where it is absent."""
    path = next((path for path in REAL_TRACES if path.exists()), None)
    return None if path is None else pl.read_parquet(path).sort("timestamp")


def autoregressive(random: np.random.Generator, count: int, correlation: float) -> Any:
    """Return an AR(1) of that lag-1 correlation around 0, with a standard deviation of 1."""
    level = random.normal(0, 1, count)
    for number in range(1, count):
        level[number] = correlation * level[number - 1] + np.sqrt(1 - correlation**2) * level[number]
    return level


def drift(random: np.random.Generator, hours: int, correlation: float, deviation: float) -> Any:
    """Return a level by hour around 1 whose logarithm is an AR(1) of that correlation and standard deviation."""
    return np.exp(deviation * autoregressive(random, hours, correlation))


def shares_of(steps: Sequence[tuple[datetime, float]], hours: int) -> Any:
    """Return the share of every hour; a step within an hour counts from the next one, and leaves that one out."""
    shares = np.zeros(hours)
    for start, share in steps:
        shares[max(0, -((START - start) // HOUR)) :] = share
    return shares


def made_up(seed: int, days: int, per_day: float = 10_000.0) -> Rows:
    """Return requests with daily and weekly seasons, levels that drift by hour (AR(1)), and heavy tails."""
    random = np.random.default_rng(seed)
    hours = days * DAY_HOURS
    at = np.arange(hours)
    season = 1 + 0.6 * np.sin(2 * np.pi * (at % DAY_HOURS - 9) / DAY_HOURS)
    season *= np.where((at // DAY_HOURS) % 7 < 5, 1.15, 0.62)  # noqa: PLR2004 - a weekend
    mean = season * drift(random, hours, 0.8, 0.2)
    counts = random.poisson(per_day / DAY_HOURS * mean / mean.mean())
    hour = np.repeat(at, counts)
    size = len(hour)
    # A quarter of a mean cost's spread is of the prompt, as in real traces of one model; the rest is of the answer.
    tokens = np.maximum(1, random.lognormal(5.3, 1.0, size) * drift(random, hours, 0.7, 0.1)[hour]).round()
    answer = random.lognormal(4.0, 1.4, size) * drift(random, hours, 0.7, 0.15)[hour]
    cost = (tokens + 2.0 * answer) * 1e-6
    level = drift(random, hours, 0.85, 0.2)
    time = TARGET_MS * np.exp(-0.8416 * 0.8) * random.lognormal(0, 0.75, size) * level[hour]
    errors = np.clip(ERROR_RATE * drift(random, hours, 0.8, 0.3), 0, 0.5)
    return Rows(hour, tokens, cost, time, random.random(size) < errors[hour], random.random(size) < ACCURACY, hours)


def real_rows(days: int, first_day: int = 0, complexity: str | None = None) -> Rows | None:
    """Return so many days of the real trace; None where it is absent. It has no errors or ratings: those are made up.

    They are drawn once, so they are part of the traffic, not of the arms.
    """
    trace = real_trace()
    if trace is None:
        return None
    if complexity is not None:
        trace = trace.filter(pl.col("complexity") == complexity)
    start = trace["timestamp"][0].replace(minute=0, second=0, microsecond=0) + (1 + DAY_HOURS * first_day) * HOUR
    own = trace.filter(pl.col("timestamp").is_between(start, start + days * DAY_HOURS * HOUR, closed="left"))
    hour = ((own["timestamp"] - start).dt.total_seconds() // 3600).to_numpy().astype(np.int64)
    random = np.random.default_rng(7)
    return Rows(
        hour=hour,
        tokens=own["prompt_tokens"].to_numpy().astype(float),
        cost=own["cost_usd"].to_numpy(),
        time=own["response_time_ms"].to_numpy(),
        error=random.random(len(hour)) < ERROR_RATE,
        right=random.random(len(hour)) < ACCURACY,
        hours=days * DAY_HOURS,
    )


def life(rows: Rows, change: Change, seed: int, rated: float = 1.0) -> Life:
    """Return the requests with the outcomes that the change would give them, and a new random split."""
    random = np.random.default_rng([seed, 18])
    size = len(rows.hour)
    slower = (rows.time <= TARGET_MS) & (random.random(size) < change.slow / (1 - SLOW_SHARE))
    failed = rows.error | (random.random(size) < change.errors / (1 - ERROR_RATE))
    wrong = random.random(size) < -change.accuracy / ACCURACY
    after = Rows(
        rows.hour,
        rows.tokens,
        rows.cost * change.cost,
        np.where(slower, 1.5 * TARGET_MS, rows.time),
        failed,
        rows.right & ~wrong,
        rows.hours,
    )
    return Life(rows, after, random.random(size), random.random(size) < rated)
