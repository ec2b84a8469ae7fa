"""Delete expired data: raw rows in small batches once they are aggregated, optionally archiving them first.

The days before `raw_from` are marked as gone before the first row is deleted, so that nothing is rebuilt from a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import BindParameter, ColumnElement, Engine, bindparam, delete, select, update

from models.clock import not_ahead
from models.context import AppContext
from models.database import reading, writing
from models.period import FIRST_BUCKET, Level, floor_to
from models.schema import ROLLUP_CHECKPOINT
from routewatch.selection import SELECTION
from tasks.retention.archive import ARCHIVE_SCHEMA, read_rows, write_archive
from tasks.retention.intake_counts import condense_intake_counts
from tasks.rollups.arm_store import remove_arms
from tasks.rollups.checkpoint import MINUTES_KEPT, Checkpoint, lock_checkpoint
from tasks.rollups.rebuild import rebuild_changed_hours
from tasks.rollups.store import remove_rollups

HOURS_KEPT = timedelta(days=90)
HOURS_BEHIND_RAW = timedelta(days=14)
"""Hours are kept this much longer than their raw rows, because days and weeks are rebuilt from them."""

CHUNK_ROWS = 200_000
"""Rows found at a time, and the maximum of one archive file."""

BATCH_ROWS = 5_000
"""Rows deleted in one transaction: a waiting writer is delayed by some milliseconds."""


@dataclass(frozen=True)
class Retained:
    """Counts of deleted raw rows and rollups; `raw_from` is the time from which raw rows are kept, None for all."""

    selections: int
    rollups: int
    raw_from: datetime | None


def retain(engine: Engine, *, raw_kept: timedelta, now: datetime, archive: Path | None = None) -> Retained:
    """Delete aggregated raw rows older than `raw_kept`, by whole days; minutes after 48 h, hours after 90 days.

    Counts of what was not accepted are then kept by the day.

    With `archive`, rows are first written there (tasks.retention.archive).
    """
    state = _mark(engine, raw_kept, now)
    if state is None:
        return Retained(0, 0, None)
    # Of what was marked as gone, only what is old: the mark may have been set by a clock that ran ahead.
    removed = _remove_raw(engine, state, floor_to(Level.DAY, now - raw_kept, state.zone), archive)
    with writing(engine) as connection:
        state = lock_checkpoint(connection)
        minutes_from = floor_to(Level.HOUR, now - MINUTES_KEPT, "UTC")
        if state.minutes_from is None or state.minutes_from < minutes_from:
            connection.execute(update(ROLLUP_CHECKPOINT).values(minutes_from=minutes_from))
        hours_from = floor_to(Level.DAY, now - max(HOURS_KEPT, raw_kept + HOURS_BEHIND_RAW), state.zone)
        condense_intake_counts(connection, hours_from, state.zone)
        rollups = 0
        for level, kept_from in ((Level.MINUTE, minutes_from), (Level.HOUR, hours_from)):
            rollups += remove_rollups(connection, level, FIRST_BUCKET, kept_from)
        rollups += remove_arms(connection, FIRST_BUCKET, hours_from)
    return Retained(removed, rollups, state.raw_from)


def retain_by_settings(ctx: AppContext, now: datetime) -> Retained:
    """Delete data older than the settings' retention."""
    kept = timedelta(milliseconds=ctx.settings.monitoring.retention_period)
    archive = ctx.environment.archive_folder if ctx.settings.monitoring.archive else None
    # A run with a simulated later time must not delete what is kept today.
    return retain(ctx.engine, raw_kept=kept, now=not_ahead(now), archive=archive)


# ----------------------------------------------------------------------------------------------------------------------


def _mark(engine: Engine, raw_kept: timedelta, now: datetime) -> Checkpoint | None:
    """The checkpoint, with raw rows marked as kept from the new time on; None if nothing has been aggregated yet."""
    with reading(engine) as connection:
        if connection.execute(select(ROLLUP_CHECKPOINT.c.id)).one_or_none() is None:
            return None
    # Rebuild changed hours while their rows are all present.
    rebuild_changed_hours(engine)
    with writing(engine) as connection:
        state = lock_checkpoint(connection)
        raw_from = floor_to(Level.DAY, now - raw_kept, state.zone)
        # With nothing to delete, mark nothing: late rows can then still be aggregated in any zone.
        goes = (SELECTION.c.timestamp < raw_from) & (SELECTION.c.id <= state.last_id)
        is_later = state.raw_from is None or state.raw_from < raw_from
        if is_later and connection.execute(select(SELECTION.c.id).where(goes).limit(1)).first() is not None:
            connection.execute(update(ROLLUP_CHECKPOINT).values(raw_from=raw_from))
        return lock_checkpoint(connection)


def _remove_raw(engine: Engine, state: Checkpoint, kept_from: datetime, archive: Path | None) -> int:
    """Delete the aggregated rows before both `raw_from` and `kept_from`, the oldest first."""
    if state.raw_from is None:
        return 0
    gone = (SELECTION.c.timestamp < min(state.raw_from, kept_from)) & (SELECTION.c.id <= state.last_id)
    names = ("id", "timestamp") if archive is None else tuple(ARCHIVE_SCHEMA)
    removed, oldest = 0, datetime.min.replace(tzinfo=UTC)
    while not (rows := _oldest_rows(engine, gone & (SELECTION.c.timestamp >= oldest), names)).is_empty():
        if archive is not None:
            write_archive(archive, rows, state.zone)
        removed += delete_rows(engine, gone, rows["id"].to_list())
        # Continue from here, not from the beginning: the index keeps the entries of deleted rows while a snapshot older
        # than their deletion is open, and every search would scan them again.
        oldest = rows["timestamp"][-1]
    return removed


def _oldest_rows(engine: Engine, where: ColumnElement[bool], names: tuple[str, ...]) -> pl.DataFrame:
    by_time = SELECTION.c.timestamp, SELECTION.c.id
    return read_rows(engine, select(*SELECTION.c[names]).where(where).order_by(*by_time).limit(CHUNK_ROWS))


def delete_rows(engine: Engine, gone: ColumnElement[bool], ids: list[int]) -> int:
    """Delete the rows that are still among the `gone`, BATCH_ROWS per transaction; return how many."""
    removed = 0
    for start in range(0, len(ids), BATCH_ROWS):
        # Literals: thousands of parameters take longer than the deletion. `gone` spares a row whose timestamp was
        # changed to a kept time after the search.
        chosen: BindParameter[Any] = bindparam(
            "ids", ids[start : start + BATCH_ROWS], expanding=True, literal_execute=True
        )
        batch = gone & SELECTION.c.id.in_(chosen)
        with writing(engine) as connection:
            removed += connection.execute(delete(SELECTION).where(batch)).rowcount
    return removed
