"""Retract rows of a source that turn out not to be selections; the rollups of their hours are rebuilt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert

from models.schema import OVERHEAD, SELECTION_CHANGE
from routewatch.selection import SELECTION

IDS_AT_ONCE = 500
"""SQLite limits the number of parameters."""


def retract(connection: Connection, request_ids: Sequence[str]) -> int:
    """Delete selections and overhead by their ids within the caller's transaction; return how many selections.

    No trigger logs the time of deleted rows as it does for updates, so this function does.
    """
    times: set[datetime] = set()
    count = 0
    for start in range(0, len(request_ids), IDS_AT_ONCE):
        ids = request_ids[start : start + IDS_AT_ONCE]
        gone = connection.scalars(
            delete(SELECTION).where(SELECTION.c.request_id.in_(ids)).returning(SELECTION.c.timestamp)
        ).all()
        connection.execute(delete(OVERHEAD).where(OVERHEAD.c.request_id.in_(ids)))
        count += len(gone)
        times.update(gone)
    if times:
        connection.execute(insert(SELECTION_CHANGE), [{"at": at} for at in sorted(times)])
    return count
