"""Access the database: its URL, engines for SQLite and PostgreSQL, and write transactions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from routewatch.errors import DatabaseUnavailable, Fault, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

CONNECT_TIMEOUT_S = 10
BUSY_TIMEOUT_MS = 30_000

DEFAULT_HOME = Path("var")


def database_address_of(variables: Mapping[str, str] | None = None) -> str:
    """The environment's database as a SQLAlchemy URL with its password: for connecting, never for display.

    Raises SettingsError if ROUTEWATCH_DATABASE_URL is not a database URL.
    """
    # Case-insensitive, as all other variables are read.
    named = {name.upper(): value for name, value in (os.environ if variables is None else variables).items()}
    home = Path(named.get("ROUTEWATCH_HOME", DEFAULT_HOME))
    return checked_address(named.get("ROUTEWATCH_DATABASE_URL", default_address(home)))


def default_address(home: Path) -> str:
    """The SQLite file in ROUTEWATCH_HOME, the default database."""
    return f"sqlite:///{(home / 'routewatch.db').absolute()}"


def checked_address(address: str) -> str:
    """Return the address if it parses as a URL. Raises SettingsError without showing it: it may hold a password."""
    try:
        make_url(address)
    except ArgumentError:
        problem = "is not a database URL such as sqlite:///var/routewatch.db or postgresql://user:password@host/name"
        raise SettingsError("the environment", [Fault("ROUTEWATCH_DATABASE_URL", problem)]) from None
    return address


def connect(address: str) -> Engine:
    """An engine, not yet connected. Raises DatabaseUnavailable for an unsupported kind of database."""
    try:
        url = make_url(address)
    except ArgumentError:
        # The address is not shown: it may hold a password.
        raise DatabaseUnavailable("that was given", "it is not a database URL") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseUnavailable(shown(url), f"{url.get_backend_name()} is not supported, only SQLite and PostgreSQL")
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url)
        return create_engine(url, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}, pool_pre_ping=True)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseUnavailable(shown(url), str(error)) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction: SQLite takes its write lock at once, and so cannot deadlock later."""
    options = {"routewatch_writes": True}
    with reaching(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def insert_into(connection: Connection, table: Table) -> postgresql.Insert:
    """An INSERT that supports ON CONFLICT: SQLAlchemy has one class each for SQLite and PostgreSQL."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return cast("postgresql.Insert", sqlite.insert(table))
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


@contextmanager
def reaching(url: URL) -> Iterator[None]:
    """Turn driver errors about an unavailable or unusable database into DatabaseUnavailable.

    Also covers the driver's own cursor, used without SQLAlchemy.
    """
    try:
        yield
    except Exception as error:
        if not _is_unavailability(error):
            raise
        cause = error.orig if isinstance(error, DBAPIError) else None
        raise DatabaseUnavailable(shown(url), str(cause or error).strip().partition("\n")[0]) from error


# ----------------------------------------------------------------------------------------------------------------------


def _is_unavailability(error: Exception) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _DRIVERS}
    return type(error).__name__ in kinds & {"DatabaseError"} or bool(kinds & {"OperationalError", "InterfaceError"})


_DRIVERS = ("sqlalchemy", "sqlite3", "psycopg")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _prepare(connection: object, _record: object) -> None:
        # The driver's own transaction control begins too late and commits implicitly; _begin does it.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("routewatch_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def shown(url: URL) -> str:
    """The address without its password."""
    return url.render_as_string(hide_password=True)
