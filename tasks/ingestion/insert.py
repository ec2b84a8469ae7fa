"""Insert validated selections in bulk; a stored selection with the same request id stays unchanged."""

from __future__ import annotations

import polars as pl
from sqlalchemy import Connection

from tasks.ingestion.bulk_insert import insert_new, insert_staged, staged
from tasks.ingestion.column_mapping import SELECTION_COLUMNS


def insert_selections(connection: Connection, selections: pl.DataFrame) -> int:
    """Store rows of COLUMNS within the caller's transaction; return how many were new."""
    if selections.is_empty():
        return 0
    rows = selections.select(SELECTION_COLUMNS)
    added = insert_new(connection, rows)
    if added == rows.height or connection.dialect.name == "sqlite":
        return added
    with staged(connection, rows, SELECTION_COLUMNS) as cursor:
        return insert_staged(cursor, SELECTION_COLUMNS)
