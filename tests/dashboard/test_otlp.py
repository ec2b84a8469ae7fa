"""Requests of OpenTelemetry's own exporters are stored column by column, once, or refused cleanly."""

from __future__ import annotations

import gzip
import json
import logging
import random
import re
import socket
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from sqlalchemy import Engine, select

from dashboard import otlp
from dashboard.otlp import LARGEST_BODY_BYTES, LARGEST_UNPACKED_BYTES, source_settings
from models.context import AppContext
from models.database import reading, writing
from models.settings import parse_settings
from models.tables import Overhead, Selection, table_of
from routewatch.gate import OUTSIDE_YEARS
from routewatch.quarantine import INTAKE_COUNT
from tasks.sources.otel.conventions import ATTRIBUTES
from tests.support.page_server import READER, WRITER, app_context, bearing, listening
from tests.support.paths import ROOT
from tests.support.spans import CHAT, START_NS, Recorder, body_of, evaluation, request_id
from tests.support.waiting import until

PAGE = (ROOT / "docs" / "sources" / "otel.md").read_text(encoding="utf-8")
SELECTION, OVERHEAD = table_of(Selection), table_of(Overhead)
PROTOBUF = {"Content-Type": "application/x-protobuf"} | bearing(WRITER)
JSON = {"Content-Type": "application/json"} | bearing(WRITER)

SOURCES = {
    "otel": {
        "location": "spans/*.jsonl", "complexityKey": "app.tier", "teamKey": "service.name", "accuracyScore": "Correct",
        "complexityRule": {"moderateFromTokens": 500, "complexFromTokens": 4_000},
    }
}  # fmt: skip


def ctx(engine: Engine, home: Path, *, tokens: bool = True) -> AppContext:
    known = app_context(engine, home) if tokens else app_context(engine, home, tokens=None)
    return AppContext(known.environment, parse_settings({"sources": SOURCES}, "test"))


@pytest.fixture
def address(engine: Engine, tmp_path: Path) -> Iterator[str]:
    with listening(ctx(engine, tmp_path)) as (address, _):
        yield address


@pytest.fixture
def sqlite_address(sqlite_engine: Engine, tmp_path: Path) -> Iterator[str]:
    with listening(ctx(sqlite_engine, tmp_path)) as (address, _):
        yield address


def send(address: str, spans: Sequence[ReadableSpan], **options: Any) -> SpanExportResult:
    exporter = OTLPSpanExporter(f"{address}/v1/traces", headers={"authorization": f"Bearer {WRITER}"}, **options)
    return exporter.export(spans)


def post(address: str, body: bytes, headers: dict[str, str] = PROTOBUF, path: str = "/v1/traces") -> httpx.Response:
    return httpx.post(f"{address}{path}", content=body, headers=headers, timeout=30)


def stored(engine: Engine) -> dict[str, dict[str, Any]]:
    with reading(engine) as connection:
        rows = connection.execute(select(SELECTION)).mappings()
        return {row["request_id"]: {name: row[name] for name in row if name != "id"} for row in rows}


UNKNOWN: dict[str, Any] = {column.name: None for column in SELECTION.columns if column.name != "id"}


