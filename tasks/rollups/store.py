"""Store rollups: read, aggregate and write their table in bulk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    case,
    delete,
    func,
    select,
    type_coerce,
)
from sqlalchemy import cast as sql_cast

from models.period import Level
from models.schema import HOUR_TOTAL, OTHERS, ROLLUP, UNKNOWN
from tasks.rollups.aggregate import ROLLUP_COLUMNS, ROLLUP_KEYS, limit_names, merge, rollup_schema

ROWS_AT_ONCE = 5_000

NO_NAMES: Mapping[str, Collection[str]] = MappingProxyType({})


def between(level: Level, start: datetime, end: datetime) -> ColumnElement[bool]:
    """Read the rollups of a level whose buckets start in [start, end)."""
    return _of(level.value, start, end)


def hour_totals(start: datetime, end: datetime) -> ColumnElement[bool]:
    """Sum the hours in [start, end) over models, complexities and teams."""
    return _of(HOUR_TOTAL, start, end)


def read_rollups(connection: Connection, where: ColumnElement[bool]) -> pl.DataFrame:
    """Read stored rollups (COLUMNS)."""
    query = select(quick_instant(connection, ROLLUP.c.bucket), *ROLLUP.c[ROLLUP_COLUMNS[1:]]).where(where)
    return fetch_rows(connection, query, rollup_schema())


def aggregate_rollups(
    connection: Connection,
    where: ColumnElement[bool],
    keys: Sequence[str],
    columns: Sequence[str],
    *,
    named: Mapping[str, Collection[str]] = NO_NAMES,
) -> pl.DataFrame:
    """Sum rollups by bucket and `keys` in the database: the given `columns` of SUMS, no histograms.

    Of the columns in `named`, other values than those are summed up as the column's OTHERS.
    """
    schema = rollup_schema()
    sums = [_sum(name, is_integer=schema[name].is_integer()) for name in columns]
    values = [_named(name, named[name]) if name in named else ROLLUP.c[name] for name in keys]
    # By the label, as a database cannot tell that two expressions with parameters are the same.
    groups = [f"named_{name}" if name in named else ROLLUP.c[name] for name in keys]
    bucket = quick_instant(connection, ROLLUP.c.bucket)
    query = select(bucket, *values, *sums).where(where).group_by(ROLLUP.c.bucket, *groups)
    return fetch_rows(connection, query, {name: schema[name] for name in ("bucket", *keys, *columns)})


def add_rollups(connection: Connection, level: Level, fresh: pl.DataFrame) -> None:
    """Add rollups to those stored under the same keys; the caller holds the checkpoint locked."""
    _merge_into(connection, level.value, fresh, limited=True)
    if level is Level.HOUR:
        _merge_into(connection, HOUR_TOTAL, _totals_of(fresh), limited=False)


def replace(connection: Connection, level: Level, span: tuple[datetime, datetime], fresh: pl.DataFrame) -> None:
    """Replace all stored rollups of [start, end)."""
    remove_rollups(connection, level, *span)
    insert_rollups(connection, level, limit_names(fresh))


def remove_rollups(connection: Connection, level: Level, start: datetime, end: datetime) -> int:
    """Delete the rollups of a level in [start, end); return how many."""
    if level is Level.HOUR:
        connection.execute(delete(ROLLUP).where(hour_totals(start, end)))
    return connection.execute(delete(ROLLUP).where(between(level, start, end))).rowcount


def insert_rollups(connection: Connection, level: Level, rollups: pl.DataFrame) -> None:
    """Insert rollups under new keys."""
    _insert(connection, level.value, rollups)
    if level is Level.HOUR:
        _insert(connection, HOUR_TOTAL, _totals_of(rollups))


def crowded_names(rollups: pl.DataFrame) -> dict[str, frozenset[str]]:
    """The values that are named in the columns of rollups whose smallest values are merged into OTHERS."""
    values = {column: frozenset(rollups[column].unique()) for column in OTHERS}
    return {column: names for column, names in values.items() if OTHERS[column] in names}


def quick_instant(connection: Connection, column: Column[Any]) -> ColumnElement[Any]:
    """An instant of whole seconds in the driver's fastest form: text of SQLite, seconds since 1970 of PostgreSQL."""
    if connection.dialect.name == "sqlite":
        return type_coerce(column, Text)
    return sql_cast(func.extract("epoch", column), BigInteger)


