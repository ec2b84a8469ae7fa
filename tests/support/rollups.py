"""Traffic for the tests of rollups, and what the rollups of it must be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, select

from models.database import reading
from models.period import Level
from models.schema import HOUR_TOTAL
from models.tables import ArmRollup, Rollup, Selection, table_of
from tasks.rollups.aggregate import ROLLUP_COLUMNS, ROLLUP_KEYS, merge, roll_up
from tasks.rollups.arms import ARM_KEYS, ARM_SUMS, arm_schema, roll_up_arms
from tasks.rollups.checkpoint import MINUTES_KEPT, RollupSettings
from tasks.rollups.selection_reader import in_one_form
from tests.support.factories import MONDAY, selections

UTC_SETTINGS = RollupSettings("UTC", 2000.0)
NOW = datetime(2026, 9, 8, 16, tzinfo=UTC)
ROLLUP, ARM_ROLLUP, SELECTION = table_of(Rollup), table_of(ArmRollup), table_of(Selection)


def traffic(count: int, start: datetime = MONDAY, step: timedelta = timedelta(minutes=7)) -> pl.DataFrame:
    return selections(
        *(
            {
                "timestamp": start + i * step,
                "model_id": f"m{i % 3}",
                "team": f"t{i % 2}",
                "response_time_ms": 100.0 * (1 + i % 40),
                "cost_usd": i / 1000,
                "prompt_tokens": i % 50,
                "experiment": "rollout-1" if i % 4 else None,
                "arm": ("baseline", "candidate")[i % 2],
                "unit_bucket": i % 5 or None,
            }
            for i in range(count)
        )
    )


def stored(engine: Engine, level: str) -> pl.DataFrame:
    with reading(engine) as connection:
        rows = connection.execute(select(*ROLLUP.c[ROLLUP_COLUMNS]).where(ROLLUP.c.level == str(level))).fetchall()
    schema = roll_up(selections(), "UTC", 0.0)[Level.HOUR].schema
    return pl.DataFrame(rows, schema=schema, orient="row").sort(ROLLUP_KEYS)


def assert_rollups_are_of(engine: Engine, raw: pl.DataFrame, rollup_settings: RollupSettings = UTC_SETTINGS) -> None:
    expected = roll_up(raw, rollup_settings.zone, rollup_settings.target_ms, minutes_from=NOW - MINUTES_KEPT)
    for level in Level:
        assert_frame_equal(stored(engine, level), expected[level].sort(ROLLUP_KEYS), check_exact=False, rel_tol=1e-9)
    assert_arms_are_of(engine, raw, rollup_settings)
    totals = totals_of(expected[Level.HOUR])
    assert_frame_equal(stored(engine, HOUR_TOTAL), totals, check_exact=False, rel_tol=1e-9)


def stored_arms(engine: Engine) -> pl.DataFrame:
    with reading(engine) as connection:
        rows = connection.execute(select(*ARM_ROLLUP.c[*ARM_KEYS, *ARM_SUMS])).fetchall()
    return pl.DataFrame(rows, schema=arm_schema(), orient="row").sort(ARM_KEYS)


def assert_arms_are_of(engine: Engine, raw: pl.DataFrame, rollup_settings: RollupSettings = UTC_SETTINGS) -> None:
    """The rollups by arm are the group-by of the rows that have an experiment and an arm."""
    expected = roll_up_arms(in_one_form(raw), rollup_settings.zone, rollup_settings.target_ms)
    assert_frame_equal(stored_arms(engine), expected.sort(ARM_KEYS), check_exact=False, rel_tol=1e-9)


def totals_of(hours: pl.DataFrame) -> pl.DataFrame:
    """The hours over all models, complexities and teams."""
    return merge(hours.with_columns(pl.lit("").alias(name) for name in ROLLUP_KEYS[1:])).sort(ROLLUP_KEYS)


def raw_of(engine: Engine) -> pl.DataFrame:
    with reading(engine) as connection:
        rows = connection.execute(select(SELECTION).order_by(SELECTION.c.id)).mappings().all()
    return selections(*({name: row[name] for name in selections().columns} for row in rows))
