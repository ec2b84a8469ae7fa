"""Progress: how far the fold has come, and on what basis; the row that whoever changes rollups holds locked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, select

from models.database import insert_into, reading, writing
from models.kpis import KpiName
from models.period import Level, floor_to
from models.schema import FOLD_STATE
from models.settings import Settings

MINUTES_KEPT = timedelta(hours=48)


@dataclass(frozen=True)
class Basis:
    """What rollups are built with: the zone of their hours, days and weeks, and what is slower than target."""

    zone: str
    target_ms: float


@dataclass(frozen=True)
class State:
    """The progress row. There are no minutes before `minutes_from`, and no raw rows before `raw_from`; None: all."""

    last_id: int
    zone: str
    target_ms: float
    last_selection_at: datetime | None
    folded_at: datetime | None
    minutes_from: datetime | None
    raw_from: datetime | None
    notes_taken: int

    @property
    def basis(self) -> Basis:
        return Basis(self.zone, self.target_ms)


_COLUMNS = [FOLD_STATE.c[name] for name in State.__dataclass_fields__]


def is_as_read(locked: State, before: State) -> bool:
    """Whether what was worked out from raw rows, on the progress as it was before, still holds.

    Freshness aside, nothing has been counted, mended, removed or built on another basis since.
    """
    fresh = replace(before, last_selection_at=locked.last_selection_at, folded_at=locked.folded_at)
    return locked == fresh


def basis_of(settings: Settings) -> Basis:
    """The basis that the settings ask for."""
    return Basis(settings.timezone, settings.performance_metrics.of(KpiName.RESPONSE_TIME).target)


def read_state(engine: Engine, basis: Basis, now: datetime) -> State:
    """The progress; where there is none yet, it begins on `basis`, with minutes from 48 hours before `now`."""
    with reading(engine) as connection:
        known = read_known_state(connection)
    if known is not None:
        return known
    minutes_from = floor_to(Level.HOUR, now - MINUTES_KEPT, "UTC")
    start = {"id": 1, "last_id": 0, "zone": basis.zone, "target_ms": basis.target_ms, "minutes_from": minutes_from}
    with writing(engine) as connection:
        connection.execute(insert_into(connection, FOLD_STATE).values(start).on_conflict_do_nothing())
        return lock_state(connection)


def read_known_state(connection: Connection) -> State | None:
    """The progress; None where nothing has been folded yet."""
    known = connection.execute(select(*_COLUMNS)).one_or_none()
    return None if known is None else State(*known)


def lock_state(connection: Connection) -> State:
    """The progress, locked until the transaction ends."""
    return State(*connection.execute(select(*_COLUMNS).with_for_update()).one())
