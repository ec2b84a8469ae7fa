"""Retain: what is kept how long. Raw rows go in small batches once they are counted, optionally into an archive first.

The days before `raw_from` are marked as gone before the first row goes, so that nothing is ever built anew from a part.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import ColumnElement, Engine, delete, func, select, update

from models.database import reading, writing
from models.period import Level, Period, floor_to, next_start
from models.tables import Rollup, Selection, table_of
from models.workplace import Workplace
from tasks.files import write_atomically
from tasks.mend import mend
from tasks.progress import MINUTES_KEPT, STATE, State, lock_state
from tasks.rollup import SELECTION_SCHEMA

SELECTION, ROLLUP = table_of(Selection), table_of(Rollup)

HOURS_KEPT = timedelta(days=90)
HOURS_BEHIND_RAW = timedelta(days=14)
"""Hours outlive their raw rows by this, because days and weeks are made anew from them."""

ARCHIVE_ROWS = 200_000
BATCH_ROWS = 5_000
"""Rows deleted in one transaction: a writer behind it waits for some milliseconds."""

_ARCHIVE_SCHEMA = {"id": pl.Int64, **SELECTION_SCHEMA, "request_id": pl.String, "error_type": pl.String}


@dataclass(frozen=True)
class Retained:
    """What went: raw rows and rollups; `raw_from` is the time from which raw rows are kept, None where all are."""

    selections: int
    rollups: int
    raw_from: datetime | None


def retain(engine: Engine, *, raw_kept: timedelta, now: datetime, archive: Path | None = None) -> Retained:
    """Remove raw rows older than `raw_kept` that are counted, by whole days; minutes after 48 h, hours after 90 days.

    With `archive`, a day's rows are first written there, as day=YYYY-MM-DD/selections-N.parquet.
    """
    state = _mark(engine, raw_kept, now)
    if state is None:
        return Retained(0, 0, None)
    removed = _remove_raw(engine, state, archive)
    with writing(engine) as connection:
        state = lock_state(connection)
        minutes_from = floor_to(Level.HOUR, now - MINUTES_KEPT, "UTC")
        if state.minutes_from is None or state.minutes_from < minutes_from:
            connection.execute(update(STATE).values(minutes_from=minutes_from))
        hours_from = floor_to(Level.DAY, now - max(HOURS_KEPT, raw_kept + HOURS_BEHIND_RAW), state.zone)
        rollups = 0
        for level, kept_from in ((Level.MINUTE, minutes_from), (Level.HOUR, hours_from)):
            old = delete(ROLLUP).where(ROLLUP.c.level == level.value, ROLLUP.c.bucket < kept_from)
            rollups += connection.execute(old).rowcount
    return Retained(removed, rollups, state.raw_from)


# ----------------------------------------------------------------------------------------------------------------------


def _mark(engine: Engine, raw_kept: timedelta, now: datetime) -> State | None:
    """The progress, with raw rows marked as kept from the new time on; None where nothing has been counted yet."""
    with reading(engine) as connection:
        if connection.execute(select(STATE.c.id)).one_or_none() is None:
            return None
    # What has changed is counted while its rows are all there.
    mend(engine)
    with writing(engine) as connection:
        state = lock_state(connection)
        raw_from = floor_to(Level.DAY, now - raw_kept, state.zone)
        if state.raw_from is None or state.raw_from < raw_from:
            connection.execute(update(STATE).values(raw_from=raw_from))
        return lock_state(connection)


def _remove_raw(engine: Engine, state: State, archive: Path | None) -> int:
    """Delete the counted rows before `raw_from`, day by day, and each day in batches."""
    gone = (SELECTION.c.timestamp < state.raw_from) & (SELECTION.c.id <= state.last_id)
    removed = 0
    while True:
        with reading(engine) as connection:
            oldest = connection.scalar(select(func.min(SELECTION.c.timestamp)).where(gone))
        if oldest is None:
            return removed
        day_ends = next_start(Level.DAY, oldest + timedelta(microseconds=1), state.zone)
        of_day = gone & (SELECTION.c.timestamp < day_ends)
        if archive is None:
            removed += _delete(engine, of_day)
            continue
        local_day = f"{Period(oldest, day_ends, state.zone).local(oldest):%Y-%m-%d}"
        while (last_id := _archive(engine, of_day, archive / f"day={local_day}")) is not None:
            removed += _delete(engine, of_day & (SELECTION.c.id <= last_id))


def _delete(engine: Engine, where: ColumnElement[bool]) -> int:
    some = select(SELECTION.c.id).where(where).limit(BATCH_ROWS)
    removed = 0
    while True:
        with writing(engine) as connection:
            batch = connection.execute(delete(SELECTION).where(SELECTION.c.id.in_(some))).rowcount
        removed += batch
        if batch < BATCH_ROWS:
            return removed


def _archive(engine: Engine, where: ColumnElement[bool], folder: Path) -> int | None:
    """Write the first rows, by id, into a file of their own; the last id of it, None where there are no rows."""
    with reading(engine) as connection:
        query = select(SELECTION).where(where).order_by(SELECTION.c.id).limit(ARCHIVE_ROWS)
        rows = [dict(row) for row in connection.execute(query).mappings()]
    if not rows:
        return None
    content = io.BytesIO()
    pl.DataFrame(rows, schema=_ARCHIVE_SCHEMA).write_parquet(content, compression="zstd")
    # Named by its ids: what was written before a crash is written again in its place.
    write_atomically(folder / f"selections-{rows[0]['id']}.parquet", content.getvalue())
    return int(rows[-1]["id"])


@task(name="retain", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[10, 60])
def retain_what_is_kept(place: Workplace, now: datetime) -> Retained:
    """Remove what is older than the settings keep."""
    kept = timedelta(milliseconds=place.settings.monitoring.retention_period)
    archive = place.environment.home / "archive" if place.settings.monitoring.archive else None
    # A run that acts as a later time must not remove what is kept today.
    result = retain(place.engine, raw_kept=kept, now=min(now, datetime.now(UTC)), archive=archive)
    if result.selections or result.rollups:
        told = f"{result.selections:,}", f"{result.rollups:,}"
        get_run_logger().info("retention removed %s selections and %s rollups", *told)
    return result
