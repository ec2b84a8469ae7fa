"""Look at the quarantine, and bring rows from there back into the selection table, or drop them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, select, true, update

from models.database import insert_into, reading, writing
from models.errors import UsageError
from models.settings import DEFAULT_INGESTION, Ingestion
from routewatch.gate import FIELDS, Kind, RejectedSelection, accept, latest_instant
from routewatch.quarantine import QUARANTINE, IntakeCounts, IntakeOutcome
from routewatch.selection import SELECTION

MOST_LISTED = 200
ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class RetryResult:
    """Rows that were brought back, whose request id is in the table already, and that are still set aside."""

    restored: int
    already_there: int
    remaining: int


def list_quarantined(engine: Engine, limit: int = MOST_LISTED) -> Sequence[Row[Any]]:
    """The rows that were set aside last, newest first: those of routewatch.quarantine.QUARANTINE."""
    with reading(engine) as connection:
        return connection.execute(select(QUARANTINE).order_by(QUARANTINE.c.id.desc()).limit(limit)).all()


def count_quarantined(connection: Connection) -> dict[str, int]:
    """The rows in the quarantine by reason, the most frequent first."""
    query = select(QUARANTINE.c.reason, func.count()).group_by(QUARANTINE.c.reason)
    counts = {str(reason): int(rows) for reason, rows in connection.execute(query)}
    return dict(sorted(counts.items(), key=lambda it: (-it[1], it[0])))


def retry_quarantined(
    engine: Engine, row_id: int | None, now: datetime, ingestion: Ingestion = DEFAULT_INGESTION
) -> RetryResult:
    """Pass one row, or all of them, through the gate again; the next rollup update counts what it lets in.

    What stays keeps its place, with its present reason. Raises UsageError if there is no such row.
    """
    latest, restored, known, remaining, after = latest_instant(now, ingestion.clock_skew), 0, 0, 0, 0
    while True:
        with writing(engine) as connection:
            rows = connection.execute(
                select(QUARANTINE)
                .where(QUARANTINE.c.id > after, _is(row_id))
                .order_by(QUARANTINE.c.id)
                .limit(ROWS_AT_ONCE)
                .with_for_update()
            ).all()
            if not rows:
                break
            after = rows[-1].id
            for row in rows:
                outcome = _restore(connection, row, latest)
                restored += outcome is True
                known += outcome is False
                remaining += outcome is None
    if row_id is not None and not after:
        raise _no_such(row_id)
    return RetryResult(restored, known, remaining)


def drop_quarantined(engine: Engine, row_id: int | None, now: datetime) -> int:
    """Drop one row of the quarantine, or all of them, and count them as dropped; return how many.

    Raises UsageError if there is no such row.
    """
    dropped = 0
    with writing(engine) as connection:
        columns = (QUARANTINE.c.entrance, QUARANTINE.c.reason, QUARANTINE.c.content)
        counts: dict[str, IntakeCounts] = {}
        for entrance, reason, content in connection.execute(delete(QUARANTINE).where(_is(row_id)).returning(*columns)):
            dropped += 1
            counting = counts.setdefault(entrance, IntakeCounts(entrance))
            counting.add(IntakeOutcome.DROPPED, reason, now, errors=int(content.get("error") in (True, 1)))
        for counting in counts.values():
            counting.write(connection)
    if row_id is not None and not dropped:
        raise _no_such(row_id)
    return dropped


# ----------------------------------------------------------------------------------------------------------------------


def _is(row_id: int | None) -> ColumnElement[bool]:
    return true() if row_id is None else QUARANTINE.c.id == row_id


def _no_such(row_id: int) -> UsageError:
    return UsageError(f"the quarantine has no row {row_id}; `routewatch quarantine list` shows its rows")


def _restore(connection: Connection, row: Row[Any], latest: datetime) -> bool | None:
    """Bring a row back; False if its request id is there already, None if it stays set aside."""
    try:
        accepted = accept(_given(row.content), latest)
    except RejectedSelection as fault:
        reason: str | None = str(fault)
    else:
        reason = accepted.set_aside
    if reason is not None:
        connection.execute(update(QUARANTINE).where(QUARANTINE.c.id == row.id).values(reason=reason))
        return None
    derived = {
        "cost_priced_on": _day(row.content),
        "complexity_derived": row.content.get("complexity_derived") in (True, 1),
    }
    values = accepted.row | {name: value for name, value in derived.items() if value}
    values["request_id"] = values["request_id"] or uuid.uuid4().hex
    insertion = insert_into(connection, SELECTION).values(values)
    once = insertion.on_conflict_do_nothing(index_elements=["request_id"]).returning(SELECTION.c.id)
    inserted = connection.execute(once).first()
    connection.execute(delete(QUARANTINE).where(QUARANTINE.c.id == row.id))
    return inserted is not None


def _given(content: Mapping[str, Any]) -> dict[str, Any]:
    """The stored content as a router would say it. An instant without an offset is UTC, as it is in SQLite."""
    given = {name: value for name, value in content.items() if name in FIELDS}
    for name, value in given.items():
        if FIELDS[name] is Kind.FLAG and value in (0, 1):
            given[name] = bool(value)
    at = given.get("timestamp")
    try:
        instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    except ValueError:
        instant = at
    if isinstance(instant, datetime) and instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return given | {"timestamp": instant}


def _day(content: Mapping[str, Any]) -> date | None:
    try:
        return date.fromisoformat(content["cost_priced_on"])
    except (KeyError, TypeError, ValueError):
        return None
