"""Rollups by arm of an experiment: the sums that a comparison of two arms needs, so that no raw row is read for it."""

from __future__ import annotations

from functools import cache

import polars as pl

from models.schema import UNKNOWN
from tasks.rollups.aggregate import hour_of, metric_sums

BASELINE, CANDIDATE = "baseline", "candidate"
"""The arms of a rollout."""

ARM_KEYS = ("bucket", "experiment", "arm", "complexity", "unit_bucket")

UNKNOWN_BUCKET = -1
"""The unit bucket of a selection without one: its request was assigned by itself, or its user is not known."""

ARM_SUMS = (
    "count", "error_count", "response_time_count", "response_time_sum_ms", "response_time_sum_sq", "over_target_count",
    "cost_count", "cost_sum_usd", "cost_sum_sq", "cache_count", "cache_hit_count", "accuracy_count", "accuracy_sum",
    "accuracy_sum_sq", "prompt_token_count", "prompt_token_sum", "prompt_token_sum_sq",
    "response_time_prompt_count", "response_time_prompt_sum_tokens", "response_time_prompt_sum_sq",
    "response_time_prompt_product",
    "cost_prompt_count", "cost_prompt_sum_tokens", "cost_prompt_sum_sq", "cost_prompt_product",
)  # fmt: skip
"""Every summed column. Each `_count` but `count` counts known values; those of `response_time_prompt_` and
`cost_prompt_` are over selections of which both values are known: number, prompt tokens, their squares, and prompt
tokens times the other value."""

ARM_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "experiment": pl.String,
    "arm": pl.String,
    "complexity": pl.String,
    "unit_bucket": pl.Int64,
    "error": pl.Boolean,
    "response_time_ms": pl.Float64,
    "cost_usd": pl.Float64,
    "cache_hit": pl.Boolean,
    "accuracy": pl.Float64,
    "prompt_tokens": pl.Int64,
}
"""The columns of a selection that roll_up_arms reads."""


def roll_up_arms(selections: pl.DataFrame, zone: str, target_ms: float) -> pl.DataFrame:
    """Aggregate rows of ARM_SCHEMA to ARM_KEYS and ARM_SUMS by the zone's hours; buckets are their UTC starts.

    Selections of no experiment or no arm are skipped: they were not assigned.
    """
    assigned = selections.filter(pl.col("experiment").is_not_null() & pl.col("arm").is_not_null())
    keyed = assigned.with_columns(
        pl.col("complexity").fill_null(UNKNOWN),
        pl.col("unit_bucket").cast(pl.Int64).fill_null(UNKNOWN_BUCKET),
        bucket=hour_of("timestamp", zone),
    )
    return keyed.group_by(ARM_KEYS).agg(**arm_sums(target_ms)).select(*ARM_KEYS, *ARM_SUMS).sort(ARM_KEYS)


def arm_sums(target_ms: float) -> dict[str, pl.Expr]:
    """Return the expression of every column of ARM_SUMS over rows of ARM_SCHEMA; slow is above `target_ms`."""
    # Squares of integers could exceed 64 bits.
    tokens = pl.col("prompt_tokens").cast(pl.Float64)
    sums = metric_sums(target_ms) | {
        "prompt_token_count": tokens.count(),
        "prompt_token_sum": tokens.sum(),
        "prompt_token_sum_sq": (tokens * tokens).sum(),
        **_cross_moments("response_time", pl.col("response_time_ms"), tokens),
        **_cross_moments("cost", pl.col("cost_usd"), tokens),
    }
    return {name: sums[name].cast(_TYPES.get(name, pl.Float64)) for name in ARM_SUMS}


@cache
def arm_schema() -> pl.Schema:
    """Return the schema of a frame of roll_up_arms."""
    return roll_up_arms(pl.DataFrame(schema=ARM_SCHEMA), "UTC", 0.0).schema


# ----------------------------------------------------------------------------------------------------------------------

_TYPES = {name: pl.Int64 for name in ARM_SUMS if name.endswith(("count", "token_sum", "sum_tokens"))}


def _cross_moments(name: str, value: pl.Expr, tokens: pl.Expr) -> dict[str, pl.Expr]:
    both = tokens.filter(value.is_not_null())
    return {
        f"{name}_prompt_count": both.count(),
        f"{name}_prompt_sum_tokens": both.sum(),
        f"{name}_prompt_sum_sq": (both * both).sum(),
        f"{name}_prompt_product": (tokens * value).sum(),
    }
