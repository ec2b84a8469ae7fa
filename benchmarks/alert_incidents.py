"""Twelve incidents in sixty days: how many are found, how soon, and how many false alarms there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.settings import Settings, parse_settings

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 60
REQUESTS_PER_HOUR = 1_500.0
CONFIG: dict[str, Any] = DEFAULT_CONFIG | {
    "cache.max_entries": 50_000, "cache.ttl_seconds": 86_400, "cache.key_strategy": "semantic",
    "cache.eviction_policy": "lfu", "routing.simple": "swift-mini", "routing.explore_share": 0.1,
}  # fmt: skip
"""A router within its limits."""

LIMITS = {
    "responseTime": {"target": 2000, "warning": 8000, "critical": 12000, "unit": "milliseconds"},
    "selectionAccuracy": {"target": 0.95, "warning": 0.9, "critical": 0.85, "unit": "ratio"},
    "cacheHitRate": {"target": 0.7, "warning": 0.6, "critical": 0.5, "unit": "ratio"},
    "costEfficiency": {"target": 0.5, "warning": 0.3, "critical": 0.15, "unit": "ratio"},
}
"""Limits that replace those of the product document which this router exceeds permanently."""

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Incident:
    """Changes the selections of a span of time."""

    name: str
    day: int
    hour: float
    minutes: int
    change: Change

    @property
    def start(self) -> datetime:
        return START + timedelta(days=self.day, hours=self.hour)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(minutes=self.minutes)


def _where(model: str | None) -> pl.Expr:
    missed = ~pl.col("cache_hit").fill_null(False)
    return missed if model is None else missed & (pl.col("model_id") == model)


def failing(share: float, model: str | None = None) -> Change:
    """Fails this share of the calls."""

    def change(rows: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
        fails = _where(model) & (pl.Series(draw.random(rows.height)) < share)
        return rows.with_columns(
            error=pl.col("error") | fails, response_time_ms=pl.when(~fails).then("response_time_ms"),
            accuracy=pl.when(~fails).then("accuracy"),
        )  # fmt: skip

    return change


def slower(times: float, model: str | None = None) -> Change:
    """Multiplies the response times by this factor."""
    return lambda rows, _draw: rows.with_columns(
        response_time_ms=pl.when(_where(model)).then(pl.col("response_time_ms") * times).otherwise("response_time_ms")
    )


def less_cached(share: float) -> Change:
    """Turns this share of the cache hits into misses: they cost and take what others of their class do."""

    def change(rows: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
        lost = pl.col("cache_hit") & (pl.Series(draw.random(rows.height)) < share)
        usual = pl.col("response_time_ms").filter(~pl.col("cache_hit")).median().over("model_id")
        usd = pl.col("cost_usd").filter(~pl.col("cache_hit")).mean().over("model_id")
        return rows.with_columns(
            cache_hit=pl.col("cache_hit") & ~lost,
            response_time_ms=pl.when(lost).then(usual).otherwise("response_time_ms"),
            cost_usd=pl.when(lost).then(usd).otherwise("cost_usd"),
        )  # fmt: skip

    return change


def wrong(by: float, model: str | None = None) -> Change:
    """Rates this further share of the selections as wrong."""

    def change(rows: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
        hit = (pl.lit(True) if model is None else pl.col("model_id") == model) & (
            pl.Series(draw.random(rows.height)) < by
        )
        return rows.with_columns(
            accuracy=pl.when(hit & pl.col("accuracy").is_not_null()).then(0.0).otherwise("accuracy")
        )

    return change


def costlier(times: float) -> Change:
    """Multiplies the cost of simple requests by this factor: they are sent to another model."""
    return lambda rows, _draw: rows.with_columns(
        cost_usd=pl.when(pl.col("complexity") == "simple").then(pl.col("cost_usd") * times).otherwise("cost_usd")
    )


def silent(rows: pl.DataFrame, _draw: np.random.Generator) -> pl.DataFrame:
    """Records nothing."""
    return rows.clear()


def stuck(rows: pl.DataFrame, _draw: np.random.Generator) -> pl.DataFrame:
    """Lets a handful of calls hang for ten minutes."""
    missed = rows.filter(_where(None), pl.col("response_time_ms").is_not_null())["request_id"].head(5)
    return rows.with_columns(
        response_time_ms=pl.when(pl.col("request_id").is_in(missed.implode()))
        .then(600_000.0)
        .otherwise("response_time_ms")
    )


INCIDENTS = (
    Incident("60 % of a model's calls fail", 19, 10.2, 45, failing(0.6, "atlas-medium")),
    Incident("10 % of all uncached calls fail", 22, 14.5, 120, failing(0.10)),
    Incident("a model takes 3 × as long", 25, 9.4, 60, slower(3.0, "swift-mini")),
    Incident("all models take 1.8 × as long", 28, 16.1, 90, slower(1.8)),
    Incident("the cache is down", 31, 11.3, 40, less_cached(1.0)),
    Incident("half of the cache is lost", 34, 20.0, 180, less_cached(0.5)),
    Incident("a model's accuracy falls by 0.2", 37, 8.7, 240, wrong(0.2, "titan-reason")),
    Incident("accuracy falls by 0.06", 40, 13.0, 360, wrong(0.06)),
    Incident("simple requests cost 60 × as much", 43, 15.2, 180, costlier(60.0)),
    Incident("nothing is recorded by day", 46, 10.6, 25, silent),
    Incident("nothing is recorded by night", 50, 2.1, 60, silent),
    Incident("five calls hang for ten minutes", 54, 17.3, 10, stuck),
)


def traffic(days: int = DAYS, seed: int = 11) -> pl.DataFrame:
    """Return the selections of the whole time, incidents included."""
    rows = simulate(START, START + timedelta(days=days), CONFIG, seed=seed, requests_per_hour=REQUESTS_PER_HOUR)
    draw = np.random.default_rng(seed)
    for incident in INCIDENTS:
        during = pl.col("timestamp").is_between(incident.start, incident.end, closed="left")
        changed = incident.change(rows.filter(during), draw)
        rows = pl.concat([rows.filter(~during), changed.select(rows.columns)])
    return rows.sort("timestamp")


def settings_of(mode: str) -> Settings:
    """Return settings with the limits of this router."""
    return parse_settings({"performanceMetrics": LIMITS, "monitoring": {"alerting": {"thresholds": mode}}}, "benchmark")
