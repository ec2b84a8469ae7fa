"""Bring rows of the quarantine back into the selection table, where the next update counts them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update
from sqlalchemy.exc import DataError, IntegrityError

from models.clock import true_now
from models.database import insert_into, reading, writing
from models.settings import Ingestion
from routewatch.gate import FIELDS, Kind, RejectedSelection, accept, latest_instant
from routewatch.quarantine import (
    AHEAD_OF_CLOCK,
    QUARANTINE,
    IntakeCounts,
    IntakeOutcome,
    counted_at,
    instant_of,
    is_error,
)
from routewatch.selection import SELECTION

ROWS_AT_ONCE = 500
"""Rows of one transaction: a waiting writer is delayed by less than a second."""

MOST_RETURNED = 2_000
"""Rows that return in one update: what is new is counted meanwhile."""


def return_due(engine: Engine, ingestion: Ingestion) -> int:
    """Bring back rows that the true clock has reached, the earliest first, MOST_RETURNED at most; return how many."""
    latest, returned = latest_instant(true_now(), ingestion.clock_skew), 0
    is_due = QUARANTINE.c.due_at <= latest
    with reading(engine) as connection:
        if connection.execute(select(QUARANTINE.c.id).where(is_due).limit(1)).first() is None:
            return 0
    for _ in range(MOST_RETURNED // ROWS_AT_ONCE):
        with writing(engine) as connection:
            query = select(QUARANTINE).where(is_due).order_by(QUARANTINE.c.due_at, QUARANTINE.c.id)
            rows = connection.execute(query.limit(ROWS_AT_ONCE).with_for_update(skip_locked=True)).all()
            returned += restore_rows(connection, rows, latest).count(True)
        if len(rows) < ROWS_AT_ONCE:
            break
    return returned


def restore_rows(connection: Connection, rows: Sequence[Row[Any]], latest: datetime) -> list[bool | None]:
    """Pass rows of QUARANTINE through the gate again, within the caller's transaction.

    For each: True if it is back, False if its request id is in the table already, None if it stays set aside.
    """
    counts: dict[str, IntakeCounts] = {}
    outcomes = []
    for row in rows:
        outcome = _restore(connection, row, latest)
        outcomes.append(outcome)
        if outcome is not None:
            counting = counts.setdefault(row.entrance, IntakeCounts(row.entrance))
            at = counted_at(row.content, row.set_aside_at)
            counting.add(IntakeOutcome.RESTORED, row.reason, at, errors=is_error(row.content))
    for counting in counts.values():
        counting.write(connection)
    return outcomes


# ----------------------------------------------------------------------------------------------------------------------


def _restore(connection: Connection, row: Row[Any], latest: datetime) -> bool | None:
    try:
        accepted = accept(_given(row.content), latest)
    except RejectedSelection as fault:
        reason: str | None = str(fault)
    else:
        reason = accepted.set_aside
    if reason is not None:
        _keep(connection, row, reason)
        return None
    derived = {
        "cost_priced_on": _day(row.content),
        "complexity_derived": row.content.get("complexity_derived") in (True, 1),
    }
    values = accepted.row | {name: value for name, value in derived.items() if value}
    values["request_id"] = values["request_id"] or uuid.uuid4().hex
    insertion = insert_into(connection, SELECTION).values(values)
    once = insertion.on_conflict_do_nothing(index_elements=["request_id"]).returning(SELECTION.c.id)
    try:
        with connection.begin_nested():
            inserted = connection.execute(once).first()
    except (DataError, IntegrityError) as error:
        _keep(connection, row, f"the table refuses it: {type(error.orig).__name__}")
        return None
    connection.execute(delete(QUARANTINE).where(QUARANTINE.c.id == row.id))
    return inserted is not None


def _keep(connection: Connection, row: Row[Any], reason: str) -> None:
    """Leave a row where it is, with its present reason."""
    due_at = instant_of(row.content) if reason == AHEAD_OF_CLOCK else None
    connection.execute(update(QUARANTINE).where(QUARANTINE.c.id == row.id).values(reason=reason, due_at=due_at))


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
