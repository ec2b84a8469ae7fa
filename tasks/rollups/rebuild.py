"""Rebuild rollups of hours whose raw rows were changed, or that differ from their raw rows.

Hours are the base: an hour is built from raw rows, its day and week from hours. An hour whose raw rows retention has
removed is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, select, update

from models.database import reading, writing
from models.period import EARLIEST, Level, floor_to, next_start
from models.schema import ROLLUP_CHECKPOINT, SELECTION_CHANGE
from tasks.rollups.aggregate import INSTANT, ROLLUP_KEYS, merge, roll_up
from tasks.rollups.arm_store import replace_arms
from tasks.rollups.arms import roll_up_arms
from tasks.rollups.checkpoint import Checkpoint, lock_checkpoint
from tasks.rollups.selection_reader import scan_period
from tasks.rollups.store import between, read_rollups, replace

HOUR = timedelta(hours=1)
HOURS_AT_ONCE = 6
"""Hours rebuilt in one transaction: in SQLite writers wait for it."""


@dataclass(frozen=True)
class RebuildResult:
    """Numbers of hours rebuilt, and of hours left unchanged because their raw rows are gone."""

    hours: int
    remaining: int


def rebuild_changed_hours(engine: Engine) -> RebuildResult:
    """Rebuild the hours whose selections were changed after aggregation.

    Rebuilds a few hours per transaction, oldest first; the next call handles changes made meanwhile to earlier hours.
    """
    rebuilt_hours, left, since = 0, 0, EARLIEST
    while (oldest := _oldest_change(engine, since)) is not None:
        with writing(engine) as connection:
            state = lock_checkpoint(connection)
            start = floor_to(Level.HOUR, oldest, state.zone)
            since = start + HOURS_AT_ONCE * HOUR
            taken = (
                delete(SELECTION_CHANGE)
                .where(SELECTION_CHANGE.c.at >= start, SELECTION_CHANGE.c.at < since)
                .returning(SELECTION_CHANGE.c.at)
            )
            hours = {floor_to(Level.HOUR, at, state.zone) for at in connection.execute(taken).scalars()}
            connection.execute(
                update(ROLLUP_CHECKPOINT).values(change_batches_processed=state.change_batches_processed + 1)
            )
            done = rebuild_hours(connection, engine, hours, state)
            rebuilt_hours, left = rebuilt_hours + done, left + len(hours) - done
    return RebuildResult(rebuilt_hours, left)


def rebuild_hours(connection: Connection, engine: Engine, hours: Iterable[datetime], state: Checkpoint) -> int:
    """Rebuild rollups of hours, and of their days and weeks, within the caller's transaction; return how many hours.

    `state` is the locked checkpoint: rows after it are left to the update.
    """
    kept = sorted(hour for hour in set(hours) if state.raw_from is None or hour >= state.raw_from)
    for start, end in _runs(kept, state.zone):
        raw = scan_period(engine, start, end, state.last_id)
        fresh = roll_up(raw, state.zone, state.target_ms, minutes_from=state.minutes_from)
        for level in (Level.MINUTE, Level.HOUR):
            replace(connection, level, (start, end), fresh[level])
        replace_arms(connection, (start, end), roll_up_arms(raw, state.zone, state.target_ms))
    derive(connection, Level.DAY, {floor_to(Level.DAY, hour, state.zone) for hour in kept}, state.zone)
    derive(connection, Level.WEEK, {floor_to(Level.WEEK, hour, state.zone) for hour in kept}, state.zone)
    return len(kept)


def derive(connection: Connection, level: Level, buckets: Iterable[datetime], zone: str) -> None:
    """Rebuild days from hours, or weeks from days."""
    finer = {Level.DAY: Level.HOUR, Level.WEEK: Level.DAY}[level]
    for start in sorted(buckets):
        span = (start, next_start(level, start + timedelta(seconds=1), zone))
        parts = read_rollups(connection, between(finer, *span)).with_columns(bucket=pl.lit(start, dtype=INSTANT))
        replace(connection, level, span, merge(parts, ROLLUP_KEYS))


# ----------------------------------------------------------------------------------------------------------------------


def _runs(hours: list[datetime], zone: str) -> list[tuple[datetime, datetime]]:
    """Spans of consecutive hours, at most a day each."""
    if not hours:
        return []
    ends = [next_start(Level.HOUR, hour + timedelta(seconds=1), zone) for hour in hours]
    runs, start = [], hours[0]
    for end, following in pairwise([*zip(ends, hours, strict=True)]):
        if end[0] != following[1] or following[1] - start >= timedelta(days=1):
            runs.append((start, end[0]))
            start = following[1]
    return [*runs, (start, ends[-1])]


def _oldest_change(engine: Engine, since: datetime) -> datetime | None:
    with reading(engine) as connection:
        oldest: datetime | None = connection.scalar(
            select(func.min(SELECTION_CHANGE.c.at)).where(SELECTION_CHANGE.c.at >= since)
        )
    return oldest
