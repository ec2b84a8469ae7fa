"""Reconcile: compare rollups with the raw rows or finer rollups they derive from, and rebuild those that differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, Float, Table, func, select, text

from models.database import reading, writing
from models.period import FIRST_BUCKET, Level, floor_to, next_start
from models.schema import ARM_ROLLUP, HOUR_TOTAL, ROLLUP
from models.settings import DEFAULT_INGESTION, Ingestion
from routewatch.selection import instant_text
from tasks.rollups.aggregate import INSTANT, hour_of, start_of
from tasks.rollups.checkpoint import Checkpoint, lock_checkpoint, read_known_checkpoint
from tasks.rollups.rebuild import HOURS_AT_ONCE, rebuild_hours
from tasks.rollups.selection_reader import is_readable, one_form, read_instants
from tasks.rollups.set_aside import UncountableRows, counting_on, taking_any_text

GROUPS_AT_ONCE = 10_000
"""Groups of raw rows held as Python objects at a time."""

SUM_TOLERANCE = 1e-9
"""Relative tolerance of a sum for the order of float addition."""


_CHECKED = {
    "count": pl.Int64, "error_count": pl.Int64, "response_time_count": pl.Int64, "response_time_sum_ms": pl.Float64,
    "cost_count": pl.Int64, "cost_sum_usd": pl.Float64, "cache_count": pl.Int64, "cache_hit_count": pl.Int64,
    "accuracy_count": pl.Int64, "accuracy_sum": pl.Float64,
}  # fmt: skip
"""The columns that show whether two rollups of the same rows differ."""


def reconcile(engine: Engine, ingestion: Ingestion = DEFAULT_INGESTION) -> int:
    """Compare all rollups with raw rows or finer rollups, and rebuild those that differ; return how many hours.

    The comparison uses one snapshot and blocks no writer; differing hours are rebuilt a few per transaction. Rows that
    cannot be counted are set aside.
    """
    return counting_on(engine, ingestion, lambda: _reconcile(engine), partial(is_readable, engine))


def _reconcile(engine: Engine) -> int:
    with reading(engine) as connection:
        known = read_known_checkpoint(connection)
        wrong = differing_hours(connection, known) if known else []
    rebuilt_hours = 0
    for first in range(0, len(wrong), HOURS_AT_ONCE):
        with writing(engine) as connection:
            state = lock_checkpoint(connection)
            if known is None or state.settings != known.settings:
                return rebuilt_hours
            rebuilt_hours += rebuild_hours(connection, engine, wrong[first : first + HOURS_AT_ONCE], state)
    return rebuilt_hours


def differing_hours(connection: Connection, state: Checkpoint) -> list[datetime]:
    """The hours from `raw_from` on, ascending, that differ from the raw rows aggregated so far or from their minutes.

    For a day or week that differs from the sum of its parts but has no such hour, its first hour.
    """
    raw = _raw_sums(connection, state).with_columns(bucket=hour_of("quarter", state.zone)).drop("quarter")
    hours = _sums(connection, Level.HOUR, state.raw_from)
    wrong = set(_differing(raw, hours)) | set(_differing(hours, _sums(connection, HOUR_TOTAL, state.raw_from)))
    raw = _raw_arm_sums(connection, state).with_columns(bucket=hour_of("quarter", state.zone)).drop("quarter")
    wrong |= set(_differing(raw, _arm_sums(connection, state.raw_from)))
    for finer, coarser, start in (
        (Level.MINUTE, Level.HOUR, state.minutes_from),
        (Level.HOUR, Level.DAY, state.raw_from),
        (Level.DAY, Level.WEEK, state.raw_from),
    ):
        found = {floor_to(coarser, hour, state.zone) for hour in wrong}
        wrong |= set(_differing_wholes(connection, finer, coarser, start, state.zone)) - found
    return sorted(hour for hour in wrong if state.raw_from is None or hour >= state.raw_from)


def _sums(connection: Connection, level: str, start: datetime | None) -> pl.DataFrame:
    """The compared sums of a level by bucket, from `start` on."""
    return _sums_of(connection, ROLLUP, ROLLUP.c.level == str(level), ROLLUP.c.bucket >= (start or FIRST_BUCKET))


def _arm_sums(connection: Connection, start: datetime | None) -> pl.DataFrame:
    """The compared sums of all arms by bucket, from `start` on."""
    return _sums_of(connection, ARM_ROLLUP, ARM_ROLLUP.c.bucket >= (start or FIRST_BUCKET))


def _sums_of(connection: Connection, table: Table, *which: ColumnElement[bool]) -> pl.DataFrame:
    sums = [func.sum(table.c[name]).cast(BigInteger if kind == pl.Int64 else Float) for name, kind in _CHECKED.items()]
    query = select(table.c.bucket, *sums).where(*which).group_by(table.c.bucket)
    rows = [tuple(row) for row in connection.execute(query)]
    return pl.DataFrame(rows, schema={"bucket": INSTANT, **_CHECKED}, orient="row")


def _differing(finer: pl.DataFrame, coarser: pl.DataFrame) -> list[datetime]:
    """The buckets whose sums differ, or that only one side has."""
    parts = finer.group_by("bucket").agg(pl.col(list(_CHECKED)).sum())
    both = parts.join(coarser, on="bucket", how="full", coalesce=True, suffix="_whole").fill_null(0)
    wrong = pl.any_horizontal(
        (pl.col(name) - pl.col(f"{name}_whole")).abs() > SUM_TOLERANCE * pl.col(name).abs() for name in _CHECKED
    )
    return both.filter(wrong)["bucket"].to_list()


def _differing_wholes(
    connection: Connection, finer: Level, coarser: Level, start: datetime | None, zone: str
) -> list[datetime]:
    """The coarser buckets from `start` on that differ from the sum of their parts."""
    first = next_start(coarser, start, zone) if start else None
    parts = _sums(connection, finer, first)
    of_hour = coarser is Level.HOUR
    bucket = hour_of("bucket", zone) if of_hour else start_of(parts["bucket"], coarser, zone)
    return _differing(parts.with_columns(bucket=bucket), _sums(connection, coarser, first))


def _raw_sums(connection: Connection, state: Checkpoint) -> pl.DataFrame:
    """Counts and sums of raw rows by quarter of an hour, which never crosses an hour boundary in any zone."""
    return pl.concat(_raw_parts(connection, state, ())).drop(_ARM_NAMES)


def _raw_arm_sums(connection: Connection, state: Checkpoint) -> pl.DataFrame:
    """The same of the rows that have an experiment and an arm, as the gate reads names."""
    sums = pl.DataFrame(schema={"quarter": INSTANT, **_CHECKED})
    for part in _raw_parts(connection, state, _ARM_NAMES):
        named = part.with_columns(one_form(part[name]) for name in _ARM_NAMES).drop_nulls(_ARM_NAMES)
        sums = pl.concat([sums, named.drop(_ARM_NAMES)]).group_by("quarter").agg(pl.col(list(_CHECKED)).sum())
    return sums


_ARM_NAMES = ("experiment", "arm")


def _raw_parts(connection: Connection, state: Checkpoint, names: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """The sums by quarter of an hour and by the columns named, without the rows of which one of those is NULL.

    They come in parts: there may be as many names as rows. The last part has no rows.
    """
    sqlite = connection.dialect.name == "sqlite"
    quarter = (
        "substr(timestamp, 1, 14) || printf('%02d', CAST(substr(timestamp, 15, 2) AS INTEGER) / 15 * 15)"
        if sqlite
        else "date_bin('15 minutes', timestamp, TIMESTAMPTZ '2000-01-01 00:00:00+00')"
    )
    hit = "CAST(cache_hit AS INTEGER)"
    shown = ", ".join(f"CAST({name if name in names else 'NULL'} AS TEXT) AS {name}" for name in _ARM_NAMES)
    query = (
        f"SELECT {quarter} AS quarter, {shown}, count(*), sum(CAST(error AS INTEGER)), count(response_time_ms), "  # noqa: S608
        f"coalesce(sum(response_time_ms), 0.0), count(cost_usd), coalesce(sum(cost_usd), 0.0), count(cache_hit), "
        f"coalesce(sum({hit}), 0), count(accuracy), coalesce(sum(accuracy), 0.0) "
        "FROM selection WHERE id <= :last_id"
    )
    query += "".join(f" AND {name} IS NOT NULL" for name in names)
    values: dict[str, Any] = {"last_id": state.last_id}
    if state.raw_from is not None:
        query += " AND timestamp >= :raw_from"
        values["raw_from"] = instant_text(state.raw_from) if sqlite else state.raw_from
    statement = text(query + " GROUP BY " + ", ".join(["1", *names]))
    schema = {
        "quarter": pl.String if sqlite else INSTANT, **dict.fromkeys(_ARM_NAMES, pl.String), **_CHECKED
    }  # fmt: skip
    with taking_any_text(connection.connection) if sqlite else nullcontext():
        for rows in connection.execute(statement, values).partitions(GROUPS_AT_ONCE):
            frame = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
            yield _with_instants(frame) if sqlite else frame
    yield pl.DataFrame(schema=schema | {"quarter": INSTANT})


def _with_instants(sums: pl.DataFrame) -> pl.DataFrame:
    instants = read_instants(sums["quarter"] + ":00.000000")
    if instants.null_count():
        raise UncountableRows("rows of the table selection have no instant")
    return sums.with_columns(quarter=instants)
