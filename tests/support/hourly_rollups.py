"""Hourly rollups of made-up traffic, without raw rows: months of them take no time."""

from __future__ import annotations

from datetime import datetime, timedelta
from struct import pack

import numpy as np
import polars as pl
from sqlalchemy import Engine

from models.database import writing
from models.ddsketch import bin_of
from models.period import Level
from tasks.rollups.aggregate import rollup_schema
from tasks.rollups.store import insert_rollups

HOUR = timedelta(hours=1)
_BIN_OF_A_SECOND = bin_of(1000.0)

CLASSES = ("simple", "complex")


def hourly_rollups(start: datetime, length: timedelta, seed: int = 1, **rates: float) -> pl.DataFrame:
    """Return hours of two classes with about `per_hour` (1200) selections each, fewer at night.

    Rates are `rated`, `slow`, `errors`, `accuracy`, `hits`, and `usd` per selection, which varies from hour to hour by
    `varied`.
    """
    draw = np.random.default_rng(seed)
    number = int(length / HOUR)
    buckets = pl.datetime_range(start, start + length, "1h", closed="left", eager=True)
    frames = []
    for complexity in CLASSES:
        per_hour = rates.get("per_hour", 1200)
        count = draw.poisson(np.where((buckets.dt.hour() >= 8) & (buckets.dt.hour() < 20), per_hour, per_hour / 3))
        known = draw.binomial(count, rates.get("rated", 1.0))
        usd = count * rates.get("usd", 0.05) * (1 + rates.get("varied", 0.02) * draw.standard_normal(number))
        sums = {
            "bucket": buckets, "model_id": "m", "complexity": complexity, "count": count,
            "error_count": draw.binomial(count, rates.get("errors", 0.01)),
            "response_time_count": count, "response_time_sum_ms": 1000.0 * count,
            "over_target_count": draw.binomial(count, rates.get("slow", 0.3)),
            "cost_count": count, "cost_sum_usd": usd, "cache_count": count,
            "cache_hit_count": draw.binomial(count, rates.get("hits", 0.5)),
            "accuracy_count": known, "accuracy_sum": draw.binomial(known, rates.get("accuracy", 0.97)),
            "prompt_token_count": count, "prompt_token_sum": 400 * count,
            "latency_histogram": [pack("<iI", _BIN_OF_A_SECOND, number) for number in count],
        }  # fmt: skip
        frames.append(pl.DataFrame(sums))
    made, schema = pl.concat(frames), rollup_schema()
    zero = {name: pl.lit(b"" if kind == pl.Binary else "" if kind == pl.String else 0) for name, kind in schema.items()}
    return made.select(
        (pl.col(name) if name in made.columns else zero[name]).cast(kind).alias(name) for name, kind in schema.items()
    ).filter(pl.col("count") > 0)


def store_hours(engine: Engine, hours: pl.DataFrame) -> None:
    """Store hourly rollups as a rollup update does, with the totals of each hour."""
    with writing(engine) as connection:
        insert_rollups(connection, Level.HOUR, hours)
