"""Old raw rows are deleted, and their rollups stay."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import ColumnElement, Engine, func, select, update

from models.database import reading, writing
from models.period import Level
from models.tables import Rollup, Selection, table_of
from tasks.retention import purge as retain_module
from tasks.retention.purge import retain
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections
from tests.support.rollups import NOW, UTC_SETTINGS, traffic

SELECTION, ROLLUP = table_of(Selection), table_of(Rollup)
DAY = timedelta(days=1)
LATER = MONDAY + 12 * DAY + timedelta(hours=5)


def counted(engine: Engine, level: Level) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(select(func.sum(ROLLUP.c["count"])).where(ROLLUP.c.level == level.value)) or 0)


def left(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(select(func.count()).select_from(SELECTION)) or 0)


def test_whole_days_of_raw_rows_go_and_their_rollups_stay(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retain_module, "BATCH_ROWS", 50)
    raw = traffic(2_000)
    insert_selections(engine, raw)
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    result = retain(engine, raw_kept=5 * DAY, now=LATER)
    assert result.raw_from == MONDAY + 7 * DAY
    kept = raw.filter(pl.col("timestamp") >= result.raw_from).height
    assert (left(engine), result.selections) == (kept, 2_000 - kept)
    assert [counted(engine, level) for level in (Level.HOUR, Level.DAY, Level.WEEK)] == [2_000] * 3
    assert counted(engine, Level.MINUTE) == 0
    assert reconcile(engine) == 0
    assert retain(engine, raw_kept=5 * DAY, now=LATER).selections == 0


def test_what_is_not_yet_counted_stays(engine: Engine) -> None:
    insert_selections(engine, traffic(100))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    insert_selections(engine, traffic(7))
    retain(engine, raw_kept=DAY, now=LATER)
    assert left(engine) == 7
    update_rollups(engine, UTC_SETTINGS, now=LATER)
    retain(engine, raw_kept=DAY, now=LATER)
    assert (left(engine), counted(engine, Level.DAY)) == (0, 107)


def test_more_rows_of_one_moment_than_a_batch_all_go(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retain_module, "CHUNK_ROWS", 40)
    monkeypatch.setattr(retain_module, "BATCH_ROWS", 15)
    insert_selections(engine, traffic(130, step=timedelta()))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    assert retain(engine, raw_kept=DAY, now=LATER).selections == 130
    assert left(engine) == 0


def test_an_old_row_that_comes_while_others_go_stays_until_it_is_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_rows = retain_module.delete_rows

    def beside_a_writer(engine: Engine, gone: ColumnElement[bool], ids: list[int]) -> int:
        insert_selections(engine, traffic(1, start=MONDAY + 3 * DAY))
        return delete_rows(engine, gone, ids)

    insert_selections(engine, traffic(500))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    monkeypatch.setattr(retain_module, "CHUNK_ROWS", 100)
    monkeypatch.setattr(retain_module, "delete_rows", beside_a_writer)
    assert retain(engine, raw_kept=DAY, now=LATER).selections == 500
    assert left(engine) == 5
    update_rollups(engine, UTC_SETTINGS, now=LATER)
    assert counted(engine, Level.DAY) == 505


def test_a_row_that_is_moved_to_a_kept_time_meanwhile_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    delete_rows = retain_module.delete_rows

    def after_a_move(engine: Engine, gone: ColumnElement[bool], ids: list[int]) -> int:
        with writing(engine) as connection:
            connection.execute(update(SELECTION).where(SELECTION.c.id == ids[-1]).values(timestamp=LATER))
        return delete_rows(engine, gone, ids)

    insert_selections(engine, traffic(50))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    monkeypatch.setattr(retain_module, "delete_rows", after_a_move)
    assert retain(engine, raw_kept=DAY, now=LATER).selections == 49
    assert left(engine) == 1


def test_hours_outlive_their_raw_rows_and_days_are_kept_for_good(engine: Engine) -> None:
    insert_selections(engine, traffic(500))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    retain(engine, raw_kept=30 * DAY, now=MONDAY + 200 * DAY)
    assert [counted(engine, level) for level in Level] == [0, 0, 500, 500]


def test_the_archive_has_every_row_that_went_once(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retain_module, "CHUNK_ROWS", 64)
    raw = traffic(600)
    insert_selections(engine, raw)
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    retain(engine, raw_kept=11 * DAY, now=LATER, archive=tmp_path / "archive")
    assert left(engine) == raw.filter(pl.col("timestamp") >= MONDAY + DAY).height
    archived = pl.read_parquet(tmp_path / "archive" / "day=2026-09-07" / "*.parquet", hive_partitioning=False)
    assert archived.height == archived["id"].n_unique() == 600 - left(engine)
    assert archived["cost_usd"].sum() == pytest.approx(raw.filter(pl.col("timestamp") < MONDAY + DAY)["cost_usd"].sum())


def test_an_empty_database_has_nothing_to_retain(engine: Engine) -> None:
    assert retain(engine, raw_kept=DAY, now=LATER).selections == 0
    assert reconcile(engine) == 0