def test_what_arrives_is_what_was_sent_column_by_column(engine: Engine, address: str) -> None:
    """A call with every attribute, a failed one, an embedding, one with OpenInference's names, and a minimal one."""
    recorder = Recorder({"service.name": "search"})
    full = recorder.span(
        CHAT | {
            "gen_ai.usage.cost": 0.00042, "app.tier": "gold", "routewatch.cache_hit": False,
            "routewatch.user_satisfaction": 0.5, "routewatch.accuracy": 0.25,
        },
        at_ms=0.25, took_ms=412.5,
    )  # fmt: skip
    failed = recorder.span(CHAT | {"error.type": "429"}, failed=True, took_ms=50)
    embedding = recorder.span({
        "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.usage.input_tokens": 600, "gen_ai.usage.cost": 0.000012,
    })  # fmt: skip
    inferred = recorder.span({
        "openinference.span.kind": "LLM", "llm.model_name": "claude-x", "llm.token_count.prompt": 5_000,
        "llm.token_count.completion": 20, "llm.cost.total": 0.0125,
    }, events=[evaluation("Correct", 1)])  # fmt: skip
    bare = recorder.span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "house-model"})
    assert send(address, recorder.spans) is SpanExportResult.SUCCESS
    at = datetime(2026, 9, 7, 8, tzinfo=UTC)
    common: dict[str, Any] = {"timestamp": at, "error": False, "team": "search", "response_time_ms": 100.0}
    expected: dict[Any, dict[str, Any]] = {
        full: {
            "timestamp": at + timedelta(microseconds=250), "model_id": "gpt-4o-mini-2024-07-18",
            "response_time_ms": 412.5, "cost_usd": 0.00042, "complexity": "gold", "cache_hit": False, "accuracy": 0.25,
            "user_satisfaction": 0.5, "prompt_tokens": 260, "completion_tokens": 110,
        },
        failed: {
            "model_id": "gpt-4o-mini-2024-07-18", "response_time_ms": None, "error": True, "error_type": "429",
            "prompt_tokens": 260, "completion_tokens": 110, "complexity": "simple", "complexity_derived": True,
            "cost_usd": pytest.approx(0.000105), "cost_priced_on": at.date(),
        },
        embedding: {
            "model_id": "text-embedding-3-small", "prompt_tokens": 600, "cost_usd": 0.000012, "complexity": "moderate",
            "complexity_derived": True,
        },
        inferred: {
            "model_id": "claude-x", "prompt_tokens": 5_000, "completion_tokens": 20, "cost_usd": 0.0125,
            "accuracy": 1.0, "complexity": "complex", "complexity_derived": True,
        },
        bare: {"model_id": "house-model"},
    }  # fmt: skip
    assert stored(engine) == {
        request_id(span): UNKNOWN | common | {"request_id": request_id(span)} | said for span, said in expected.items()
    }


