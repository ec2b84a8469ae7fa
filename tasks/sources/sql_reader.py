"""Read rows of a table or a query, page by page and read-only, from any database with a SQLAlchemy driver."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    NullPool,
    and_,
    column,
    create_engine,
    event,
    func,
    or_,
    select,
    table,
    text,
)  # fmt: skip
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.expression import FromClause, TextClause

from models.database import NO_URL, SESSION, first_line, shown
from models.errors import SourceUnavailable
from tasks.ingestion.column_mapping import Unit
from tasks.ingestion.lenient_json import decode_text
from tasks.ingestion.source import bounded_position
from tasks.ingestion.validation import PER_SECOND
from tasks.run_logger import logger

PAGE_ROWS = 20_000
CONNECT_TIMEOUT_S = 10

CONNECTION_CHECK = "Check the address, that the server is up, and that the role may read the table"
WITHOUT_CURSOR = "its cursor or its id is NULL"


@dataclass(frozen=True)
class Page:
    """Rows with plain values, ordered by the cursor; `cursor` is where to continue, `done` counts up to `size`.

    `rejected` counts rows that have no position in that order.
    """

    rows: list[dict[str, Any]]
    cursor: str
    done: int
    rejected: Mapping[str, int] = field(default_factory=dict)


def is_address(location: str) -> bool:
    """Whether a location is a database, not files."""
    return "://" in location and not location.startswith("file:")


def with_table(address: str) -> tuple[str, str | None]:
    """An address without its `?table=`, and the table that this names. Raises SourceUnavailable."""
    url = _url(address)
    named = url.query.get("table")
    plain = url.difference_update_query(["table"]).render_as_string(hide_password=False)
    return plain, named if isinstance(named, str) else None


class SqlRows:
    """A table or a query, read by ascending `cursor` and `key`, from a little before the position reached last.

    `unit` is the unit of a numeric cursor that is a time; `zone` that of times without an offset. Only the existing
    ones of `columns` are read; None: all of them.
    """

    def __init__(
        self,
        address: str,
        *,
        cursor: str,
        key: str,
        overlap_minutes: float,
        table: str | None = None,
        query: str | None = None,
        columns: Sequence[str] | None = None,
        unit: Unit | None = None,
        zone: str = "UTC",
    ) -> None:
        self._url = _url(address)
        self._from = _relation(table, query)
        self._order, self._key = _column(cursor), _column(key)
        self._columns = columns
        self._times = _Times(unit, ZoneInfo(zone))
        self._overlap = timedelta(minutes=overlap_minutes)

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Rows still to read. Raises SourceUnavailable."""
        with self.connected() as connection:
            where = self._after(self._floor(connection, cursor, since))
            return int(connection.execute(select(func.count()).select_from(self._from).where(where)).scalar_one())

    def found(self) -> tuple[str, ...]:
        """The existing columns. Raises SourceUnavailable."""
        with self.connected() as connection:
            return self._found(connection)

    def pages(self, cursor: str | None, since: datetime | None) -> Iterator[Page]:
        """The rows. Raises SourceUnavailable."""
        with self.connected() as connection:
            found = self._found(connection)
            names_kept = [name for name in found if self._columns is None or name in self._columns]
            selected = dict.fromkeys((*names_kept, self._order.name, self._key.name))
            query = select(*(_column(name) for name in selected)).select_from(self._from)
            query = query.order_by(self._order, self._key).limit(PAGE_ROWS)
            floor = self._floor(connection, cursor, since)
            begins = where = self._after(floor)
            newest, done = self._times.bounded(_decoded(cursor)), 0
            follows = newest is None or floor is None or floor <= newest
            unplaced = self._unplaced(connection) if cursor is None and since is None else 0
            while rows := self._rows(connection, query.where(where)):
                done += len(rows)
                last, key = rows[-1][self._order.name], rows[-1][self._key.name]
                # With a `since` after the position reached, the next pull would skip the rows in between.
                newest = self._times.newer(newest, last) if follows else newest
                plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
                yield Page(plain, _encoded(newest), done, {WITHOUT_CURSOR: unplaced} if unplaced else {})
                unplaced = 0
                where = or_(self._order > last, and_(self._order == last, self._key > key))
                if self._url.get_backend_name() == "sqlite":
                    where = and_(begins, where)
                if len(rows) < PAGE_ROWS:
                    return

    def _rows(self, connection: Connection, query: Any) -> list[dict[str, Any]]:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        # An open transaction would keep the source from vacuuming.
        connection.rollback()
        return rows

    def _found(self, connection: Connection) -> tuple[str, ...]:
        result = connection.execute(select(text("*")).select_from(self._from).limit(0))
        names = tuple(result.keys())
        connection.rollback()
        absent = [name for name in dict.fromkeys((self._order.name, self._key.name)) if name not in names]
        if absent:
            cause = f"it lacks the column {', '.join(absent)} (its columns: {', '.join(names)})"
            raise SourceUnavailable(shown(self._url), cause, CONNECTION_CHECK)
        return names

    def _unplaced(self, connection: Connection) -> int:
        missing = or_(self._order.is_(None), self._key.is_(None))
        return int(connection.execute(select(func.count()).select_from(self._from).where(missing)).scalar_one())

    def _after(self, floor: Any) -> ColumnElement[bool]:
        is_positioned = and_(self._order.is_not(None), self._key.is_not(None))
        if floor is None:
            return is_positioned
        follows = self._order >= floor
        if self._url.get_backend_name() == "sqlite":
            # A column may hold values of several types there, and all numbers come before all texts: those of another
            # type than the position are read each time.
            kinds = ("integer", "real") if isinstance(floor, int | float) else ("text",)
            follows = or_(follows, func.typeof(self._order).not_in(kinds))
        return and_(is_positioned, follows)

    def _floor(self, connection: Connection, cursor: str | None, since: datetime | None) -> Any:
        if since is None:
            value = self._times.bounded(_decoded(cursor))
            self._check_is_there(connection, value)
            return self._times.before(value, self._overlap)
        sample = select(self._order).select_from(self._from).where(self._order.is_not(None)).limit(1)
        return self._times.as_in(since, connection.execute(sample).scalar())

    def _check_is_there(self, connection: Connection, value: Any) -> None:
        """Warn of a number that is beyond every row: those of a new table may stay unread."""
        if not isinstance(value, int | float) or self._times.is_time(value):
            return
        query = select(func.max(self._order)).select_from(self._from)
        largest = connection.execute(query).scalar()
        if isinstance(largest, int | float | Decimal) and largest < value:
            text = "its largest %s is %s, but it was read up to %s: if its rows were replaced, read them by `--since`"
            logger().warning(text, self._order.name, largest, value)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Open a read-only connection. Raises SourceUnavailable for any error on it."""
        engine = None
        try:
            engine = _engine(self._url)
            with engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, ModuleNotFoundError) as error:
            cause = str(error.orig) if isinstance(error, DBAPIError) and error.orig else str(error)
            raise SourceUnavailable(shown(self._url), first_line(cause, self._url), _advice(error)) from error
        finally:
            if engine is not None:
                engine.dispose()


# --- where it is ------------------------------------------------------------------------------------------------------


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except NO_URL:
        # The address is not shown: it may hold a password.
        raise SourceUnavailable("the address that was given", "it is not a database URL", CONNECTION_CHECK) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return url


_FORMS = ("DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output", "standard_conforming_strings")
"""Settings of a connection to PostgreSQL; not its time zone, in which a query of one's own may mean its times."""


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url)
    options: dict[str, Any] = {}
    if backend == "postgresql":
        # psycopg reads times in one form only, and texts in a client encoding that it knows.
        options = {"connect_args": {"connect_timeout": CONNECT_TIMEOUT_S, "client_encoding": "UTF8"}}
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, **options)
    if backend == "postgresql":
        forms = ", ".join(f"set_config('{name}', '{SESSION[name]}', true)" for name in _FORMS)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SELECT {forms}")

    return engine


