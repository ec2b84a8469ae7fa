"""What is measured in: databases and a Parquet file with the same rows, created on first use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from sqlalchemy import Engine

from benchmarks.databases import KINDS, Databases, Kind, fill
from benchmarks.traffic import PERIOD, traffic
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.update import update_rollups

ROOT = Path(__file__).parents[1]
ROLLUP_SETTINGS = RollupSettings("UTC", 2000.0)
NOW = PERIOD.end
"""The time at which rollups are updated: as in production, minutes of the 48 hours before are kept."""


@dataclass
class Scene:
    """`rows` is the size that is measured now, `lives` how many times as many as usual, `say` prints progress."""

    folder: Path
    rounds: int
    say: Callable[[str], None]
    kinds: tuple[Kind, ...] = KINDS
    rows: int = 0
    lives: float = 1.0
    _databases: dict[Kind, Databases] = field(default_factory=dict)
    _filled: dict[tuple[Kind, int], Engine] = field(default_factory=dict)

    def databases(self, kind: Kind) -> Databases:
        if kind not in self._databases:
            self._databases[kind] = Databases(kind, self.folder)
        return self._databases[kind]

    def filled(self, kind: Kind, rows: int | None = None) -> Engine:
        """Return a database with that many raw rows; a caller that changes them releases it afterwards."""
        rows = rows or self.rows
        if (kind, rows) not in self._filled:
            self.say(f"storing {rows:,} rows in {kind}")
            engine = self.databases(kind).make()
            # Kept first, so that it is dropped also where filling it fails.
            self._filled[kind, rows] = engine
            fill(engine, kind, traffic(rows))
        return self._filled[kind, rows]

    def folded(self, kind: Kind, rows: int | None = None) -> Engine:
        """Return the same database, with rollups."""
        engine = self.filled(kind, rows)
        update_rollups(engine, ROLLUP_SETTINGS, now=NOW)
        return engine

    def parquet(self, rows: int | None = None) -> Path:
        """Return a file of the same rows; times are UTC without a zone, as DuckDB needs an extension for others."""
        rows = rows or self.rows
        path = self.folder / f"{rows}.parquet"
        if not path.exists():
            self.say(f"writing {rows:,} rows to Parquet")
            _write_parquet(path, rows)
        return path

    def let_go(self, kind: Kind, rows: int) -> None:
        if engine := self._filled.pop((kind, rows), None):
            self.databases(kind).drop(engine)

    def let_all_go(self) -> None:
        """Delete all rows, to make room for another size."""
        for kind, rows in list(self._filled):
            self.let_go(kind, rows)
        for path in self.folder.glob("*.parquet"):
            path.unlink()

    def close(self) -> None:
        self.let_all_go()
        for databases in self._databases.values():
            databases.close()


def address_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def in_own_process(module: str, *arguments: str) -> Any:
    """Return what a module of this folder prints as JSON. Raises RuntimeError with its last output if it fails."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise RuntimeError(f"{module}: {last[0]}")
    return json.loads(done.stdout)


# ----------------------------------------------------------------------------------------------------------------------


def _write_parquet(path: Path, rows: int) -> None:
    writer: Any = None
    try:
        for frame in traffic(rows):
            table = frame.with_columns(pl.col("timestamp").dt.replace_time_zone(None)).to_arrow()
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
