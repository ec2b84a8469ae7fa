"""Upsert pulled selections: new values replace stored ones, missing values keep them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection

from routewatch.selection import instant_text
from tasks.ingestion.bulk_insert import insert_new, insert_staged, staged
from tasks.ingestion.column_mapping import SELECTION_COLUMNS

DERIVED = ("cost_priced_on", "complexity_derived")
STORED = (*SELECTION_COLUMNS, *DERIVED)
"""Columns of an upsert: those of a selection and the origins of two of them."""


@dataclass(frozen=True)
class Upserted:
    """The number of rows that were new and that changed a stored one.

    `late` are new rows from before `newest`, and `latest_by` is how long before it the oldest of them is.
    """

    added: int
    changed: int
    late: int = 0
    latest_by: timedelta = timedelta(0)


def upsert(connection: Connection, rows: pl.DataFrame, newest: datetime | None) -> Upserted:
    """Store rows of STORED, each request_id once, within the caller's transaction.

    NULL keeps the stored value. A recorded value replaces a derived one, never the other way round. `newest` is the
    position reached in the source before.
    """
    if rows.is_empty():
        return Upserted(0, 0)
    added = 0
    if newest is None or rows.select((pl.col("timestamp") > newest).all()).item():
        # Usually all of them are new, and need no temporary table.
        added = insert_new(connection, rows.select(STORED))
        if added == rows.height:
            return Upserted(added, 0)
    with staged(connection, rows, STORED) as cursor:
        late, latest_by = (0, timedelta(0)) if newest is None else _late(connection, cursor, rows, newest)
        added += insert_staged(cursor, STORED)
        changed = 0
        if added < rows.height:
            cursor.execute(_UPDATE)
            changed = int(cursor.rowcount)
    return Upserted(added, changed, late, latest_by)


def amend(connection: Connection, rows: pl.DataFrame, columns: tuple[str, ...]) -> int:
    """Set columns of selections that are stored, by request_id; NULL keeps the stored value. Return how many."""
    if rows.is_empty():
        return 0
    with staged(connection, rows, ("request_id", *columns)) as cursor:
        cursor.execute(_update(columns, columns))
        return int(cursor.rowcount)


# ----------------------------------------------------------------------------------------------------------------------

_KNOWN = tuple(name for name in SELECTION_COLUMNS if name not in ("request_id", "cost_usd", "complexity"))

_COST_STAYS = (
    "(incoming.cost_usd IS NULL OR (incoming.cost_priced_on IS NOT NULL "
    "AND selection.cost_usd IS NOT NULL AND selection.cost_priced_on IS NULL))"
)
_COMPLEXITY_STAYS = (
    "(incoming.complexity IS NULL OR (incoming.complexity_derived "
    "AND selection.complexity IS NOT NULL AND selection.complexity_derived IS NULL))"
)


def _update(columns: tuple[str, ...], compared: tuple[str, ...], more: str = "", differs: str = "") -> str:
    values = ", ".join(f"{name} = COALESCE(incoming.{name}, selection.{name})" for name in columns)
    is_changed = " OR ".join(
        f"(incoming.{name} IS NOT NULL AND incoming.{name} IS DISTINCT FROM selection.{name})" for name in compared
    )
    return (
        f"UPDATE selection SET {values}{more} FROM incoming "  # noqa: S608 - names of our own
        f"WHERE selection.request_id = incoming.request_id AND ({is_changed}{differs})"
    )


_UPDATE = _update(
    _KNOWN,
    _KNOWN,
    "".join(
        f", {name} = CASE WHEN {stays} THEN selection.{name} ELSE incoming.{name} END"
        for stays, names in (
            (_COST_STAYS, ("cost_usd", "cost_priced_on")),
            (_COMPLEXITY_STAYS, ("complexity", "complexity_derived")),
        )
        for name in names
    ),
    f" OR (NOT {_COST_STAYS} AND (incoming.cost_usd IS DISTINCT FROM selection.cost_usd"
    " OR incoming.cost_priced_on IS DISTINCT FROM selection.cost_priced_on))"
    f" OR (NOT {_COMPLEXITY_STAYS} AND (incoming.complexity IS DISTINCT FROM selection.complexity"
    " OR incoming.complexity_derived IS DISTINCT FROM selection.complexity_derived))",
)


def _late(connection: Connection, cursor: Any, rows: pl.DataFrame, newest: datetime) -> tuple[int, timedelta]:
    before = rows.filter(pl.col("timestamp") < newest)
    if before.is_empty():
        return 0, timedelta(0)
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    value = instant_text(newest) if connection.dialect.name == "sqlite" else newest
    cursor.execute(
        "SELECT request_id FROM incoming WHERE NOT EXISTS "  # noqa: S608 - a parameter mark from this module
        f"(SELECT 1 FROM selection WHERE selection.request_id = incoming.request_id) AND timestamp < {mark}",
        (value,),
    )
    late = [row[0] for row in cursor.fetchall()]
    if not late:
        return 0, timedelta(0)
    oldest: Any = before.filter(pl.col("request_id").is_in(late))["timestamp"].min()
    return len(late), newest - oldest
