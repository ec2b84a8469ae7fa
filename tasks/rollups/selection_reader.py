"""Read raw selections from the database in bulk, beside the connection that writes.

A few rows are read through the engine's own connection. Many of PostgreSQL are read through ADBC, which streams Arrow
and accepts libpq's addresses, but takes 40 ms to connect, in which the other reads 5,000 rows. Many of a SQLite file
are read through ADBC too, but by a separate process: two copies of SQLite in one process break each other's locks.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine

from models.database import check_session, libpq_address, reaching, session_statement
from models.errors import RoutewatchError
from routewatch.gate import BOUNDS, EARLIEST, FIELDS, LATEST, NOTHING, TEXT_LENGTH, UNKNOWN_MODEL, read_name
from routewatch.selection import instant_text
from tasks.rollups.aggregate import SELECTION_SCHEMA
from tasks.rollups.set_aside import UncountableRows, taking_any_text

RANGE_ROWS = 100_000
"""Ids read at a time, while the previous ones are processed."""

READ_AHEAD = 8
"""Parts that are read ahead of the caller: with their sizes, they bound the memory."""

ADBC_FROM = 5_000
"""Ids of a PostgreSQL database from which connecting once more pays off."""

OWN_PROCESS_FROM = 300_000
"""Ids of a SQLite file from which starting a process pays off."""

_STORED_COLUMNS = ("id", *SELECTION_SCHEMA)
_SELECT = f"SELECT {', '.join(_STORED_COLUMNS)} FROM selection WHERE "  # noqa: S608 - names from this module
_WRITTEN_LENGTH = len("2026-09-07 00:00:00.000000")


def scan_ids(engine: Engine, after: int, until: int) -> Generator[tuple[int, pl.DataFrame], None, None]:
    """Rows of SELECTION_SCHEMA with after < id <= until, by ascending id, in parts; each with its last id.

    The next parts are read while the caller processes this one. The last part ends at `until`, and may have no rows.
    """
    with closing(_parts(engine, after, until)) as parts, ThreadPoolExecutor(max_workers=1) as reader:
        ahead = deque(reader.submit(next, parts, None) for _ in range(READ_AHEAD))
        while (part := ahead.popleft().result()) is not None:
            ahead.append(reader.submit(next, parts, None))
            ends_at, raw = part
            yield ends_at, _as_selections(raw)
    yield until, pl.DataFrame(schema=SELECTION_SCHEMA)


def scan_period(engine: Engine, start: datetime, end: datetime, until: int) -> pl.DataFrame:
    """Rows of SELECTION_SCHEMA with start <= timestamp < end and id <= until."""
    between = f"timestamp >= {_literal(engine, start)} AND timestamp < {_literal(engine, end)} AND id <= {int(until)}"
    if engine.dialect.name == "sqlite":
        return _as_selections(_read_by_engine(engine, between))
    with _adbc(engine) as connection:
        return _as_selections(_read_adbc(connection, engine, between))


def is_readable(engine: Engine, after: int, until: int) -> bool:
    """Whether the rows with after < id <= until can be read as selections."""
    try:
        for _ in scan_ids(engine, after, until):
            pass
    except UncountableRows:
        return False
    return True


# ----------------------------------------------------------------------------------------------------------------------


def _parts(engine: Engine, after: int, until: int) -> Generator[tuple[int, pl.DataFrame], None, None]:
    """Raw rows by ascending id, each part with its last id."""
    on_sqlite = engine.dialect.name == "sqlite"
    if until - after < (OWN_PROCESS_FROM if on_sqlite else ADBC_FROM):
        yield from _ranges(lambda where: _read_by_engine(engine, where), after, until)
    elif on_sqlite:
        done = after
        try:
            for ends_at, rows in _from_own_process(str(engine.url.database), after, until):
                done = ends_at
                yield ends_at, rows
        except RoutewatchError:
            # A value of another type than its column's breaks off that stream, but not this one, which is slower.
            yield from _ranges(lambda where: _read_by_engine(engine, where), done, until)
    else:
        with _adbc(engine) as connection:
            yield from _ranges(lambda where: _read_adbc(connection, engine, where), after, until)


def _ranges(read: Callable[[str], pl.DataFrame], after: int, until: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Read range by range of ids, skipping gaps."""
    while after < until:
        ends_at = min(after + RANGE_ROWS, until)
        raw = read(f"id > {int(after)} AND id <= {int(ends_at)}")
        if len(raw) or ends_at == until:
            yield ends_at, raw
            after = ends_at
            continue
        first = read(f"id = (SELECT min(id) FROM selection WHERE id > {int(after)} AND id <= {int(until)})")  # noqa: S608
        after = int(first["id"][0]) - 1 if len(first) else until


@contextmanager
def _adbc(engine: Engine) -> Iterator[Any]:
    """An ADBC connection to the engine's PostgreSQL."""
    from adbc_driver_postgresql.dbapi import connect  # noqa: PLC0415 - heavy, and only needed where raw rows are read

    with reaching(engine.url), closing(connect(libpq_address(engine.url))) as connection:
        with connection.cursor() as cursor:
            cursor.execute(session_statement(engine.url))
            check_session(engine.url, cursor.fetchone())
        # A transaction that is rolled back would take the settings with it.
        connection.commit()
        yield connection


def _read_adbc(connection: Any, engine: Engine, where: str) -> pl.DataFrame:
    with reaching(engine.url), connection.cursor() as cursor:
        cursor.execute(_SELECT + where)
        rows = pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))
        # Each read sees what is committed at its own time, not at the first read's.
        connection.rollback()
    return rows


