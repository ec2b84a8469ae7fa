"""Mend: rollups of hours whose raw rows were changed, or that differ from them, made anew.

Hours are the base: an hour is built from raw rows, its day and week from hours. An hour whose raw rows retention has
removed is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Connection, Engine, delete, select, text

from models.database import writing
from models.period import Level, floor_to, next_start
from models.tables import SelectionChange, table_of
from models.workplace import Workplace
from tasks.progress import STATE, State, lock_state
from tasks.rollup import KEYS, hour_of, merge, roll_up
from tasks.scan import scan_period
from tasks.shelve import ROLLUP, between, replace, stored

CHANGE = table_of(SelectionChange)

CHANGES_AT_ONCE = 100_000
SUM_TOLERANCE = 1e-9
"""Relative: what the order of adding floats up may make of a sum."""

_CHECKED = ("count", "error_count", "response_time_count", "response_time_sum_ms", "cost_count", "cost_sum_usd",
            "cache_count", "cache_hit_count", "accuracy_count", "accuracy_sum")  # fmt: skip


def mend(engine: Engine) -> int:
    """Make anew the hours whose selections were changed after they had been counted; gives their number."""
    mended = 0
    while True:
        with writing(engine) as connection:
            state = lock_state(connection)
            query = select(CHANGE.c.id, CHANGE.c.at).order_by(CHANGE.c.id).limit(CHANGES_AT_ONCE)
            changes = connection.execute(query).fetchall()
            if not changes:
                return mended
            hours = {floor_to(Level.HOUR, change.at, state.zone) for change in changes}
            mended += rebuild_hours(connection, engine, hours, state)
            connection.execute(delete(CHANGE).where(CHANGE.c.id.in_([change.id for change in changes])))


def reconcile(engine: Engine) -> int:
    """Hold every hour's rollups against its raw rows, and make anew those that differ; gives their number."""
    with writing(engine) as connection:
        if connection.execute(select(STATE.c.id)).one_or_none() is None:
            return 0
        state = lock_state(connection)
        return rebuild_hours(connection, engine, differing_hours(connection, state), state)


def rebuild_hours(connection: Connection, engine: Engine, hours: Iterable[datetime], state: State) -> int:
    """Rollups of hours, and of their days and weeks, anew within the caller's transaction; how many hours.

    `state` is the locked progress: rows behind it are left to the fold.
    """
    kept = sorted(hour for hour in set(hours) if state.raw_from is None or hour >= state.raw_from)
    for start, end in _runs(kept, state.zone):
        raw = scan_period(engine, start, end, state.last_id)
        fresh = roll_up(raw, state.zone, state.target_ms, minutes_from=state.minutes_from)
        for level in (Level.MINUTE, Level.HOUR):
            replace(connection, level, (start, end), fresh[level])
    derive(connection, Level.DAY, {floor_to(Level.DAY, hour, state.zone) for hour in kept}, state.zone)
    derive(connection, Level.WEEK, {floor_to(Level.WEEK, hour, state.zone) for hour in kept}, state.zone)
    return len(kept)


def derive(connection: Connection, level: Level, buckets: Iterable[datetime], zone: str) -> None:
    """Days from hours, or weeks from days, anew."""
    finer = {Level.DAY: Level.HOUR, Level.WEEK: Level.DAY}[level]
    for start in sorted(buckets):
        span = (start, next_start(level, start + timedelta(seconds=1), zone))
        parts = stored(connection, between(finer, *span)).with_columns(bucket=pl.lit(start, dtype=_INSTANT))
        replace(connection, level, span, merge(parts, KEYS))


def differing_hours(connection: Connection, state: State) -> list[datetime]:
    """The hours, from `raw_from` on, whose counts or sums are not those of the raw rows counted so far."""
    raw = _raw_sums(connection, state)
    from_raw = raw.group_by(hour_of("quarter", state.zone).alias("hour")).agg(pl.col(_CHECKED).sum())
    condition = ROLLUP.c.level == Level.HOUR.value
    if state.raw_from is not None:
        condition &= ROLLUP.c.bucket >= state.raw_from
    from_rollups = stored(connection, condition).group_by(hour="bucket").agg(pl.col(_CHECKED).sum())
    both = from_raw.join(from_rollups, on="hour", how="full", coalesce=True, suffix="_rollup").fill_null(0)
    wrong = pl.any_horizontal(
        (pl.col(name) - pl.col(f"{name}_rollup")).abs() > SUM_TOLERANCE * pl.col(name).abs() for name in _CHECKED
    )
    return both.filter(wrong)["hour"].sort().to_list()


# ----------------------------------------------------------------------------------------------------------------------

_INSTANT = pl.Datetime("us", "UTC")


def _runs(hours: list[datetime], zone: str) -> list[tuple[datetime, datetime]]:
    """Spans of hours that follow one another, at most a day each."""
    if not hours:
        return []
    ends = [next_start(Level.HOUR, hour + timedelta(seconds=1), zone) for hour in hours]
    runs, start = [], hours[0]
    for end, following in pairwise([*zip(ends, hours, strict=True)]):
        if end[0] != following[1] or following[1] - start >= timedelta(days=1):
            runs.append((start, end[0]))
            start = following[1]
    return [*runs, (start, ends[-1])]


def _raw_sums(connection: Connection, state: State) -> pl.DataFrame:
    """Counts and sums of raw rows by the quarter of an hour, which never straddles an hour of any zone."""
    sqlite = connection.dialect.name == "sqlite"
    quarter = (
        "substr(timestamp, 1, 14) || printf('%02d', CAST(substr(timestamp, 15, 2) AS INTEGER) / 15 * 15)"
        if sqlite
        else "date_bin('15 minutes', timestamp, TIMESTAMPTZ '2000-01-01 00:00:00+00')"
    )
    hit = "CAST(cache_hit AS INTEGER)"
    query = (
        f"SELECT {quarter} AS quarter, count(*), sum(CAST(error AS INTEGER)), count(response_time_ms), "  # noqa: S608
        f"coalesce(sum(response_time_ms), 0.0), count(cost_usd), coalesce(sum(cost_usd), 0.0), count(cache_hit), "
        f"coalesce(sum({hit}), 0), count(accuracy), coalesce(sum(accuracy), 0.0) "
        "FROM selection WHERE id <= :last_id"
    )
    values: dict[str, Any] = {"last_id": state.last_id}
    if state.raw_from is not None:
        query += " AND timestamp >= :raw_from"
        values["raw_from"] = state.raw_from.replace(tzinfo=None) if sqlite else state.raw_from
    statement = text(query + " GROUP BY 1")
    rows = [tuple(row) for row in connection.execute(statement, values)]
    kinds = {name: pl.Int64 if name.endswith(("count",)) else pl.Float64 for name in _CHECKED}
    frame = pl.DataFrame(rows, schema={"quarter": pl.String if sqlite else _INSTANT, **kinds}, orient="row")
    if sqlite:
        return frame.with_columns(pl.col("quarter").str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", time_zone="UTC"))
    return frame


@task(name="reconcile", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def reconcile_rollups(place: Workplace) -> int:
    """Hold the rollups against the raw rows, and mend what differs."""
    mended = reconcile(place.engine)
    if mended:
        get_run_logger().warning("%s hours of rollups differed from their raw rows and were made anew", mended)
    return mended
