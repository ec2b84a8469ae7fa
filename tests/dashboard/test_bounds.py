"""Whoever asks, however many and however large, costs what one costs; everybody else is answered meanwhile."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

from dashboard import live_views, metrics, summary_api
from dashboard.app import MOST_VIEWS_AT_ONCE
from dashboard.monitor import Monitor
from dashboard.summary_api import MOST_AWAITED
from models.database import reading, writing
from models.errors import DatabaseUnavailable
from models.tables import Rollup, Selection, table_of
from tests.support.page_server import READER, WRITER, app_context, bearing, filled, listening
from tests.support.spans import CHAT, Recorder, body_of
from tests.support.waiting import until

ROLLUP, SELECTION = table_of(Rollup), table_of(Selection)
PROTOBUF = {"Content-Type": "application/x-protobuf"} | bearing(WRITER)
EXPENSIVE = {
    "/metrics": (metrics, "generate_latest"),
    "/summary?range=6h": (summary_api, "summarize"),
    "/live/sections?range=6h": (live_views, "collect_view"),
    "/?range=6h": (live_views, "collect_view"),
}
"""What is worked out for an address, and where."""
ASKED_AT_ONCE = 60
"""More than there are threads for all other requests."""


class Held:
    """A function that counts its calls and waits until it may go on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.calls = 0
        self.may_go_on = threading.Event()

    def __call__(self, *given: Any, **more: Any) -> Any:
        self.calls += 1
        until(self.may_go_on.is_set)
        return self._function(*given, **more)


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch, path: str) -> Iterator[Held]:
    module, name = EXPENSIVE[path]
    holding = Held(getattr(module, name))
    monkeypatch.setattr(module, name, holding)
    try:
        yield holding
    finally:
        holding.may_go_on.set()


def asking(address: str, path: str) -> socket.socket:
    """A connection on which an address was asked for, and nothing is read."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {READER}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def answer_on(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def work_of(server: Any, path: str) -> Any:
    state = server.config.app.state
    if path == "/metrics":
        return state.metrics.work
    return state.summaries.work if path.startswith("/summary") else state.view_work


@pytest.mark.parametrize("path", EXPENSIVE)
def test_what_many_ask_for_is_made_once_and_others_are_answered_meanwhile(
    path: str, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the router, which asks for its config in the threads that all other requests share."""
    with (
        listening(filled(sqlite_engine, tmp_path)) as (address, server),
        held(monkeypatch, path) as making,
        ExitStack() as connections,
    ):
        asked = [connections.enter_context(asking(address, path)) for _ in range(ASKED_AT_ONCE)]
        until(lambda: work_of(server, path).waiting == ASKED_AT_ONCE)
        assert httpx.get(f"{address}/config", headers=bearing(READER), timeout=60).is_success
        making.may_go_on.set()
        assert all(answer_on(connection).startswith(b"HTTP/1.1 200") for connection in asked)
        assert making.calls == 1


