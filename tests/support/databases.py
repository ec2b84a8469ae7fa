"""Migrated databases for the tests: made once in a test process, and copied for each test that wants one.

To run all migrations takes 0.12 s of a processor on SQLite; to copy the file takes 0.0004 s.
"""

from __future__ import annotations

import shutil
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
    shutil.copyfile(_sqlite_template(), path)
    return f"sqlite:///{path}"


class PostgresServer:
    """A PostgreSQL server of this test process, and the databases on it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._template: str | None = None
        # What these tests write is never needed after the machine has lost its power.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.execute(f"ALTER SYSTEM SET {setting} = off")
        self.execute("SELECT pg_reload_conf()")

    def psql(self, script: str) -> str:
        """What PostgreSQL's own client says of a script, which may change the database."""
        return str(self._server.psql(script))

    def address_of(self, database: str) -> str:
        return str(self._server.get_uri()).replace("/postgres?", f"/{database}?")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """The address of a new database, which is dropped at the end."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {self._migrated_template()}" if migrated else ""))
        try:
            yield self.address_of(name)
        finally:
            # Also where a test left a connection of a process that it killed.
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
def _sqlite_template() -> Path:
    path = _templates() / "routewatch.db"
    migrate(f"sqlite:///{path}")
    # Whatever was written has to be in the one file that is copied.
    assert not path.with_name("routewatch.db-wal").exists()
    return path


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _templates() -> Path:
    """A folder for as long as this process lives: what is removed when its object goes is kept here."""
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="routewatch-templates-"))
    return Path(_FOLDERS[-1].name)
