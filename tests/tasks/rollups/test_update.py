"""An update rolls up every selection once, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from models.database import reading, writing
from models.period import Level, Period
from models.tables import RollupCheckpoint, Selection, table_of
from tasks.rollups import selection_reader as scan
from tasks.rollups import store as shelve
from tasks.rollups import update as update_module
from tasks.rollups import watermark as settle_module
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.rebuild import rebuild_changed_hours
from tasks.rollups.update import rebuild, update_rollups
from tests.support.factories import MONDAY, insert_selections
from tests.support.rollups import NOW, ROLLUP, UTC_SETTINGS, assert_rollups_are_of, stored, traffic
from tests.support.waiting import until


def test_an_update_counts_every_row_once(engine: Engine) -> None:
    """A second update adds nothing."""
    insert_selections(engine, traffic(500))
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 500
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 0
    assert_rollups_are_of(engine, traffic(500))


def test_late_rows_reach_their_old_buckets(engine: Engine) -> None:
    """Rows of a time that was rolled up before are added to its rollups."""
    insert_selections(engine, traffic(300))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    late = traffic(50, start=MONDAY + timedelta(minutes=3))
    insert_selections(engine, late)
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 50
    assert_rollups_are_of(engine, pl.concat([traffic(300), late]))


def test_the_chunk_size_does_not_change_the_result(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small chunks give the rollups of one large one."""
    monkeypatch.setattr(scan, "RANGE_ROWS", 37)
    monkeypatch.setattr(update_module, "COMMIT_ROWS", 100)
    insert_selections(engine, traffic(400))
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 400
    assert_rollups_are_of(engine, traffic(400))


def test_a_failed_chunk_leaves_nothing_half_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an update dies after rollups were written but before it ended, the next one counts those rows once."""
    insert_selections(engine, traffic(200))

    def dying(connection: Connection, level: Level, rollups: pl.DataFrame) -> None:
        shelve.add_rollups(connection, level, rollups)
        if level is Level.WEEK:
            raise KeyboardInterrupt

    monkeypatch.setattr(update_module, "add_rollups", dying)
    with pytest.raises(KeyboardInterrupt):
        update_rollups(engine, UTC_SETTINGS, now=NOW)
    monkeypatch.undo()
    assert stored(engine, Level.HOUR).is_empty()
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    assert_rollups_are_of(engine, traffic(200))


def test_two_concurrent_updates_count_each_row_once(engine: Engine) -> None:
    """Concurrent updates share the work and never a row."""
    insert_selections(engine, traffic(600))
    gate, counted = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        counted.append(update_rollups(engine, UTC_SETTINGS, now=NOW).rows)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 600
    assert_rollups_are_of(engine, traffic(600))


def test_ids_committed_out_of_order_are_not_lost(postgres_engine: Engine) -> None:
    """A writer that took its id first and commits last is waited for: an update never steps over it."""
    table, row = table_of(Selection), {"timestamp": MONDAY, "model_id": "slow writer", "error": False}
    started, result = threading.Event(), []

    def folding() -> None:
        started.set()
        result.append(update_rollups(postgres_engine, UTC_SETTINGS, now=NOW).rows)

    with postgres_engine.connect() as early:
        transaction = early.begin()
        early.execute(insert(table), [row])
        with writing(postgres_engine) as late:
            late.execute(insert(table), [row | {"model_id": "quick writer"}])
        thread = threading.Thread(target=folding)
        thread.start()
        started.wait()
        transaction.commit()
    thread.join()
    update_rollups(postgres_engine, UTC_SETTINGS, now=NOW)
    assert stored(postgres_engine, Level.HOUR)["model_id"].to_list() == ["quick writer", "slow writer"]


def test_an_update_that_waits_for_another_blocks_no_writer(
    postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one writer keeps its transaction open, others keep writing; the update says whom it waits for."""
    table, row = table_of(Selection), {"timestamp": MONDAY, "model_id": "m", "error": False}
    waits = threading.Event()

    def look(_seconds: float) -> None:
        waits.set()

    monkeypatch.setattr("tasks.rollups.watermark.time.sleep", look)
    results = []
    with postgres_engine.connect() as early:
        transaction = early.begin()
        pid = early.scalar(text("SELECT pg_backend_pid()"))
        early.execute(insert(table), [row])
        assert settle_module.find_watermark(postgres_engine, 0.0).held_by == (pid,)
        thread = threading.Thread(target=lambda: results.append(update_rollups(postgres_engine, UTC_SETTINGS, now=NOW)))
        thread.start()
        until(waits.is_set)
        with writing(postgres_engine) as other:
            other.execute(text("SET LOCAL lock_timeout = '1ms'"))
            other.execute(insert(table), [row, row])
        transaction.commit()
    thread.join()
    assert [result.held_by for result in results] == [()]
    assert results[0].rows + update_rollups(postgres_engine, UTC_SETTINGS, now=NOW).rows == 3


@pytest.mark.parametrize(
    "rollup_settings", [RollupSettings("Asia/Kolkata", 2000.0), RollupSettings("UTC", 500.0)], ids=["zone", "target"]
)
def test_a_new_basis_rebuilds_everything(engine: Engine, rollup_settings: RollupSettings) -> None:
    """When the reporting zone or the target changes, all rollups are rebuilt."""
    insert_selections(engine, traffic(300))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    result = update_rollups(engine, rollup_settings, now=NOW)
    assert result.rebuilt
    assert_rollups_are_of(engine, traffic(300), rollup_settings)


@pytest.mark.parametrize(
    "period", [None, Period(MONDAY + timedelta(days=8), MONDAY + timedelta(days=9))], ids=["all", "one week"]
)
def test_a_rebuild_restores_lost_rollups(engine: Engine, period: Period | None) -> None:
    """Missing rollups are back after a rebuild, and the others are unchanged."""
    raw = traffic(3_000)
    insert_selections(engine, raw)
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    with writing(engine) as connection:
        connection.execute(delete(ROLLUP).where(ROLLUP.c.bucket == MONDAY + timedelta(days=8, hours=5)))
    rebuild(engine, UTC_SETTINGS, period=period, now=NOW)
    assert_rollups_are_of(engine, raw)


def test_the_checkpoint_stores_the_newest_selection(engine: Engine) -> None:
    """Freshness is the newest timestamp rolled up, also when the last rows to arrive are late ones."""
    insert_selections(engine, traffic(100))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    insert_selections(engine, traffic(1))
    newest = update_rollups(engine, UTC_SETTINGS, now=NOW).last_selection_at
    assert newest == MONDAY + 99 * timedelta(minutes=7)
    with reading(engine) as connection:
        assert connection.scalar(select(table_of(RollupCheckpoint).c.rollups_updated_at)) == NOW


def test_a_change_rebuilt_by_another_process_during_an_update_is_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update has read the old row, and the change log entry is gone; yet the new row counts."""
    insert_selections(engine, traffic(50))
    write, table = update_module.write_rollups, table_of(Selection)
    changes = iter([9.0])

    def late(*arguments: Any) -> bool:
        for cost in changes:
            with writing(engine) as connection:
                connection.execute(update(table).where(table.c.id == 7).values(cost_usd=cost))
            assert rebuild_changed_hours(engine).hours == 1
        return write(*arguments)

    monkeypatch.setattr(update_module, "write_rollups", late)
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 50
    raw = traffic(50)
    changed = raw.with_row_index().with_columns(cost_usd=pl.when(pl.col("index") == 6).then(9.0).otherwise("cost_usd"))
    assert_rollups_are_of(engine, changed.drop("index"))
