"""Look at the quarantine, and bring rows from there back into the selection table, or drop them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, select, true

from models.database import reading, writing
from models.errors import UsageError
from models.settings import DEFAULT_INGESTION, Ingestion
from routewatch.gate import latest_instant
from routewatch.quarantine import QUARANTINE, IntakeCounts, IntakeOutcome, is_error
from tasks.rollups.restore import ROWS_AT_ONCE, restore_rows

MOST_LISTED = 200


@dataclass(frozen=True)
class RetryResult:
    """Rows that were brought back, whose request id is in the table already, and that are still set aside."""

    restored: int
    already_there: int
    remaining: int


def list_quarantined(engine: Engine, limit: int = MOST_LISTED) -> Sequence[Row[Any]]:
    """The rows that were set aside last, newest first: those of routewatch.quarantine.QUARANTINE."""
    with reading(engine) as connection:
        return newest_quarantined(connection, limit)


def newest_quarantined(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """As `list_quarantined`, within the caller's transaction."""
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
            outcomes = restore_rows(connection, rows, latest)
            restored += outcomes.count(True)
            known += outcomes.count(False)
            remaining += outcomes.count(None)
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
            counting.add(IntakeOutcome.DROPPED, reason, now, errors=is_error(content))
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
