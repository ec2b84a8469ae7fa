"""Fold: raw selections to rollups, each row exactly once.

Progress is the id of the last folded selection. It and the rollups change in one transaction, which holds the lock on
the progress row and goes ahead only where the progress is what the work began with: neither a crash nor a second fold
can count a row twice. Writers may commit their ids out of order; settled_id says up to which id nothing can appear any
more. Rows that change later leave a note, and tasks.mend makes their hours anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Connection, Engine, delete, func, select, text, update
from sqlalchemy.exc import OperationalError

from models.database import reading, writing
from models.period import LATEST, Level, Period, floor_to, next_start
from models.tables import Selection, table_of
from models.workplace import Workplace
from tasks.mend import derive, mend, rebuild_hours
from tasks.progress import STATE, Basis, State, basis_of, lock_state, read_state
from tasks.rollup import merge, roll_up
from tasks.scan import scan_ids
from tasks.shelve import ROLLUP, add, between, put

SELECTION = table_of(Selection)

COMMIT_ROWS = 1_000_000
"""Rows that are rolled up in memory before their rollups are written."""

SETTLE_TIMEOUT = "5s"
"""How long the fold waits for open transactions of writers, and they behind it, before it leaves it to the next run."""

ProgressBar = Callable[[int, int], None]


@dataclass(frozen=True)
class FoldResult:
    """What one fold did: rows counted now, hours mended, and whether rollups were built anew."""

    rows: int
    mended: int
    rebuilt: bool
    last_id: int
    last_selection_at: datetime | None


def fold(engine: Engine, basis: Basis, *, now: datetime, progress: ProgressBar = lambda done, of: None) -> FoldResult:
    """Bring the rollups up to date: count what is new, then mend the hours whose rows were changed.

    Where they were built on another basis, all of them are built anew from raw rows, and change in one transaction.
    """
    rebuilt = read_state(engine, basis, now).basis != basis
    rows = _fold_anew(engine, basis, now, progress) if rebuilt else 0
    is_done = False
    while not is_done:
        added, is_done = _fold_new(engine, basis, now, progress)
        rows += added
    mended = mend(engine)
    state = read_state(engine, basis, now)
    return FoldResult(rows, mended, rebuilt, state.last_id, state.last_selection_at)


def rebuild(
    engine: Engine,
    basis: Basis,
    *,
    period: Period | None,
    now: datetime,
    progress: ProgressBar = lambda done, of: None,
) -> FoldResult:
    """Rollups anew from raw rows, in one transaction: all of them, or those of the hours that `period` touches.

    What retention has removed the raw rows of stays as it is.
    """
    state = read_state(engine, basis, now)
    if period is None or state.basis != basis:
        rows, mended = _fold_anew(engine, basis, now, progress), 0
    else:
        with writing(engine) as connection:
            state = lock_state(connection)
            hours = _hours_of(connection, period, state)
            rows, mended = 0, rebuild_hours(connection, engine, hours, state)
    state = read_state(engine, basis, now)
    return FoldResult(rows, mended, True, state.last_id, state.last_selection_at)


def settled_id(engine: Engine, folded: int = 0) -> int:
    """The largest id below which no selection can appear any more; `folded` where that cannot be told for now.

    SQLite has one writer at a time, so ids are committed in order. PostgreSQL hands ids out before the commit: a
    share lock on the table waits until every writer that holds one has ended, and is let go at once.
    """
    newest = select(func.coalesce(func.max(SELECTION.c.id), 0))
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            return int(connection.scalar(newest) or 0)
    with writing(engine) as connection:
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = '{SETTLE_TIMEOUT}'"))
            connection.execute(text("LOCK TABLE selection IN SHARE MODE"))
        except OperationalError as error:
            if type(error.orig).__name__ != "LockNotAvailable":
                raise
            return folded
        return int(connection.scalar(newest) or 0)


# ----------------------------------------------------------------------------------------------------------------------


@dataclass
class _Rollups:
    """Rollups of rows that are not yet written."""

    parts: dict[Level, list[pl.DataFrame]] = field(default_factory=lambda: {level: [] for level in Level})
    rows: int = 0
    newest: datetime | None = None

    def take(self, selections: pl.DataFrame, state: State) -> None:
        """Roll rows up, on the state's basis."""
        if selections.is_empty():
            return
        fresh = roll_up(selections, state.zone, state.target_ms, minutes_from=state.minutes_from)
        for level, part in fresh.items():
            self.parts[level].append(part)
        self.rows += selections.height
        latest: Any = selections["timestamp"].max()
        self.newest = max(filter(None, (self.newest, latest)))

    def at(self, level: Level) -> pl.DataFrame:
        """All of one level, added up."""
        parts = self.parts[level]
        return merge(pl.concat(parts)) if len(parts) > 1 else parts[0]


