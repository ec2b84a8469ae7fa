"""Describe the machine and the versions, for the table."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.line import Line

LIBRARIES = ("polars", "sqlalchemy", "psycopg", "adbc-driver-postgresql", "adbc-driver-sqlite", "pyarrow", "duckdb",
             "pandas", "distributed", "prefect")  # fmt: skip
HEAD = "| what | database | rows | median | min … max | goal | met | |\n|---|---|--:|--:|--:|--:|---|---|"


def as_markdown(lines: Iterable[Line], rounds: int) -> str:
    rows = "\n".join(_row(line) for line in lines)
    reported = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {rounds} rounds. {_machine()}. {_versions()}."
    return f"{reported}\n\n{HEAD}\n{rows}\n"


# ----------------------------------------------------------------------------------------------------------------------


def _row(line: Line) -> str:
    note = line.note if line.values else ""
    cells = (line.name, line.database, f"{line.rows:,}", *line.cells, note)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _machine() -> str:
    memory = int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20 if _first("/proc/meminfo", "MemTotal") else 0
    model = _first("/proc/cpuinfo", "model name") or platform.processor() or "unknown processor"
    return f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {model}, {platform.system()} {platform.machine()}"


def _first(path: str, name: str) -> str:
    if not Path(path).exists():
        return ""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def _versions() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join((f"Python {platform.python_version()}", *found))
