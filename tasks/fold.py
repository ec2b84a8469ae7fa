"""Fold: raw selections to rollups, each row exactly once.

Progress is the id of the last folded selection. It and the rollups change in one transaction, which holds the lock on
the progress row, so neither a crash nor a second fold can count a row twice. Writers may commit their ids out of
order; settled_id says up to which id nothing can appear any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, text, update

from models.database import insert_into, reading, writing
from models.period import Level, Period, floor_to, next_start
from models.settings import Settings
from models.tables import FoldState, Rollup, Selection, table_of
from models.workplace import Workplace
from tasks.rollup import COLUMNS, KEYS, SELECTION_SCHEMA, SUMS, limit_teams, merge, roll_up

SELECTION, ROLLUP, STATE = table_of(Selection), table_of(Rollup), table_of(FoldState)

CHUNK_ROWS = 200_000
SETTLE_TIMEOUT = "5s"
"""How long the fold waits for open transactions of writers, and they behind it, before it leaves it to the next run."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Basis:
    """What rollups are built with: the zone of their hours, days and weeks, and what is slower than target."""

    zone: str
    target_ms: float


def basis_of(settings: Settings) -> Basis:
    """The basis that the settings ask for."""
    return Basis(settings.timezone, settings.performance_metrics.response_time.target)


@dataclass(frozen=True)
class FoldResult:
    """What one fold did: rows counted now, and the basis that all rollups are on."""

    rows: int
    rebuilt: bool
    last_id: int
    last_selection_at: datetime | None


def fold(engine: Engine, basis: Basis, *, now: datetime, progress: Progress = lambda done, of: None) -> FoldResult:
    """Bring the rollups up to date, chunk by chunk.

    Where they were built on another basis, all of them are built anew from raw rows, in one transaction.
    """
    bound = settled_id(engine)
    with writing(engine) as connection:
        state = _lock_state(connection, basis)
        rebuilt = (state.zone, state.target_ms) != (basis.zone, basis.target_ms)
        rows = _fold_all_anew(connection, basis, bound, now, progress) if rebuilt else 0
    while True:
        with writing(engine) as connection:
            chunk = _fold_chunk(connection, bound, now)
            state = _lock_state(connection, basis)
        rows += chunk
        progress(state.last_id, bound)
        if not chunk:
            return FoldResult(rows, rebuilt, state.last_id, state.last_selection_at)


def rebuild(
    engine: Engine,
    basis: Basis,
    *,
    period: Period | None,
    now: datetime,
    progress: Progress = lambda done, of: None,
) -> FoldResult:
    """Rollups anew from raw rows, in one transaction: all of them, or those of the whole weeks that hold `period`."""
    bound = settled_id(engine)
    with writing(engine) as connection:
        state = _lock_state(connection, basis)
        if period is None or (state.zone, state.target_ms) != (basis.zone, basis.target_ms):
            rows = _fold_all_anew(connection, basis, bound, now, progress)
        else:
            rows = _rebuild_weeks(connection, period, state, progress)
        state = _lock_state(connection, basis)
    return FoldResult(rows, True, state.last_id, state.last_selection_at)


def settled_id(engine: Engine) -> int:
    """The largest id below which no selection can appear any more; 0 without selections.

    SQLite has one writer at a time, so ids are committed in order. PostgreSQL hands ids out before the commit: a
    share lock on the table waits until every writer that holds one has ended, and is let go at once.
    """
    newest = select(func.coalesce(func.max(SELECTION.c.id), 0))
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            return int(connection.scalar(newest) or 0)
    with writing(engine) as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{SETTLE_TIMEOUT}'"))
        connection.execute(text("LOCK TABLE selection IN SHARE MODE"))
        return int(connection.scalar(newest) or 0)


# ----------------------------------------------------------------------------------------------------------------------


def _lock_state(connection: Connection, basis: Basis) -> Row[Any]:
    """The progress row, made where there is none, and locked until the transaction ends."""
    values = {"id": 1, "last_id": 0, "zone": basis.zone, "target_ms": basis.target_ms}
    connection.execute(insert_into(connection, STATE).values(values).on_conflict_do_nothing())
    return connection.execute(select(STATE).with_for_update()).one()


def _fold_all_anew(connection: Connection, basis: Basis, bound: int, now: datetime, progress: Progress) -> int:
    connection.execute(delete(ROLLUP))
    start = {"last_id": 0, "zone": basis.zone, "target_ms": basis.target_ms, "last_selection_at": None}
    connection.execute(update(STATE).values(start))
    done = 0
    while chunk := _fold_chunk(connection, bound, now):
        done += chunk
        progress(done, bound)
    return done


