"""Rows that change after they were counted, and wrong rollups, are corrected; nothing else is touched."""

from __future__ import annotations

import importlib
from datetime import timedelta

import polars as pl
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, delete, select, update

from models.database import reading, writing
from models.period import Level
from models.schema import HOUR_TOTAL
from models.tables import Rollup, RollupCheckpoint, Selection, SelectionChange, table_of
from tasks.rollups.aggregate import ROLLUP_KEYS, merge
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of, stored, totals_of, traffic

SELECTION, ROLLUP, STATE = table_of(Selection), table_of(Rollup), table_of(RollupCheckpoint)


def test_a_cost_that_arrives_after_the_fact_is_counted(engine: Engine) -> None:
    """A changed row leaves the old buckets and enters the new ones, days and weeks included."""
    insert_selections(engine, traffic(300))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    with writing(engine) as connection:
        one = SELECTION.c.id == 5
        moved = {"cost_usd": 7.0, "timestamp": MONDAY + timedelta(days=9), "model_id": "other"}
        connection.execute(update(SELECTION).where(one).values(moved))
        connection.execute(update(SELECTION).where(SELECTION.c.id.between(20, 40)).values(accuracy=0.5))
    result = update_rollups(engine, UTC_SETTINGS, now=NOW)
    assert (result.rows, result.rebuilt_hours > 1) == (0, True)
    assert_rollups_are_of(engine, raw_of(engine))
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rebuilt_hours == 0


def test_writing_a_row_again_unchanged_rebuilds_nothing(postgres_engine: Engine) -> None:
    insert_selections(postgres_engine, traffic(10))
    update_rollups(postgres_engine, UTC_SETTINGS, now=NOW)
    with writing(postgres_engine) as connection:
        connection.execute(update(SELECTION).values(cost_usd=SELECTION.c.cost_usd))
    with reading(postgres_engine) as connection:
        assert connection.execute(select(table_of(SelectionChange))).all() == []


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_an_hour_that_differs_from_its_rows_is_found_and_made_anew(engine: Engine, zone: str) -> None:
    rollup_settings = RollupSettings(zone, 2000.0)
    insert_selections(engine, traffic(400))
    update_rollups(engine, rollup_settings, now=NOW)
    assert reconcile(engine) == 0
    with writing(engine) as connection:
        hour = ROLLUP.c.level == Level.HOUR.value
        buckets = sorted(set(connection.execute(select(ROLLUP.c.bucket).where(hour)).scalars()))
        connection.execute(delete(ROLLUP).where(hour, ROLLUP.c.bucket == buckets[3]))
        connection.execute(update(ROLLUP).where(hour, ROLLUP.c.bucket == buckets[7]).values(cost_sum_usd=1e6))
        connection.execute(delete(SELECTION).where(SELECTION.c.id == 1))
    assert reconcile(engine) == 3
    assert_rollups_are_of(engine, raw_of(engine), rollup_settings)
    assert reconcile(engine) == 0


def test_an_hour_whose_raw_rows_retention_removed_is_never_touched(engine: Engine) -> None:
    insert_selections(engine, traffic(400))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    gone = MONDAY + timedelta(hours=12)
    with writing(engine) as connection:
        connection.execute(update(STATE).values(raw_from=gone))
        connection.execute(delete(SELECTION).where(SELECTION.c.timestamp < gone))
    assert reconcile(engine) == 0
    insert_selections(engine, traffic(20, start=MONDAY))
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 20
    with writing(engine) as connection:
        connection.execute(update(SELECTION).where(SELECTION.c.timestamp < gone).values(cost_usd=9.0))
    result = update_rollups(engine, UTC_SETTINGS, now=NOW)
    assert (result.rebuilt_hours, result.remaining_hours) == (0, 3)
    assert_rollups_are_of(engine, pl.concat([traffic(400), traffic(20, start=MONDAY)]))


def test_a_new_zone_rebuilds_what_has_raw_rows_and_counts_the_rest_once(engine: Engine) -> None:
    """Without the raw rows of the first days, days and weeks of the new zone come from the hours that are kept.

    Late rows, for a time whose rows are gone, count once too if they arrive before the zone changes.
    """
    insert_selections(engine, traffic(1200))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    gone = MONDAY + timedelta(days=2)
    with writing(engine) as connection:
        connection.execute(update(STATE).values(raw_from=gone))
        connection.execute(delete(SELECTION).where(SELECTION.c.timestamp < gone))
    insert_selections(engine, traffic(10))
    for zone in ("Asia/Tokyo", "Asia/Kathmandu", "America/New_York", "UTC"):
        update_rollups(engine, RollupSettings(zone, 2000.0), now=NOW)
        with reading(engine) as connection:
            for level in (Level.HOUR, Level.DAY, Level.WEEK):
                counts = connection.execute(select(ROLLUP.c["count"]).where(ROLLUP.c.level == level.value)).scalars()
                assert sum(counts) == 1210, (zone, level)
        assert reconcile(engine) == 0, zone


def test_a_day_or_week_that_is_not_the_sum_of_its_hours_is_rebuilt(engine: Engine) -> None:
    insert_selections(engine, traffic(2_000))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    with writing(engine) as connection:
        for level, start in ((Level.DAY, MONDAY + timedelta(days=2)), (Level.WEEK, MONDAY + timedelta(days=7))):
            connection.execute(delete(ROLLUP).where(ROLLUP.c.level == level.value, ROLLUP.c.bucket == start))
        minutes = ROLLUP.c.level == Level.MINUTE.value
        lost = select(ROLLUP.c.bucket).where(minutes).limit(1).scalar_subquery()
        connection.execute(delete(ROLLUP).where(minutes, ROLLUP.c.bucket == lost))
    assert reconcile(engine) == 3
    assert_rollups_are_of(engine, raw_of(engine))
    assert reconcile(engine) == 0


def test_an_older_database_gets_its_hours_aggregated(engine: Engine) -> None:
    """The migration joins histograms byte by byte, and yet they read as their sum."""
    insert_selections(engine, traffic(400))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    revision = importlib.import_module("models.migrations.versions.0004_add_hours_up")
    with writing(engine) as connection:
        connection.execute(delete(ROLLUP).where(ROLLUP.c.level == HOUR_TOTAL))
        with Operations.context(MigrationContext.configure(connection)):
            revision.upgrade()
    found, expected = stored(engine, HOUR_TOTAL), totals_of(stored(engine, Level.HOUR))
    assert_frame_equal(merge(found).sort(ROLLUP_KEYS), expected, check_exact=False, rel_tol=1e-9)
