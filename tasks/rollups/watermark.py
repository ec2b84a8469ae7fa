"""Find the watermark, the id up to which no new row can appear, without blocking any writer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select, text

from models.database import reading
from routewatch.selection import SELECTION

WRITERS_TIMEOUT_S = 5.0
"""How long an update waits for writers' open transactions before it leaves their rows to the next update."""

POLL_S = 0.02

LARGEST_PASSED = 2**62
"""Ids beyond are not passed: few would be left."""

# An insert takes this lock before it draws an id, and keeps it until its rows are visible or rolled back.
_WRITERS = text(
    "SELECT virtualtransaction, pid FROM pg_locks WHERE locktype = 'relation' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND relation = 'selection'::regclass AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()"
)


@dataclass(frozen=True)
class Watermark:
    """The watermark; None, with the writers' process ids, if their transactions stay open."""

    last_id: int | None
    held_by: tuple[int, ...] = ()


def newest_id(connection: Connection) -> int:
    """The id that was issued last: no mark of counting can rightly be beyond it, and larger ones are still to come.

    PostgreSQL also takes ids that somebody writes himself; they count once the sequence has passed them.
    """
    if connection.dialect.name == "sqlite":
        issued = connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'selection'"))
        return max(int(issued or 0), largest_id(connection))
    return _last_issued_id(connection)


def largest_id(connection: Connection) -> int:
    """The largest id that a selection has."""
    return int(connection.scalar(select(func.coalesce(func.max(SELECTION.c.id), 0))) or 0)


def pass_written_ids(connection: Connection) -> None:
    """Let the next ids come after those that were written by hand; writers wait meanwhile, some milliseconds."""
    connection.execute(text(f"SET LOCAL lock_timeout = {int(WRITERS_TIMEOUT_S * 1_000)}"))
    connection.execute(text("LOCK TABLE selection IN SHARE ROW EXCLUSIVE MODE"))
    passable = select(func.max(SELECTION.c.id)).where(SELECTION.c.id <= LARGEST_PASSED)
    largest = int(connection.scalar(passable) or 0)
    if newest_id(connection) < largest:
        passed = text("SELECT setval(pg_get_serial_sequence('selection', 'id'), :largest)")
        connection.execute(passed, {"largest": largest})


def find_watermark(engine: Engine, patience_s: float = WRITERS_TIMEOUT_S) -> Watermark:
    """SQLite has one writer at a time, so its ids are committed in order.

    PostgreSQL assigns ids before the commit: this waits for every transaction that was writing when the newest id was
    read, while others continue to write.
    """
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            return Watermark(largest_id(connection))
    deadline = time.monotonic() + patience_s
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        last_id = newest_id(connection)
        writers = _writers(connection)
        while writers:
            if time.monotonic() >= deadline:
                return Watermark(None, tuple(sorted(pid for pid in writers.values() if pid is not None)))
            time.sleep(POLL_S)
            still = _writers(connection)
            writers = {name: pid for name, pid in writers.items() if name in still}
    return Watermark(last_id)


# ----------------------------------------------------------------------------------------------------------------------


def _last_issued_id(connection: Any) -> int:
    sequence = connection.scalar(text("SELECT pg_get_serial_sequence('selection', 'id')"))
    query = text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")  # noqa: S608 - its own name
    return int(connection.scalar(query))


def _writers(connection: Any) -> dict[str, int | None]:
    """The transactions writing into the table now, with their processes; a prepared one has none."""
    return {row.virtualtransaction: row.pid for row in connection.execute(_WRITERS)}
