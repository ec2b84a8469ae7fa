"""Check that the database exists, is at this program's revision, can be written to, and has room."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from models.database import check_revision, reaching, shown
from models.errors import DatabaseUnavailable, SchemaOutdated
from routewatch.selection import METADATA
from tasks.health.check import Check, CheckResult, CheckSkipped, amount, failed, ok, warning
from tasks.health.context import CheckContext

OLDEST_SQLITE = (3, 35)
"""RETURNING."""
OLDEST_POSTGRESQL = 140_000
"""date_bin."""

BUSY_MS = 2_000


def checks(context: CheckContext) -> list[Check]:
    """Return the checks of the database, from reaching it to its room."""
    return [
        Check("database", partial(_reachable, context)),
        Check("database revision", partial(_revision, context)),
        Check("database writable", partial(_writable, context)),
        Check("database size", partial(_size, context)),
    ]


# ----------------------------------------------------------------------------------------------------------------------


def _reachable(context: CheckContext) -> CheckResult:
    try:
        with context.database() as engine, reaching(engine.url), engine.connect() as connection:
            return _version(connection)
    except DatabaseUnavailable as error:
        return failed(f"{error.address}: {error.cause}", error.advice)


def _version(connection: Connection) -> CheckResult:
    address = shown(connection.engine.url)
    if connection.dialect.name == "sqlite":
        found: str = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()
        said = f"SQLite {found} at {address}"
        if tuple(map(int, found.split(".")[:2])) < OLDEST_SQLITE:
            return failed(f"{said}; 3.35 or newer is needed", "use a Python with a newer SQLite")
        return ok(said)
    number = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    said = f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()} at {address}"
    if number < OLDEST_POSTGRESQL:
        return failed(f"{said}; 14 or newer is needed", "upgrade the server")
    return ok(said)


def _revision(context: CheckContext) -> CheckResult:
    try:
        with context.database() as engine:
            return ok(f"at {check_revision(engine)}, this program's")
    except SchemaOutdated as error:
        found = "there are no tables of Routewatch" if error.found is None else f"it is at {error.found}"
        return failed(f"{found}; this program's is {error.expected}", error.remedy)
    except DatabaseUnavailable:
        raise CheckSkipped("the database cannot be used") from None


def _writable(context: CheckContext) -> CheckResult:
    with context.tables() as engine, engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            return _sqlite_writable(connection, engine)
        return _postgresql_writable(connection)


def _sqlite_writable(connection: Connection, engine: Engine) -> CheckResult:
    """Create a table in a transaction that is rolled back."""
    connection = connection.execution_options(routewatch_writes=True)
    driver = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout = {BUSY_MS}")  # type: ignore[union-attr]
    try:
        connection.exec_driver_sql("CREATE TABLE routewatch_doctor (x INTEGER)")
        connection.rollback()
    except DBAPIError as error:
        if "locked" in str(error.orig):
            busy_s = BUSY_MS / 1_000
            remedy = "see which process holds it (`fuser` on the file); rolling up many rows may take a while"
            return warning(f"another process has been writing for {busy_s:g} s", remedy)
        remedy = "give the user that Routewatch runs as the right to write the file and its folder"
        return failed(f"{engine.url.database}: {error.orig}", remedy)
    return ok("a writing transaction was started and rolled back")


def _postgresql_writable(connection: Connection) -> CheckResult:
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        return failed("the server is a standby, which only reads", "set ROUTEWATCH_DATABASE_URL to the primary server")
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
        remedy = "ALTER DATABASE or ALTER ROLE … RESET default_transaction_read_only"
        return failed("transactions only read there", remedy)
    allowed = text("SELECT has_table_privilege(:name, 'SELECT') AND has_table_privilege(:name, 'INSERT') "
                   "AND has_table_privilege(:name, 'UPDATE') AND has_table_privilege(:name, 'DELETE')")  # fmt: skip
    names = sorted(METADATA.tables)
    barred = [name for name in names if not connection.scalar(allowed, {"name": name})]
    if barred:
        user = connection.exec_driver_sql("SELECT current_user").scalar_one()
        remedy = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(barred)} TO {user}"
        return failed(f"{user} may not write {', '.join(barred)}", remedy)
    return ok("the user may write every table")


def _size(context: CheckContext) -> CheckResult:
    with context.tables() as engine, engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            size = int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
            return ok(f"{amount(size)}; the room on its server's disk cannot be seen from here")
        pages, page_size, unused = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "page_size", "freelist_count")
        )
        folder = Path(connection.exec_driver_sql("PRAGMA database_list").all()[0][2]).parent
    size, free = pages * page_size, shutil.disk_usage(folder).free
    found = (
        f"{amount(size)}, of which {amount(unused * page_size)} can be used again; {amount(free)} are free beside it"
    )
    if free < size:
        return warning(found, f"make room in {folder}: an upgrade or a backup takes as much again as the database")
    return ok(found)
