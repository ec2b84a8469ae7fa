"""Upper bounds of the rollup checkpoint: what lies ahead of the clock or of the ids is set back, and counted again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from models.clock import TOLERANCE, is_ahead
from models.database import reading, writing
from models.period import Level, floor_to, next_start
from models.schema import ROLLUP_CHECKPOINT, SELECTION_CHANGE
from routewatch.selection import SELECTION
from tasks.marks import MarkAhead, is_unreadable
from tasks.rollups.checkpoint import MINUTES_KEPT, Checkpoint, counted_until, lock_checkpoint, read_known_checkpoint
from tasks.rollups.watermark import has_misplaced_ids, newest_id, renumber_written_ids

HOUR = timedelta(hours=1)
_TABLE = ROLLUP_CHECKPOINT.name


def find_checkpoint_ahead(connection: Connection, now: datetime) -> tuple[MarkAhead, ...]:
    """Return the marks of the checkpoint that lie ahead of the true clock `now`, or of the ids of the selections."""
    state = read_known_checkpoint(connection)
    return () if state is None else _ahead(connection, state, now)


def reset_checkpoint(engine: Engine, now: datetime) -> tuple[MarkAhead, ...]:
    """Set the checkpoint's marks that lie ahead back to their bounds; return what was found.

    Hours that may lack rows by it go to the change log, in the same transaction: the next update rebuilds them.
    """
    with reading(engine) as connection:
        if not find_checkpoint_ahead(connection, now):
            return ()
    with writing(engine) as connection:
        state, issued = lock_checkpoint(connection), newest_id(connection)
        found = _ahead(connection, state, now)
        names = {mark.name.removeprefix(f"{_TABLE}.") for mark in found}
        moved: dict[str, Any] = {}
        if "last_selection_at" in names:
            moved["last_selection_at"] = newest_selection(connection, now + TOLERANCE)
        if "raw_from" in names:
            # Of the present hour rows may be gone, of the next none.
            moved["raw_from"] = next_start(Level.HOUR, now, state.zone)
        rebuilt_from: datetime | None = None
        if "minutes_from" in names:
            rebuilt_from = moved["minutes_from"] = floor_to(Level.HOUR, now - MINUTES_KEPT, "UTC")
        if f"{SELECTION.name}.id" in names:
            renumber_written_ids(connection, state.last_id)
        if f"{SELECTION.name}.id" in names or "last_id" in names:
            newest = newest_id(connection)
            # Where ids were placed, all up to the former one were counted, and the hours of the placed ones are noted.
            moved |= counted_until(min(state.last_id, newest))
            if state.last_id > issued:
                # Whatever was counted up to the former id: hours that still have rows are made of them again.
                rebuilt_from = datetime.min.replace(tzinfo=now.tzinfo)
        if moved:
            connection.execute(update(ROLLUP_CHECKPOINT).values(moved))
        if rebuilt_from is not None:
            _note_changes(connection, rebuilt_from)
    return found


def newest_selection(connection: Connection, until: datetime | None = None) -> datetime | None:
    """Return the latest time of a selection, of those up to `until` if that is given; None if there is none."""
    at = SELECTION.c.timestamp
    newest = select(func.max(at))
    if until is not None:
        newest = newest.where(at <= until)
    if connection.dialect.name == "sqlite":
        # A row that was written past the table's conditions is set aside by the next update only.
        newest = newest.where(~is_unreadable(at))
    found: datetime | None = connection.scalar(newest)
    return found


# ----------------------------------------------------------------------------------------------------------------------


def _ahead(connection: Connection, state: Checkpoint, now: datetime) -> tuple[MarkAhead, ...]:
    found = []
    if is_ahead(state.last_selection_at, now):
        found.append(MarkAhead(f"{_TABLE}.last_selection_at", 1, state.last_selection_at))
    # They lie behind by how long minutes are kept, to the hour.
    if is_ahead(state.minutes_from, now, HOUR - MINUTES_KEPT):
        found.append(MarkAhead(f"{_TABLE}.minutes_from", 1, state.minutes_from))
    if is_ahead(state.raw_from, now, HOUR):
        found.append(MarkAhead(f"{_TABLE}.raw_from", 1, state.raw_from))
    written = connection.scalar(select(ROLLUP_CHECKPOINT.c.last_id))
    if state.last_id > newest_id(connection):
        found.append(MarkAhead(f"{_TABLE}.last_id", 1, None))
    elif written != state.last_id:
        note = f"was set to {written} by hand: counting goes on from {state.last_id}"
        found.append(MarkAhead(f"{_TABLE}.last_id", 1, None, note))
    if has_misplaced_ids(connection):
        note = "was written by hand, where counting does not come by: such rows get the next ids"
        found.append(MarkAhead(f"{SELECTION.name}.id", 1, None, note))
    return tuple(found)


def _note_changes(connection: Connection, since: datetime) -> None:
    """Note the minutes since then that have selections as changed: of each an hour of the zone is rebuilt."""
    at = SELECTION.c.timestamp
    is_sqlite = connection.dialect.name == "sqlite"
    minute: Any = func.substr(at, 1, len("2026-09-07 08:00")) if is_sqlite else func.date_trunc("minute", at)
    minutes = select(func.min(at)).group_by(minute)
    if since.year > 1:
        minutes = minutes.where(at >= since)
    connection.execute(insert(SELECTION_CHANGE).from_select(["at"], minutes))
