"""Store the rollups by arm, in the transactions in which the other rollups change, and read them for a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import ColumnElement, Connection, and_, delete, select

from models.period import Level
from models.schema import ARM_ROLLUP, OTHER_ARMS, OTHER_COMPLEXITIES, OTHER_EXPERIMENTS, ROLLUP, UNKNOWN
from tasks.rollups.aggregate import MOST_NAMES
from tasks.rollups.arms import ARM_KEYS, ARM_SUMS, BASELINE, CANDIDATE, UNKNOWN_BUCKET, arm_schema
from tasks.rollups.store import aggregate_rollups, between, fetch_rows, insert_rows, quick_instant

MOST_EXPERIMENTS = 50
"""Experiments kept by name in one hour; the smallest beyond them are merged into OTHER_EXPERIMENTS."""

MOST_ARMS = 10
"""Arms of one experiment kept by name in one hour; the smallest beyond them are merged into OTHER_ARMS."""

ARM_READING = ("bucket", "arm", "unit_bucket", *ARM_SUMS)
"""The columns of read_arms and read_models_as_arms."""


def merge_arms(rollups: pl.DataFrame) -> pl.DataFrame:
    """Merge rollups by arm with equal keys; drop columns that are neither keys nor sums."""
    return rollups.group_by(ARM_KEYS).agg(pl.col(ARM_SUMS).sum()).select(*ARM_KEYS, *ARM_SUMS)


def limit_arms(rollups: pl.DataFrame) -> pl.DataFrame:
    """The same rollups with at most so many experiments, arms of each, and complexities an hour; no sum changes.

    The largest by count keep their names, equal ones by name. What is counted together has no unit buckets: they are
    of different splits.
    """
    nameless = {"arm": pl.lit(OTHER_ARMS), "unit_bucket": pl.lit(UNKNOWN_BUCKET, dtype=pl.Int64)}
    limited = _limit(rollups, "experiment", (), MOST_EXPERIMENTS, {"experiment": pl.lit(OTHER_EXPERIMENTS), **nameless})
    limited = _limit(limited, "arm", ("experiment",), MOST_ARMS, nameless)
    others = {"complexity": pl.lit(OTHER_COMPLEXITIES)}
    return _limit(limited, "complexity", (), MOST_NAMES["complexity"], others)


def add_arms(connection: Connection, fresh: pl.DataFrame) -> None:
    """Add rollups by arm to those stored under the same keys; the caller holds the checkpoint locked."""
    if fresh.is_empty():
        return
    hours = fresh["bucket"].unique()
    known = _read(connection, ARM_ROLLUP.c.bucket.between(hours.min(), hours.max()))
    known = known.filter(pl.col("bucket").is_in(hours.implode()))
    for hour in known["bucket"].unique().to_list():
        connection.execute(delete(ARM_ROLLUP).where(ARM_ROLLUP.c.bucket == hour))
    _insert(connection, merge_arms(pl.concat([known, fresh])) if known.height else fresh)


def replace_arms(connection: Connection, span: tuple[datetime, datetime], fresh: pl.DataFrame) -> None:
    """Replace all rollups by arm whose hours start in [start, end)."""
    remove_arms(connection, *span)
    _insert(connection, fresh)


def remove_arms(connection: Connection, start: datetime, end: datetime) -> int:
    """Delete the rollups by arm whose hours start in [start, end); return how many."""
    return connection.execute(delete(ARM_ROLLUP).where(_within(start, end))).rowcount


def read_arms(connection: Connection, experiment: str, complexity: str, start: datetime, end: datetime) -> pl.DataFrame:
    """One class of one experiment (ARM_READING, in this order), of the hours that start in [start, end).

    `complexity` is UNKNOWN for selections without a class.
    """
    which = and_(
        _within(start, end), ARM_ROLLUP.c.experiment == experiment, ARM_ROLLUP.c.complexity == (complexity or UNKNOWN)
    )
    return _read(connection, which).select(ARM_READING).sort("bucket", "arm", "unit_bucket")


def read_models_as_arms(  # noqa: PLR0917 - what is read, of which hours
    connection: Connection,
    complexity: str,
    baseline_model: str,
    candidate_model: str,
    start: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Two models' selections of one class as if each were an arm: what read_arms gives, for routers that say no arm.

    Their rollups have no moments with the prompt: those columns are null, and there are no unit buckets.
    """
    arms = {baseline_model: BASELINE, candidate_model: CANDIDATE}
    which = and_(
        between(Level.HOUR, start, end),
        ROLLUP.c.complexity == (complexity or UNKNOWN),
        ROLLUP.c.model_id.in_(sorted(arms)),
    )
    stored = [name for name in ARM_SUMS if name in ROLLUP.c]
    found = aggregate_rollups(connection, which, ("model_id",), stored)
    schema = arm_schema()
    missing = (pl.lit(None, dtype=schema[name]).alias(name) for name in ARM_SUMS if name not in ROLLUP.c)
    whole = found.with_columns(
        *missing,
        arm=pl.col("model_id").replace_strict(arms, return_dtype=pl.String),
        unit_bucket=pl.lit(UNKNOWN_BUCKET, dtype=pl.Int64),
    )
    return whole.select(pl.col(name).cast(schema[name]) for name in ARM_READING).sort("bucket", "arm")


# ----------------------------------------------------------------------------------------------------------------------


def _limit(
    rollups: pl.DataFrame, column: str, within: Sequence[str], largest: int, others: dict[str, pl.Expr]
) -> pl.DataFrame:
    """Give the smallest values of a column in each hour, and of `within`, the values of `others`."""
    over = ["bucket", *within]
    # What is counted together already is no name, and stays that.
    named = rollups.filter(~pl.col(column).is_in([UNKNOWN, OTHER_EXPERIMENTS, OTHER_ARMS, OTHER_COMPLEXITIES]))
    sizes = named.group_by(*over, column).agg(pl.col("count").sum())
    crowded = sizes.filter(pl.len().over(over) > largest)
    if crowded.is_empty():
        return rollups
    order = pl.struct(-pl.col("count"), pl.col(column)).rank("ordinal").over(over)
    small = crowded.filter(order > largest).select(*over, column, is_small=True)
    joined = rollups.join(small, on=[*over, column], how="left")
    renamed = joined.with_columns(
        pl.when(pl.col("is_small")).then(value).otherwise(name).alias(name) for name, value in others.items()
    )
    return merge_arms(renamed)


def _within(start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(ARM_ROLLUP.c.bucket >= start, ARM_ROLLUP.c.bucket < end)


def _read(connection: Connection, where: ColumnElement[bool]) -> pl.DataFrame:
    names = (*ARM_KEYS, *ARM_SUMS)
    query = select(quick_instant(connection, ARM_ROLLUP.c.bucket), *ARM_ROLLUP.c[names[1:]]).where(where)
    return fetch_rows(connection, query, arm_schema())


def _insert(connection: Connection, rollups: pl.DataFrame) -> None:
    if not rollups.is_empty():
        insert_rows(connection, "arm_rollup", limit_arms(rollups).sort(ARM_KEYS))
