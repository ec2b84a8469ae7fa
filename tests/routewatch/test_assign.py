"""A router asks for the arm of a request: by the config's rollout, at once, whatever the database does."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, text

from models.database import reading, writing
from models.schema import CONFIG
from routewatch import Assignment, RouterLog, live_config
from routewatch.rollout import RequestSplit, read_rollout
from routewatch.selection import SELECTION
from tests.support.waiting import until

VALUE: dict[str, Any] = {
    "candidate": "swift-mini", "percent": 50, "salt": "0123456789abcdef", "by": "request", "experiment": "rollout-12",
}  # fmt: skip
NOTHING = Assignment()


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def set_config(engine: Engine, **values: Any) -> None:
    """Give keys, whose dots are written as __, these values."""
    with writing(engine) as connection:
        for name, value in values.items():
            key = name.replace("__", ".")
            connection.execute(delete(CONFIG).where(CONFIG.c.key == key))
            connection.execute(
                CONFIG.insert(),
                {"key": key, "value": value, "version": 1, "updated_at": datetime.now(UTC), "updated_by": "test"},
            )


def rollout(**values: Any) -> RequestSplit:
    found = read_rollout(VALUE | values)
    assert found is not None
    return found


@pytest.fixture
def always_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the config at each request."""
    monkeypatch.setattr(live_config, "CONFIG_KEPT_S", 0.0)


def test_requests_are_assigned_as_the_config_says_and_recorded_so(engine: Engine) -> None:
    """Whatever serves in the end."""
    set_config(engine, rollout__simple=VALUE, routing__simple="atlas-large", routing__complex="titan")
    with RouterLog(address(engine)) as log:
        for number in range(40):
            given = log.assign("simple", f"r{number}", "user-1")
            assert given == rollout().assign(f"r{number}", "atlas-large")
            log.record_selection(model_id="fallback", request_id=f"r{number}", error=number % 2 == 0, assignment=given)
        assert log.assign("complex", "r1") == Assignment("titan")
        assert log.assign("moderate", "r1") == NOTHING
        log.record_selection(model_id="m", request_id="unsplit", assignment=NOTHING)
        log.record_selection(model_id="m", request_id="own", arm="mine", experiment="e", assignment=NOTHING)
    with reading(engine) as connection:
        stored = {
            row.request_id: (row.model_id, row.experiment, row.arm) for row in connection.execute(select(SELECTION))
        }
    assert stored.pop("unsplit") == ("m", None, None)
    assert stored.pop("own") == ("m", "e", "mine")
    assert stored == {
        f"r{number}": ("fallback", "rollout-12", rollout().assign(f"r{number}").arm) for number in range(40)
    }
    assert {arm for _, _, arm in stored.values()} == {"baseline", "candidate"}


