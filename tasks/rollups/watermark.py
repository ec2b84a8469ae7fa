"""Find the watermark, the id up to which no new row can appear, without blocking any writer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, select, text, update

from models.database import reading
from routewatch.selection import SELECTION

WRITERS_TIMEOUT_S = 5.0
"""How long an update waits for writers' open transactions before it leaves their rows to the next update."""

POLL_S = 0.02

IDS_AT_ONCE = 10_000

LARGEST_BY_HAND = 2**61
"""Ids beyond that somebody wrote himself do not stay: few would be left to be issued."""

LARGEST_ISSUED = 2**62
"""Ids beyond are none that SQLite issued: its table takes none by hand beyond LARGEST_BY_HAND."""

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


def has_misplaced_ids(connection: Connection) -> bool:
    """Whether there are ids that counting never reaches, or after which none can be issued."""
    first = connection.scalar(select(func.min(SELECTION.c.id)))
    largest, issued = largest_id(connection), newest_id(connection)
    if connection.dialect.name == "sqlite":
        return max(largest, issued) > LARGEST_ISSUED or (first is not None and first <= 0)
    return largest > issued or (first is not None and first <= 0)


def renumber_written_ids(connection: Connection, counted: int) -> None:
    """Let the next ids come after those that were written by hand, and give rows with ids out of bounds the next ones.

    `counted` is the id of the last aggregated row. The hours of rows that get another id are noted as changed, by the
    table's trigger. PostgreSQL's writers wait meanwhile, some milliseconds.
    """
    ids, is_sqlite = SELECTION.c.id, connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.execute(text(f"SET LOCAL lock_timeout = {int(WRITERS_TIMEOUT_S * 1_000)}"))
        connection.execute(text("LOCK TABLE selection IN SHARE ROW EXCLUSIVE MODE"))
    issued = newest_id(connection)
    if is_sqlite:
        bound, issued = LARGEST_ISSUED, issued if issued <= LARGEST_ISSUED else 0
    else:
        bound = max(LARGEST_BY_HAND, issued)
    largest = connection.scalar(select(func.max(ids)).where(ids <= bound)) or 0
    # A checkpoint from before the table was restored is ahead of all ids, and is set back.
    next_id = max(issued, largest, counted if is_sqlite and counted <= bound and not issued else 0)
    moved = list(connection.scalars(select(ids).where((ids > bound) | (ids <= 0)).order_by(ids)))
    for start in range(0, len(moved), IDS_AT_ONCE):
        changes = [
            {"former": former, "next": next_id + number}
            for number, former in enumerate(moved[start : start + IDS_AT_ONCE], start=1)
        ]
        next_id += len(changes)
        connection.execute(update(SELECTION).where(ids == bindparam("former")).values(id=bindparam("next")), changes)
    if is_sqlite:
        connection.execute(text("UPDATE sqlite_sequence SET seq = :next WHERE name = 'selection'"), {"next": next_id})
    elif next_id > issued:
        passed = text("SELECT setval(pg_get_serial_sequence('selection', 'id'), :next)")
        connection.execute(passed, {"next": next_id})


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
