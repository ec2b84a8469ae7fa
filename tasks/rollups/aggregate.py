"""Build rollup frames: the summed columns, aggregation of raw rows, and merging of frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import polars as pl

from models.period import Level, floor_to
from models.schema import OTHERS, UNKNOWN
from tasks.rollups.histogram import add_histograms, bin_index, pack

ROLLUP_KEYS = ("bucket", "model_id", "complexity", "team")

ROLLUP_SUMS = (
    "count", "error_count", "response_time_count", "response_time_sum_ms", "response_time_sum_sq", "over_target_count",
    "cost_count", "cost_sum_usd", "cost_sum_sq", "cache_count", "cache_hit_count", "cache_hit_cost_count",
    "cache_hit_cost_sum_usd", "cache_hit_cost_sum_sq", "accuracy_count", "accuracy_sum", "accuracy_sum_sq",
    "satisfaction_count", "satisfaction_sum", "prompt_token_count", "prompt_token_sum", "completion_token_count",
    "completion_token_sum",
)  # fmt: skip
"""Every summed column, in the order of models.schema.ROLLUP."""

ROLLUP_COLUMNS = (*ROLLUP_KEYS, *ROLLUP_SUMS, "latency_histogram")

MOST_NAMES = {"model_id": 300, "complexity": 100, "team": 1_000}
"""Values of a column kept by name in one bucket; the smallest beyond it are merged into the column's OTHERS."""

INSTANT = pl.Datetime("us", "UTC")

MS_PER_HOUR = 3_600_000

SELECTION_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "timestamp": INSTANT,
    "model_id": pl.String,
    "response_time_ms": pl.Float64,
    "complexity": pl.String,
    "cost_usd": pl.Float64,
    "cache_hit": pl.Boolean,
    "accuracy": pl.Float64,
    "user_satisfaction": pl.Float64,
    "error": pl.Boolean,
    "prompt_tokens": pl.Int64,
    "completion_tokens": pl.Int64,
    "team": pl.String,
    "experiment": pl.String,
    "arm": pl.String,
    "unit_bucket": pl.Int64,
}
"""The columns of a selection that the rollup update reads."""


def roll_up(
    selections: pl.DataFrame, zone: str, target_ms: float, *, minutes_from: datetime | None = None
) -> dict[Level, pl.DataFrame]:
    """Aggregate rows of SELECTION_SCHEMA to rollups (COLUMNS) at the four levels; buckets are UTC starts in `zone`.

    Minutes have no teams: theirs is UNKNOWN. There are no minutes before `minutes_from`.
    """
    rows = selections.with_columns(pl.col("complexity", "team").fill_null(UNKNOWN), bin=bin_index("response_time_ms"))
    recent = rows if minutes_from is None else rows.filter(pl.col("timestamp") >= minutes_from)
    by_minute = recent.with_columns(bucket=pl.col("timestamp").dt.truncate("1m"), team=pl.lit(UNKNOWN))
    hours = _add_up(rows.with_columns(bucket=hour_of("timestamp", zone)), target_ms)
    days = merge(hours.with_columns(bucket=start_of(hours["bucket"], Level.DAY, zone)))
    weeks = merge(days.with_columns(bucket=start_of(days["bucket"], Level.WEEK, zone)))
    return {
        Level.MINUTE: limit_names(_add_up(by_minute, target_ms)),
        Level.HOUR: limit_names(hours),
        Level.DAY: limit_names(days),
        Level.WEEK: limit_names(weeks),
    }


def merge(rollups: pl.DataFrame, keys: Sequence[str] = ROLLUP_KEYS) -> pl.DataFrame:
    """Merge rollup rows with equal keys, histograms included; drop columns that are neither keys nor sums."""
    sums = rollups.with_row_index("_row").group_by(keys, maintain_order=True).agg(pl.col(ROLLUP_SUMS).sum(), "_row")
    histograms = add_histograms(rollups["latency_histogram"], sums["_row"])
    return sums.with_columns(latency_histogram=histograms).select(*keys, *ROLLUP_SUMS, "latency_histogram")


def limit_names(
    rollups: pl.DataFrame, most: Mapping[str, int] = MOST_NAMES, *, over: Sequence[str] = ("bucket",)
) -> pl.DataFrame:
    """The same rollups with at most so many named models, complexities and teams a bucket, the rest merged into OTHERS.

    Every sum stays. The largest by count stay named, equal ones by name: the same rows always give the same names.
    With `over` () they are the largest of all buckets together.
    """
    for column, largest in most.items():
        # Without a bucket as a key the ranks are over all.
        keys = [pl.col(name) for name in over] or [pl.lit(0)]
        named = rollups.filter(~pl.col(column).is_in([UNKNOWN, OTHERS[column]]))
        sizes = named.group_by(*over, column).agg(pl.col("count").sum())
        crowded = sizes.filter(pl.len().over(keys) > largest)
        if crowded.is_empty():
            continue
        order = pl.struct(-pl.col("count"), pl.col(column)).rank("ordinal").over(keys)
        small = crowded.filter(order > largest).select(*over, column, is_small=True)
        renamed = rollups.join(small, on=[*over, column], how="left").with_columns(
            pl.when(pl.col("is_small")).then(pl.lit(OTHERS[column])).otherwise(column).alias(column)
        )
        rollups = merge(renamed)
    return rollups


