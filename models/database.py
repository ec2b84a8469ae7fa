"""Opening the database, its migrations, and transactions that write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from models.errors import DatabaseUnavailable, SchemaOutdated

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.dialects import postgresql

MIGRATIONS = Path(__file__).parent / "migrations"
CONNECT_TIMEOUT_S = 10
BUSY_TIMEOUT_MS = 30_000

_MIGRATING = 7_036_874_417
"""Of the lock that whoever migrates a PostgreSQL database holds: any number that others do not use."""


def open_database(address: str) -> Engine:
    """An engine on a database that is reachable and at this program's revision.

    Raises DatabaseUnavailable or SchemaOutdated.
    """
    engine = connect(address)
    check_revision(engine)
    return engine


def check_revision(engine: Engine) -> str:
    """The database's revision, which is this program's.

    Raises DatabaseUnavailable or SchemaOutdated where the database is not there, or not as this program needs it.
    """
    with reaching(engine.url), engine.connect() as connection:
        found = _revision_of(connection)
    expected = _newest_revision()
    if found != expected:
        raise SchemaOutdated(_shown(engine.url), found, expected)
    return found


def migrate(address: str, to: str = "head") -> tuple[str | None, str]:
    """Create the tables or bring them up to date, or up to one revision; gives the revision before and after.

    All of it is one transaction: one that is interrupted has changed nothing. Of several at once one does it, and the
    others wait and find it done.

    Raises DatabaseUnavailable, or SchemaOutdated where a newer Routewatch made the tables.
    """
    from alembic import command  # noqa: PLC0415 - takes as long to import as the database to be read

    engine = connect(address)
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    if engine.dialect.name == "sqlite":
        # A table is changed there by putting another in its place, which its references must not notice.
        event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA foreign_keys = OFF"))
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
            before, head = _revision_of(connection), _newest_revision()
            if before is not None and before > head:
                raise SchemaOutdated(_shown(engine.url), before, head)
            configuration = _alembic()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, to)
            after = _revision_of(connection)
    finally:
        engine.dispose()
    return before, after or ""


def steps_between(before: str | None, after: str) -> list[tuple[str, str]]:
    """The revisions after one and up to another, the oldest first, each with what it does."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = list(ScriptDirectory.from_config(_alembic()).iterate_revisions(after, before or "base"))
    return [(it.revision, (it.doc or "").splitlines()[0]) for it in reversed(scripts)]


def connect(address: str) -> Engine:
    """An engine, not yet connected. Raises DatabaseUnavailable for a kind of database that is not supported."""
    try:
        url = make_url(address)
    except ArgumentError:
        # The address is not shown: it may hold a password.
        raise DatabaseUnavailable("that was given", "it is no database URL") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseUnavailable(_shown(url), f"{url.get_backend_name()} is not supported, only SQLite and PostgreSQL")
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url)
        return create_engine(url, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}, pool_pre_ping=True)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseUnavailable(_shown(url), str(error)) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is going to write: SQLite takes its write lock at once, and so cannot deadlock later."""
    options = {"routewatch_writes": True}
    with reaching(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, all of it from one snapshot."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with reaching(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def insert_into(connection: Connection, table: Table) -> postgresql.Insert:
    """An INSERT that knows ON CONFLICT, which SQLite and PostgreSQL spell alike but SQLAlchemy keeps apart."""
    # Each with all its drivers takes a while to import, and whoever only reads needs neither.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415

        return cast("postgresql.Insert", sqlite.insert(table))
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)


@contextmanager
def reaching(url: URL) -> Iterator[None]:
    """Turns a driver's complaint that the database is away or unusable into DatabaseUnavailable.

    Also where the driver's own cursor is used, and SQLAlchemy does not stand in between.
    """
    try:
        yield
    except Exception as error:
        if not _is_unavailability(error):
            raise
        told = error.orig if isinstance(error, DBAPIError) else None
        raise DatabaseUnavailable(_shown(url), str(told or error).strip().partition("\n")[0]) from error


# ----------------------------------------------------------------------------------------------------------------------


def _is_unavailability(error: Exception) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _DRIVERS}
    return type(error).__name__ in kinds & {"DatabaseError"} or bool(kinds & {"OperationalError", "InterfaceError"})


_DRIVERS = ("sqlalchemy", "sqlite3", "psycopg")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _prepare(connection: object, _record: object) -> None:
        # The driver's own transaction control begins too late and commits behind one's back; _begin does it.
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


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _revision_of(connection: Connection) -> str | None:
    """What Alembic has noted in the database; None where it has made no tables there."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _newest_revision() -> str:
    """This program's: migrations are numbered, and the number stands in front of each one's file name."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _alembic() -> Config:
    from alembic.config import Config  # noqa: PLC0415

    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    return configuration