def test_users_are_split_with_all_their_requests_and_their_bucket_is_recorded(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    set_config(engine, rollout__simple=VALUE | {"by": "user"}, routing__simple="atlas-large")
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(address(engine)) as log:
        given = {log.assign("simple", f"r{number}", "user-7") for number in range(20)}
        assert given == {rollout(by="user").assign("user-7", "atlas-large")}
        assert [log.assign("simple", "r1") for _ in range(3)] == [Assignment("atlas-large")] * 3
        log.record_selection(model_id="m", request_id="r", assignment=given.pop())
    assert caplog.text.count("without a user") == 1
    with reading(engine) as connection:
        assert connection.scalar(select(SELECTION.c.unit_bucket)) == rollout(by="user").assign("user-7").unit_bucket


def test_a_request_without_an_id_is_assigned_at_random(engine: Engine) -> None:
    set_config(engine, rollout__simple=VALUE)
    with RouterLog(address(engine)) as log:
        assert {log.assign("simple").arm for _ in range(60)} == {"baseline", "candidate"}


@pytest.mark.usefixtures("always_new")
def test_a_step_and_an_end_are_obeyed_while_the_router_runs(engine: Engine) -> None:
    set_config(engine, rollout__simple=VALUE | {"percent": 0})
    with RouterLog(address(engine)) as log:
        assert log.assign("simple", "r1").arm == "baseline"
        set_config(engine, rollout__simple=VALUE | {"percent": 100})
        until(lambda: log.assign("simple", "r1").arm == "candidate")
        set_config(engine, rollout__simple=None)
        until(lambda: log.assign("simple", "r1") == NOTHING)


BROKEN = (
    '{"candidate": "x"}', "[]", "NaN", '"5"', "{", "", "\0", "[" * 9_000, json.dumps(VALUE | {"percent": -1}),
    json.dumps("x" * 20_000),
)  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_a_value_that_cannot_be_read_keeps_its_class_on_the_baseline_and_no_other(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    set_config(sqlite_engine, rollout__simple=VALUE, rollout__complex=VALUE, routing__simple="atlas", cache__x=1)
    with writing(sqlite_engine) as connection:
        connection.execute(text("UPDATE config SET value = :it WHERE key = 'rollout.simple'"), {"it": broken})
        connection.exec_driver_sql("UPDATE config SET value = CAST(x'ff' AS TEXT) WHERE key = 'cache.x'")
    with caplog.at_level(logging.WARNING, "routewatch"), RouterLog(address(sqlite_engine)) as log:
        assert [log.assign("simple", f"r{n}") for n in range(3)] == [Assignment("atlas")] * 3
        assert log.assign("complex", "r1") == rollout().assign("r1")
    assert caplog.text.count("rollout.simple") == (len(broken) <= live_config.LARGEST_VALUE)


def test_bytes_that_are_no_text_cost_their_key_alone(sqlite_engine: Engine) -> None:
    set_config(sqlite_engine, rollout__simple=VALUE, rollout__complex=VALUE)
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("UPDATE config SET value = CAST(x'22ff22' AS TEXT) WHERE key = 'rollout.simple'")
    with RouterLog(address(sqlite_engine)) as log:
        assert log.assign("simple", "r1") == NOTHING
        assert log.assign("complex", "r1") == rollout().assign("r1")


def test_without_a_database_requests_go_on_in_no_arm_after_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    """A server that takes connections and never says a word: the worst kind."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log = RouterLog(f"postgresql://ops:hunter2@127.0.0.1:{silent.getsockname()[1]}/x")
        began_s = time.monotonic()
        with caplog.at_level(logging.WARNING, "routewatch"):
            assert [log.assign("simple", f"r{n}") for n in range(2_000)] == [NOTHING] * 2_000
        took_s = time.monotonic() - began_s
        log.close(0)
    assert took_s < 5 * live_config.FIRST_WAIT_S + 1
    assert caplog.text.count("in no arm") == 1
    assert "hunter2" not in caplog.text


@pytest.mark.usefixtures("always_new")
def test_last_values_hold_for_a_while_and_then_no_more(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a rollout that was ended meanwhile would go on for ever."""
    set_config(engine, rollout__simple=VALUE | {"percent": 100})
    with RouterLog(address(engine)) as log:
        until(lambda: log.assign("simple", "r1").arm == "candidate")
        tried = threading.Event()

        def failing(_address: str) -> dict[str, Any]:
            tried.set()
            raise OSError("away")

        monkeypatch.setattr(live_config, "read_values", failing)
        log.assign("simple", "r1")
        assert tried.wait(30)
        assert log.assign("simple", "r1").arm == "candidate"
        monkeypatch.setattr(live_config, "LAST_KNOWN_FOR_S", 0.0)
        assert log.assign("simple", "r1") == NOTHING


def test_the_config_is_read_once_for_many_requests_and_threads(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    set_config(engine, rollout__simple=VALUE)
    read, calls = live_config.read_values, []

    def counted(its: str) -> dict[str, Any]:
        calls.append(1)
        return read(its)

    monkeypatch.setattr(live_config, "read_values", counted)
    monkeypatch.setattr(live_config, "FIRST_WAIT_S", 30.0)
    monkeypatch.setattr(live_config, "CONFIG_KEPT_S", 600.0)
    found: list[Assignment] = []
    with RouterLog(address(engine)) as log:
        threads = [
            threading.Thread(target=lambda: found.extend(log.assign("simple", "r1") for _ in range(200)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(calls), set(found)) == (1, {rollout().assign("r1")})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_worker_reads_for_itself(engine: Engine) -> None:
    set_config(engine, rollout__simple=VALUE | {"percent": 100})
    with RouterLog(address(engine)) as log:
        assert log.assign("simple", "r1").arm == "candidate"
        child = os.fork()
        if child == 0:
            os._exit(0 if log.assign("simple", "r1").arm == "candidate" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("odd", [None, 7, b"x", "\ud800", "a\0b", "x" * 10_000, object()])
def test_no_value_of_any_kind_raises(sqlite_engine: Engine, odd: Any) -> None:
    set_config(sqlite_engine, rollout__simple=VALUE | {"by": "user"})
    with RouterLog(address(sqlite_engine)) as log:
        assert log.assign(odd) == NOTHING
        assert log.assign("simple", odd, odd).experiment == (None if odd is None else "rollout-12")
        assert log.record_selection(model_id="m", assignment=odd) is not None
