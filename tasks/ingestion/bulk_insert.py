"""Write many selections into the database at once, directly or through a temporary table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
import polars.selectors as cs
from sqlalchemy import Connection


def insert_new(connection: Connection, rows: pl.DataFrame) -> int:
    """Insert rows that are probably new; return how many were. On PostgreSQL all, or none if any is not new."""
    cursor: Any = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        _fill_sqlite(cursor, rows, "selection", " ON CONFLICT (request_id) DO NOTHING")
        return int(cursor.rowcount)
    from psycopg.errors import UniqueViolation  # noqa: PLC0415 - not needed on SQLite

    try:
        with connection.begin_nested():
            _copy(cursor, rows, "selection")
    except UniqueViolation:
        return 0
    return rows.height


@contextmanager
def staged(connection: Connection, rows: pl.DataFrame, columns: tuple[str, ...]) -> Iterator[Any]:
    """Load the rows into a temporary table `incoming` for the context's duration; yield a cursor."""
    cursor: Any = connection.connection.cursor()
    stage = _stage_sqlite if connection.dialect.name == "sqlite" else _stage_postgresql
    stage(cursor, rows.select(columns))
    try:
        yield cursor
    finally:
        cursor.close()


def insert_staged(cursor: Any, columns: tuple[str, ...]) -> int:
    """Insert the rows of `incoming` with a new request_id; return how many."""
    names = ", ".join(columns)
    cursor.execute(
        f"INSERT INTO selection ({names}) SELECT {names} FROM incoming "  # noqa: S608 - names from this module
        "WHERE true ON CONFLICT (request_id) DO NOTHING"
    )
    return int(cursor.rowcount)


# ----------------------------------------------------------------------------------------------------------------------


def _stage_sqlite(cursor: Any, rows: pl.DataFrame) -> None:
    cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS incoming AS SELECT * FROM selection WHERE false")
    cursor.execute("DELETE FROM incoming")
    _fill_sqlite(cursor, rows, "incoming")


def _fill_sqlite(cursor: Any, rows: pl.DataFrame, table: str, otherwise: str = "") -> None:
    texts = {"timestamp": "%Y-%m-%d %H:%M:%S%.6f", "cost_priced_on": "%Y-%m-%d"}
    written = rows.with_columns(pl.col(name).dt.strftime(form) for name, form in texts.items() if name in rows.columns)
    marks = ", ".join("?" * rows.width)
    cursor.executemany(
        f"INSERT INTO {table} ({', '.join(rows.columns)}) VALUES ({marks}){otherwise}",  # noqa: S608 - names from this module
        written.iter_rows(),
    )


def _stage_postgresql(cursor: Any, rows: pl.DataFrame) -> None:
    cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE selection) ON COMMIT DROP")
    cursor.execute(
        "ALTER TABLE incoming ALTER id DROP NOT NULL, ALTER timestamp DROP NOT NULL, "
        "ALTER model_id DROP NOT NULL, ALTER error DROP NOT NULL"
    )
    cursor.execute("TRUNCATE incoming")
    _copy(cursor, rows, "incoming")


def _copy(cursor: Any, rows: pl.DataFrame, table: str) -> None:
    """Copy as a CSV written by polars: row by row, Python would take longer than the database."""
    # An amendment has no timestamp.
    written = rows.with_columns(cs.by_name("timestamp", require_all=False).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    with cursor.copy(f"COPY {table} ({', '.join(rows.columns)}) FROM STDIN (FORMAT csv)") as copy:
        # Text is quoted, so that an empty one is not NULL.
        copy.write(written.write_csv(include_header=False, quote_style="non_numeric"))
