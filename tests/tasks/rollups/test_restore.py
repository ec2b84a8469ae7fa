"""Rows that were set aside because they were ahead of the clock return by themselves, wherever the clock jumps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from models.clock import true_now
from models.database import reading, writing
from models.period import Period
from routewatch.quarantine import AHEAD_OF_CLOCK, QUARANTINE, set_aside
from tasks.ingestion.intake import read_intake
from tasks.rollups import restore
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import update_rollups
from tests.support.clocks import Clock
from tests.support.factories import insert_selections, selections
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of_this_machine(monkeypatch)


def record(engine: Engine, *times: datetime) -> None:
    insert_selections(engine, selections(*({"timestamp": at, "error": True} for at in times)))


def put_aside(engine: Engine, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        set_aside(connection, [({"model_id": "m"} | row, AHEAD_OF_CLOCK) for row in rows], "http", true_now())


def count(engine: Engine, now: datetime | None = None) -> int:
    return update_rollups(engine, UTC_SETTINGS, now=now or true_now()).rows


def waiting(engine: Engine) -> list[datetime | None]:
    with reading(engine) as connection:
        return list(connection.scalars(select(QUARANTINE.c.due_at).order_by(QUARANTINE.c.id)))


def told_aside(engine: Engine) -> tuple[int, int]:
    now = true_now()
    with reading(engine) as connection:
        found = read_intake(connection, Period(now - 900 * DAY, now + 900 * DAY, "UTC"))
    return found.set_aside, found.set_aside_errors


def test_rows_of_a_time_when_the_clock_was_behind_return_and_no_report_misses_them(
    engine: Engine, clock: Clock
) -> None:
    now = true_now()
    clock.off = -2 * DAY
    record(engine, now, now - HOUR, now + 9 * HOUR)
    assert (count(engine), told_aside(engine)) == (0, (3, 3))
    clock.off = timedelta()
    assert (count(engine), waiting(engine), told_aside(engine)) == (2, [now + 9 * HOUR], (1, 1))
    clock.off = 9 * HOUR
    assert (count(engine), waiting(engine), told_aside(engine)) == (1, [], (0, 0))
    assert_rollups_are_of(engine, raw_of(engine))
    assert reconcile(engine) == 0


def test_a_clock_that_jumps_both_ways_neither_loses_a_row_nor_counts_one_twice(engine: Engine, clock: Clock) -> None:
    now, recorded = true_now(), 0
    # Minutes are kept of all that follows.
    count(engine, NOW)
    for days in (0, -3, 3, 0, 400, -1, 0, -400, 2, 0):
        clock.off = days * DAY
        times = [now + ahead * HOUR for ahead in (-1, 3, 24 * days, 24 * days + 5)]
        record(engine, *times)
        recorded += len(times)
        for _ in range(2):
            count(engine)
        assert raw_of(engine).height + len(waiting(engine)) == recorded
        assert_rollups_are_of(engine, raw_of(engine))
    left = waiting(engine)
    assert left
    assert all(at is not None and at > now + HOUR for at in left), "the clock is right, and what it has reached is back"
    assert told_aside(engine) == (len(left), len(left))


def test_a_run_with_a_simulated_time_lets_nothing_return(engine: Engine) -> None:
    ahead = true_now() + 5 * DAY
    put_aside(engine, {"timestamp": ahead})
    assert (count(engine, true_now() + 365 * DAY), waiting(engine)) == (0, [ahead])


def test_so_many_return_in_one_update_the_earliest_first(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(restore, "MOST_RETURNED", 8)
    now = true_now()
    put_aside(engine, *({"timestamp": now - minutes * timedelta(minutes=1)} for minutes in range(20)))
    assert [count(engine) for _ in range(4)] == [8, 8, 4, 0]
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(QUARANTINE)) == 0


def test_a_row_that_the_table_refuses_stays_with_its_reason_and_the_others_return(sqlite_engine: Engine) -> None:
    now = true_now()
    put_aside(sqlite_engine, {"timestamp": now, "cost_priced_on": "1999-01-01"}, {"timestamp": now})
    assert [count(sqlite_engine), count(sqlite_engine)] == [1, 0]
    with reading(sqlite_engine) as connection:
        (row,) = connection.execute(select(QUARANTINE)).all()
    assert (row.reason, row.due_at) == ("the table refuses it: IntegrityError", None)


def test_counting_goes_on_where_nothing_can_return(sqlite_engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    now = true_now()
    put_aside(sqlite_engine, {"timestamp": now})
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER kept BEFORE DELETE ON quarantine BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    record(sqlite_engine, now)
    assert (count(sqlite_engine), len(waiting(sqlite_engine))) == (1, 1)
    assert "rows whose time has come stay in the quarantine for now" in caplog.text
