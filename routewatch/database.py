"""Access the database: its URL, engines for SQLite and PostgreSQL, and write transactions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from routewatch.database_faults import explain, first_line, identifier, keep_values_out, role_of, shown
from routewatch.errors import DatabaseUnavailable, Fault, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

CONNECT_TIMEOUT_S = 10
BUSY_TIMEOUT_MS = 30_000
POOL_TIMEOUT_S = 10
"""How long to wait for one of an engine's connections if all are in use."""

__all__ = [
    "BUSY_TIMEOUT_MS", "CONNECT_TIMEOUT_S", "DEFAULT_HOME", "NO_FILE", "NO_URL", "POOL_TIMEOUT_S", "SESSION",
    "check_session", "checked_address", "connect", "database_address_of", "default_address", "first_line",
    "insert_into", "is_sqlite_file", "libpq_address", "reaching", "session_statement", "shown", "writing",
]  # fmt: skip

NO_URL = (ArgumentError, ValueError)
"""What SQLAlchemy raises for an address that is none; a ValueError, as of a port that is no number, shows a part."""

DEFAULT_HOME = Path("var")

NO_FILE = "there is no such file"
_CREATE = "`routewatch init` creates it; or name the right one in ROUTEWATCH_HOME or ROUTEWATCH_DATABASE_URL"

_IN_MEMORY = (None, "", ":memory:")
"""Databases in memory have one connection per thread and no pool."""


def database_address_of(variables: Mapping[str, str] | None = None) -> str:
    """The environment's database as a SQLAlchemy URL with its password: for connecting, never for display.

    Raises SettingsError if ROUTEWATCH_DATABASE_URL is not a database URL.
    """
    # Case-insensitive, as all other variables are read.
    named = {name.upper(): value for name, value in (os.environ if variables is None else variables).items()}
    home = Path(named.get("ROUTEWATCH_HOME", DEFAULT_HOME))
    return checked_address(named.get("ROUTEWATCH_DATABASE_URL", default_address(home)))


def is_sqlite_file(url: URL) -> bool:
    """Whether a SQLite address names a file by its path."""
    return url.database not in _IN_MEMORY and not str(url.database).startswith((":memory:", "file:"))


def default_address(home: Path) -> str:
    """The SQLite file in ROUTEWATCH_HOME, the default database."""
    return f"sqlite:///{(home / 'routewatch.db').absolute()}"


def checked_address(address: str) -> str:
    """Return the address if it parses as a URL. Raises SettingsError without showing it: it may hold a password."""
    try:
        make_url(address)
    except NO_URL:
        problem = "is not a database URL such as sqlite:///var/routewatch.db or postgresql://user:password@host/name"
        raise SettingsError("the environment", [Fault("ROUTEWATCH_DATABASE_URL", problem)]) from None
    return address


def connect(address: str) -> Engine:
    """An engine, not yet connected. Raises DatabaseUnavailable for an unsupported kind of database."""
    try:
        url = make_url(address)
    except NO_URL:
        # The address is not shown: it may hold a password.
        raise DatabaseUnavailable("that was given", "it is not a database URL") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseUnavailable(shown(url), f"{url.get_backend_name()} is not supported, only SQLite and PostgreSQL")
    try:
        engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        advice = "Name no driver in ROUTEWATCH_DATABASE_URL, or install the one that it names"
        raise DatabaseUnavailable(shown(url), str(error), advice) from error
    event.listen(engine, "handle_error", keep_values_out)
    return engine


@contextmanager
def writing(
    engine: Engine, *, wait_s: float | None = None, needs: Mapping[str, str] | None = None
) -> Iterator[Connection]:
    """Open a write transaction: SQLite takes its write lock at once, and so cannot deadlock later.

    `needs` are the rights by table, such as "SELECT, INSERT": if one is missing, the error names all that are.

    Raises DatabaseUnavailable if others hold locks for longer than `wait_s`: for any time by default in PostgreSQL, for
    BUSY_TIMEOUT_MS in SQLite.
    """
    wait_ms = None if wait_s is None else max(1, round(wait_s * 1_000))
    options = {"routewatch_writes": True, "routewatch_wait_ms": wait_ms}
    with (
        _naming_rights(engine, needs or {}), reaching(engine.url),
        engine.connect().execution_options(**options) as connection, connection.begin(),
    ):  # fmt: skip
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
        fault = explain(error, url)
        if fault is None:
            raise
        raise DatabaseUnavailable(shown(url), fault.cause, fault.advice, is_forbidden=fault.is_forbidden) from error


SESSION = {
    # What changes values and their texts on the way to us and back.
    "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "TimeZone": "UTC",
    "extra_float_digits": "1", "bytea_output": "hex", "standard_conforming_strings": "on",
    "transform_null_equals": "off", "default_transaction_isolation": "read committed",
}  # fmt: skip
"""Settings of each connection to PostgreSQL, whatever server, database and role have as theirs."""

TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""Time-outs that would end a long update halfway each time. Those in the address's `options` stay."""


def libpq_address(url: URL) -> str:
    """The address with its password as libpq takes it, for drivers that know nothing of SQLAlchemy."""
    plain = url.set(drivername="postgresql").update_query_dict(
        {"client_encoding": "UTF8", "connect_timeout": str(url.query.get("connect_timeout", CONNECT_TIMEOUT_S))}
    )
    address, mark, query = plain.render_as_string(hide_password=False).partition("?")
    # libpq does not decode + as a space.
    return address + mark + query.replace("+", "%20")