def _fold_chunk(connection: Connection, bound: int, now: datetime) -> int:
    """Folds the next rows up to the id `bound` within the caller's transaction; gives their number, 0 at the end."""
    state = connection.execute(select(STATE).with_for_update()).one()
    rows, last_id = _read(connection, _raw().where(SELECTION.c.id > state.last_id, SELECTION.c.id <= bound))
    if rows.is_empty():
        connection.execute(update(STATE).values(folded_at=now))
        return 0
    _store(connection, roll_up(rows, state.zone, state.target_ms))
    newest = max(filter(None, (state.last_selection_at, rows["timestamp"].max())))
    connection.execute(update(STATE).values(last_id=last_id, last_selection_at=newest, folded_at=now))
    return rows.height


def _rebuild_weeks(connection: Connection, period: Period, state: Row[Any], progress: Progress) -> int:
    start = floor_to(Level.WEEK, period.start, state.zone)
    end = next_start(Level.WEEK, period.end, state.zone)
    connection.execute(delete(ROLLUP).where(ROLLUP.c.bucket >= start, ROLLUP.c.bucket < end))
    within = _raw().where(SELECTION.c.timestamp >= start, SELECTION.c.timestamp < end, SELECTION.c.id <= state.last_id)
    last_id, done = 0, 0
    while True:
        rows, last_id = _read(connection, within.where(SELECTION.c.id > last_id))
        if rows.is_empty():
            return done
        _store(connection, roll_up(rows, state.zone, state.target_ms))
        done += rows.height
        progress(last_id, state.last_id)


def _raw() -> Select[Any]:
    return select(*SELECTION.c["id", *SELECTION_SCHEMA]).order_by(SELECTION.c.id)


def _read(connection: Connection, query: Select[Any]) -> tuple[pl.DataFrame, int]:
    """The next chunk of SELECTION_SCHEMA and its last id."""
    result = connection.execute(query.limit(CHUNK_ROWS))
    rows = pl.DataFrame(result.fetchall(), schema={"id": pl.Int64, **SELECTION_SCHEMA}, orient="row")
    return rows.drop("id"), int(rows["id"][-1]) if rows.height else 0


def _store(connection: Connection, rollups: dict[Level, pl.DataFrame]) -> None:
    for level, fresh in rollups.items():
        known = _stored(connection, level, fresh)
        merged = merge(pl.concat([known, fresh])) if known.height else fresh
        crowded = merged if level is Level.MINUTE else limit_teams(merged)
        if crowded is not merged and known.height:
            _drop(connection, level, known)
        _upsert(connection, level, crowded)


def _stored(connection: Connection, level: Level, fresh: pl.DataFrame) -> pl.DataFrame:
    """The stored rollups of the buckets that the fresh ones touch."""
    buckets = fresh["bucket"].unique()
    query = select(*ROLLUP.c[COLUMNS]).where(
        ROLLUP.c.level == level.value,
        ROLLUP.c.bucket.between(buckets.min(), buckets.max()),
    )
    rows = connection.execute(query).fetchall()
    return pl.DataFrame(rows, schema=fresh.schema, orient="row").filter(pl.col("bucket").is_in(buckets.implode()))


def _drop(connection: Connection, level: Level, known: pl.DataFrame) -> None:
    for bucket in known["bucket"].unique().to_list():
        connection.execute(delete(ROLLUP).where(ROLLUP.c.level == level.value, ROLLUP.c.bucket == bucket))


def _upsert(connection: Connection, level: Level, rollups: pl.DataFrame) -> None:
    statement = insert_into(connection, ROLLUP)
    changes = {name: statement.excluded[name] for name in (*SUMS, "latency_histogram")}
    statement = statement.on_conflict_do_update(index_elements=["level", *KEYS], set_=changes)
    if rollups.height:
        connection.execute(statement, rollups.with_columns(level=pl.lit(level.value)).to_dicts())


@task(name="fold", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def fold_selections(place: Workplace, now: datetime) -> FoldResult:
    """Bring the rollups up to date."""
    result = fold(place.engine, basis_of(place.settings), now=now)
    get_run_logger().info("folded %s selections, the newest of %s", f"{result.rows:,}", result.last_selection_at)
    return result