def fetch_rows(
    connection: Connection, query: Select[Any], schema: Mapping[str, pl.DataType | type[pl.DataType]]
) -> pl.DataFrame:
    """The rows of a query, whose column `bucket` is a quick_instant, as a frame of `schema`, in its order.

    They are the driver's own rows: no value needs a conversion, and SQLAlchemy would process each.
    """
    if connection.dialect.name == "sqlite":
        kind: type[pl.DataType] = pl.String
        instant = pl.col("bucket").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC")
    else:
        kind = pl.Int64
        instant = pl.from_epoch("bucket").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    quick = pl.Schema({name: kind if name == "bucket" else its for name, its in schema.items()})
    cursor: Any = connection.execute(query).cursor
    # In parts: as Python's objects rows take several times the memory that they take in a frame.
    parts = [pl.DataFrame(schema=quick)]
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        parts.append(pl.DataFrame(rows, schema=quick, orient="row"))
    return pl.concat(parts).with_columns(bucket=instant)


def insert_rows(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    """Insert the rows of a frame, whose columns are the table's, in the order given: by key, it is the fastest."""
    names = ", ".join(f'"{name}"' for name in rows.columns)
    cursor: Any = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        # As routewatch.selection.UtcDateTime stores an instant.
        texts = rows.with_columns(pl.col("bucket").dt.strftime("%Y-%m-%d %H:%M:%S%.6f"))
        marks = ", ".join("?" * rows.width)
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", texts.rows())  # noqa: S608
        return
    # Copy as a CSV written by polars: row by row, Python would take longer than the database.
    lines = rows.with_columns(pl.col("bucket").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(lines.write_csv(include_header=False, quote_style="non_numeric").encode())


# ----------------------------------------------------------------------------------------------------------------------


def _named(column: str, names: Collection[str]) -> ColumnElement[str]:
    """A column of the rollups, with its OTHERS in the place of what is not among the names."""
    found: ColumnElement[str] = ROLLUP.c[column]
    return case((found.in_(sorted(names)), found), else_=OTHERS[column]).label(f"named_{column}")


def _sum(name: str, *, is_integer: bool) -> ColumnElement[Any]:
    """A sum cast from decimal, which PostgreSQL returns for integers."""
    added: ColumnElement[Any] = func.sum(ROLLUP.c[name])
    return sql_cast(added, BigInteger) if is_integer else added


def _of(level: str, start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(ROLLUP.c.level == level, ROLLUP.c.bucket >= start, ROLLUP.c.bucket < end)


def _totals_of(hours: pl.DataFrame) -> pl.DataFrame:
    return merge(hours.with_columns(pl.lit(UNKNOWN).alias(name) for name in ROLLUP_KEYS if name != "bucket"))


def _merge_into(connection: Connection, level: str, fresh: pl.DataFrame, *, limited: bool) -> None:
    if fresh.is_empty():
        return
    buckets = fresh["bucket"].unique()
    span = and_(ROLLUP.c.level == level, ROLLUP.c.bucket.between(buckets.min(), buckets.max()))
    known = read_rollups(connection, span).filter(pl.col("bucket").is_in(buckets.implode()))
    for bucket in known["bucket"].unique().to_list():
        connection.execute(delete(ROLLUP).where(ROLLUP.c.level == level, ROLLUP.c.bucket == bucket))
    merged = merge(pl.concat([known, fresh])) if known.height else fresh
    _insert(connection, level, limit_names(merged) if limited else merged)


def _insert(connection: Connection, level: str, rollups: pl.DataFrame) -> None:
    if rollups.is_empty():
        return
    rows = rollups.sort(ROLLUP_KEYS).select(pl.lit(level).alias("level"), *ROLLUP_COLUMNS)
    if connection.dialect.name != "sqlite":
        rows = rows.with_columns(latency_histogram=pl.lit("\\x") + pl.col("latency_histogram").bin.encode("hex"))
    insert_rows(connection, "rollup", rows)
