"""A router's selections arrive, whatever the database does, and the router is never affected."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text

from models.database import migrate, open_database, reading
from models.errors import UsageError
from routewatch import RouterLog
from routewatch import client as record_module
from routewatch.quarantine import INTAKE_COUNT, QUARANTINE
from routewatch.selection import SELECTION
from tests.support.waiting import slowness

AT = datetime(2026, 9, 7, 8, tzinfo=UTC)
NO_INSTANT = datetime(2026, 9, 7)  # noqa: DTZ001 - as some router would write it
FULL: dict[str, Any] = {
    "timestamp": AT, "request_id": "r1", "model_id": "m", "complexity": "simple", "error_type": "timeout",
    "team": "search", "response_time_ms": 12.5, "cost_usd": 0.01, "accuracy": 0.9, "user_satisfaction": 0.5,
    "prompt_tokens": 10, "completion_tokens": 20, "cache_hit": True, "error": True,
    "experiment": "rollout-12", "arm": "candidate", "unit_bucket": 0,
}  # fmt: skip


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def rows(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(select(SELECTION).order_by(SELECTION.c.id)).mappings()]


def test_every_column_arrives_and_what_is_left_out_stays_unknown(engine: Engine) -> None:
    with RouterLog(address(engine)) as log:
        assert log.record_selection(**FULL) == "r1"
        request_id = log.record_selection(model_id="m")
    first, second = rows(engine)
    assert first == FULL | {"id": first["id"], "cost_priced_on": None, "complexity_derived": None}
    assert second["request_id"] == request_id
    known = {name for name, value in second.items() if value is not None}
    assert known == {"id", "timestamp", "request_id", "model_id", "error"}
    assert second["error"] is False


def test_many_threads_record_at_once_and_each_selection_arrives_once(engine: Engine) -> None:
    with RouterLog(address(engine), batch_size=100) as log:
        threads = [
            threading.Thread(target=lambda: [log.record_selection(model_id="m") for _ in range(500)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.flush(60)
        assert log.counts.written == 4_000
    assert len(rows(engine)) == 4_000


def test_a_request_that_is_recorded_twice_counts_once(engine: Engine) -> None:
    with RouterLog(address(engine)) as log:
        for _ in range(3):
            log.record_selection(model_id="m", request_id="same")
    assert len(rows(engine)) == 1


def test_selections_wait_for_an_unreachable_database_and_arrive_when_it_returns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    with RouterLog(url, flush_every_s=0.01) as log:
        log.record_selection(model_id="early")
        assert not log.flush(0.3)
        migrate(url)
        assert log.flush(30)
    engine = open_database(url)
    assert [row["model_id"] for row in rows(engine)] == ["early"]
    engine.dispose()


def test_selections_wait_for_missing_tables(postgres_address: str, caplog: pytest.LogCaptureFixture) -> None:
    with RouterLog(postgres_address, flush_every_s=0.01) as log:
        log.record_selection(model_id="early")
        assert not log.flush(0.3)
        assert "INSERT" not in caplog.text
        migrate(postgres_address)
        assert log.flush(30)
        assert log.counts.refused == 0


def test_a_server_that_does_not_answer_neither_raises_nor_reveals_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RouterLog("postgresql://ops:hunter2@127.0.0.1:9/x", flush_every_s=0.01)
    with caplog.at_level(logging.WARNING, "routewatch"):
        assert log.record_selection(model_id="m") is not None
        assert not log.close(0.5)
    assert caplog.text.count("selections cannot be written") == 1
    assert "hunter2" not in caplog.text
    assert log.counts.waiting == 1


def test_beyond_its_capacity_the_oldest_selections_are_dropped_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(url, capacity=10, flush_every_s=60) as log:
        for number in range(25):
            log.record_selection(model_id=f"m{number}")
        assert log.counts.dropped == 15
        migrate(url)
        assert log.flush(30)
    engine = open_database(url)
    assert [row["model_id"] for row in rows(engine)] == [f"m{number}" for number in range(15, 25)]
    engine.dispose()
    assert caplog.text.count("dropping the oldest") == 1
    assert caplog.text.count("15 were dropped meanwhile") == 1


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 9, 7), "2026-09-07", 1788768000, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),  # noqa: DTZ001
     datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)],
)  # fmt: skip
def test_a_selection_without_an_instant_is_refused_and_its_neighbours_are_not(
    sqlite_engine: Engine, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised; it is counted each time, also in the database, and logged once."""
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(address(sqlite_engine)) as log:
        log.record_selection(model_id="before")
        assert log.record_selection(model_id="m", timestamp=value) is None
        assert log.record_selection(model_id="m", timestamp=value, error=True) is None
        log.record_selection(model_id="after")
        assert log.flush()
        assert (log.counts.written, log.counts.refused) == (2, 2)
    assert [row["model_id"] for row in rows(sqlite_engine)] == ["before", "after"]
    assert caplog.text.count("not recorded: timestamp ") == 1
    assert [(it.outcome, it.rows, it.errors) for it in counted(sqlite_engine)] == [("rejected", 2, 1)]


