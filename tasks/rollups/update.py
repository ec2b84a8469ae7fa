"""Update the rollups from raw selections, each row exactly once.

The checkpoint is the id of the last aggregated selection. It and the rollups change in one transaction, which locks the
checkpoint row and commits only if the checkpoint is what the work began with: neither a crash nor a concurrent update
can count a row twice. Writers may commit their ids out of order; tasks.rollups.watermark finds the id below which no
new row can appear. Rows that change later go to the change log, and tasks.rollups.rebuild rebuilds their hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, select, update

from models.clock import not_ahead, true_now
from models.database import reading, writing
from models.errors import RollupsBusy
from models.period import FIRST_BUCKET, LAST_BUCKET, Level, Period, floor_to, next_start
from models.schema import ROLLUP, ROLLUP_CHECKPOINT
from models.settings import DEFAULT_INGESTION, Ingestion
from routewatch.gate import latest_instant
from routewatch.selection import SELECTION
from tasks.rollups.aggregate import INSTANT, limit_names, merge, roll_up, start_of
from tasks.rollups.arm_store import add_arms, merge_arms, replace_arms
from tasks.rollups.arms import arm_schema, roll_up_arms
from tasks.rollups.checkpoint import (
    Checkpoint,
    RollupSettings,
    counted_until,
    is_as_read,
    lock_checkpoint,
    read_checkpoint,
)
from tasks.rollups.rebuild import HOURS_AT_ONCE, rebuild_changed_hours, rebuild_hours
from tasks.rollups.restore import return_due
from tasks.rollups.selection_reader import is_readable, scan_ids
from tasks.rollups.set_aside import counting_on, set_aside_ahead, set_aside_changed
from tasks.rollups.store import add_rollups, between, insert_rollups, read_rollups, remove_rollups
from tasks.rollups.watermark import Watermark, find_watermark
from tasks.run_logger import logger

COMMIT_ROWS = 500_000
"""Rows aggregated in memory before their rollups are written."""

REBUILD_TRIES = 5
"""Number of attempts to rebuild all rollups if their raw rows are changed meanwhile."""

ProgressBar = Callable[[int, int], None]


@dataclass(frozen=True)
class UpdateResult:
    """The result of one update: rows aggregated, hours rebuilt, and whether all rollups were rebuilt.

    `remaining_hours` are hours whose selections were changed but could not be rebuilt, because their other rows are
    gone; `held_by` the processes whose open transactions kept rows from being aggregated.
    """

    rows: int
    rebuilt_hours: int
    rebuilt: bool
    last_id: int
    last_selection_at: datetime | None
    remaining_hours: int = 0
    held_by: tuple[int, ...] = ()


def update_rollups(
    engine: Engine,
    settings: RollupSettings,
    *,
    now: datetime,
    ingestion: Ingestion = DEFAULT_INGESTION,
    progress: ProgressBar = lambda done, of: None,
) -> UpdateResult:
    """Bring the rollups up to date: aggregate new rows, then rebuild the hours whose rows were changed.

    Rows that cannot be counted, or that are ahead of the clock, are set aside (routewatch.quarantine), and the others
    are counted. Those that were set aside because they were ahead return first, once the true clock has reached them.
    If the rollup settings changed, all rollups are rebuilt from raw rows in one transaction. Raises RollupsBusy if
    concurrent writers changed them in every attempt.
    """
    return counting_on(
        engine, ingestion, lambda: _update(engine, settings, now, ingestion, progress), partial(is_readable, engine)
    )


def rebuild(
    engine: Engine,
    settings: RollupSettings,
    *,
    period: Period | None,
    now: datetime,
    ingestion: Ingestion = DEFAULT_INGESTION,
    progress: ProgressBar = lambda done, of: None,
) -> UpdateResult:
    """Aggregate new rows, then rebuild rollups from raw rows: all, in one transaction, or the hours of `period`.

    Rollups whose raw rows retention has removed stay unchanged, and rows that cannot be counted are set aside.
    """
    return counting_on(
        engine,
        ingestion,
        lambda: _rebuild(engine, settings, period, now, ingestion, progress),
        partial(is_readable, engine),
    )


# ----------------------------------------------------------------------------------------------------------------------


def _update(
    engine: Engine, settings: RollupSettings, now: datetime, ingestion: Ingestion, progress: ProgressBar
) -> UpdateResult:
    _return_due(engine, ingestion)
    rows, held_by = _add_new_rows(engine, settings, now, ingestion, progress)
    # Only then: new rows are aggregated with the old settings, also for times whose raw rows are gone.
    rebuilt = read_checkpoint(engine, settings, now).settings != settings
    if rebuilt:
        rows = _rebuild_all(engine, settings, now, progress)
    set_aside_changed(engine, ingestion)
    rebuilt_hours = rebuild_changed_hours(engine)
    state = read_checkpoint(engine, settings, now)
    return UpdateResult(
        rows,
        rebuilt_hours.hours,
        rebuilt,
        state.last_id,
        state.last_selection_at,
        remaining_hours=rebuilt_hours.remaining,
        held_by=held_by,
    )


def _return_due(engine: Engine, ingestion: Ingestion) -> None:
    """Let rows return from the quarantine. Counting goes on where that fails."""
    try:
        returned = return_due(engine, ingestion)
    except Exception as error:  # noqa: BLE001 - whatever it is, the rows wait, and what is new must not
        logger().warning("rows whose time has come stay in the quarantine for now: %s", error)
    else:
        if returned:
            logger().info("%s rows returned from the quarantine: the clock has reached them", returned)


def _rebuild(  # noqa: PLR0917 - those of rebuild
    engine: Engine,
    settings: RollupSettings,
    period: Period | None,
    now: datetime,
    ingestion: Ingestion,
    progress: ProgressBar,
) -> UpdateResult:
    rows, held_by = _add_new_rows(engine, settings, now, ingestion, progress)
    state, rebuilt_hours = read_checkpoint(engine, settings, now), 0
    if period is None or state.settings != settings:
        rows = _rebuild_all(engine, settings, now, progress)
    else:
        with reading(engine) as connection:
            hours = sorted(_hours_of(connection, period, state))
        for first in range(0, len(hours), HOURS_AT_ONCE):
            with writing(engine) as connection:
                some = hours[first : first + HOURS_AT_ONCE]
                rebuilt_hours += rebuild_hours(connection, engine, some, lock_checkpoint(connection))
            progress(first + len(some), len(hours))
    state = read_checkpoint(engine, settings, now)
    return UpdateResult(rows, rebuilt_hours, True, state.last_id, state.last_selection_at, held_by=held_by)


@dataclass
class _Rollups:
    """Buffered rollups that are not yet written."""

    parts: dict[Level, list[pl.DataFrame]] = field(default_factory=lambda: {level: [] for level in Level})
    arms: pl.DataFrame = field(default_factory=lambda: arm_schema().to_frame())
    rows: int = 0
    newest: datetime | None = None
    """The time of the newest row that is not ahead of the clock: one that is says nothing of how fresh the rows are."""
    clock: datetime = field(default_factory=true_now)
    is_progress: bool = True
    ahead: int = 0

    def take_until(self, selections: pl.DataFrame, state: Checkpoint, latest: datetime) -> None:
        """Aggregate rows that are not later than `latest`, and count the others."""
        known = selections.filter(pl.col("timestamp") <= latest)
        self.ahead += selections.height - known.height
        self.take(known, state)

    def take(self, selections: pl.DataFrame, state: Checkpoint) -> None:
        """Aggregate rows with the checkpoint's settings."""
        if selections.is_empty():
            return
        fresh = roll_up(selections, state.zone, state.target_ms, minutes_from=state.minutes_from)
        for level, part in fresh.items():
            self.parts[level].append(part)
        arms = roll_up_arms(selections, state.zone, state.target_ms)
        if arms.height:
            self.arms = merge_arms(pl.concat([self.arms, arms]))
        self.rows += selections.height
        times = selections["timestamp"]
        latest: Any = times.filter(times <= self.clock).max()
        self.newest = max(filter(None, (self.newest, latest)), default=None)

    def at(self, level: Level) -> pl.DataFrame:
        """All rollups of one level, summed."""
        parts = self.parts[level]
        return merge(pl.concat(parts)) if len(parts) > 1 else parts[0]


