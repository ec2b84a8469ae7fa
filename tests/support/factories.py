"""Selections and rollups for tests, made inline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine

from models.database import writing
from models.period import Level
from tasks.ingestion.bulk_insert import insert_new
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up

MONDAY = datetime(2026, 9, 7, tzinfo=UTC)

DEFAULTS: dict[str, Any] = dict.fromkeys(SELECTION_SCHEMA) | {"timestamp": MONDAY, "model_id": "m", "error": False}


def selections(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return a frame as a rollup update reads it, from rows that name only the relevant columns."""
    return pl.DataFrame([DEFAULTS | row for row in rows], schema=SELECTION_SCHEMA, orient="row")


def hours(*rows: dict[str, Any], zone: str = "UTC", target_ms: float = 2000.0) -> pl.DataFrame:
    """Return hourly rollups of such rows."""
    return roll_up(selections(*rows), zone, target_ms)[Level.HOUR]


def insert_selections(engine: Engine, frame: pl.DataFrame) -> None:
    """Write a frame's rows, of new requests, in bulk: row by row, all tests together would take minutes longer."""
    if frame.height:
        with writing(engine) as connection:
            written = insert_new(connection, frame)
        assert written == frame.height
