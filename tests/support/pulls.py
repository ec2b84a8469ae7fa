"""Pull from a source into a database, for the tests of the sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine, select

from models.database import reading
from models.settings import SourceSettings
from models.tables import Selection, table_of
from tasks.ingestion.pull import pull
from tasks.ingestion.pull_stats import PullStats
from tasks.sources.registry import open_source

SELECTION = table_of(Selection)
START = datetime(2026, 9, 7, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def bring(engine: Engine, kind: str, location: object, since: datetime | None = None, **settings: Any) -> PullStats:
    """Pull a source of a kind, from where the last pull stopped."""
    given = SourceSettings(location=str(location), **settings)
    return pull(engine, kind, open_source(kind, given), given, START + timedelta(days=1), since=since)


def stored(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return all selections by their request id, without NULL values."""
    with reading(engine) as connection:
        rows = connection.execute(select(SELECTION).order_by(SELECTION.c.id)).mappings()
        return {
            row["request_id"]: {name: value for name, value in row.items() if value is not None and name != "id"}
            for row in rows
        }


def write_jsonl(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def write_csv(path: Path, *rows: Mapping[str, Any]) -> Path:
    """Objects are written as JSON, as the sources do."""
    names = dict.fromkeys(name for row in rows for name in row)
    texts = {
        name: [
            value if value is None or isinstance(value, str) else json.dumps(value)
            for value in (row.get(name) for row in rows)
        ]
        for name in names
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String)).write_csv(path)
    return path