def _add_new_rows(
    engine: Engine, settings: RollupSettings, now: datetime, ingestion: Ingestion, progress: ProgressBar
) -> tuple[int, tuple[int, ...]]:
    """Aggregate the rows from the checkpoint to the watermark; return how many, and the processes that block others."""
    read_checkpoint(engine, settings, now)
    watermark, rows, is_done = find_watermark(engine), 0, False
    while not is_done:
        state = read_checkpoint(engine, settings, now)
        added, is_done = _add_rows_until(engine, watermark, state, now, ingestion, progress)
        rows += added
    return rows, watermark.held_by


def _add_rows_until(  # noqa: PLR0917 - those of update_rollups, and where to stop
    engine: Engine, watermark: Watermark, state: Checkpoint, now: datetime, ingestion: Ingestion, progress: ProgressBar
) -> tuple[int, bool]:
    """Aggregate the rows from the checkpoint to the watermark; how many, and whether all. False: another update won.

    While rollups are written, the rows after them are read and aggregated.
    """
    bound, total, rows, pending = max(watermark.last_id or 0, state.last_id), 0, 0, _Rollups()
    # A run with a simulated time must not set aside what is not ahead of the true clock, nor count less than it says.
    latest = latest_instant(max(now, true_now()), ingestion.clock_skew)
    written: Future[bool] | None = None
    with ThreadPoolExecutor(max_workers=1) as writer, closing(scan_ids(engine, state.last_id, bound)) as parts:
        for ends_at, selections in parts:
            pending.take_until(selections, state, latest)
            if pending.rows < COMMIT_ROWS and ends_at < bound:
                continue
            if written is not None and not written.result():
                return total, False
            total, rows = total + rows, pending.rows
            # None is left to count, or some were counted: else open transactions hold it up.
            pending.is_progress = ends_at > state.last_id or watermark.last_id is not None
            ahead = _Ahead(latest, ingestion) if pending.ahead else None
            written = writer.submit(write_rollups, engine, pending, state, ends_at, now, ahead)
            pending, state = _Rollups(), replace(state, last_id=ends_at)
            progress(ends_at, bound)
    is_done = written is None or written.result()
    return total + (rows if is_done else 0), is_done


