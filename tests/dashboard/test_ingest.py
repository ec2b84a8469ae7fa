"""Selections sent by HTTP are stored once, each is answered for, and no client can exhaust the server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

from dashboard.ingest import record
from dashboard.server_config import ImpatientProtocol
from models.database import reading, writing
from models.tables import Selection, table_of
from routewatch.quarantine import INTAKE_COUNT
from tests.support.page_server import READER, WRITER, app_context, bearing, listening, serving

SELECTION = table_of(Selection)
FULL: dict[str, Any] = {
    "requestId": "r1", "timestamp": "2026-09-07T10:00:00.250+02:00", "modelId": "m", "responseTime": 412,
    "cost": 0.0004, "complexity": "simple", "cacheHit": False, "accuracy": 1, "userSatisfaction": 0.5, "error": True,
    "errorType": "timeout", "promptTokens": 12, "completionTokens": 3, "team": "search",
    "experiment": "rollout-12", "arm": "candidate", "unitBucket": 63,
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    "request_id": "r1", "timestamp": datetime(2026, 9, 7, 8, 0, 0, 250_000, UTC), "model_id": "m",
    "response_time_ms": 412.0, "cost_usd": 0.0004, "complexity": "simple", "cache_hit": False, "accuracy": 1.0,
    "user_satisfaction": 0.5, "error": True, "error_type": "timeout", "prompt_tokens": 12, "completion_tokens": 3,
    "team": "search", "experiment": "rollout-12", "arm": "candidate", "unit_bucket": 63,
}  # fmt: skip


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(app_context(engine, tmp_path)) as client:
        client.headers.update(bearing(WRITER))
        yield client


def rows(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        found = connection.execute(select(SELECTION).order_by(SELECTION.c.id)).mappings()
        return [{name: value for name, value in row.items() if name != "id"} for row in found]


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(SELECTION)) or 0


def test_a_selection_is_stored_under_the_documents_names_and_under_the_columns(
    engine: Engine, client: httpx.Client
) -> None:
    sent = COLUMNS | {"timestamp": COLUMNS["timestamp"].timestamp() * 1_000, "request_id": "r2"}
    assert client.post("/selections", json=FULL).json() == {
        "results": [{"index": 0, "status": "created", "requestId": "r1"}],
        "created": 1, "duplicates": 0, "setAside": 0, "refused": 0,
    }  # fmt: skip
    assert client.post("/selections", json=[sent]).json()["created"] == 1
    recorded = COLUMNS | {"cost_priced_on": None, "complexity_derived": None}
    assert rows(engine) == [recorded, recorded | {"request_id": "r2"}]


def test_what_is_left_out_is_unknown_and_the_time_is_now(engine: Engine, client: httpx.Client) -> None:
    before = datetime.now(UTC)
    answer = client.post("/selections", json={"modelId": "m", "cost": None}).json()
    (row,) = rows(engine)
    assert row["request_id"] == answer["results"][0]["requestId"]
    assert before <= row["timestamp"] <= datetime.now(UTC)
    assert {name for name, value in row.items() if value is not None} == {
        "request_id", "timestamp", "model_id", "error"
    }  # fmt: skip


def test_each_selection_without_an_instant_is_rejected_with_its_reason(engine: Engine, client: httpx.Client) -> None:
    bad = [
        7,
        {},
        {"respnseTime": 1},
        {"modelId": "m", "timestamp": "2026-09-07T10:00:00"},
        {"modelId": "m", "timestamp": "soon"},
        {"modelId": "m", "timestamp": 1e300},
        {"modelId": "m", "timestamp": True},
        {"modelId": "m", "timestamp": "1970-01-01T00:00:00Z", "error": True},
        {"modelId": "m", "timestamp": [1]},
    ]
    answer = client.post("/selections", json=[FULL, *bad, {"modelId": "last"}])
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [item["status"] for item in results] == ["created", *["refused"] * len(bad), "created"]
    assert [item["error"].partition(":")[0] for item in results[1:-1]] == [
        "it is int, not an object with modelId and what else is known", *["it has no field of a selection"] * 2,
        *["timestamp"] * 6,
    ]  # fmt: skip
    assert [row["model_id"] for row in rows(engine)] == ["m", "last"]
    assert sum(it.rows for it in counted(engine, "rejected")) == len(bad)
    assert sum(it.errors for it in counted(engine, "rejected")) == 1


@pytest.mark.parametrize(
    ("number", "unit"), [(1_791_000_000, "seconds"), (1_791_000_000_000_000, "microseconds"),
                         (1_791_000_000_000_000_000, "nanoseconds")],
)  # fmt: skip
def test_an_epoch_in_another_unit_is_refused_and_the_unit_is_named(
    sqlite_engine: Engine, number: float, unit: str
) -> None:
    """Read as ms, seconds would be 1970, and the daily run would delete them."""
    (result,) = record(sqlite_engine, [{"modelId": "m", "timestamp": number}], datetime.now(UTC)).results
    assert result.status == "refused"
    assert f"in {unit} it would be 2026-10-0" in str(result.error)
    assert rows(sqlite_engine) == []


def test_a_field_that_cannot_be_read_is_unknown_and_the_selection_stays(engine: Engine, client: httpx.Client) -> None:
    broken = {
        "responseTime": -1, "cost": "NULL", "promptTokens": True, "completionTokens": 1.5, "accuracy": 1.01,
        "userSatisfaction": [], "team": "a\0b", "errorType": "e" * 300, "cacheHit": "yes", "modelId": "m" * 201,
        "respnseTime": 1,
    }  # fmt: skip
    answer = client.post("/selections", json=[broken, {"modelId": "m", "cost": 1, "cost_usd": 2, "team": "t"}])
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert first["unknown"].keys() == broken.keys()
    assert second["unknown"].keys() == {"cost", "cost_usd"}
    stored = rows(engine)
    assert [row["model_id"] for row in stored] == ["unknown", "m"]
    # Something was said of an error, so it was one.
    assert [row["error"] for row in stored] == [True, False]
    assert {name for name, value in stored[0].items() if value is not None} == {
        "request_id", "timestamp", "model_id", "error"
    }  # fmt: skip
    assert stored[1]["team"] == "t"
    assert sum(it.rows for it in counted(engine, "unknownField")) == len(broken) + 1


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "9" * 400, '"\\ud83d"', '"a\tb"'])
def test_a_value_that_is_no_json_costs_its_field_and_no_other_selection(
    sqlite_engine: Engine, tmp_path: Path, value: str
) -> None:
    """Python writes NaN, JavaScript half of a character where it cuts a text."""
    body = f'[{{"modelId": "a", "cost": {value}, "team": {value}, "error": true}}, {{"modelId": "b"}}]'
    with serving(app_context(sqlite_engine, tmp_path)) as client:
        headers = bearing(WRITER) | {"Content-Type": "application/json"}
        answer = client.post("/selections", content=body, headers=headers)
    assert answer.status_code == 200
    assert [(row["model_id"], row["cost_usd"], row["error"]) for row in rows(sqlite_engine)] == [
        ("a", None, True), ("b", None, False),
    ]  # fmt: skip
    assert "cost" in answer.json()["results"][0]["unknown"]


def test_names_that_look_alike_are_one_name(engine: Engine, client: httpx.Client) -> None:
    """Accents in parts, white space, byte order marks, zero-width and bidirectional characters make no new model."""
    forms = ["café", "cafe\u0301", " café\n", "\ufeffcafé", "ca\u200bfé", "\u202ecafé\u202c", "\u2066café\u2069\xa0"]
    assert client.post("/selections", json=[{"modelId": form, "team": form} for form in forms]).status_code == 200
    assert {(row["model_id"], row["team"]) for row in rows(engine)} == {("café", "café")}


def test_a_selection_ahead_of_the_clock_is_set_aside(engine: Engine, client: httpx.Client) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    batch = [{"modelId": "m", "requestId": "r", "timestamp": ahead, "error": True}, {"modelId": "now"}]
    for _ in range(2):
        answer = client.post("/selections", json=batch)
        assert (answer.status_code, answer.json()["setAside"]) == (207, 1)
    assert {row["model_id"] for row in rows(engine)} == {"now"}
    assert [(it.rows, it.errors) for it in counted(engine, "setAside")] == [(1, 1)]


def counted(engine: Engine, outcome: str) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(INTAKE_COUNT).where(INTAKE_COUNT.c.outcome == outcome)).all())


def test_a_batch_that_is_sent_again_counts_once(engine: Engine, client: httpx.Client) -> None:
    batch = [{"modelId": "m", "requestId": f"r{number % 900}"} for number in range(1_000)]
    first, second = (client.post("/selections", json=batch).json() for _ in range(2))
    assert (first["created"], first["duplicates"]) == (900, 100)
    assert [item["status"] for item in first["results"]] == ["created"] * 900 + ["duplicate"] * 100
    assert (second["created"], second["duplicates"]) == (0, 1_000)
    assert count(engine) == 900


def test_many_senders_of_the_same_at_once_store_each_once(engine: Engine, client: httpx.Client) -> None:
    batch = [{"modelId": "m", "requestId": f"r{number}"} for number in range(500)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post("/selections", json=batch).json(), range(6)))
    assert sum(answer["created"] for answer in answers) == count(engine) == 500


def test_ten_thousand_are_taken_at_once_and_one_more_is_not(engine: Engine, client: httpx.Client) -> None:
    batch = [{"modelId": "m"}] * 10_000
    assert client.post("/selections", json=batch).json()["created"] == 10_000
    refused = client.post("/selections", json=[*batch, {"modelId": "m"}])
    assert (refused.status_code, refused.headers["content-type"]) == (413, "application/problem+json")
    assert count(engine) == 10_000


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"7", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"modelId=m", "application/x-www-form-urlencoded", 415),
    ],
)
def test_a_body_without_selections_is_refused(client: httpx.Client, content: bytes, kind: str, status: int) -> None:
    answer = client.post("/selections", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_a_body_without_an_end_is_refused_at_its_limit(sqlite_engine: Engine, tmp_path: Path) -> None:
    """It announces no length, and is refused after 16 MB of the 64 that it would have."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b" " * 1024 * 1024

    with serving(app_context(sqlite_engine, tmp_path)) as client:
        kind = {"Content-Type": "application/json"} | bearing(WRITER)
        assert client.post("/selections", content=endless(), headers=kind).status_code == 413
        assert client.post("/selections", content=b" " * 17 * 1024 * 1024, headers=kind).status_code == 413
    assert sent < 64


