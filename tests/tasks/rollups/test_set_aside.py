"""A row that cannot be counted is set aside with its reason, and all others are counted."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from models.database import reading, writing
from models.period import EARLIEST, LATEST
from models.settings import Ingestion
from routewatch.quarantine import INTAKE_COUNT, QUARANTINE
from routewatch.selection import SELECTION
from tasks.rollups import selection_reader
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import rebuild, update_rollups
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.release import mostly_slow
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of, traffic

ODD: list[dict[str, Any]] = [
    {"timestamp": "2026-09-07 08:00:00"},
    {"timestamp": "2026-09-07T08:00:00.000000"},
    {"timestamp": "2026-09-07 08:00:00.000000+00:00"},
    {"timestamp": "soon"},
    {"timestamp": 1788768000},
    {"timestamp": b"\xff"},
    {"timestamp": "1970-01-21 08:52:48.000000"},
    {"cost_usd": "much"},
    {"cost_usd": 9e999},
    {"response_time_ms": -5},
    {"error": "no"},
    {"cache_hit": "maybe"},
    {"prompt_tokens": 10**18},
    {"prompt_tokens": "many"},
    {"team": b"\x00\xff"},
]


def write_odd(engine: Engine, *rows: dict[str, Any]) -> None:
    """Write rows past the conditions of the table, as a damaged or foreign file may have them."""
    connection = engine.raw_connection()
    with closing(connection):
        cursor = connection.cursor()
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        for row in rows:
            whole = {"timestamp": "2026-09-07 08:30:00.000000", "model_id": "odd", "error": 1} | row
            marks = ", ".join("?" * len(whole))
            cursor.execute(f"INSERT INTO selection ({', '.join(whole)}) VALUES ({marks})", tuple(whole.values()))  # noqa: S608
        connection.commit()
        cursor.execute("PRAGMA ignore_check_constraints = OFF")


def aside(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(QUARANTINE).order_by(QUARANTINE.c.id)).all())


@pytest.mark.parametrize(
    ("own_process_from", "odd"),
    mostly_slow(product((10**9, 1), ODD), lambda it: it[0] > 1 or it[1] in (ODD[0], ODD[5], ODD[-1])),
)
def test_a_row_that_cannot_be_counted_is_set_aside_and_the_others_are_counted(
    sqlite_engine: Engine, odd: dict[str, Any], own_process_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the file is read here or by a process of its own."""
    monkeypatch.setattr(selection_reader, "OWN_PROCESS_FROM", own_process_from)
    before, after = traffic(20), traffic(20, start=MONDAY + timedelta(minutes=2))
    insert_selections(sqlite_engine, before)
    write_odd(sqlite_engine, odd)
    insert_selections(sqlite_engine, after)
    assert update_rollups(sqlite_engine, UTC_SETTINGS, now=NOW).rows == 40
    assert_rollups_are_of(sqlite_engine, before.vstack(after))
    (row,) = aside(sqlite_engine)
    assert row.reason == f"{next(iter(odd))} is not valid in the table"
    assert row.content["model_id"] == "odd"
    assert reconcile(sqlite_engine) == 0


def test_many_such_rows_are_set_aside_at_once_and_bytes_that_are_no_text_cost_nothing(sqlite_engine: Engine) -> None:
    insert_selections(sqlite_engine, traffic(20))
    write_odd(sqlite_engine, *ODD)
    with writing(sqlite_engine) as connection:
        connection.execute(
            text("INSERT INTO selection (timestamp, model_id) VALUES (:at, CAST(x'636166ff' AS TEXT))"),
            {"at": "2026-09-07 08:00:00.000000"},
        )
    assert update_rollups(sqlite_engine, UTC_SETTINGS, now=NOW).rows == 21
    assert len(aside(sqlite_engine)) == len(ODD)
    assert update_rollups(sqlite_engine, UTC_SETTINGS, now=NOW).rows == 0


def unchecked(engine: Engine) -> None:
    """As a database whose rows were written before the table had its conditions, and are not validated."""
    with writing(engine) as connection:
        names = connection.execute(
            text("SELECT conname FROM pg_constraint WHERE conrelid = 'selection'::regclass AND contype = 'c'")
        ).scalars()
        for name in names.all():
            connection.exec_driver_sql(f"ALTER TABLE selection DROP CONSTRAINT {name}")


@pytest.mark.parametrize(
    ("column", "value"),
    [("timestamp", "'infinity'"), ("timestamp", "'1970-01-01'"), ("timestamp", "'-infinity'"), ("cost_usd", "'NaN'"),
     ("cost_usd", "'Infinity'"), ("prompt_tokens", "9223372036854775807")],
)  # fmt: skip
def test_postgresql_goes_on_after_a_row_of_before_its_conditions(
    postgres_engine: Engine, column: str, value: str
) -> None:
    unchecked(postgres_engine)
    insert_selections(postgres_engine, traffic(20))
    row = {"timestamp": "'2026-09-07 08:30:00+00'", "model_id": "'odd'"} | {column: value}
    with writing(postgres_engine) as connection:
        names, values = ", ".join(row), ", ".join(row.values())
        connection.exec_driver_sql(f"INSERT INTO selection ({names}) VALUES ({values})")  # noqa: S608 - of this test
    assert update_rollups(postgres_engine, UTC_SETTINGS, now=NOW).rows == 20
    assert [it.reason for it in aside(postgres_engine)] == [f"{column} is not valid in the table"]
    assert_rollups_are_of(postgres_engine, raw_of(postgres_engine))