@dataclass(frozen=True)
class _Ahead:
    """There are rows later than `latest` among those read, which are not counted but set aside."""

    latest: datetime
    ingestion: Ingestion


def write_rollups(  # noqa: PLR0917 - a future's arguments
    engine: Engine,
    pending: _Rollups,
    expected: Checkpoint,
    last_id: int,
    now: datetime,
    ahead: _Ahead | None = None,
) -> bool:
    """Add rollups and move the checkpoint to `last_id`; False, with nothing written, if it is not as expected.

    The checkpoint keeps no time ahead of the clock.
    """
    with writing(engine) as connection:
        state = lock_checkpoint(connection)
        if not is_as_read(state, expected):
            return False
        if pending.rows:
            for level in Level:
                add_rollups(connection, level, pending.at(level))
            add_arms(connection, pending.arms)
        if ahead is not None:
            set_aside_ahead(connection, state.last_id, last_id, ahead.latest, ingestion=ahead.ingestion, now=true_now())
        newest = max(filter(None, (state.last_selection_at, pending.newest)), default=None)
        moved: dict[str, Any] = {
            **counted_until(last_id),
            "last_selection_at": newest,
            "rollups_updated_at": not_ahead(now),
        }
        if pending.is_progress:
            moved["progressed_at"] = true_now()
        connection.execute(update(ROLLUP_CHECKPOINT).values(moved))
    return True


