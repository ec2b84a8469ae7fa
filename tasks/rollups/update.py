"""Fold: raw selections to rollups, each row exactly once.

Progress is the id of the last folded selection. It and the rollups change in one transaction, which holds the lock on
the progress row and goes ahead only where the progress is what the work began with: neither a crash nor a second fold
can count a row twice. Writers may commit their ids out of order; tasks.rollups.watermark says up to which id nothing
can appear any more. Rows that change later leave a note, and tasks.rollups.rebuild makes their hours anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, select, update

from models.database import reading, writing
from models.errors import RollupsBusy
from models.period import EARLIEST, LATEST, Level, Period, floor_to, next_start
from models.schema import FOLD_STATE, ROLLUP
from routewatch.selection import SELECTION
from tasks.rollups.aggregate import INSTANT, limit_teams, merge, roll_up, start_of
from tasks.rollups.checkpoint import Basis, State, is_as_read, lock_state, read_state
from tasks.rollups.rebuild import HOURS_AT_ONCE, mend, rebuild_hours
from tasks.rollups.selection_reader import scan_ids
from tasks.rollups.store import add, between, put, remove, stored
from tasks.rollups.watermark import settle

COMMIT_ROWS = 500_000
"""Rows that are rolled up in memory before their rollups are written."""

REBUILD_TRIES = 5
"""How often all rollups are worked out again where what they are made of was changed meanwhile."""

ProgressBar = Callable[[int, int], None]


@dataclass(frozen=True)
class FoldResult:
    """What one fold did: rows counted now, hours mended, and whether rollups were built anew.

    `left` are hours whose selections were changed but could not be mended, because their other rows are gone;
    `held_by` the processes whose open transactions kept rows from being counted.
    """

    rows: int
    mended: int
    rebuilt: bool
    last_id: int
    last_selection_at: datetime | None
    left: int = 0
    held_by: tuple[int, ...] = ()


def fold(engine: Engine, basis: Basis, *, now: datetime, progress: ProgressBar = lambda done, of: None) -> FoldResult:
    """Bring the rollups up to date: count what is new, then mend the hours whose rows were changed.

    Where they were built on another basis, all of them are built anew from raw rows, and change in one transaction.
    Raises RollupsBusy where others never left them alone for long enough.
    """
    rows, held_by = _fold_new(engine, basis, now, progress)
    # Only then: what is counted is counted on the old basis, also of times whose raw rows are gone.
    rebuilt = read_state(engine, basis, now).basis != basis
    if rebuilt:
        rows = _fold_anew(engine, basis, now, progress)
    mended = mend(engine)
    state = read_state(engine, basis, now)
    return FoldResult(
        rows, mended.hours, rebuilt, state.last_id, state.last_selection_at, left=mended.left, held_by=held_by
    )


def rebuild(
    engine: Engine,
    basis: Basis,
    *,
    period: Period | None,
    now: datetime,
    progress: ProgressBar = lambda done, of: None,
) -> FoldResult:
    """Count what is new, then make rollups anew from raw rows: all, in one transaction, or the hours of `period`.

    What retention has removed the raw rows of stays as it is.
    """
    rows, held_by = _fold_new(engine, basis, now, progress)
    state, mended = read_state(engine, basis, now), 0
    if period is None or state.basis != basis:
        rows = _fold_anew(engine, basis, now, progress)
    else:
        with reading(engine) as connection:
            hours = sorted(_hours_of(connection, period, state))
        for first in range(0, len(hours), HOURS_AT_ONCE):
            with writing(engine) as connection:
                some = hours[first : first + HOURS_AT_ONCE]
                mended += rebuild_hours(connection, engine, some, lock_state(connection))
            progress(first + len(some), len(hours))
    state = read_state(engine, basis, now)
    return FoldResult(rows, mended, True, state.last_id, state.last_selection_at, held_by=held_by)


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


def _fold_new(engine: Engine, basis: Basis, now: datetime, progress: ProgressBar) -> tuple[int, tuple[int, ...]]:
    """Count the rows behind the progress, up to the settled ones; how many, and whose transactions hold others up."""
    read_state(engine, basis, now)
    settled, rows, is_done = settle(engine), 0, False
    while not is_done:
        state = read_state(engine, basis, now)
        added, is_done = _fold_upto(engine, settled.last_id or 0, state, now, progress)
        rows += added
    return rows, settled.held_by


def _fold_upto(engine: Engine, bound: int, state: State, now: datetime, progress: ProgressBar) -> tuple[int, bool]:
    """Count the rows between the progress and `bound`; how many, and whether all. False: another fold was quicker.

    While rollups are written, the rows behind them are read and rolled up.
    """
    bound, total, rows, pending = max(bound, state.last_id), 0, 0, _Rollups()
    written: Future[bool] | None = None
    with ThreadPoolExecutor(max_workers=1) as writer, closing(scan_ids(engine, state.last_id, bound)) as parts:
        for ends_at, selections in parts:
            pending.take(selections, state)
            if pending.rows < COMMIT_ROWS and ends_at < bound:
                continue
            if written is not None and not written.result():
                return total, False
            total, rows = total + rows, pending.rows
            written = writer.submit(write_rollups, engine, pending, state, ends_at, now)
            pending, state = _Rollups(), replace(state, last_id=ends_at)
            progress(ends_at, bound)
    is_done = written is None or written.result()
    return total + (rows if is_done else 0), is_done


def write_rollups(engine: Engine, pending: _Rollups, expected: State, last_id: int, now: datetime) -> bool:
    """Add rollups and move the progress to `last_id`; False, and nothing is written, where it is not as expected."""
    with writing(engine) as connection:
        state = lock_state(connection)
        if not is_as_read(state, expected):
            return False
        if pending.rows:
            for level in Level:
                add(connection, level, pending.at(level))
        newest = max(filter(None, (state.last_selection_at, pending.newest)), default=None)
        connection.execute(update(FOLD_STATE).values(last_id=last_id, last_selection_at=newest, folded_at=now))
    return True


def _fold_anew(engine: Engine, basis: Basis, now: datetime, progress: ProgressBar) -> int:
    """All rollups whose raw rows are there, on `basis`: worked out first, then put in place in one transaction."""
    for _ in range(REBUILD_TRIES):
        before = read_state(engine, basis, now)
        state, fresh = replace(before, zone=basis.zone, target_ms=basis.target_ms), _Rollups()
        for ends_at, selections in scan_ids(engine, 0, before.last_id):
            fresh.take(_kept(selections, state), state)
            progress(ends_at, before.last_id)
        with writing(engine) as connection:
            locked = lock_state(connection)
            # Rows that were counted meanwhile are added below.
            if not is_as_read(replace(locked, last_id=before.last_id), before):
                continue
            for _ends_at, selections in scan_ids(engine, before.last_id, locked.last_id):
                fresh.take(_kept(selections, state), state)
            _put_anew(connection, fresh, before, basis.zone)
            moved = {"zone": basis.zone, "target_ms": basis.target_ms, "folded_at": now}
            connection.execute(update(FOLD_STATE).values(moved))
        return fresh.rows
    raise RollupsBusy(REBUILD_TRIES)


def _kept(selections: pl.DataFrame, state: State) -> pl.DataFrame:
    """Without the late rows of times whose other rows are gone: they are in the rollups that stay."""
    return selections if state.raw_from is None else selections.filter(pl.col("timestamp") >= state.raw_from)


def _put_anew(connection: Connection, fresh: _Rollups, before: State, zone: str) -> None:
    """Rollups of raw rows in the place of those of their time; days and weeks from all hours that are there.

    Where retention has removed raw rows, hours of before stay, and so do days whose hours are gone in part.
    """
    since = floor_to(Level.HOUR, before.raw_from, before.zone) if before.raw_from else EARLIEST
    replaced = pl.Series([day for day in _whole_days(connection, before.zone) if day < since], dtype=INSTANT)
    for level in (Level.MINUTE, Level.HOUR, Level.DAY):
        remove(connection, level, since, LATEST)
    for day in replaced:
        connection.execute(delete(ROLLUP).where(ROLLUP.c.level == Level.DAY.value, ROLLUP.c.bucket == day))
    connection.execute(delete(ROLLUP).where(ROLLUP.c.level == Level.WEEK.value))
    if fresh.rows:
        put(connection, Level.MINUTE, fresh.at(Level.MINUTE))
        put(connection, Level.HOUR, limit_teams(fresh.at(Level.HOUR)))
    hours = stored(connection, between(Level.HOUR, EARLIEST, LATEST))
    is_of_replaced = start_of(hours["bucket"], Level.DAY, before.zone).is_in(replaced.implode())
    add(connection, Level.DAY, _regrouped(hours.filter((hours["bucket"] >= since) | is_of_replaced), Level.DAY, zone))
    add(connection, Level.WEEK, _regrouped(stored(connection, between(Level.DAY, EARLIEST, LATEST)), Level.WEEK, zone))


def _whole_days(connection: Connection, zone: str) -> list[datetime]:
    """The days that their stored hours add up to."""
    left: Counter[datetime] = Counter()
    for level, sign in ((Level.HOUR, 1), (Level.DAY, -1)):
        query = select(ROLLUP.c.bucket, func.sum(ROLLUP.c["count"])).where(ROLLUP.c.level == level.value)
        for bucket, count in connection.execute(query.group_by(ROLLUP.c.bucket)):
            left[floor_to(Level.DAY, bucket, zone)] += sign * int(count)
    return sorted(day for day, rows in left.items() if rows == 0)


def _regrouped(rollups: pl.DataFrame, level: Level, zone: str) -> pl.DataFrame:
    return merge(rollups.with_columns(bucket=start_of(rollups["bucket"], level, zone)))


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