@pytest.mark.parametrize("path", EXPENSIVE)
def test_hundreds_that_hang_up_cost_what_one_costs(
    path: str, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(filled(sqlite_engine, tmp_path)) as (address, server), held(monkeypatch, path) as making:
        for _ in range(4):
            with ExitStack() as connections:
                for _ in range(50):
                    connections.enter_context(asking(address, path))
                until(lambda: len(server.server_state.connections) == 50)
        until(lambda: work_of(server, path).waiting == 200)
        making.may_go_on.set()
        until(lambda: work_of(server, path).waiting == 0)
        assert making.calls == 1
        assert httpx.get(f"{address}{path}", headers=bearing(READER), timeout=60).is_success


@pytest.mark.parametrize("path", EXPENSIVE)
def test_beyond_the_bound_of_those_who_wait_a_503_says_when_to_come_again(
    path: str, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(filled(sqlite_engine, tmp_path)) as (address, server), held(monkeypatch, path):
        work_of(server, path).most_waiting = 2
        with asking(address, path), asking(address, path):
            until(lambda: work_of(server, path).waiting == 2)
            refused = httpx.get(f"{address}{path}", headers=bearing(READER), timeout=60)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert "try again" in refused.json()["detail"]


@pytest.mark.parametrize(("path", "most"), [("/summary?range=6h", MOST_AWAITED), ("/?range=6h", MOST_VIEWS_AT_ONCE)])
def test_beyond_the_bound_of_different_filters_a_503_says_when_to_come_again(
    path: str, most: int, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each filter is another answer: whoever makes up names must not fill memory and processor."""
    with (
        listening(filled(sqlite_engine, tmp_path)) as (address, server),
        held(monkeypatch, path),
        ExitStack() as connections,
    ):
        for number in range(most):
            connections.enter_context(asking(address, f"{path}&model=m{number}"))
        until(lambda: work_of(server, path).waiting == most)
        refused = httpx.get(f"{address}{path}&model=another", headers=bearing(READER), timeout=60)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")


def test_the_monitor_misses_no_turn_while_all_connections_are_in_use(engine: Engine, tmp_path: Path) -> None:
    """It has connections of its own; whoever waits for a shared one in vain gets a 503."""
    ctx = filled(engine, tmp_path)
    now = datetime.now(UTC)
    with ExitStack() as all_of_them:
        for _ in range(ctx.engine.pool.size() + ctx.engine.pool._max_overflow):  # type: ignore[attr-defined]
            all_of_them.enter_context(reading(ctx.engine))
        ctx.engine.pool._timeout = 0.01  # type: ignore[attr-defined]
        with pytest.raises(DatabaseUnavailable), reading(ctx.engine):
            pass
        monitor = Monitor(ctx)
        monitor.evaluate(now)
        monitor.deliver(now)
        with writing(engine) as connection:
            assert connection.scalar(select(func.sum(ROLLUP.c["count"])).where(ROLLUP.c.level == "hour")) == 200


def test_whoever_writes_gets_an_answer_within_a_bound_also_while_queueing(engine: Engine, tmp_path: Path) -> None:
    """Another writer holds the database: nothing is stored, and all are told when to come again."""
    recorder = Recorder()
    recorder.span(CHAT)
    spans = body_of(recorder.spans)

    def post(number: int) -> httpx.Response:
        if number % 2:
            return httpx.post(f"{address}/v1/traces", content=spans, headers=PROTOBUF, timeout=60)
        return httpx.post(f"{address}/selections", json={"modelId": "m"}, headers=bearing(WRITER), timeout=60)

    with listening(app_context(engine, tmp_path)) as (address, server), ThreadPoolExecutor(12) as senders:
        state = server.config.app.state  # type: ignore[union-attr]
        state.intake.write_timeout_s = state.span_intake.write_timeout_s = 0.2
        with writing(engine) as holder:
            if engine.dialect.name == "postgresql":
                holder.exec_driver_sql("LOCK TABLE selection IN EXCLUSIVE MODE")
            answers = list(senders.map(post, range(12)))
        assert {answer.status_code for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        with reading(engine) as connection:
            assert connection.scalar(select(func.count()).select_from(SELECTION)) == 0
        state.intake.write_timeout_s = state.span_intake.write_timeout_s = 30.0
        assert [post(number).status_code for number in range(2)] == [200, 200]


BOMB = gzip.compress(b"\x0a\x00" * 22_000_000, mtime=0)
"""22 million resources in 44 kB."""


def test_a_bomb_is_refused_and_the_intake_is_open_meanwhile(sqlite_engine: Engine, tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.span(CHAT)
    with listening(app_context(sqlite_engine, tmp_path)) as (address, server):
        refused = httpx.post(
            f"{address}/v1/traces", content=BOMB, headers=PROTOBUF | {"Content-Encoding": "gzip"}, timeout=60
        )
        assert (refused.status_code, len(BOMB) < 50_000) == (413, True)
        assert b"has more than 20000 resources" in refused.content
        intake, may_go_on = server.config.app.state.span_intake, threading.Event()  # type: ignore[union-attr]
        slow = intake.decoders.submit(until, may_go_on.is_set)
        sent = httpx.post(f"{address}/v1/traces", content=body_of(recorder.spans), headers=PROTOBUF, timeout=60)
        assert (sent.status_code, slow.done()) == (200, False)
        may_go_on.set()


def test_a_caller_that_hung_up_costs_nothing_more(sqlite_engine: Engine, tmp_path: Path) -> None:
    """What it sent waits for its turn, and is forgotten then: exporters send again what was not answered."""
    recorder = Recorder()
    recorder.span(CHAT)
    body = body_of(recorder.spans)
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {WRITER}\r\n"
        f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with listening(app_context(sqlite_engine, tmp_path)) as (address, server):
        intake, may_go_on = server.config.app.state.span_intake, threading.Event()  # type: ignore[union-attr]
        for _ in range(2):
            intake.decoders.submit(until, may_go_on.is_set)
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=60) as caller:
            caller.sendall(head.encode() + body)
            until(lambda: intake.decoders._work_queue.qsize() == 1)
        until(lambda: not server.server_state.connections)
        # By then the server has noticed: it does one thing after the other.
        assert httpx.get(f"{address}/healthz").is_success
        may_go_on.set()
        until(lambda: intake.requests == 0)
        assert intake.totals["stored"] == 0
        with reading(sqlite_engine) as connection:
            assert connection.scalar(select(func.count()).select_from(SELECTION)) == 0


def test_json_with_more_than_selections_can_have_is_refused_before_it_is_built(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    body = b'[{"modelId": [' + b"[]," * 600_000 + b"0]}]"
    with listening(app_context(sqlite_engine, tmp_path)) as (address, _):
        headers = {"Content-Type": "application/json"} | bearing(WRITER)
        refused = httpx.post(f"{address}/selections", content=body, headers=headers, timeout=60)
        assert refused.status_code == 413
        assert "more than 500000 objects, lists and values" in refused.json()["detail"]