def _read_by_engine(engine: Engine, where: str) -> pl.DataFrame:
    connection = engine.raw_connection()
    on_sqlite = engine.dialect.name == "sqlite"
    opened: AbstractContextManager[Any] = nullcontext(connection.driver_connection)
    if on_sqlite:
        opened = taking_any_text(connection)
    try:
        with opened as driver, reaching(engine.url):
            # A closed connection rolls back: each read sees what is committed at its own time.
            rows = driver.cursor().execute(_SELECT + where + " ORDER BY id").fetchall()
    except _unreadable_values(engine) as error:
        raise UncountableRows(f"rows of the table selection have values that cannot be read: {error}") from None
    finally:
        connection.close()
    schema: dict[str, Any] = {"id": pl.Int64, **SELECTION_SCHEMA}
    if on_sqlite:
        schema |= {name: pl.Int64 for name, kind in SELECTION_SCHEMA.items() if kind == pl.Boolean}
        schema |= {"timestamp": pl.String}
    try:
        return pl.DataFrame(rows, schema=schema, orient="row")
    except _UNREADABLE as error:
        raise UncountableRows(f"rows of the table selection have values of other types: {error}") from None


def _from_own_process(path: str, after: int, until: int) -> Iterator[tuple[int, pl.DataFrame]]:
    from pyarrow import ArrowInvalid, ipc  # noqa: PLC0415

    command = [
        sys.executable,
        "-m",
        "tasks.rollups.sqlite_reader_process",
        path,
        str(after),
        str(until),
        *_STORED_COLUMNS,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        try:
            for batch in ipc.open_stream(process.stdout):
                rows = pl.DataFrame(pl.from_arrow(batch)).filter(pl.col("id") > after)
                if rows.height:
                    yield int(rows["id"][-1]), rows
        except ArrowInvalid:
            pass  # It ended early: its error message follows.
        finally:
            if sys.exc_info()[0] is GeneratorExit:
                process.kill()
        _, log_args = process.communicate()
    if process.returncode:
        cause = log_args.decode(errors="replace").strip().splitlines()[-1:] or [f"status {process.returncode}"]
        raise RoutewatchError(f"reading {path} failed: {cause[0]}")


def _unreadable_values(engine: Engine) -> tuple[type[Exception], ...]:
    """The errors of the driver about a value that Python has no like of, as `infinity`."""
    if engine.dialect.name == "sqlite":
        return ()
    from psycopg import DataError  # noqa: PLC0415 - not needed on SQLite

    return (DataError,)


_UNREADABLE = (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError)


def _as_selections(raw: pl.DataFrame) -> pl.DataFrame:
    """SELECTION_SCHEMA of raw rows. Raises UncountableRows if any of them is no selection."""
    rows = raw.drop("id")
    try:
        if rows.schema["timestamp"] == pl.String:
            rows = rows.with_columns(timestamp=read_instants(rows["timestamp"]))
        found = rows.select(pl.col(name).cast(kind) for name, kind in SELECTION_SCHEMA.items())
    except _UNREADABLE as error:
        raise UncountableRows(f"rows of the table selection cannot be read: {error}") from None
    if found.height and not found.select(_ARE_VALID).item():
        raise UncountableRows("rows of the table selection are no selections")
    return found.with_columns(
        one_form(found["model_id"]).fill_null(UNKNOWN_MODEL), one_form(found["complexity"]), one_form(found["team"])
    )


_ARE_VALID = pl.all_horizontal(
    (pl.col("timestamp").is_between(EARLIEST, LATEST, closed="left")).fill_null(False).all(),
    pl.col("model_id", "error").is_not_null().all(),
    *(pl.col(name).is_between(*BOUNDS[kind]).fill_null(True).all() for name, kind in FIELDS.items() if kind in BOUNDS),
)
"""Whether every row is valid, as far as it matters to counting: one NaN would make each sum that it is in NaN."""

_PLAIN_NAME = rf"^[!-~]([ -~]{{0,{TEXT_LENGTH - 2}}}[!-~])?$"


def one_form(names: pl.Series) -> pl.Series:
    """Names as the gate reads them. Those written by SQL need not look like that."""
    known = names.drop_nulls().unique()
    odd = known.filter(~known.str.contains(_PLAIN_NAME) | known.str.to_lowercase().is_in(sorted(NOTHING)))
    forms = {name: read_name(name)[0] for name in odd}
    changed = {name: form for name, form in forms.items() if name != form}
    if not changed:
        return names
    return names.replace(list(changed), pl.Series(list(changed.values()), dtype=pl.String))


def read_instants(texts: pl.Series) -> pl.Series:
    """SQLite's texts as instants, sliced by position; NULL for text of any other form than the one that it takes."""
    text = pl.col("text")

    def number(start: int, length: int) -> pl.Expr:
        return text.str.slice(start, length).cast(pl.Int64, strict=False)

    day = text.str.head(10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    time = pl.duration(hours=number(11, 2), minutes=number(14, 2), seconds=number(17, 2), microseconds=number(20, 6))
    has_form = (text.str.len_bytes() == _WRITTEN_LENGTH) & (text.str.slice(10, 1) == " ")
    at = pl.when(has_form).then(day + time)
    return texts.to_frame("text").select(at.dt.replace_time_zone("UTC")).to_series()


def _literal(engine: Engine, instant: datetime) -> str:
    """An instant as a literal of the database."""
    zone = "" if engine.dialect.name == "sqlite" else "+00"
    return f"'{instant_text(instant)}{zone}'"
