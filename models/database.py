"""Open and migrate the database, and read it; the part that a router needs is routewatch.database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, event, func, inspect, select, text
from sqlalchemy.exc import IntegrityError

from models.errors import SchemaOutdated
from models.file_modes import open_file_once
from routewatch.database import (
    BUSY_TIMEOUT_MS,
    CONNECT_TIMEOUT_S,
    NO_URL,
    SESSION,
    check_session,
    connect,
    first_line,
    insert_into,
    is_sqlite_file,
    libpq_address,
    reaching,
    session_statement,
    shown,
    writing,
)

__all__ = [
    "BUSY_TIMEOUT_MS",
    "CONNECT_TIMEOUT_S",
    "MIGRATIONS",
    "NO_URL",
    "SESSION",
    "check_revision",
    "check_session",
    "connect",
    "first_line",
    "insert_into",
    "libpq_address",
    "migrate",
    "open_database",
    "reaching",
    "reading",
    "session_statement",
    "shown",
    "steps_between",
    "writing",
]

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

_MIGRATING = 7_036_874_417
"""The advisory lock held while migrating a PostgreSQL database: any number that others do not use."""

_BESIDE_THE_OTHERS = text(
    "SELECT set_config('search_path', quote_ident(n.nspname) || ', ' || current_setting('search_path'), true) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('alembic_version')"
)
"""New tables go to the schema of those that are there: search_path may lead to another one first since."""


def open_database(address: str) -> Engine:
    """Open an engine on a reachable database at this program's revision.

    Raises DatabaseUnavailable or SchemaOutdated.
    """
    engine = connect(address)
    try:
        check_revision(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def check_revision(engine: Engine) -> str:
    """The database's revision, which equals this program's.

    Raises DatabaseUnavailable or SchemaOutdated if the database is missing or at another revision.
    """
    with reaching(engine.url), engine.connect() as connection:
        found = _revision_of(connection)
    expected = _newest_revision()
    if found != expected:
        raise SchemaOutdated(shown(engine.url), found, expected)
    return found


def migrate(address: str, to: str = "head") -> tuple[str | None, str]:
    """Create or upgrade the tables, to the newest or a given revision; return the revisions before and after.

    One transaction covers all of it: an interrupted migration changes nothing. Of concurrent calls one migrates, and
    the others wait and find it done.

    Raises DatabaseUnavailable, or SchemaOutdated if a newer Routewatch made the tables.
    """
    from alembic import command  # noqa: PLC0415 - takes as long to import as the database to be read

    engine = connect(address)
    if engine.url.get_backend_name() == "sqlite" and is_sqlite_file(engine.url):
        with reaching(engine.url):
            # SQLite gives the files beside it, -wal and -shm, the mode of this one.
            open_file_once(Path(str(engine.url.database)))
    if engine.dialect.name == "sqlite":
        # SQLite changes a table by replacing it, which must not trigger its foreign keys.
        event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA foreign_keys = OFF"))
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
                connection.execute(_BESIDE_THE_OTHERS)
            before, head = _revision_of(connection), _newest_revision()
            if before is not None and before > head:
                raise SchemaOutdated(shown(engine.url), before, head)
            configuration = _alembic()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, to)
            after = _revision_of(connection)
        validate_conditions(engine)
    finally:
        engine.dispose()
    return before, after or ""


def validate_conditions(engine: Engine) -> None:
    """Have PostgreSQL check stored rows by conditions that migrations added for new rows only, while others write.

    One that a stored row breaks stays as it is: it still holds for new rows, and the rollup update sets the row aside.
    """
    if engine.dialect.name != "postgresql":
        return
    with reading(engine) as connection:
        found = connection.execute(_UNVALIDATED).all()
    for table, name in found:
        with suppress(IntegrityError), writing(engine) as connection:
            # The names are those of our own migrations.
            connection.execute(text(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"))


def steps_between(before: str | None, after: str) -> list[tuple[str, str]]:
    """The revisions after one and up to another, the oldest first, each with its description."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = list(ScriptDirectory.from_config(_alembic()).iterate_revisions(after, before or "base"))
    return [(it.revision, (it.doc or "").splitlines()[0]) for it in reversed(scripts)]


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a read-only transaction on one snapshot."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with reaching(engine.url), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


# ----------------------------------------------------------------------------------------------------------------------


_UNVALIDATED = text(
    "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND NOT convalidated "
    "AND conrelid = to_regclass('selection') ORDER BY conname"
)


def _revision_of(connection: Connection) -> str | None:
    """The revision that Alembic stored in the database; None if it made no tables there."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _newest_revision() -> str:
    """This program's revision: the number at the start of the newest migration's file name."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _alembic() -> Config:
    from alembic.config import Config  # noqa: PLC0415

    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    return configuration
