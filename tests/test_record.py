"""A router's picks arrive, whatever the database does, and the router never notices."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from models.database import migrate, open_database, reading
from models.tables import Selection, table_of
from tasks.record import RouterLog, fault_of

SELECTION = table_of(Selection)
AT = datetime(2026, 9, 7, 8, tzinfo=UTC)
FULL: dict[str, Any] = {
    "timestamp": AT, "request_id": "r1", "model_id": "m", "complexity": "simple", "error_type": "timeout",
    "team": "search", "response_time_ms": 12.5, "cost_usd": 0.01, "accuracy": 0.9, "user_satisfaction": 0.5,
    "prompt_tokens": 10, "completion_tokens": 20, "cache_hit": True, "error": True,
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
    assert first == FULL | {"id": first["id"]}
    assert second["request_id"] == request_id
    known = {name for name, value in second.items() if value is not None}
    assert known == {"id", "timestamp", "request_id", "model_id", "error"}
    assert second["error"] is False


def test_many_threads_record_at_once_and_each_pick_arrives_once(engine: Engine) -> None:
    with RouterLog(address(engine), batch_size=100) as log:
        threads = [
            threading.Thread(target=lambda: [log.record_selection(model_id="m") for _ in range(300)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.flush(60)
        assert log.counts.written == 2_400
    assert len(rows(engine)) == 2_400


def test_a_request_that_is_recorded_twice_counts_once(engine: Engine) -> None:
    with RouterLog(address(engine)) as log:
        for _ in range(3):
            log.record_selection(model_id="m", request_id="same")
    assert len(rows(engine)) == 1


def test_picks_wait_for_a_database_that_is_away_and_arrive_when_it_is_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    with RouterLog(url, flush_every_s=0.01) as log:
        log.record_selection(model_id="early")
        assert not log.flush(0.3)
        migrate(url)
        assert log.flush(30)
    engine = open_database(url)
    assert [row["model_id"] for row in rows(engine)] == ["early"]
    engine.dispose()


def test_picks_wait_for_tables_that_are_not_there_yet(postgres_address: str) -> None:
    with RouterLog(postgres_address, flush_every_s=0.01) as log:
        log.record_selection(model_id="early")
        assert not log.flush(0.3)
        migrate(postgres_address)
        assert log.flush(30)
        assert log.counts.refused == 0


def test_a_server_that_does_not_answer_neither_raises_nor_tells_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = RouterLog("postgresql://ops:hunter2@127.0.0.1:9/x", flush_every_s=0.01)
    with caplog.at_level(logging.WARNING, "routewatch"):
        assert log.record_selection(model_id="m") is not None
        assert not log.close(0.5)
    assert "hunter2" not in caplog.text
    assert log.counts.waiting == 1


def test_beyond_its_capacity_the_oldest_picks_are_dropped_counted_and_told_once(
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
    assert caplog.text.count("the oldest are dropped") == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cost_usd", -0.01), ("cost_usd", float("nan")), ("cost_usd", float("inf")), ("cost_usd", True),
        ("accuracy", 1.2), ("model_id", ""), ("model_id", "m" * 201), ("team", "a\0b"), ("team", "x" * 201),
        ("timestamp", datetime(2026, 9, 7)), ("timestamp", "2026-09-07"), ("prompt_tokens", 1.5),  # noqa: DTZ001
        ("prompt_tokens", 2**70), ("cache_hit", 1), ("modelId", "m"),
    ],
)  # fmt: skip
def test_a_pick_that_cannot_be_stored_is_refused_and_its_neighbours_are_not(
    sqlite_engine: Engine, column: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(address(sqlite_engine)) as log:
        log.record_selection(model_id="before")
        row: dict[str, Any] = {"model_id": "m", column: value}
        assert log.record_selection(**row) is None
        log.record_selection(model_id="after")
    assert [row["model_id"] for row in rows(sqlite_engine)] == ["before", "after"]
    assert column in caplog.text


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(FULL)), st.one_of(st.text(), st.floats(), st.integers(), st.booleans())))
def test_what_is_accepted_can_be_stored(sqlite_engine: Engine, given_row: dict[str, Any]) -> None:
    row = {"model_id": "m"} | given_row
    with RouterLog(address(sqlite_engine)) as log:
        accepted = log.record_selection(**row) is not None
    assert accepted == (fault_of(row) is None)
    counts = log.counts
    assert counts.recorded == 1 == counts.written + counts.refused
    assert counts.written == int(accepted)


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


def test_a_process_that_ends_without_closing_still_writes_its_picks(engine: Engine) -> None:
    code = """
        import sys
        from routewatch import RouterLog
        log = RouterLog(sys.argv[1], flush_every_s=60)
        for number in range(10):
            log.record_selection(model_id="m")
    """
    run(code, address(engine))
    assert len(rows(engine)) == 10


def test_a_forked_worker_records_for_itself(engine: Engine) -> None:
    code = """
        import os, sys
        from routewatch import RouterLog
        log = RouterLog(sys.argv[1])
        log.record_selection(model_id="parent")
        log.flush()
        worker = os.fork()
        log.record_selection(model_id="child" if worker == 0 else "parent")
        done = log.flush(30)
        if worker == 0:
            os._exit(0 if done else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
    """
    run(code, address(engine))
    assert sorted(row["model_id"] for row in rows(engine)) == ["child", "parent", "parent"]


def test_a_router_does_not_import_what_only_reports_need() -> None:
    code = "import routewatch, sys; print({'prefect', 'polars', 'weasyprint', 'altair'} & set(sys.modules))"
    assert run(code, "") == "set()\n"