def test_a_log_that_only_refuses_still_counts_them_in_the_database(engine: Engine) -> None:
    with RouterLog(address(engine)) as log:
        log.record_selection(model_id="m", timestamp=datetime(2026, 9, 7))  # noqa: DTZ001
    assert [(it.entrance, it.rows) for it in counted(engine)] == [("routerLog", 1)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cost_usd", -0.01), ("cost_usd", float("nan")), ("cost_usd", float("-inf")), ("cost_usd", True),
        ("cost_usd", 10**400), ("cost_usd", "1"), ("accuracy", 1.2), ("user_satisfaction", -1),
        ("response_time_ms", float("nan")), ("response_time_ms", object()),
        ("team", "a\0b"), ("team", "x" * 201), ("team", "\ud800"), ("team", "a\nb"), ("team", "NULL"),
        ("complexity", 3.5), ("error_type", b"timeout"), ("prompt_tokens", 1.5), ("prompt_tokens", 2**70),
        ("completion_tokens", True), ("cache_hit", 1), ("error", "perhaps"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_unknown_and_its_selection_stays(
    sqlite_engine: Engine, column: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    whole: dict[str, Any] = {"model_id": "m", "cost_usd": 0.5, "response_time_ms": 7.0, "error": True, column: value}
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(address(sqlite_engine)) as log:
        assert log.record_selection(**whole) is not None
        assert log.record_selection(**whole) is not None
        assert log.flush()
        assert (log.counts.written, log.counts.refused, log.counts.unknown) == (2, 0, 2)
    for row in rows(sqlite_engine):
        assert row[column] is (False if column == "error" else None)
        assert all(row[name] == value for name, value in whole.items() if name != column)
    assert caplog.text.count(f"is unknown: {column} ") == 1
    (noted,) = counted(sqlite_engine)
    assert (noted.outcome, noted.rows) == ("unknownField", 2)
    assert noted.reason.startswith(column)


@pytest.mark.parametrize("model", ["", None, "m" * 201, "a\0b", " \ufeff", "None", float("nan"), [1]])
def test_a_selection_without_a_readable_model_is_one_of_an_unknown_model(sqlite_engine: Engine, model: Any) -> None:
    with RouterLog(address(sqlite_engine)) as log:
        assert log.record_selection(model_id=model, cost_usd=2.0) is not None
    assert [(row["model_id"], row["cost_usd"]) for row in rows(sqlite_engine)] == [("unknown", 2.0)]


def test_a_selection_ahead_of_the_clock_is_set_aside_once_and_not_lost(engine: Engine) -> None:
    now = datetime.now(UTC)
    with RouterLog(address(engine)) as log:
        for _ in range(2):
            log.record_selection(model_id="ahead", timestamp=now + timedelta(minutes=62), request_id="r", error=True)
        log.record_selection(model_id="skewed", timestamp=now + timedelta(minutes=58))
        assert log.flush()
        assert log.counts.written == 3
    assert [row["model_id"] for row in rows(engine)] == ["skewed"]
    with reading(engine) as connection:
        (aside,) = connection.execute(select(QUARANTINE)).all()
    assert (aside.request_id, aside.entrance, aside.reason) == ("r", "routerLog", "timestamp is ahead of the clock")
    assert aside.content["model_id"] == "ahead"
    assert [(it.outcome, it.rows, it.errors) for it in counted(engine)] == [("setAside", 1, 1)]


def counted(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(INTAKE_COUNT).order_by(INTAKE_COUNT.c.reason)).all())


VALUES = st.one_of(
    st.none(), st.text(st.characters(), max_size=210), st.floats(), st.integers(), st.booleans(), st.datetimes(),
    st.datetimes(timezones=st.timezones()),
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(sorted(FULL)), VALUES), max_size=8))
def test_every_selection_is_written_or_refused(sqlite_engine: Engine, given_rows: list[dict[str, Any]]) -> None:
    """For any values nothing is raised, accepted selections can be stored, and the counts add up."""
    before = len(rows(sqlite_engine))
    with RouterLog(address(sqlite_engine), capacity=50, batch_size=3) as log:
        ids = [log.record_selection(**({"model_id": "m"} | row)) for row in given_rows]
        counts = log.counts
        assert counts.recorded == counts.written + counts.refused + counts.dropped + counts.waiting == len(ids)
    accepted = [request_id for request_id in ids if request_id is not None]
    assert (log.counts.written, log.counts.refused) == (len(accepted), len(ids) - len(accepted))
    stored = {row["request_id"] for row in rows(sqlite_engine)}
    assert set(accepted) <= stored
    assert len(stored) - before <= len(accepted)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from(["selection", "bad selection", "flush"]), max_size=30),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_the_counts_add_up_while_the_database_is_away(steps: list[str], capacity: int, batch_size: int) -> None:
    log = RouterLog("sqlite:////nowhere/at/all.db", capacity=capacity, batch_size=batch_size, flush_every_s=60)
    for step in steps:
        if step == "flush":
            log.flush(0)
        else:
            log.record_selection(model_id="m", timestamp=None if step == "selection" else NO_INSTANT)
        counts = log.counts
        assert counts.recorded == counts.written + counts.refused + counts.dropped + counts.waiting
    log.close(0)
    counts = log.counts
    assert counts.recorded == len(steps) - steps.count("flush")
    assert counts.refused == steps.count("bad selection")
    assert counts.written == 0


