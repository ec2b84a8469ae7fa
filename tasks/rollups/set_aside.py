"""Move rows that cannot be counted from the selection table to the quarantine, so that the rollup update goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, PoolProxiedConnection, delete, func, insert, select

from models.clock import true_now
from models.database import reading, writing
from models.errors import RoutewatchError
from models.schema import SELECTION_CHANGE
from models.settings import Ingestion
from routewatch.quarantine import (
    AHEAD_OF_CLOCK,
    QUARANTINE,
    Entrance,
    IntakeCounts,
    IntakeOutcome,
    counted_at,
    instant_of,
    is_error,
    set_aside,
    stored_id,
)
from routewatch.selection import SELECTION, conditions
from tasks.rollups.checkpoint import LAST_ID

IDS_AT_ONCE = 500
"""SQLite limits the number of parameters."""

AGAIN = "its request id is set aside already"

Result = TypeVar("Result")


class UncountableRows(RoutewatchError):
    """Some of the rows that were read are not selections: they must be set aside before the others are counted."""


def set_aside_ahead(
    connection: Connection, after: int, until: int, latest: datetime, *, ingestion: Ingestion, now: datetime
) -> int:
    """Set the rows with after < id <= until and a time later than `latest` aside, within the caller's transaction."""
    at = SELECTION.c.timestamp
    which = select(SELECTION.c.id).where(SELECTION.c.id > after, SELECTION.c.id <= until, at > latest)
    ids = list(connection.scalars(which))
    return _move(connection, dict.fromkeys(ids, AHEAD_OF_CLOCK), ingestion, now)


def counting_on(
    engine: Engine, ingestion: Ingestion, work: Callable[[], Result], readable: Callable[[int, int], bool]
) -> Result:
    """Do the work; each time that it meets rows that cannot be counted, set them aside and do it again.

    `readable` says whether the rows with after < id <= until can be read. Raises UncountableRows if none is to blame.
    """
    while True:
        try:
            return work()
        except UncountableRows:
            if not _set_aside_invalid(engine, ingestion) and not _set_aside_unreadable(engine, ingestion, readable):
                raise


def set_aside_changed(engine: Engine, ingestion: Ingestion) -> int:
    """Set rows aside that were counted and then changed to an instant that is none; return how many.

    The change log, which has that instant, is cleared of it: no hour can be rebuilt by it. Their former hours are.
    """
    condition = conditions(engine.dialect.name)["timestamp"].replace("timestamp", "at")
    invalid = f"FROM selection_change WHERE NOT ({condition})"
    with reading(engine) as connection:
        if connection.exec_driver_sql(f"SELECT 1 {invalid} LIMIT 1").first() is None:
            return 0
    moved = _set_aside_invalid(engine, ingestion)
    with writing(engine) as connection:
        connection.exec_driver_sql(f"DELETE {invalid}")
    return moved


# ----------------------------------------------------------------------------------------------------------------------


def _set_aside_invalid(engine: Engine, ingestion: Ingestion) -> int:
    """Set all rows aside that break a condition of the table, whatever let them in."""
    found = conditions(engine.dialect.name)
    reasons = " ".join(f"WHEN NOT coalesce({it}, false) THEN '{name}'" for name, it in found.items())
    query = f"SELECT id, CASE {reasons} END AS fault FROM selection WHERE CASE {reasons} END IS NOT NULL"  # noqa: S608
    with writing(engine) as connection:
        # Given to the driver as it is: the colons in its patterns are no parameters.
        rows = connection.exec_driver_sql(query).all()
        faults = {row.id: f"{row.fault} is not valid in the table" for row in rows}
        return _move(connection, faults, ingestion, true_now())


def _set_aside_unreadable(engine: Engine, ingestion: Ingestion, readable: Callable[[int, int], bool]) -> int:
    """Set the rows aside that cannot be read, found by halving."""
    with reading(engine) as connection:
        newest = int(connection.scalar(select(func.max(SELECTION.c.id))) or 0)
    ids = _unreadable(readable, 0, newest)
    with writing(engine) as connection:
        return _move(connection, dict.fromkeys(ids, "the row cannot be read"), ingestion, true_now())


def _unreadable(readable: Callable[[int, int], bool], after: int, until: int) -> list[int]:
    if after >= until or readable(after, until):
        return []
    if until - after == 1:
        return [until]
    middle = (after + until) // 2
    return _unreadable(readable, after, middle) + _unreadable(readable, middle, until)


def _move(connection: Connection, faults: Mapping[int, str], ingestion: Ingestion, now: datetime) -> int:
    """Move rows by their id, each with its reason; the hours of those that were counted are rebuilt."""
    counted_until = connection.scalar(select(LAST_ID)) or 0
    ids = sorted(faults)
    for start in range(0, len(ids), IDS_AT_ONCE):
        part = ids[start : start + IDS_AT_ONCE]
        rows = _contents(connection, part)
        again = _known_ids(connection, [row for _, row in rows])
        counts = IntakeCounts(Entrance.TABLE)
        for _, row in rows:
            if stored_id(row.get("request_id")) in again:
                counts.add(IntakeOutcome.DROPPED, AGAIN, counted_at(row, now), errors=is_error(row))
        counts.write(connection)
        set_aside(
            connection,
            [(row, faults[number]) for number, row in rows if stored_id(row.get("request_id")) not in again],
            Entrance.TABLE,
            now,
            most_rows=ingestion.maximum_quarantined_rows,
        )
        connection.execute(delete(SELECTION).where(SELECTION.c.id.in_(part)))
        counted = {at for number, row in rows if number <= counted_until and (at := instant_of(row)) is not None}
        if counted:
            connection.execute(insert(SELECTION_CHANGE), [{"at": at} for at in sorted(counted)])
    return len(ids)


def _known_ids(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """The stored request ids of these rows that are in the quarantine already; none of a row without an id."""
    ids = [known for it in rows if (known := stored_id(it.get("request_id"))) is not None]
    return set(connection.scalars(select(QUARANTINE.c.request_id).where(QUARANTINE.c.request_id.in_(ids))))


def _contents(connection: Connection, ids: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
    """The rows as they are stored, without reading a value as its column's type."""
    which = f"id IN ({', '.join(map(str, ids))})"
    if connection.dialect.name != "sqlite":
        found = connection.exec_driver_sql(f"SELECT to_jsonb(selection)::text FROM selection WHERE {which}")  # noqa: S608
        rows = [json.loads(row[0]) for row in found]
    else:
        with taking_any_text(connection.connection) as driver, closing(driver.cursor()) as cursor:
            cursor.execute(f"SELECT * FROM selection WHERE {which}")  # noqa: S608
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [(row.pop("id"), row) for row in rows]


@contextmanager
def taking_any_text(connection: PoolProxiedConnection) -> Iterator[Any]:
    """The driver's connection to SQLite, which reads meanwhile whatever bytes are stored as text."""
    driver: Any = connection.driver_connection
    factory, driver.text_factory = driver.text_factory, readable_text
    try:
        yield driver
    finally:
        driver.text_factory = factory


def readable_text(raw: bytes) -> str:
    """Text of SQLite, which stores any bytes as such."""
    return raw.decode("utf-8", "replace")