def _fold_new(engine: Engine, basis: Basis, now: datetime, progress: ProgressBar) -> tuple[int, bool]:
    """Count the rows behind the progress; how many, and whether that was all. False: another fold was quicker."""
    state = read_state(engine, basis, now)
    bound = max(settled_id(engine, state.last_id), state.last_id)
    total, pending = 0, _Rollups()
    for ends_at, selections in scan_ids(engine, state.last_id, bound):
        pending.take(selections, state)
        if pending.rows < COMMIT_ROWS and ends_at < bound:
            continue
        if not _write(engine, pending, state, ends_at, now):
            return total, False
        total, pending, state = total + pending.rows, _Rollups(), replace(state, last_id=ends_at)
        progress(ends_at, bound)
    return total, True


def _write(engine: Engine, pending: _Rollups, expected: State, last_id: int, now: datetime) -> bool:
    """Add rollups and move the progress to `last_id`; False, and nothing is written, where it is not as expected."""
    with writing(engine) as connection:
        state = lock_state(connection)
        if (state.last_id, state.basis, state.minutes_from) != (
            expected.last_id,
            expected.basis,
            expected.minutes_from,
        ):
            return False
        if pending.rows:
            for level in Level:
                add(connection, level, pending.at(level))
        newest = max(filter(None, (state.last_selection_at, pending.newest)), default=None)
        connection.execute(update(STATE).values(last_id=last_id, last_selection_at=newest, folded_at=now))
    return True


def _fold_anew(engine: Engine, basis: Basis, now: datetime, progress: ProgressBar) -> int:
    """All rollups whose raw rows are there, on `basis`: worked out first, then put in place in one transaction."""
    state = replace(read_state(engine, basis, now), zone=basis.zone, target_ms=basis.target_ms)
    bound, fresh = settled_id(engine, state.last_id), _Rollups()
    for ends_at, selections in scan_ids(engine, 0, bound):
        fresh.take(
            selections if state.raw_from is None else selections.filter(pl.col("timestamp") >= state.raw_from), state
        )
        progress(ends_at, bound)
    with writing(engine) as connection:
        lock_state(connection)
        _put_anew(connection, fresh, state)
        newest = fresh.newest or state.last_selection_at
        moved = {"last_id": bound, "zone": basis.zone, "target_ms": basis.target_ms, "folded_at": now}
        connection.execute(update(STATE).values(moved | {"last_selection_at": newest}))
    return fresh.rows


def _put_anew(connection: Connection, fresh: _Rollups, state: State) -> None:
    levels = [level for level in Level if fresh.rows]
    if state.raw_from is None:
        connection.execute(delete(ROLLUP))
        for level in levels:
            put(connection, level, fresh.at(level))
        return
    for level in (Level.MINUTE, Level.HOUR):
        connection.execute(delete(ROLLUP).where(between(level, state.raw_from, LATEST)))
        if fresh.rows:
            put(connection, level, fresh.at(level))
    for level in (Level.DAY, Level.WEEK):
        start = floor_to(level, state.raw_from, state.zone)
        connection.execute(delete(ROLLUP).where(between(level, start, LATEST)))
        buckets = {floor_to(level, hour, state.zone) for hour in _stored_hours(connection, start, LATEST)}
        derive(connection, level, buckets, state.zone)


def _hours_of(connection: Connection, period: Period, state: State) -> set[datetime]:
    """The hours of a period that have raw rows or rollups."""
    start, end = floor_to(Level.HOUR, period.start, state.zone), next_start(Level.HOUR, period.end, state.zone)
    at = SELECTION.c.timestamp
    first, last = connection.execute(select(func.min(at), func.max(at)).where(at >= start, at < end)).one()
    hours = set(_stored_hours(connection, start, end))
    while first is not None and first <= last:
        hours.add(floor_to(Level.HOUR, first, state.zone))
        first = next_start(Level.HOUR, first + timedelta(microseconds=1), state.zone)
    return hours


def _stored_hours(connection: Connection, start: datetime, end: datetime) -> list[datetime]:
    query = select(ROLLUP.c.bucket).where(between(Level.HOUR, start, end)).distinct()
    return list(connection.execute(query).scalars())


@task(name="fold", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def fold_selections(place: Workplace, now: datetime) -> FoldResult:
    """Bring the rollups up to date."""
    result = fold(place.engine, basis_of(place.settings), now=now)
    told = f"{result.rows:,}", result.last_selection_at, result.mended
    get_run_logger().info("folded %s selections, the newest of %s; mended %s hours", *told)
    return result
