"""Backfill: rebuild the rollups of whole days from their raw rows, each day independently and in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Engine, func, select

from models.database import reading, writing
from models.period import Level, Period, floor_to, next_start
from routewatch.selection import SELECTION
from tasks.rollups.aggregate import roll_up
from tasks.rollups.arm_store import replace_arms
from tasks.rollups.arms import roll_up_arms
from tasks.rollups.checkpoint import Checkpoint, is_as_read, lock_checkpoint
from tasks.rollups.rebuild import derive
from tasks.rollups.selection_reader import scan_period
from tasks.rollups.store import replace


def days_of(engine: Engine, period: Period) -> list[datetime]:
    """The starts of the days, in the period's zone, that touch the period and may have raw rows."""
    at = SELECTION.c.timestamp
    within = (at >= floor_to(Level.DAY, period.start, period.zone), at < next_start(Level.DAY, period.end, period.zone))
    with reading(engine) as connection:
        oldest, newest = connection.execute(select(func.min(at), func.max(at)).where(*within)).one()
    days: list[datetime] = []
    while oldest is not None and oldest <= newest:
        days.append(floor_to(Level.DAY, oldest, period.zone))
        oldest = next_start(Level.DAY, days[-1] + timedelta(seconds=1), period.zone)
    return days


def rebuild_day(engine: Engine, day: datetime, state: Checkpoint) -> int:
    """Rebuild minutes, hours and the day itself from the aggregated raw rows; return the number of these rows.

    `state` is the checkpoint as read before. Reading and aggregating hold no lock; if the rollups were updated
    meanwhile, both are repeated under the lock. A day whose raw rows retention has partly removed stays unchanged, and
    returns 0; so does a day whose zone or target was changed meanwhile, since everything is rebuilt then.
    """
    end = next_start(Level.DAY, day + timedelta(seconds=1), state.zone)
    fresh = _rolled_up(engine, (day, end), state)
    with writing(engine) as connection:
        locked = lock_checkpoint(connection)
        if locked.settings != state.settings or (locked.raw_from is not None and day < locked.raw_from):
            return 0
        if not is_as_read(locked, state):
            fresh = _rolled_up(engine, (day, end), locked)
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            replace(connection, level, (day, end), fresh.levels[level])
        replace_arms(connection, (day, end), fresh.arms)
    return fresh.rows


def rebuild_weeks(engine: Engine, days: list[datetime]) -> None:
    """Rebuild the weeks of some days from their days."""
    with writing(engine) as connection:
        zone = lock_checkpoint(connection).zone
        derive(connection, Level.WEEK, {floor_to(Level.WEEK, day, zone) for day in days}, zone)


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RolledUp:
    levels: dict[Level, pl.DataFrame]
    arms: pl.DataFrame
    rows: int


def _rolled_up(engine: Engine, span: tuple[datetime, datetime], state: Checkpoint) -> _RolledUp:
    raw = scan_period(engine, *span, state.last_id)
    levels = roll_up(raw, state.zone, state.target_ms, minutes_from=state.minutes_from)
    return _RolledUp(levels, roll_up_arms(raw, state.zone, state.target_ms), raw.height)