def _sqlite(url: URL) -> Engine:
    if url.database and not Path(url.database).exists():
        # Connecting would make an empty one.
        raise SourceUnavailable(shown(url), "there is no such file", CONNECTION_CHECK)
    engine = create_engine(url, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only = ON")
        # SQLite stores any bytes as text: those that are none cost their field, not the pull.
        connection.text_factory = decode_text

    return engine


def _advice(error: Exception) -> str:
    if isinstance(error, NoSuchModuleError | ModuleNotFoundError):
        return "Install the driver that its address names beside Routewatch"
    return CONNECTION_CHECK


def _relation(name: str | None, query: str | None) -> FromClause | TextClause:
    if query is not None:
        # An unescaped colon would begin a parameter.
        plain = re.sub(r"(?<!:):(?!:)", r"\\:", query.strip().rstrip(";"))
        return text(f"({plain}) AS routewatch_source")
    schema, dot, rest = str(name).rpartition(".")
    return table(_quoted(rest), schema=_quoted(schema) if dot else None)


def _column(name: str) -> Column[Any]:
    return column(_quoted(name))  # type: ignore[return-value]


def _quoted(name: str) -> quoted_name:
    return quoted_name(name, quote=True)


# --- values -----------------------------------------------------------------------------------------------------------


_PLAIN: dict[type, Callable[[Any], Any]] = {
    Decimal: float,
    datetime: lambda value: value.astimezone(UTC) if value.tzinfo else value,
    date: lambda value: datetime(value.year, value.month, value.day),  # noqa: DTZ001 - in the zone of the mapping
    timedelta: lambda value: value.total_seconds() * 1_000,
    UUID: str,
    bytes: lambda value: value.decode("utf-8", "replace"),
    memoryview: lambda value: bytes(value).decode("utf-8", "replace"),
}


def _plain(value: Any) -> Any:
    """A value in the form that files have; an interval in milliseconds."""
    made = _PLAIN.get(type(value))
    return value if made is None else made(value)


@dataclass(frozen=True)
class _Times:
    """Cursor values as times, where possible: the database's own, ISO texts, and numbers with a unit."""

    unit: Unit | None
    zone: ZoneInfo

    def before(self, value: Any, overlap: timedelta) -> Any:
        """A value earlier by the overlap; unchanged if it is not a time."""
        at = self._instant(value)
        return value if at is None else self.as_in(at - overlap, value)

    def is_time(self, value: Any) -> bool:
        return self._instant(value) is not None

    def bounded(self, value: Any) -> Any:
        """A position that was reached, bounded by the clock (tasks.ingestion.source.bounded_position)."""
        at = self._instant(value)
        if at is None:
            return value
        bounded = bounded_position(at)
        return value if bounded == at else self.as_in(bounded, value)

    def newer(self, one: Any, other: Any) -> Any:
        """The later value, except future ones: a clock that runs ahead must not move the cursor past rows."""
        if isinstance(other, bytes):
            return one
        now = datetime.now(UTC)
        at = self._instant(other)
        if at is not None and at > now:
            other = self.as_in(now, other)
        try:
            return other if one is None or other > one else one
        except TypeError:
            # A SQLite column may hold values of several types.
            return other

    def as_in(self, instant: datetime, sample: Any) -> Any:
        """An instant in the column's own form; None if the column has no times."""
        if isinstance(sample, datetime):
            return instant if sample.tzinfo else instant.astimezone(self.zone).replace(tzinfo=None)
        if isinstance(sample, date):
            return instant.astimezone(self.zone).date()
        if isinstance(sample, str):
            return self._text(instant, sample)
        if isinstance(sample, int | float) and self.unit is not None:
            return type(sample)(instant.timestamp() * PER_SECOND[self.unit])
        return None

    def _text(self, instant: datetime, sample: str) -> str | None:
        at = _parsed(sample)
        if at is None:
            return None
        local = instant.astimezone(at.tzinfo or self.zone).replace(tzinfo=None)
        if len(sample) <= _DATE_LENGTH:
            return local.date().isoformat()
        # To the second: a prefix of the compared texts, whatever fraction and offset they end in.
        return local.isoformat(sep="T" if "T" in sample else " ", timespec="seconds")

    def _instant(self, value: Any) -> datetime | None:
        if isinstance(value, str):
            value = _parsed(value)
        elif isinstance(value, int | float) and self.unit is not None:
            try:
                return datetime.fromtimestamp(value / PER_SECOND[self.unit], UTC)
            except (OSError, OverflowError, ValueError):
                return None
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - in the zone that is set next
        if not isinstance(value, datetime):
            return None
        return (value if value.tzinfo else value.replace(tzinfo=self.zone)).astimezone(UTC)


_DATE_LENGTH = len("2026-09-07")


def _parsed(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _encoded(value: Any) -> str:
    if isinstance(value, datetime):
        return json.dumps({"time": value.isoformat()})
    if isinstance(value, date):
        return json.dumps({"date": value.isoformat()})
    if isinstance(value, UUID):
        return json.dumps({"uuid": str(value)})
    if isinstance(value, Decimal):
        return json.dumps({"value": int(value) if value == value.to_integral_value() else float(value)})
    return json.dumps({"value": value}, default=str)


def _decoded(cursor: str | None) -> Any:
    found = json.loads(cursor) if cursor else {}
    if "time" in found:
        return datetime.fromisoformat(found["time"])
    if "uuid" in found:
        return UUID(found["uuid"])
    return date.fromisoformat(found["date"]) if "date" in found else found.get("value")
