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
POOL_TIMEOUT_S = 10
"""How long to wait for one of an engine's connections if all are in use."""

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
        arguments = {"connect_timeout": CONNECT_TIMEOUT_S}
        return create_engine(url, connect_args=arguments, pool_pre_ping=True, pool_timeout=POOL_TIMEOUT_S)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseUnavailable(shown(url), str(error)) from error


@contextmanager
def writing(engine: Engine, *, wait_s: float | None = None) -> Iterator[Connection]:
    """Open a write transaction: SQLite takes its write lock at once, and so cannot deadlock later.

    Raises DatabaseUnavailable if others hold locks for longer than `wait_s`: for any time by default in PostgreSQL, for
    BUSY_TIMEOUT_MS in SQLite.
    """
    wait_ms = None if wait_s is None else max(1, round(wait_s * 1_000))
    options = {"routewatch_writes": True, "routewatch_wait_ms": wait_ms}
    with reaching(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        if wait_ms is not None and connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait_ms}")
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
    # TimeoutError: all of the engine's connections are in use.
    unavailable = {"OperationalError", "InterfaceError", "TimeoutError"}
    return type(error).__name__ in kinds & {"DatabaseError"} or bool(kinds & unavailable)


_IN_MEMORY = (None, "", ":memory:")
"""Databases in memory have one connection per thread and no pool."""

_DRIVERS = ("sqlalchemy", "sqlite3", "psycopg")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url) if url.database in _IN_MEMORY else create_engine(url, pool_timeout=POOL_TIMEOUT_S)

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
        options = connection.get_execution_options()
        writes = options.get("routewatch_writes", False)
        if writes:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {options.get('routewatch_wait_ms') or BUSY_TIMEOUT_MS}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def shown(url: URL) -> str:
    """The address without its password."""
    return url.render_as_string(hide_password=True)