def _rebuild_all(engine: Engine, settings: RollupSettings, now: datetime, progress: ProgressBar) -> int:
    """Rebuild all rollups that have raw rows with `settings`: compute them first, then replace in one transaction."""
    for _ in range(REBUILD_TRIES):
        before = read_checkpoint(engine, settings, now)
        state, fresh = replace(before, zone=settings.zone, target_ms=settings.target_ms), _Rollups()
        for ends_at, selections in scan_ids(engine, 0, before.last_id):
            fresh.take(_still_counted(selections, state), state)
            progress(ends_at, before.last_id)
        with writing(engine) as connection:
            locked = lock_checkpoint(connection)
            # Rows aggregated meanwhile are added below.
            if not is_as_read(replace(locked, last_id=before.last_id), before):
                continue
            for _ends_at, selections in scan_ids(engine, before.last_id, locked.last_id):
                fresh.take(_still_counted(selections, state), state)
            _replace_all(connection, fresh, before, settings.zone)
            moved = {"zone": settings.zone, "target_ms": settings.target_ms, "rollups_updated_at": not_ahead(now)}
            connection.execute(update(ROLLUP_CHECKPOINT).values(moved))
        return fresh.rows
    raise RollupsBusy(REBUILD_TRIES)


def _still_counted(selections: pl.DataFrame, state: Checkpoint) -> pl.DataFrame:
    """Drop late rows of times whose other rows are gone: the kept rollups include them."""
    return selections if state.raw_from is None else selections.filter(pl.col("timestamp") >= state.raw_from)


def _replace_all(connection: Connection, fresh: _Rollups, before: Checkpoint, zone: str) -> None:
    """Replace rollups by those of the raw rows of their time; rebuild days and weeks from all existing hours.

    Where retention has removed raw rows, earlier hours stay, and so do days whose hours are partly gone.
    """
    since = floor_to(Level.HOUR, before.raw_from, before.zone) if before.raw_from else FIRST_BUCKET
    replaced = pl.Series([day for day in _whole_days(connection, before.zone) if day < since], dtype=INSTANT)
    for level in (Level.MINUTE, Level.HOUR, Level.DAY):
        remove_rollups(connection, level, since, LAST_BUCKET)
    for day in replaced:
        connection.execute(delete(ROLLUP).where(ROLLUP.c.level == Level.DAY.value, ROLLUP.c.bucket == day))
    connection.execute(delete(ROLLUP).where(ROLLUP.c.level == Level.WEEK.value))
    if fresh.rows:
        insert_rollups(connection, Level.MINUTE, limit_names(fresh.at(Level.MINUTE)))
        insert_rollups(connection, Level.HOUR, limit_names(fresh.at(Level.HOUR)))
    replace_arms(connection, (since, LAST_BUCKET), fresh.arms)
    hours = read_rollups(connection, between(Level.HOUR, FIRST_BUCKET, LAST_BUCKET))
    is_of_replaced = start_of(hours["bucket"], Level.DAY, before.zone).is_in(replaced.implode())
    add_rollups(
        connection, Level.DAY, _regrouped(hours.filter((hours["bucket"] >= since) | is_of_replaced), Level.DAY, zone)
    )
    add_rollups(
        connection,
        Level.WEEK,
        _regrouped(read_rollups(connection, between(Level.DAY, FIRST_BUCKET, LAST_BUCKET)), Level.WEEK, zone),
    )


def _whole_days(connection: Connection, zone: str) -> list[datetime]:
    """The days, summed from their stored hours."""
    left: Counter[datetime] = Counter()
    for level, sign in ((Level.HOUR, 1), (Level.DAY, -1)):
        query = select(ROLLUP.c.bucket, func.sum(ROLLUP.c["count"])).where(ROLLUP.c.level == level.value)
        for bucket, count in connection.execute(query.group_by(ROLLUP.c.bucket)):
            left[floor_to(Level.DAY, bucket, zone)] += sign * int(count)
    return sorted(day for day, rows in left.items() if rows == 0)


def _regrouped(rollups: pl.DataFrame, level: Level, zone: str) -> pl.DataFrame:
    return merge(rollups.with_columns(bucket=start_of(rollups["bucket"], level, zone)))


def _hours_of(connection: Connection, period: Period, state: Checkpoint) -> set[datetime]:
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