@pytest.mark.parametrize(("token", "length", "status"), [("wrong", 8, 401), (READER, 8, 403), (WRITER, 20, 413)])
def test_a_client_that_sends_all_before_reading_gets_the_reason_for_the_refusal(
    sqlite_engine: Engine, tmp_path: Path, token: str, length: int, status: int
) -> None:
    """The connection is not reset meanwhile, although the server needs none of the many MB of the body."""
    body = b" " * length * 1024 * 1024
    head = f"POST /selections HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with listening(app_context(sqlite_engine, tmp_path)) as (address, _):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
            caller.sendall(head.encode() + body)
            assert caller.recv(1_000).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_slow_body_is_cut_off_and_too_many_at_once_get_a_retry_after(sqlite_engine: Engine, tmp_path: Path) -> None:
    with listening(app_context(sqlite_engine, tmp_path)) as (address, server):
        intake = server.config.app.state.intake  # type: ignore[union-attr]
        intake.most_at_once, intake.body_timeout_s = 1, 2.0
        head = f"POST /selections HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {WRITER}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30) as slow:
            slow.sendall(head.encode())
            # The server asks for the body once it reads it: from then on the only slot is taken.
            assert slow.recv(1_000).startswith(b"HTTP/1.1 100")
            busy = httpx.post(f"{address}/selections", json=FULL, headers=bearing(WRITER))
            assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
            slow.sendall(b"[")
            assert slow.recv(1_000).startswith(b"HTTP/1.1 408")
        assert httpx.post(f"{address}/selections", json=FULL, headers=bearing(WRITER)).status_code == 200


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he"])
def test_a_connection_without_a_request_is_closed(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Nothing at all, half a head, or half a head after an answered request."""
    monkeypatch.setattr(ImpatientProtocol, "head_timeout_s", 0.5)
    with listening(app_context(sqlite_engine, tmp_path)) as (address, _):
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30) as idle:
            idle.sendall(begun)
            received = b"".join(iter(lambda: idle.recv(1_000), b""))
        assert received.startswith(b"HTTP/1.1 200" if b"\r\n\r\n" in begun else b"")
        assert httpx.get(f"{address}/healthz").is_success


def test_an_unreachable_database_is_reported_without_its_address(tmp_path: Path, sqlite_engine: Engine) -> None:
    ctx = app_context(sqlite_engine, tmp_path)
    with serving(ctx) as client:
        assert client.post("/selections", json=FULL, headers=bearing(WRITER)).status_code == 200
        with writing(sqlite_engine) as connection:
            connection.exec_driver_sql("ALTER TABLE selection RENAME TO hidden")
        answer = client.post("/selections", json=FULL, headers=bearing(WRITER))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "sqlite" not in json.dumps(answer.json())
