"""Windows: sums over the window before each minute, over all models and per model. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from models.ddsketch import value_of
from models.kpis import KPIS, KpiName
from models.schema import OTHER_MODELS
from tasks.kpis.cost_efficiency import Candidate
from tasks.rollups.aggregate import INSTANT

OVERALL = ""
"""Subject of sums over all models."""

MINUTE = timedelta(minutes=1)

_PRICED = ("cost_count", "cost_sum_usd", "cost_sum_sq", "cache_hit_cost_count", "cache_hit_cost_sum_usd")
"""Columns of cost efficiency."""

OF_COSTS = ("needed_usd", "covered_usd", "covered_sq", "covered_count")

_OF_KPIS = [
    name
    for parts in (kpi.parts for kpi in KPIS.values())
    for name in (parts.numerator, parts.denominator, parts.sample, parts.squares)
    if name is not None
]
_COUNTED = tuple(dict.fromkeys(name for name in ("count", *_OF_KPIS) if name not in OF_COSTS))
SUMMED = (*_COUNTED, *OF_COSTS)

WINDOW_COLUMNS = tuple(dict.fromkeys((*_COUNTED, *_PRICED)))
"""Rollup columns to read, besides their keys."""

COST_WINDOWS = KPIS[KpiName.COST_EFFICIENCY].alert_windows
"""Number of windows over which costs are evaluated, the largest of all."""

Cheapest = dict[str, Candidate]


def by_subject(rollups: pl.DataFrame, cheapest: Cheapest) -> pl.DataFrame:
    """Aggregate rollups of one level by `bucket` and `subject`, each model and all of them: SUMMED.

    `covered_usd` is the spend for which the class's cheapest adequate model is known, `needed_usd` the spend that
    model would have caused (tasks.kpis.cost_efficiency), `covered_sq` the sum of squares of the covered costs.
    """
    models = priced(rollups, cheapest).group_by("bucket", subject="model_id").agg(pl.col(SUMMED).sum())
    everything = models.group_by("bucket").agg(pl.col(SUMMED).sum()).with_columns(subject=pl.lit(OVERALL))
    # Which models are counted together changes all the time: they are judged with all others only.
    single = models.filter(pl.col("subject") != OTHER_MODELS)
    return pl.concat([single, everything.select(models.columns)])


def priced(rollups: pl.DataFrame, cheapest: Cheapest) -> pl.DataFrame:
    """Return rollups with the columns of cost efficiency."""
    prices = pl.DataFrame(
        {"complexity": list(cheapest), "price_usd": [found.cost_usd for found in cheapest.values()]},
        schema={"complexity": pl.String, "price_usd": pl.Float64},
    )
    uncached = pl.col("cost_count") - pl.col("cache_hit_cost_count")
    covered = pl.col("price_usd").is_not_null()
    return rollups.join(prices, on="complexity", how="left").with_columns(
        needed_usd=pl.when(covered)
        .then(pl.col("cache_hit_cost_sum_usd") + uncached * pl.col("price_usd"))
        .otherwise(0.0),
        covered_usd=pl.when(covered).then(pl.col("cost_sum_usd")).otherwise(0.0),
        covered_sq=pl.when(covered).then(pl.col("cost_sum_sq")).otherwise(0.0),
        covered_count=pl.when(covered).then(pl.col("cost_count")).otherwise(0),
    )


def rolling(minutes: pl.DataFrame, first: datetime, last: datetime, length: timedelta) -> pl.DataFrame:
    """Return the sums over the `length` before each minute of [first, last] as `at`, from by_subject() of minutes.

    Sums of costs are over COST_WINDOWS times as long. Subjects without a selection in a window have no row for it.
    """
    at = pl.datetime_range(first - COST_WINDOWS * length, last - MINUTE, "1m", time_zone="UTC", eager=True).cast(
        INSTANT
    )
    subjects = minutes["subject"].unique(maintain_order=True)
    grid = pl.DataFrame({"subject": subjects}).join(pl.DataFrame({"bucket": at}), how="cross")
    size = int(length / MINUTE)
    sums = [
        pl.col(name)
        .rolling_sum(size * (COST_WINDOWS if name in OF_COSTS else 1), min_samples=1)
        .over("subject", order_by="bucket")
        for name in SUMMED
    ]
    return (
        grid.join(minutes, on=["subject", "bucket"], how="left")
        .with_columns(pl.col(SUMMED).fill_null(0))
        .with_columns(sums)
        .with_columns(at=pl.col("bucket") + MINUTE)
        .filter(pl.col("at") >= first, pl.col("count") > 0)
        .select("at", "subject", *SUMMED)
    )


def slowest(
    minutes: pl.DataFrame, first: datetime, last: datetime, length: timedelta
) -> dict[tuple[datetime, str], float]:
    """Return each model's slowest single selection in the window before each minute of [first, last], in ms.

    `minutes` are rollups with `latency_histogram`; within its 1 %.
    """
    tops = (
        with_slowest(minutes.filter(pl.col("model_id") != OTHER_MODELS))
        .group_by("model_id", "bucket")
        .agg(pl.col("slowest_ms").max())
    )
    ends = tops.select("model_id", "slowest_ms", pl.col("bucket") + MINUTE).sort("bucket")
    instants = pl.datetime_range(first, last, "1m", time_zone="UTC", eager=True).cast(INSTANT)
    grid = ends.select("model_id").unique(maintain_order=True).join(pl.DataFrame({"at": instants}), how="cross")
    found = (
        grid.join(ends, on="model_id")
        .filter(pl.col("bucket") <= pl.col("at"), pl.col("bucket") > pl.col("at") - length)
        .group_by("at", "model_id")
        .agg(pl.col("slowest_ms").max())
    )
    return {(at, model): ms for at, model, ms in found.iter_rows()}


def with_slowest(rollups: pl.DataFrame) -> pl.DataFrame:
    """Return rollups that have a response time, with the slowest in ms: the last bin of the histogram."""
    timed = rollups.filter(pl.col("response_time_count") > 0)
    top = timed["latency_histogram"].bin.slice(-8, 4).bin.reinterpret(dtype=pl.Int32, endianness="little")
    return timed.with_columns(slowest_ms=pl.Series([value_of(index) for index in top], dtype=pl.Float64))