@pytest.mark.parametrize("instant", ["soon", "1970-01-01 00:00:00.000000", "2026-09-07T08:00:00Z", b"\xff", 7])
def test_a_counted_row_that_is_changed_to_no_instant_is_set_aside(sqlite_engine: Engine, instant: Any) -> None:
    """The change log then has what is no instant, too: no update may stumble over it, now or later."""
    insert_selections(sqlite_engine, traffic(20))
    update_rollups(sqlite_engine, UTC_SETTINGS, now=NOW)
    connection = sqlite_engine.raw_connection()
    with closing(connection):
        cursor = connection.cursor()
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute("UPDATE selection SET timestamp = ? WHERE id IN (3, 7)", (instant,))
        connection.commit()
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    update_rollups(sqlite_engine, UTC_SETTINGS, now=NOW)
    assert len(aside(sqlite_engine)) == 2
    assert raw_of(sqlite_engine).height == 18
    assert_rollups_are_of(sqlite_engine, raw_of(sqlite_engine))
    with reading(sqlite_engine) as found:
        assert found.execute(text("SELECT count(*) FROM selection_change")).scalar() == 0


def test_the_same_on_postgresql(postgres_engine: Engine) -> None:
    insert_selections(postgres_engine, traffic(20))
    update_rollups(postgres_engine, UTC_SETTINGS, now=NOW)
    unchecked(postgres_engine)
    with writing(postgres_engine) as connection:
        connection.exec_driver_sql("UPDATE selection SET timestamp = '1970-01-01' WHERE id IN (3, 7)")
    update_rollups(postgres_engine, UTC_SETTINGS, now=NOW)
    assert len(aside(postgres_engine)) == 2
    assert_rollups_are_of(postgres_engine, raw_of(postgres_engine))
    with reading(postgres_engine) as found:
        assert found.execute(text("SELECT count(*) FROM selection_change")).scalar() == 0


def test_rows_ahead_of_the_clock_are_set_aside_and_neither_counted_nor_lost(engine: Engine) -> None:
    now = datetime.now(UTC)
    rows = [{"timestamp": now + timedelta(minutes=minutes), "error": True} for minutes in (59, 61, 60 * 24 * 365)]
    insert_selections(engine, selections(*rows, {"timestamp": now}))
    result = update_rollups(engine, UTC_SETTINGS, now=now - timedelta(days=30))
    assert result.rows == 2
    assert result.last_selection_at == now, "what is a little ahead says nothing of how fresh the rows are"
    assert [it.reason for it in aside(engine)] == ["timestamp is ahead of the clock"] * 2
    assert raw_of(engine).height == 2
    with reading(engine) as connection:
        (count,) = connection.execute(select(INTAKE_COUNT)).all()
    assert (count.entrance, count.outcome, count.rows, count.errors) == ("table", "setAside", 2, 2)
    assert rebuild(engine, UTC_SETTINGS, period=None, now=now).rows == 2


def test_a_row_whose_id_is_set_aside_already_is_counted_as_dropped_with_its_error(engine: Engine) -> None:
    """Somebody sends it again, after it was set aside: it is there once, and the other is counted."""
    ahead = datetime.now(UTC) + timedelta(days=2)
    for _ in range(2):
        with writing(engine) as connection:
            row = {"timestamp": ahead, "request_id": "r1", "model_id": "m", "error": True}
            connection.execute(insert(SELECTION).values(row))
        update_rollups(engine, UTC_SETTINGS, now=NOW)
    assert [it.request_id for it in aside(engine)] == ["r1"]
    with reading(engine) as connection:
        rows = connection.execute(select(INTAKE_COUNT.c.outcome, INTAKE_COUNT.c.rows, INTAKE_COUNT.c.errors)).all()
    assert sorted(map(tuple, rows)) == [("dropped", 1, 1), ("setAside", 1, 1)]


def test_the_quarantine_keeps_the_newest_and_counts_what_it_drops(engine: Engine) -> None:
    ahead = datetime.now(UTC) + timedelta(days=2)
    rows = [{"timestamp": ahead + timedelta(minutes=number), "model_id": f"m{number}"} for number in range(9)]
    insert_selections(engine, selections(*rows))
    update_rollups(engine, UTC_SETTINGS, now=NOW, ingestion=Ingestion(maximum_quarantined_rows=4))
    assert [it.content["model_id"] for it in aside(engine)] == ["m5", "m6", "m7", "m8"]
    with reading(engine) as connection:
        counts = dict(connection.execute(select(INTAKE_COUNT.c.outcome, INTAKE_COUNT.c.rows)).all())
    assert counts == {"setAside": 9, "dropped": 5}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Niue"])
def test_the_first_and_the_last_valid_instant_are_counted_and_rebuilt_in_any_zone(
    sqlite_engine: Engine, zone: str
) -> None:
    """In a zone their hour, day or week begins in another year."""
    first, last = EARLIEST + timedelta(minutes=10), LATEST - timedelta(microseconds=1)
    insert_selections(sqlite_engine, selections({"timestamp": first}, {"timestamp": last}))
    settings, now = RollupSettings(zone, 2000.0), LATEST
    assert update_rollups(sqlite_engine, settings, now=now).rows == 2
    for _ in range(2):
        assert rebuild(sqlite_engine, settings, period=None, now=now).rows == 2
        assert reconcile(sqlite_engine) == 0


def test_names_that_sql_wrote_in_other_forms_are_counted_as_one(engine: Engine) -> None:
    forms = ["café", "cafe\u0301", " café ", "\ufeffcafé", "ca\u200bfé"]
    insert_selections(engine, selections(*({"model_id": form, "team": form, "complexity": "NULL"} for form in forms)))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    expected = selections(*({"model_id": "café", "team": "café", "timestamp": MONDAY} for _ in forms))
    assert_rollups_are_of(engine, expected)