def rename_others(rollups: pl.DataFrame, named: Mapping[str, Collection[str]]) -> pl.DataFrame:
    """The same rows, with a column's OTHERS in the place of values that are not among the names."""
    return rollups.with_columns(
        pl.when(pl.col(column).is_in(list(names))).then(column).otherwise(pl.lit(OTHERS[column])).alias(column)
        for column, names in named.items()
    )


def metric_sums(target_ms: float) -> dict[str, pl.Expr]:
    """The expressions over selections of the sums that every rollup has, by column; slow is above `target_ms`."""
    time, cost, accuracy = pl.col("response_time_ms"), pl.col("cost_usd"), pl.col("accuracy")
    return {
        "count": pl.len(),
        "error_count": pl.col("error").sum(),
        "response_time_count": time.count(),
        "response_time_sum_ms": time.sum(),
        "response_time_sum_sq": (time * time).sum(),
        "over_target_count": (time > target_ms).sum(),
        "cost_count": cost.count(),
        "cost_sum_usd": cost.sum(),
        "cost_sum_sq": (cost * cost).sum(),
        "cache_count": pl.col("cache_hit").count(),
        "cache_hit_count": pl.col("cache_hit").sum(),
        "accuracy_count": accuracy.count(),
        "accuracy_sum": accuracy.sum(),
        "accuracy_sum_sq": (accuracy * accuracy).sum(),
    }


def hour_of(timestamp: str, zone: str) -> pl.Expr:
    """The UTC start of the zone's clock hour that holds the timestamp, as models.period.floor_to computes it."""
    local = pl.col(timestamp).dt.convert_time_zone(zone)
    past_the_hour = pl.duration(
        minutes=local.dt.minute(), seconds=local.dt.second(), microseconds=local.dt.microsecond()
    )
    start = pl.col(timestamp) - past_the_hour
    if not _changes_by_part_of_an_hour(zone):
        return start
    changed = _offset(local) - _offset(start.dt.convert_time_zone(zone))
    return start + pl.duration(milliseconds=changed.dt.total_milliseconds() % MS_PER_HOUR)


def start_of(instants: pl.Series, level: Level, zone: str) -> pl.Series:
    """The UTC start of the zone's day or week that holds each instant."""
    dates = instants.dt.convert_time_zone(zone).dt.date()
    days = dates.unique()
    starts = pl.Series([floor_to(level, _noon(day, zone), zone) for day in days], dtype=INSTANT)
    # For an empty series the replacement keeps the old type, hence the cast.
    return dates.replace_strict(days, starts).cast(starts.dtype)


@cache
def rollup_schema() -> pl.Schema:
    """The schema of every rollup frame: COLUMNS."""
    return roll_up(pl.DataFrame(schema=SELECTION_SCHEMA), "UTC", 0.0)[Level.MINUTE].schema


def empty() -> pl.DataFrame:
    """A rollup frame without rows."""
    return rollup_schema().to_frame()


# ----------------------------------------------------------------------------------------------------------------------


def _add_up(rows: pl.DataFrame, target_ms: float) -> pl.DataFrame:
    names = ("model_id", "complexity", "team")
    coded = rows.with_columns(pl.col(names).cast(pl.Categorical))
    sums = coded.group_by(ROLLUP_KEYS).agg(**_sums(target_ms), _bins=pl.col("bin").drop_nulls())
    whole = sums.with_columns(pl.col(names).cast(pl.String), latency_histogram=pack(sums["_bins"]))
    return whole.select(ROLLUP_COLUMNS)


def _sums(target_ms: float) -> dict[str, pl.Expr]:
    hit_cost = pl.col("cost_usd").filter(pl.col("cache_hit"))
    sums = metric_sums(target_ms) | {
        "cache_hit_cost_count": hit_cost.count(),
        "cache_hit_cost_sum_usd": hit_cost.sum(),
        "cache_hit_cost_sum_sq": (hit_cost * hit_cost).sum(),
        "satisfaction_count": pl.col("user_satisfaction").count(),
        "satisfaction_sum": pl.col("user_satisfaction").sum(),
        "prompt_token_count": pl.col("prompt_tokens").count(),
        "prompt_token_sum": pl.col("prompt_tokens").sum(),
        "completion_token_count": pl.col("completion_tokens").count(),
        "completion_token_sum": pl.col("completion_tokens").sum(),
    }
    whole = ("count", "hits", "token_sum")
    return {
        name: expression.cast(pl.Int64 if name.endswith(whole) else pl.Float64) for name, expression in sums.items()
    }


@cache
def _changes_by_part_of_an_hour(zone: str) -> bool:
    """Whether its offsets from UTC ever differ by other than whole hours: rare, and cheap to check."""
    firsts = (datetime(year, month, 1, tzinfo=ZoneInfo(zone)) for year in range(2000, 2100) for month in range(1, 13))
    return len({(first.utcoffset() or timedelta()) % timedelta(hours=1) for first in firsts}) > 1


def _offset(local: pl.Expr) -> pl.Expr:
    return local.dt.base_utc_offset() + local.dt.dst_offset()


def _noon(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