def session_statement(url: URL) -> str:
    """One statement that sets up a connection to PostgreSQL and returns what `check_session` needs.

    A statement and not the start-up packet: poolers between refuse unknown options there.
    """
    options = str(url.query.get("options", ""))
    wanted = SESSION | {name: "0" for name in TIMEOUTS if name not in options}
    values = ", ".join(f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in wanted.items())
    return (
        "SELECT pg_catalog.current_setting('server_encoding'), pg_catalog.current_schema()::text, "  # noqa: S608
        "pg_catalog.to_regclass('alembic_version') IS NOT NULL, tables.schema, tables.is_open, "
        f"{values} FROM (SELECT) one LEFT JOIN ("
        "SELECT n.nspname::text AS schema, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS is_open "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relname = 'rollup_checkpoint' AND c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_class v "
        "WHERE v.relname = 'alembic_version' AND v.relnamespace = c.relnamespace) "
        "ORDER BY pg_catalog.pg_table_is_visible(c.oid) DESC LIMIT 1) tables ON true"
    )


def check_session(url: URL, row: Sequence[object]) -> None:
    """Raise DatabaseUnavailable if what `session_statement` returned says that the database cannot be used."""
    encoding, schema, is_visible, tables_in, is_open = row[:5]
    name, role = identifier(url.database or ""), role_of(url)
    if encoding != "UTF8":
        advice = (
            f"Create another with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`, and copy what {name} has "
            "with pg_dump and pg_restore"
        )
        raise DatabaseUnavailable(shown(url), f"its encoding is {encoding}, and must be UTF8", advice)
    if tables_in is not None and not is_open:
        wanted = identifier(str(tables_in))
        raise DatabaseUnavailable(
            shown(url), f"permission denied for schema {wanted}", f"`GRANT USAGE ON SCHEMA {wanted} TO {role}`"
        )
    # Who names a schema in the address may want tables of their own there.
    if tables_in is not None and not is_visible and "search_path" not in str(url.query.get("options", "")):
        wanted = identifier(str(tables_in))
        advice = f"`ALTER ROLE {role} IN DATABASE {name} SET search_path = {wanted}` has them found"
        raise DatabaseUnavailable(
            shown(url), f"search_path does not lead to Routewatch's tables, which are in schema {wanted}", advice
        )
    if schema is None:
        advice = (
            f"`ALTER ROLE {role} IN DATABASE {name} SET search_path = public` and `GRANT USAGE, CREATE ON SCHEMA "
            f"public TO {role}`"
        )
        raise DatabaseUnavailable(shown(url), f"search_path leads to no schema that {role} may use", advice)


# ----------------------------------------------------------------------------------------------------------------------


@contextmanager
def _naming_rights(engine: Engine, needs: Mapping[str, str]) -> Iterator[None]:
    """Let an error about a missing right name all that are missing of `needs`: a server names one at a time."""
    try:
        yield
    except DatabaseUnavailable as error:
        if not error.is_forbidden or not needs or engine.dialect.name != "postgresql":
            raise
        missing: list[str] = []
        with suppress(SQLAlchemyError, DatabaseUnavailable), engine.connect() as connection:
            missing = _missing_grants(connection, needs, role_of(engine.url))
        if not missing:
            raise
        advice = " and ".join(f"`{grant}`" for grant in missing)
        raise DatabaseUnavailable(error.address, error.cause, advice, is_forbidden=True) from error.__cause__


def _missing_grants(connection: Connection, needs: Mapping[str, str], role: str) -> list[str]:
    missing = []
    for table, verbs in needs.items():
        wanted = [
            verb for verb in verbs.split(", ") if not connection.scalar(_HAS_RIGHT, {"table": table, "verb": verb})
        ]
        if wanted:
            missing.append(f"GRANT {', '.join(wanted)} ON {table} TO {role}")
        if "INSERT" in verbs:
            sequences = connection.scalars(_BARRED_SEQUENCES, {"table": table})
            missing += [f"GRANT USAGE ON SEQUENCE {name} TO {role}" for name in sequences]
    return missing


_HAS_RIGHT = text("SELECT has_table_privilege(:table, :verb)")
_BARRED_SEQUENCES = text(
    # An identity column's sequence needs no right of its own.
    "SELECT s.oid::regclass::text FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.deptype = 'a' "
    "WHERE s.relkind = 'S' AND d.refobjid = to_regclass(:table) AND NOT has_sequence_privilege(s.oid, 'USAGE')"
)


def _postgresql(url: URL) -> Engine:
    arguments = {"connect_timeout": CONNECT_TIMEOUT_S, "client_encoding": "UTF8"}
    engine = create_engine(
        url, connect_args=arguments, pool_pre_ping=True, pool_timeout=POOL_TIMEOUT_S, hide_parameters=True
    )

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Dialect, _record: object, args: list[object], options: dict[str, object]) -> object:
        # Before SQLAlchemy asks the server how it is set up.
        connection = dialect.connect(*args, **options)
        try:
            # A transaction that is rolled back would take the settings with it.
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(session_statement(url))
            check_session(url, cursor.fetchone() or ())
            cursor.close()
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return engine


def _sqlite(url: URL) -> Engine:
    pooled = {} if url.database in _IN_MEMORY else {"pool_timeout": POOL_TIMEOUT_S}
    engine = create_engine(url, hide_parameters=True, **pooled)

    @event.listens_for(engine, "do_connect")
    def _require_file(_dialect: Dialect, _record: object, _args: list[object], _options: dict[str, object]) -> None:
        # SQLite would create an empty one, as for a home that is not the one that was meant.
        if is_sqlite_file(url) and not Path(str(url.database)).exists():
            raise DatabaseUnavailable(shown(url), NO_FILE, _CREATE)

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