def test_a_batching_sdk_sends_a_nested_trace_and_each_call_counts_once(engine: Engine, address: str) -> None:
    """As in an application: nested spans, sent by the batch processor as they end."""
    provider = TracerProvider(resource=Resource({"service.name": "app"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{address}/v1/traces", headers={"authorization": f"Bearer {WRITER}"})
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=3))
    tracer = provider.get_tracer("app")

    def within(*nested: dict[str, Any]) -> None:
        with ExitStack() as spans:
            for attributes in nested:
                spans.enter_context(tracer.start_as_current_span("call", attributes=attributes))

    for number in range(20):
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            within({"routewatch.internal": "classifier"}, CHAT | {"llm.cost.total": 0.001})
            outer, inner = {"app.tier": "gold", "llm.cost.total": 9.0}, {"llm.cost.total": number + 1.0}
            within(CHAT | outer, {"http.request.method": "POST"}, CHAT | inner)
            within({"gen_ai.operation.name": "execute_tool"})
    provider.shutdown()
    rows = stored(engine)
    assert sorted(row["cost_usd"] for row in rows.values()) == [number + 1.0 for number in range(20)]
    assert {row["complexity"] for row in rows.values()} == {"gold"}
    with reading(engine) as connection:
        overhead = connection.execute(select(OVERHEAD.c.kind, OVERHEAD.c.cost_usd, OVERHEAD.c.source)).all()
    assert [tuple(row) for row in overhead] == [("classifier", 0.001, "otel")] * 20


def test_whatever_order_requests_come_in_and_however_often_the_table_is_the_same(engine: Engine, address: str) -> None:
    recorder = Recorder()
    for number in range(30):
        outer = recorder.span(CHAT | {"app.tier": f"t{number % 3}", "llm.cost.total": 5.0}, at_ms=number)
        inner = recorder.span(CHAT | {"llm.cost.total": 1.0}, parent=outer, at_ms=number)
        recorder.span(evaluation("Correct", number / 30), parent=inner)
    chance = random.Random(7)  # noqa: S311 - an order, no secret
    sent = [*recorder.spans, *recorder.spans]
    chance.shuffle(sent)
    for start in range(0, len(sent), 7):
        assert send(address, sent[start : start + 7]) is SpanExportResult.SUCCESS
    rows = stored(engine)
    assert sorted((row["complexity"], row["cost_usd"], row["accuracy"]) for row in rows.values()) == sorted(
        (f"t{number % 3}", 1.0, number / 30) for number in range(30)
    )


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_packed_bodies_are_taken(sqlite_engine: Engine, sqlite_address: str, compression: Compression) -> None:
    recorder = Recorder()
    recorder.span(CHAT | {"gen_ai.input.messages": "word " * 10_000})
    assert send(sqlite_address, recorder.spans, compression=compression) is SpanExportResult.SUCCESS
    assert len(stored(sqlite_engine)) == 1


def test_an_exporter_retries_after_a_retry_after(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is unreachable at its first try, and back at a later one."""
    monkeypatch.setattr("dashboard.problem_details.RETRY_AFTER_S", 1)
    recorder = Recorder()
    recorder.span(CHAT)

    def has_failed() -> bool:
        return any("could not be answered" in record.getMessage() for record in caplog.records)

    with listening(ctx(sqlite_engine, tmp_path)) as (address, _):
        hide(sqlite_engine, "selection", "hidden")
        results: list[SpanExportResult] = []
        sender = threading.Thread(target=lambda: results.append(send(address, recorder.spans, timeout=30)))
        sender.start()
        until(has_failed)
        hide(sqlite_engine, "hidden", "selection")
        sender.join()
    assert results == [SpanExportResult.SUCCESS]
    assert len(stored(sqlite_engine)) == 1


def hide(engine: Engine, name: str, by: str) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {by}")


def test_json_is_answered_in_json_and_protobuf_in_protobuf(sqlite_engine: Engine, sqlite_address: str) -> None:
    recorder = Recorder()
    recorder.span(CHAT)
    recorder.span({"gen_ai.operation.name": "chat"})
    recorder.span(CHAT | {"gen_ai.usage.input_tokens": -1})
    recorder.span(CHAT)
    recorder.span(CHAT)
    request = encode_spans(recorder.spans)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[3].start_time_unix_nano, spans[4].start_time_unix_nano = 0, 7
    reason = f"1 × it has no start; 1 × timestamp {OUTSIDE_YEARS}"
    reported = post(sqlite_address, request.SerializeToString())
    assert (reported.status_code, reported.headers["content-type"]) == (200, "application/x-protobuf")
    answer = ExportTraceServiceResponse.FromString(reported.content).partial_success
    assert (answer.rejected_spans, answer.error_message) == (2, reason)
    reported = post(sqlite_address, json.dumps(MessageToDict(request)).encode(), JSON)
    assert (reported.status_code, reported.headers["content-type"]) == (200, "application/json")
    assert reported.json() == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": reason}}
    assert len(stored(sqlite_engine)) == 3


def test_what_became_of_spans_is_counted_for_prometheus(sqlite_address: str) -> None:
    recorder = Recorder()
    for attributes in (CHAT, CHAT, CHAT | {"routewatch.internal": True}, {}, {"gen_ai.operation.name": "chat"}):
        recorder.span(attributes)
    send(sqlite_address, recorder.spans)
    reported = httpx.get(f"{sqlite_address}/metrics", headers=bearing(READER)).text
    for status, count in (("stored", 3), ("overhead", 1), ("left out", 1), ("rejected", 0)):
        assert f'routewatch_spans_received_total{{status="{status}"}} {count}.0' in reported


@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_an_empty_request_is_a_success(sqlite_address: str, headers: dict[str, str]) -> None:
    reported = post(sqlite_address, b"{}" if headers is JSON else b"", headers)
    assert (reported.status_code, reported.content) == (200, b"{}" if headers is JSON else b"")


BOMB = gzip.compress(b"\0" * (LARGEST_UNPACKED_BYTES + 1), mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "codes"),
    [
        (b"nonsense", {}, (400, 3)),
        (b"\x0a\xff\xff\xff\xff\x0f", {}, (400, 3)),
        (b"{", {"Content-Type": "application/json"}, (400, 3)),
        (b"[]", {"Content-Type": "application/json"}, (400, 3)),
        (b'{"resourceSpans": 7}', {"Content-Type": "application/json"}, (400, 3)),
        (b"[" * 100_000, {"Content-Type": "application/json"}, (400, 3)),
        (b"no gzip", {"Content-Encoding": "gzip"}, (400, 3)),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], {"Content-Encoding": "gzip"}, (400, 3)),
        (zlib.compress(b""), {"Content-Encoding": "br"}, (415, 3)),
        (b"", {"Content-Type": "text/plain"}, (415, 3)),
        (BOMB, {"Content-Encoding": "gzip"}, (413, 3)),
        (gzip.compress(b"", mtime=0) * 100_000, {"Content-Encoding": "gzip"}, (413, 3)),
        (b"\0" * (LARGEST_BODY_BYTES + 1), {}, (413, 3)),
        (b"\x0a\x84\x80\x08\x12\x80\x80\x08" + b"\x12\x00" * 65_536, {}, (413, 3)),
        (b"", {"Authorization": "Bearer wrong"}, (401, 16)),
        (b"", {"Authorization": ""}, (401, 16)),
        (b"", bearing(READER), (403, 7)),
        (b"", {"Host": "evil.example"}, (421, 3)),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_status_that_exporters_read(
    sqlite_engine: Engine, sqlite_address: str, body: bytes, headers: dict[str, str], codes: tuple[int, int]
) -> None:
    status, code = codes
    reported = post(sqlite_address, body, PROTOBUF | headers)
    assert reported.status_code == status, reported.content
    if (PROTOBUF | headers)["Content-Type"] == "application/x-protobuf":
        assert reported.headers["content-type"] == "application/x-protobuf"
        assert (Status.FromString(reported.content).code, bool(Status.FromString(reported.content).message)) == (
            code,
            True,
        )
    else:
        assert reported.headers["content-type"] == "application/json"
        assert reported.json()["code"] == code
    assert stored(sqlite_engine) == {}
    # The server is as it was.
    recorder = Recorder()
    recorder.span(CHAT)
    assert post(sqlite_address, body_of(recorder.spans)).status_code == 200


def test_an_exporter_with_a_wrong_token_is_rejected_and_does_not_retry(
    sqlite_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    recorder.span(CHAT)
    exporter = OTLPSpanExporter(f"{sqlite_address}/v1/traces", headers={"authorization": "Bearer wrong"})
    with caplog.at_level(logging.ERROR):
        assert exporter.export(recorder.spans) is SpanExportResult.FAILURE
    assert "401" in caplog.text


def test_a_slow_body_is_cut_off_and_too_many_at_once_get_a_retry_after(sqlite_engine: Engine, tmp_path: Path) -> None:
    with listening(ctx(sqlite_engine, tmp_path)) as (address, server):
        intake = server.config.app.state.span_intake  # type: ignore[union-attr]
        intake.most_at_once, intake.body_timeout_s = 1, 1.0
        head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {WRITER}\r\n"
        head += "Content-Type: application/x-protobuf\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30) as slow:
            slow.sendall(head.encode())
            # The server asks for the body once it reads it: from then on the only slot is taken.
            assert slow.recv(1_000).startswith(b"HTTP/1.1 100")
            busy = post(address, b"")
            assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
            assert Status.FromString(busy.content).code == 8
            slow.sendall(b"\x0a")
            assert slow.recv(1_000).startswith(b"HTTP/1.1 408")
        assert post(address, b"").status_code == 200


def test_an_unreachable_database_is_reported_without_its_address_and_loses_nothing(
    sqlite_engine: Engine, sqlite_address: str
) -> None:
    """Nor is what the unstored spans would have added to an earlier stored one."""
    recorder = Recorder()
    outer = recorder.span(CHAT | {"app.tier": "gold"})
    recorder.span(CHAT, parent=outer)
    later, first = (body_of([span]) for span in recorder.spans)
    assert post(sqlite_address, first).status_code == 200
    hide(sqlite_engine, "selection", "hidden")
    reported = post(sqlite_address, later)
    assert (reported.status_code, reported.headers["retry-after"], Status.FromString(reported.content).code) == (
        503,
        "5",
        14,
    )
    assert b"sqlite" not in reported.content
    hide(sqlite_engine, "hidden", "selection")
    assert post(sqlite_address, later).status_code == 200
    assert [row["complexity"] for row in stored(sqlite_engine).values()] == ["gold"]


def test_without_tokens_this_machine_alone_may_send(sqlite_engine: Engine, tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.span(CHAT)
    kind = {"Content-Type": "application/x-protobuf"}
    with listening(ctx(sqlite_engine, tmp_path, tokens=False)) as (address, _):
        assert post(address, body_of(recorder.spans), kind).status_code == 200
        assert post(address, b"", kind | {"Origin": "https://evil.example"}).status_code == 403
    assert len(stored(sqlite_engine)) == 1


def test_evaluations_come_as_log_records_too(sqlite_engine: Engine, sqlite_address: str) -> None:
    """Of a stored call, by its span; and of a later one, by its response id."""
    recorder = Recorder()
    first = recorder.span(CHAT)
    later = recorder.span(CHAT | {"gen_ai.response.id": "r1"})
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for value, by in ((0.25, first), (0.5, None)):
        record = records.add(time_unix_nano=START_NS, event_name="gen_ai.evaluation.result")
        for key in ("gen_ai.evaluation.name", "gen_ai.response.id"):
            if key == "gen_ai.evaluation.name" or by is None:
                said = record.attributes.add(key=key).value
                said.string_value = "Correct" if key == "gen_ai.evaluation.name" else "r1"
        record.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = value
        if by is not None:
            context = by.get_span_context()
            record.trace_id, record.span_id = context.trace_id.to_bytes(16), context.span_id.to_bytes(8)
    post(sqlite_address, body_of(recorder.spans[:1]))
    assert post(sqlite_address, request.SerializeToString(), path="/v1/logs").status_code == 200
    post(sqlite_address, body_of(recorder.spans[1:]))
    rows = stored(sqlite_engine)
    assert (rows[request_id(first)]["accuracy"], rows[request_id(later)]["accuracy"]) == (0.25, 0.5)


def test_after_a_restart_a_retry_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    recorder = Recorder()
    call = recorder.span(CHAT | {"llm.cost.total": 1.0})
    tables = []
    for _ in range(2):
        with listening(ctx(engine, tmp_path)) as (address, _server):
            assert send(address, recorder.spans) is SpanExportResult.SUCCESS
        tables.append(stored(engine))
    assert tables[0] == tables[1]
    assert list(tables[0]) == [request_id(call)]


def test_a_source_of_this_kind_uses_its_settings_or_needs_none() -> None:
    assert source_settings(parse_settings({}, "test")).complexity_key is None
    named = {"traces": {"kind": "otel", "location": "x", "complexityKey": "tier"}}
    assert source_settings(parse_settings({"sources": named}, "test")).complexity_key == "tier"
    assert source_settings(parse_settings({"sources": named | SOURCES}, "test")).complexity_key == "app.tier"
    assert otlp.NAME == "otel"


def test_an_sdk_that_is_set_up_as_documented_is_heard(
    sqlite_engine: Engine, sqlite_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in re.findall(r'export (OTEL_\w+)="?(.*?)"?\n', PAGE):
        there = value.replace("https://routewatch.example.org", sqlite_address)
        monkeypatch.setenv(name, there.replace("$ROUTEWATCH_TOKEN", WRITER))
    recorder = Recorder()
    recorder.span(CHAT)
    assert OTLPSpanExporter().export(recorder.spans) is SpanExportResult.SUCCESS
    assert len(stored(sqlite_engine)) == 1


def test_every_attribute_that_is_read_is_documented_and_the_examples_are_sound() -> None:
    assert {name for name in ATTRIBUTES if f"`{name}`" not in PAGE} == set()
    shown = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    assert source_settings(parse_settings(shown, "docs")).team_key == "service.name"
    collector = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    pipeline = collector["service"]["pipelines"]["traces/routewatch"]
    assert set(pipeline["processors"]) <= set(collector["processors"])
    assert set(pipeline["exporters"]) <= set(collector["exporters"])


def test_failed_calls_among_rejected_spans_are_counted_as_such(sqlite_engine: Engine, sqlite_address: str) -> None:
    """Else a report would show only the calls that succeeded."""
    attributes = [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
    ]
    starts = ("0", "0", str(18 * 10**18), "0")
    spans = [
        {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "startTimeUnixNano": start,
         "status": {"code": 2 * (number != 4)}, "attributes": attributes}
        for number, start in enumerate(starts, 1)
    ]  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    answer = post(sqlite_address, body.encode(), JSON)
    assert answer.json()["partialSuccess"]["rejectedSpans"] == str(len(spans))
    with reading(sqlite_engine) as connection:
        counted = connection.execute(select(INTAKE_COUNT.c.rows, INTAKE_COUNT.c.errors)).all()
    assert (sum(it.rows for it in counted), sum(it.errors for it in counted)) == (4, 3)