def test_rows_that_the_database_alone_refuses_do_not_take_their_batch_along(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Here the database has a rule that the program does not know."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE selection ADD CONSTRAINT house CHECK (team <> 'banned')"))
        else:
            rule = "CREATE TRIGGER house BEFORE INSERT ON selection WHEN new.team = 'banned' "
            connection.execute(text(rule + "BEGIN SELECT RAISE(ABORT, 'banned'); END"))
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(address(engine), flush_every_s=60) as log:
        for team in ("a", "banned", "b", "banned", "c"):
            log.record_selection(model_id="m", team=team)
        assert log.flush(30)
        assert (log.counts.written, log.counts.refused) == (3, 2)
    assert [row["team"] for row in rows(engine)] == ["a", "b", "c"]
    assert caplog.text.count("the database refused it") == 1


def test_a_flush_waits_for_its_selections_whatever_else_is_recorded(tmp_path: Path) -> None:
    """Selections refused meanwhile do not count as the one that still waits."""
    with RouterLog(f"sqlite:///{tmp_path}/later.db") as log:
        log.record_selection(model_id="waits")
        refusing = threading.Timer(
            0.05, lambda: [log.record_selection(model_id="m", timestamp=NO_INSTANT) for _ in range(5)]
        )
        refusing.start()
        assert not log.flush(0.3)
        refusing.join()
        log.close(0)
    assert log.counts.waiting == 1


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-off so long that the test would time out if anything waited for it."""
    monkeypatch.setattr(record_module, "back_off_s", lambda failures: 3600.0)


@pytest.mark.usefixtures("_patient")
def test_a_flush_and_a_close_do_not_wait_for_the_back_off(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    log = RouterLog(url)
    log.record_selection(model_id="early")
    assert not log.flush(0.3)
    migrate(url)
    assert log.flush(30)
    away = RouterLog(f"sqlite:///{tmp_path}/never.db")
    away.record_selection(model_id="m")
    started = time.monotonic()
    assert not away.close(0.3)
    assert not away.close(0.3)
    assert time.monotonic() - started < 5 * slowness()
    assert log.close()


def test_the_back_off_grows_to_half_a_minute() -> None:
    assert all(0.25 <= record_module.back_off_s(1) <= 0.5 for _ in range(100))
    assert all(15 <= record_module.back_off_s(failures) <= 30 for failures in range(7, 5_000, 50))


def test_a_garbage_collected_log_writes_its_selections_and_ends_its_thread(sqlite_engine: Engine) -> None:
    before = set(threading.enumerate())
    log = RouterLog(address(sqlite_engine), flush_every_s=3600)
    log.record_selection(model_id="m")
    (thread,) = set(threading.enumerate()) - before
    del log
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    assert len(rows(sqlite_engine)) == 1


def test_a_log_without_room_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="capacity is 0"):
        RouterLog(f"sqlite:///{tmp_path}/x.db", capacity=0)


def test_a_closed_log_takes_nothing_more(sqlite_engine: Engine) -> None:
    log = RouterLog(address(sqlite_engine))
    assert log.close()
    assert log.close()
    assert log.record_selection(model_id="late") is None
    assert log.counts.refused == 1


def run(code: str, url: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_that_ends_without_closing_still_writes_its_selections(engine: Engine) -> None:
    code = """
        import sys
        from routewatch import RouterLog
        log = RouterLog(sys.argv[1], flush_every_s=60)
        for number in range(10):
            log.record_selection(model_id="m")
    """
    run(code, address(engine))
    assert len(rows(engine)) == 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_worker_records_for_itself(engine: Engine) -> None:
    code = """
        import os, sys
        from routewatch import RouterLog
        log = RouterLog(sys.argv[1])
        log.record_selection(model_id="parent")
        log.flush()
        log.record_selection(model_id="parent")
        worker = os.fork()
        assert worker or log.counts.recorded == 0
        log.record_selection(model_id="child" if worker == 0 else "parent")
        done = log.flush(30)
        if worker == 0:
            os._exit(0 if done else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
    """
    run(code, address(engine))
    assert sorted(row["model_id"] for row in rows(engine)) == ["child", "parent", "parent", "parent"]


def test_a_router_does_not_import_what_only_reports_need() -> None:
    code = "import routewatch, sys; print({'prefect', 'polars', 'weasyprint', 'altair'} & set(sys.modules))"
    assert run(code, "") == "set()\n"
