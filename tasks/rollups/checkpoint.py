"""The rollup checkpoint: the last aggregated id and the rollup settings; every writer of rollups locks its row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from models.clock import not_ahead, true_now
from models.database import insert_into, reading, writing
from models.kpis import KpiName
from models.period import Level, floor_to
from models.schema import ROLLUP_CHECKPOINT
from models.settings import Settings

MINUTES_KEPT = timedelta(hours=48)


@dataclass(frozen=True)
class RollupSettings:
    """Settings that rollups are built with: the zone of their hours, days and weeks, and the target response time."""

    zone: str
    target_ms: float


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint row. There are no minutes before `minutes_from`, and no raw rows before `raw_from`; None: all."""

    last_id: int
    zone: str
    target_ms: float
    last_selection_at: datetime | None
    rollups_updated_at: datetime | None
    minutes_from: datetime | None
    raw_from: datetime | None
    change_batches_processed: int
    progressed_at: datetime | None

    @property
    def settings(self) -> RollupSettings:
        return RollupSettings(self.zone, self.target_ms)


LAST_ID: Any = func.coalesce(ROLLUP_CHECKPOINT.c.counted_id, ROLLUP_CHECKPOINT.c.last_id).label("last_id")
"""The id of the last aggregated row: as counting wrote it, whatever somebody wrote into `last_id`."""

_STORED_COLUMNS = [
    LAST_ID if name == "last_id" else ROLLUP_CHECKPOINT.c[name] for name in Checkpoint.__dataclass_fields__
]


def counted_until(last_id: int) -> dict[str, int]:
    """The values of the checkpoint's columns that say up to which id rows are aggregated."""
    return {"last_id": last_id, "counted_id": last_id}


def is_as_read(locked: Checkpoint, before: Checkpoint) -> bool:
    """Whether results computed from raw rows at the earlier checkpoint still hold.

    They do if nothing but freshness changed: no rows aggregated, rebuilt or removed, no other rollup settings.
    """
    freshness = ("last_selection_at", "rollups_updated_at", "progressed_at")
    return locked == replace(before, **{name: getattr(locked, name) for name in freshness})


def rollup_settings(settings: Settings) -> RollupSettings:
    """The rollup settings of the configured settings."""
    return RollupSettings(settings.timezone, settings.performance_metrics.of(KpiName.RESPONSE_TIME).target)


def read_checkpoint(engine: Engine, settings: RollupSettings, now: datetime) -> Checkpoint:
    """The checkpoint; if there is none yet, create it with `settings`, and minutes from 48 hours before `now`."""
    with reading(engine) as connection:
        known = read_known_checkpoint(connection)
    if known is not None:
        return known
    minutes_from = floor_to(Level.HOUR, not_ahead(now) - MINUTES_KEPT, "UTC")
    start = {
        "id": 1,
        **counted_until(0),
        "zone": settings.zone,
        "target_ms": settings.target_ms,
        "minutes_from": minutes_from,
        "progressed_at": true_now(),
    }
    with writing(engine) as connection:
        connection.execute(insert_into(connection, ROLLUP_CHECKPOINT).values(start).on_conflict_do_nothing())
        return lock_checkpoint(connection)


def read_known_checkpoint(connection: Connection) -> Checkpoint | None:
    """The checkpoint; None if nothing has been aggregated yet."""
    known = connection.execute(select(*_STORED_COLUMNS)).one_or_none()
    return None if known is None else Checkpoint(*known)


def lock_checkpoint(connection: Connection) -> Checkpoint:
    """The checkpoint, locked until the transaction ends."""
    return Checkpoint(*connection.execute(select(*_STORED_COLUMNS).with_for_update()).one())
