"""Mend: rollups of hours whose raw rows were changed, or that differ from them, made anew.

Hours are the base: an hour is built from raw rows, its day and week from hours. An hour whose raw rows retention has
removed is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import BigInteger, Connection, Engine, Float, delete, func, select, text, update

from models.database import reading, writing
from models.period import EARLIEST, Level, floor_to, next_start
from models.tables import HOUR_TOTAL, SelectionChange, table_of
from models.workplace import Workplace
from tasks.progress import STATE, State, lock_state, read_known_state
from tasks.rollup import INSTANT, KEYS, hour_of, merge, roll_up, start_of
from tasks.scan import scan_period
from tasks.shelve import ROLLUP, between, replace, stored

CHANGE = table_of(SelectionChange)

HOUR = timedelta(hours=1)
HOURS_AT_ONCE = 6
"""Hours made anew in one transaction: in SQLite writers wait for it."""

SUM_TOLERANCE = 1e-9
"""Relative: what the order of adding floats up may make of a sum."""

_CHECKED = {
    "count": pl.Int64, "error_count": pl.Int64, "response_time_count": pl.Int64, "response_time_sum_ms": pl.Float64,
    "cost_count": pl.Int64, "cost_sum_usd": pl.Float64, "cache_count": pl.Int64, "cache_hit_count": pl.Int64,
    "accuracy_count": pl.Int64, "accuracy_sum": pl.Float64,
}  # fmt: skip
"""The columns that tell whether two rollups of the same rows differ."""


@dataclass(frozen=True)
class Mended:
    """Hours made anew, and hours left as they were because their raw rows are gone."""

    hours: int
    left: int


def mend(engine: Engine) -> Mended:
    """Make anew the hours whose selections were changed after they had been counted.

    A few hours a transaction, by rising time; what is changed behind it meanwhile is left to the next call.
    """
    mended, left, since = 0, 0, EARLIEST
    while (oldest := _oldest_note(engine, since)) is not None:
        with writing(engine) as connection:
            state = lock_state(connection)
            start = floor_to(Level.HOUR, oldest, state.zone)
            since = start + HOURS_AT_ONCE * HOUR
            taken = delete(CHANGE).where(CHANGE.c.at >= start, CHANGE.c.at < since).returning(CHANGE.c.at)
            hours = {floor_to(Level.HOUR, at, state.zone) for at in connection.execute(taken).scalars()}
            connection.execute(update(STATE).values(notes_taken=state.notes_taken + 1))
            done = rebuild_hours(connection, engine, hours, state)
            mended, left = mended + done, left + len(hours) - done
    return Mended(mended, left)


def reconcile(engine: Engine) -> int:
    """Hold all rollups against raw rows or finer rollups, and make anew what differs; gives how many hours that were.

    The comparison is of one snapshot and holds nobody up; what differs is made anew a few hours a transaction.
    """
    with reading(engine) as connection:
        known = read_known_state(connection)
        wrong = differing_hours(connection, known) if known else []
    mended = 0
    for first in range(0, len(wrong), HOURS_AT_ONCE):
        with writing(engine) as connection:
            state = lock_state(connection)
            if known is None or state.basis != known.basis:
                return mended
            mended += rebuild_hours(connection, engine, wrong[first : first + HOURS_AT_ONCE], state)
    return mended


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
        parts = stored(connection, between(finer, *span)).with_columns(bucket=pl.lit(start, dtype=INSTANT))
        replace(connection, level, span, merge(parts, KEYS))


def differing_hours(connection: Connection, state: State) -> list[datetime]:
    """The hours from `raw_from` on, by rising time, that differ from the raw rows counted so far or from their minutes.

    Of a day or week that is not the sum of its parts, but has no such hour, its first.
    """
    raw = _raw_sums(connection, state).with_columns(bucket=hour_of("quarter", state.zone)).drop("quarter")
    hours = _sums(connection, Level.HOUR, state.raw_from)
    wrong = set(_differing(raw, hours)) | set(_differing(hours, _sums(connection, HOUR_TOTAL, state.raw_from)))
    for finer, coarser, start in (
        (Level.MINUTE, Level.HOUR, state.minutes_from),
        (Level.HOUR, Level.DAY, state.raw_from),
        (Level.DAY, Level.WEEK, state.raw_from),
    ):
        found = {floor_to(coarser, hour, state.zone) for hour in wrong}
        wrong |= set(_differing_wholes(connection, finer, coarser, start, state.zone)) - found
    return sorted(hour for hour in wrong if state.raw_from is None or hour >= state.raw_from)


# ----------------------------------------------------------------------------------------------------------------------


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


def _sums(connection: Connection, level: str, start: datetime | None) -> pl.DataFrame:
    """The checked sums of a level by bucket, from `start` on."""
    sums = [func.sum(ROLLUP.c[name]).cast(BigInteger if kind == pl.Int64 else Float) for name, kind in _CHECKED.items()]
    which = ROLLUP.c.level == str(level), ROLLUP.c.bucket >= (start or EARLIEST)
    query = select(ROLLUP.c.bucket, *sums).where(*which).group_by(ROLLUP.c.bucket)
    rows = [tuple(row) for row in connection.execute(query)]
    return pl.DataFrame(rows, schema={"bucket": INSTANT, **_CHECKED}, orient="row")


def _differing(finer: pl.DataFrame, coarser: pl.DataFrame) -> list[datetime]:
    """The buckets whose sums differ; one that only one side has differs."""
    parts = finer.group_by("bucket").agg(pl.col(list(_CHECKED)).sum())
    both = parts.join(coarser, on="bucket", how="full", coalesce=True, suffix="_whole").fill_null(0)
    wrong = pl.any_horizontal(
        (pl.col(name) - pl.col(f"{name}_whole")).abs() > SUM_TOLERANCE * pl.col(name).abs() for name in _CHECKED
    )
    return both.filter(wrong)["bucket"].to_list()


def _differing_wholes(
    connection: Connection, finer: Level, coarser: Level, start: datetime | None, zone: str
) -> list[datetime]:
    """The coarser buckets, of those that begin at `start` or later, that are not the sum of their parts."""
    first = next_start(coarser, start, zone) if start else None
    parts = _sums(connection, finer, first)
    of_hour = coarser is Level.HOUR
    bucket = hour_of("bucket", zone) if of_hour else start_of(parts["bucket"], coarser, zone)
    return _differing(parts.with_columns(bucket=bucket), _sums(connection, coarser, first))


def _oldest_note(engine: Engine, since: datetime) -> datetime | None:
    with reading(engine) as connection:
        oldest: datetime | None = connection.scalar(select(func.min(CHANGE.c.at)).where(CHANGE.c.at >= since))
    return oldest


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
    frame = pl.DataFrame(rows, schema={"quarter": pl.String if sqlite else INSTANT, **_CHECKED}, orient="row")
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
