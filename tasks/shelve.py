"""Shelve: rollups in and out of their table, in bulk."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, and_, delete, select

from models.period import Level
from models.tables import Rollup, table_of
from tasks.rollup import COLUMNS, KEYS, SUMS, empty, limit_teams, merge

ROLLUP = table_of(Rollup)

_NAMES = ("level", *COLUMNS)
_CHANGES = ", ".join(f'"{name}" = excluded."{name}"' for name in (*SUMS, "latency_histogram"))
_CONFLICT = f"ON CONFLICT (level, {', '.join(KEYS)}) DO UPDATE SET {_CHANGES}"
_COLUMNS = ", ".join(f'"{name}"' for name in _NAMES)


def between(level: Level, start: datetime, end: datetime) -> ColumnElement[bool]:
    """The rollups of a level whose buckets start in [start, end)."""
    return and_(ROLLUP.c.level == level.value, ROLLUP.c.bucket >= start, ROLLUP.c.bucket < end)


def stored(connection: Connection, where: ColumnElement[bool]) -> pl.DataFrame:
    """Rollups (COLUMNS) as stored."""
    rows = connection.execute(select(*ROLLUP.c[COLUMNS]).where(where)).fetchall()
    return pl.DataFrame(rows, schema=empty().schema, orient="row")


def add(connection: Connection, level: Level, fresh: pl.DataFrame) -> None:
    """Add rollups to those that are stored under the same keys."""
    if fresh.is_empty():
        return
    buckets = fresh["bucket"].unique()
    span = and_(ROLLUP.c.level == level.value, ROLLUP.c.bucket.between(buckets.min(), buckets.max()))
    known = stored(connection, span).filter(pl.col("bucket").is_in(buckets.implode()))
    merged = merge(pl.concat([known, fresh])) if known.height else fresh
    limited = merged if level is Level.MINUTE else limit_teams(merged)
    if limited is not merged and known.height:
        for bucket in known["bucket"].unique().to_list():
            connection.execute(delete(ROLLUP).where(ROLLUP.c.level == level.value, ROLLUP.c.bucket == bucket))
    put(connection, level, limited)


def replace(connection: Connection, level: Level, span: tuple[datetime, datetime], fresh: pl.DataFrame) -> None:
    """Put rollups in the place of all that are stored of [start, end)."""
    connection.execute(delete(ROLLUP).where(between(level, *span)))
    put(connection, level, fresh if level is Level.MINUTE else limit_teams(fresh))


def put(connection: Connection, level: Level, rollups: pl.DataFrame) -> None:
    """Store rollups; what is stored under the same keys gives way."""
    if rollups.is_empty():
        return
    rows = rollups.select(pl.lit(level.value).alias("level"), *COLUMNS)
    cursor: Any = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        # As models.tables.UtcDateTime stores an instant.
        texts = rows.with_columns(pl.col("bucket").dt.strftime("%Y-%m-%d %H:%M:%S%.6f"))
        marks = ", ".join("?" * len(_NAMES))
        cursor.executemany(f"INSERT INTO rollup ({_COLUMNS}) VALUES ({marks}) {_CONFLICT}", texts.iter_rows())  # noqa: S608
        return
    cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS fresh_rollup (LIKE rollup) ON COMMIT DROP")
    # As a CSV made by polars: row by row, Python would take longer than the database.
    hexadecimal = pl.lit("\\x") + pl.col("latency_histogram").bin.encode("hex")
    lines = rows.with_columns(pl.col("bucket").dt.strftime("%Y-%m-%dT%H:%M:%SZ"), latency_histogram=hexadecimal)
    with cursor.copy(f"COPY fresh_rollup ({_COLUMNS}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(lines.write_csv(include_header=False, quote_style="non_numeric").encode())
    cursor.execute(f"INSERT INTO rollup ({_COLUMNS}) SELECT {_COLUMNS} FROM fresh_rollup {_CONFLICT}")  # noqa: S608
    cursor.execute("TRUNCATE fresh_rollup")
