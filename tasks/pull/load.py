"""Load: checked selections into the database, in bulk; what is there already, by request id, stays as it is."""

from __future__ import annotations

from typing import Any

import polars as pl
from sqlalchemy import Connection

from tasks.pull.mapping import COLUMNS

_NAMES = ", ".join(COLUMNS)


def load(connection: Connection, selections: pl.DataFrame) -> int:
    """Store rows of COLUMNS within the caller's transaction; gives how many were not there yet."""
    if selections.is_empty():
        return 0
    store = _into_sqlite if connection.dialect.name == "sqlite" else _into_postgresql
    return store(connection, selections.select(COLUMNS))


# ----------------------------------------------------------------------------------------------------------------------


def _into_sqlite(connection: Connection, selections: pl.DataFrame) -> int:
    # As models.tables.UtcDateTime stores an instant, so that comparisons of the texts are those of the times.
    texts = selections.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S%.6f"))
    marks = ", ".join("?" * len(COLUMNS))
    statement = f"INSERT INTO selection ({_NAMES}) VALUES ({marks}) ON CONFLICT (request_id) DO NOTHING"  # noqa: S608
    cursor = connection.connection.cursor()
    cursor.executemany(statement, texts.rows())
    return int(cursor.rowcount)


def _into_postgresql(connection: Connection, selections: pl.DataFrame) -> int:
    cursor: Any = connection.connection.cursor()
    cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE selection) ON COMMIT DROP")
    cursor.execute("ALTER TABLE incoming ALTER COLUMN id DROP NOT NULL")
    # As a CSV made by polars: row by row, Python would take longer than the database. A text stands in quotes, so that
    # an empty one is not NULL.
    lines = selections.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    with cursor.copy(f"COPY incoming ({_NAMES}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(lines.write_csv(include_header=False, quote_style="non_numeric"))
    cursor.execute(
        f"INSERT INTO selection ({_NAMES}) SELECT {_NAMES} FROM incoming "  # noqa: S608 - names of our own
        "ON CONFLICT (request_id) DO NOTHING"
    )
    added = int(cursor.rowcount)
    cursor.execute("TRUNCATE incoming")
    return added
