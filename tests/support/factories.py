"""Selections and rollups for tests, made inline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine, insert

from models.database import writing
from models.period import Level
from models.tables import Selection, table_of
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
    """Write a frame's rows as a router would."""
    if frame.height:
        with writing(engine) as connection:
            connection.execute(insert(table_of(Selection)), frame.to_dicts())
