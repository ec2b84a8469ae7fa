"""Spans become selections: field by field, once each however they arrive, and from files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from openinference.instrumentation import TracerProvider as OpenInferenceProvider
from openinference.instrumentation import get_llm_token_count_attributes, using_attributes
from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine, select

from models.database import reading, writing
from models.period import Level
from models.settings import SourceSettings
from models.tables import Overhead, Rollup, Selection, table_of
from tasks.ingestion.pull import cursor_of, pull
from tasks.ingestion.source import Batch
from tasks.ingestion.store_batch import prepare, store
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.rebuild import rebuild_changed_hours
from tasks.rollups.update import update_rollups
from tasks.sources.otel.otlp import Signal, from_json, from_protobuf
from tasks.sources.otel.source import OTel
from tasks.sources.otel.spans import SpanReader
from tasks.sources.otel.traces import MOST_SCORES_OF_CALL, WRAPS, Traces
from tasks.sources.otel.wire import DecodingBudget
from tests.support.spans import CHAT, START_NS, Recorder, body_of, evaluation, request_id

SETTINGS = SourceSettings(
    location="here", accuracy_score="Correct", satisfaction_score="Liked", team_key="service.name"
)
NOW = datetime(2026, 9, 7, 9, tzinfo=UTC)
SELECTION, OVERHEAD, ROLLUP = table_of(Selection), table_of(Overhead), table_of(Rollup)


class Shelf:
    """What would be stored, as in the database: NULL leaves the old value, and a retracted selection is gone."""

    def __init__(self, source: SourceSettings = SETTINGS, **limits: int) -> None:
        self.reader, self.traces = SpanReader(source), Traces(**limits)
        self.selections: dict[str, dict[str, Any]] = {}
        self.overhead: dict[str, dict[str, Any]] = {}

    def take(self, spans: Sequence[ReadableSpan]) -> Batch:
        return self.take_request(body_of(spans))

    def take_request(self, body: bytes) -> Batch:
        finished = self.traces.add(self.reader.spans(from_protobuf(Signal.TRACES, body, self.reader.wants)))
        batch = finished.batch
        for gone in batch.retracted:
            self.selections.pop(gone, None)
            self.overhead.pop(gone, None)
        for rows, place in ((batch.selections, self.selections), (batch.overhead, self.overhead)):
            for row in rows.to_dicts():
                place.setdefault(row["request_id"], {}).update({k: v for k, v in row.items() if v is not None})
        for row in batch.amendments.to_dicts():
            if row["request_id"] in self.selections:
                self.selections[row["request_id"]].update({k: v for k, v in row.items() if v is not None})
        self.traces.confirm(finished)
        return batch


def only(spans: Sequence[ReadableSpan], source: SourceSettings = SETTINGS) -> dict[str, Any]:
    shelf = Shelf(source)
    shelf.take(spans)
    (selection,) = shelf.selections.values()
    return selection


# --- what a span says ---------------------------------------------------------------------------------------------


def test_a_call_by_the_standards_names_is_read_column_by_column() -> None:
    recorder = Recorder()
    call = recorder.span(
        CHAT | {
            "gen_ai.response.id": "chatcmpl-1", "gen_ai.usage.cache_read.input_tokens": 40, "gen_ai.usage.cost": 0.0004,
            "routewatch.complexity": "simple", "routewatch.cache_hit": False, "routewatch.accuracy": 0.5,
            "routewatch.user_satisfaction": 1, "routewatch.team": "search", "routewatch.experiment": "rollout-12",
            "routewatch.arm": "candidate", "routewatch.unit_bucket": 0,
        },
        took_ms=412.5,
    )  # fmt: skip
    assert only(recorder.spans, SourceSettings(location="here")) == {
        "request_id": request_id(call), "timestamp": datetime(2026, 9, 7, 8, tzinfo=UTC),
        "model_id": "gpt-4o-mini-2024-07-18", "response_time_ms": "412.5", "complexity": "simple",
        "cost_usd": "0.0004", "cache_hit": "False", "accuracy": "0.5", "user_satisfaction": "1", "error": "False",
        "prompt_tokens": "260", "completion_tokens": "110", "team": "search", "provider": "openai",
        "cache_read_tokens": 40, "experiment": "rollout-12", "arm": "candidate", "unit_bucket": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "column", "value"),
    [
        ({"gen_ai.response.model": ""}, "model_id", "gpt-4o-mini"),
        ({"llm.response.model_name": "served", "gen_ai.response.model": ""}, "model_id", "served"),
        ({"gen_ai.usage.input_tokens": "", "gen_ai.usage.prompt_tokens": 7}, "prompt_tokens", "7"),
        ({"gen_ai.usage.output_tokens": "", "gen_ai.usage.completion_tokens": 7}, "completion_tokens", "7"),
        ({"gen_ai.provider.name": "", "gen_ai.system": "anthropic"}, "provider", "anthropic"),
        ({"llm.cost.total": 0.25, "gen_ai.usage.cost": 9.0}, "cost_usd", "0.25"),
        ({"llm.cost.prompt": 0.25, "llm.cost.completion": 0.5}, "cost_usd", "0.75"),
        ({"gen_ai.usage.cost.amount": 0.25, "gen_ai.usage.cost.currency": "USD"}, "cost_usd", "0.25"),
        ({"gen_ai.usage.cost.amount": 0.25, "gen_ai.usage.cost.currency": "EUR"}, "cost_usd", None),
        ({"llm.cost.prompt": 0.25}, "cost_usd", None),
        ({"gen_ai.cost.total_cost": 0.25}, "cost_usd", "0.25"),
        ({"operation.cost": 0.25}, "cost_usd", "0.25"),
        ({"gen_ai.usage.cost": 0.0}, "cost_usd", None),
        ({"gen_ai.usage.cost": 0.0, "routewatch.cache_hit": True}, "cost_usd", "0.0"),
        ({"gen_ai.usage.cost": 0.0, "error.type": "timeout"}, "cost_usd", "0.0"),
        ({"gen_ai.usage.cache_creation.input_tokens": 3}, "cache_write_tokens", 3),
        ({"gen_ai.usage.cache_read.input_tokens": 5_000}, "prompt_tokens", "5260"),
        ({"gen_ai.usage.cache_read.input_tokens": 5_000}, "cache_hit", None),
        ({"error.type": "timeout"}, "response_time_ms", None),
        ({"error.type": "timeout"}, "error_type", "timeout"),
        ({"error.type": "x" * 300}, "error_type", "x" * 200),
        ({}, "team", "router"),
        ({"service.name": "own"}, "team", "own"),
        ({"gen_ai.operation.name": "text_completion"}, "error", "False"),
        ({"gen_ai.operation.name": "generate_content"}, "error", "False"),
        ({"gen_ai.operation.name": "embeddings"}, "error", "False"),
        ({"gen_ai.operation.name": "", "llm.request.type": "chat"}, "error", "False"),
    ],
)
def test_each_convention_has_its_names(attributes: dict[str, Any], column: str, value: Any) -> None:
    recorder = Recorder()
    recorder.span({name: said for name, said in (CHAT | attributes).items() if said != ""})
    assert only(recorder.spans).get(column) == value


def test_a_cost_of_zero_is_one_where_the_settings_say_so() -> None:
    recorder = Recorder()
    recorder.span(CHAT | {"gen_ai.usage.cost": 0})
    assert only(recorder.spans, SourceSettings(location="here", zero_is_free=True))["cost_usd"] == "0"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"gen_ai.operation.name": "invoke_agent"}, "an agent's span"),
        ({"gen_ai.operation.name": "execute_tool"}, "a tool's span"),
        ({"gen_ai.operation.name": "retrieval"}, "a retrieval"),
        ({"gen_ai.operation.name": "search_memory"}, "another operation"),
        ({"openinference.span.kind": "CHAIN"}, "a chain's span"),
        ({"openinference.span.kind": "RERANKER"}, "a reranking"),
        ({"traceloop.span.kind": "workflow"}, "a workflow's span"),
        ({"http.request.method": "GET"}, "not a model call"),
        ({}, "not a model call"),
    ],
)
def test_spans_that_are_no_model_call_are_skipped_by_reason(attributes: dict[str, Any], reason: str) -> None:
    recorder, shelf = Recorder(), Shelf()
    recorder.span(attributes)
    batch = shelf.take(recorder.spans)
    assert (dict(batch.skipped), dict(batch.rejected), shelf.selections) == ({reason: 1}, {}, {})


def test_openinferences_own_instrumentation_is_read() -> None:
    """Its spans are made by its own tracer and helpers, under its own names."""
    memory = InMemorySpanExporter()
    provider = OpenInferenceProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests")
    kinds, names = OpenInferenceSpanKindValues, SpanAttributes
    usage = get_llm_token_count_attributes({
        "prompt": 500, "completion": 20, "total": 520, "prompt_details": {"cache_read": 90, "cache_write": 10},
    })  # fmt: skip
    with (
        using_attributes(user_id="somebody", metadata={"tier": "gold"}),
        tracer.start_as_current_span("agent", openinference_span_kind="agent"),
        tracer.start_as_current_span("answer", openinference_span_kind="llm") as span,
    ):
        span.set_attributes({
            names.LLM_MODEL_NAME: "claude-sonnet", names.LLM_PROVIDER: "anthropic", names.LLM_COST_TOTAL: 0.0125,
            "annotations.0.annotation.name": "Liked", "annotations.0.annotation.score": 1,
            "evaluations.0.evaluation.name": "Correct", "evaluations.0.evaluation.score": 0.75,
            "evaluations.1.evaluation.name": "Polite", "evaluations.1.evaluation.score": 0.1,
        })  # fmt: skip
        span.set_attributes(usage)
    with tracer.start_as_current_span("embed", openinference_span_kind="embedding") as span:
        span.set_attribute(names.EMBEDDING_MODEL_NAME, "text-embedding-3-small")
    shelf = Shelf()
    batch = shelf.take(memory.get_finished_spans())
    answer, embedding = sorted(shelf.selections.values(), key=lambda selection: str(selection["model_id"]))
    found = {name: answer.get(name) for name in (
        "model_id", "provider", "cost_usd", "prompt_tokens", "completion_tokens", "cache_read_tokens",
        "cache_write_tokens", "accuracy", "user_satisfaction", "cache_hit",
    )}  # fmt: skip
    assert list(found.values()) == [
        "claude-sonnet", "anthropic", "0.0125", "500", "20", 90, 10, 0.75, 1.0, None,
    ]  # fmt: skip
    assert embedding["model_id"] == "text-embedding-3-small"
    assert dict(batch.skipped) == {"an agent's span": 1}
    assert kinds.LLM.value == "LLM"


def test_a_failed_call_has_no_response_time_and_its_exceptions_type() -> None:
    recorder = Recorder()
    recorder.span({**CHAT, "gen_ai.response.model": "m"}, failed=True, thrown=TimeoutError("after 30 s"))
    selection = only(recorder.spans)
    assert (selection["error"], selection["error_type"], selection.get("response_time_ms")) == (
        "True",
        "TimeoutError",
        None,
    )


def test_odd_spans_are_counted_by_reason() -> None:
    recorder, shelf = Recorder(), Shelf()
    for took_ms in (-1, 0, 5):
        recorder.span(CHAT, took_ms=took_ms)
    recorder.span({"gen_ai.operation.name": "chat"})
    request = encode_spans(recorder.spans)
    spans: Any = request.resource_spans[0].scope_spans[0].spans
    for changes in ({"start_time_unix_nano": 0}, {"end_time_unix_nano": 0}, {"trace_id": b""}, {"span_id": b"\0" * 8}):
        odd = spans.add()
        odd.CopyFrom(spans[2])
        odd.span_id = bytes([len(spans)]) * 8
        for name, value in changes.items():
            setattr(odd, name, value)
    batch = shelf.take_request(request.SerializeToString())
    assert dict(batch.rejected) == {
        "it has no start": 1, "its trace id or span id is empty": 2,
    }  # fmt: skip
    found = list(shelf.selections.values())
    assert [selection.get("response_time_ms") for selection in found].count(None) == 1
    assert [selection.get("model_id") for selection in found].count(None) == 1
    assert not any(batch.rejected_errors.values())
    assert {"-1.0", "0.0", "5.0"} < {selection.get("response_time_ms") for selection in found}


def test_spans_that_are_rejected_say_whether_they_were_failed_calls() -> None:
    recorder = Recorder()
    recorder.span(CHAT, failed=True)
    recorder.span({**CHAT, "error.type": "timeout"})
    recorder.span(CHAT)
    recorder.span({"db.system": "sqlite"}, failed=True)
    request = encode_spans(recorder.spans)
    for scope in request.resource_spans[0].scope_spans:
        for number, span in enumerate(scope.spans):
            span.start_time_unix_nano, span.span_id = (0, span.span_id) if number else (1, b"")
    batch = Shelf().take_request(request.SerializeToString())
    assert dict(batch.rejected) == {"it has no start": 2, "its trace id or span id is empty": 1}
    assert dict(batch.rejected_errors) == {"it has no start": 1, "its trace id or span id is empty": 1}


def test_values_that_no_column_takes_become_unknown_one_by_one(sqlite_engine: Engine) -> None:
    recorder, shelf = Recorder(), Shelf()
    for attributes in (
        {"gen_ai.usage.input_tokens": -1}, {"gen_ai.usage.input_tokens": "many"}, {"llm.cost.total": float("nan")},
        {"routewatch.accuracy": 80}, {"gen_ai.response.model": "m" * 201}, {"service.name": "a\0b"}, {},
    ):  # fmt: skip
        recorder.span(CHAT | attributes)
    with writing(sqlite_engine) as connection:
        stats = store(connection, prepare(shelf.take(recorder.spans), "otel", None))
    assert (stats.read, stats.added, stats.rejected.total(), stats.unknown.total()) == (7, 7, 0, 6)


# --- calls in calls -----------------------------------------------------------------------------------------------


def test_of_a_call_that_two_instrumentations_saw_one_counts_with_what_both_know() -> None:
    recorder, shelf = Recorder(), Shelf()
    outer = recorder.span(CHAT | {"llm.cost.total": 5.0, "routewatch.complexity": "complex", "routewatch.cache_hit": 0})
    middle = recorder.span({"http.request.method": "POST"}, parent=outer)
    inner = recorder.span(CHAT | {"llm.cost.total": 4.0}, parent=middle, took_ms=90)
    batch = shelf.take(recorder.spans)
    assert list(shelf.selections) == [request_id(inner)]
    selection = shelf.selections[request_id(inner)]
    assert (selection["cost_usd"], selection["response_time_ms"], selection["complexity"], selection["cache_hit"]) == (
        "4.0", "90.0", "complex", "0",
    )  # fmt: skip
    assert batch.skipped[WRAPS] == 1


def test_a_call_within_a_tool_or_of_another_kind_is_another_call() -> None:
    recorder, shelf = Recorder(), Shelf()
    outer = recorder.span(CHAT)
    tool = recorder.span({"gen_ai.operation.name": "execute_tool"}, parent=outer)
    recorder.span(CHAT, parent=tool)
    recorder.span(CHAT | {"gen_ai.operation.name": "embeddings"}, parent=outer)
    shelf.take(recorder.spans)
    assert len(shelf.selections) == 3


def test_calls_below_a_span_that_says_an_arm_are_of_that_arm() -> None:
    """The route's span says it, so that a call that failed and the fallback after it are both in it."""
    recorder = Recorder()
    route = recorder.span({
        "routewatch.experiment": "rollout-12", "routewatch.arm": "candidate", "routewatch.unit_bucket": 63,
    })  # fmt: skip
    recorder.span(CHAT | {"error.type": "timeout"}, parent=route)
    recorder.span(CHAT | {"gen_ai.response.model": "fallback"}, parent=route)
    shelf = Shelf(SourceSettings(location="here"))
    shelf.take(recorder.spans)
    found = [(row["experiment"], row["arm"], row["unit_bucket"]) for row in shelf.selections.values()]
    assert found == [("rollout-12", "candidate", "63")] * 2


def test_an_agents_calls_count_and_the_agent_does_not() -> None:
    recorder, shelf = Recorder(), Shelf()
    agent = recorder.span({"gen_ai.operation.name": "invoke_agent", "routewatch.team": "ops", **CHAT} | {
        "gen_ai.operation.name": "invoke_agent", "llm.cost.total": 9.0
    })  # fmt: skip
    for cost in (1.0, 2.0):
        recorder.span(CHAT | {"llm.cost.total": cost}, parent=agent)
    shelf = Shelf(SourceSettings(location="here"))
    batch = shelf.take(recorder.spans)
    assert sorted(selection["cost_usd"] for selection in shelf.selections.values()) == ["1.0", "2.0"]
    assert {selection["team"] for selection in shelf.selections.values()} == {"ops"}
    assert dict(batch.skipped) == {"an agent's span": 1}


@pytest.mark.parametrize(("said", "kind"), [(True, "classifier"), ("guard", "guard"), (False, None), ("no", None)])
def test_the_routers_own_calls_are_overhead(said: str | bool, kind: str | None) -> None:
    """Also where the span around the call says so."""
    recorder, shelf = Recorder(), Shelf()
    outer = recorder.span({"routewatch.internal": said})
    recorder.span(CHAT | {"llm.cost.total": 0.5}, parent=outer)
    shelf.take(recorder.spans)
    assert [row["kind"] for row in shelf.overhead.values()] == ([] if kind is None else [kind])
    assert len(shelf.selections) == (kind is None)


def test_a_call_that_wraps_itself_in_a_ring_breaks_nothing() -> None:
    recorder, shelf = Recorder(), Shelf()
    for _ in range(2):
        recorder.span(CHAT)
    request = encode_spans(recorder.spans)
    one, other = request.resource_spans[0].scope_spans[0].spans
    other.trace_id = one.trace_id
    one.parent_span_id, other.parent_span_id = other.span_id, one.span_id
    assert shelf.take_request(request.SerializeToString()).skipped[WRAPS] == 2


# --- evaluations --------------------------------------------------------------------------------------------------


def test_an_evaluation_is_joined_by_its_span_its_links_or_the_response_id() -> None:
    recorder, shelf = Recorder(), Shelf()
    calls = [recorder.span(CHAT | {"gen_ai.response.id": f"r{number}"}) for number in range(4)]
    recorder.span(evaluation("Correct", 0.1), parent=calls[0])
    recorder.span(evaluation("Correct", 0.2), links=[calls[1]])
    recorder.span(evaluation("Correct", 0.3, {"gen_ai.response.id": "r2"}))
    recorder.span({}, events=[evaluation("Liked", 0.4, {"gen_ai.response.id": "r3"})])
    recorder.span(evaluation("Polite", 0.9), parent=calls[3])
    shelf.take(recorder.spans)
    selections = [shelf.selections[request_id(call)] for call in calls]
    assert [selection.get("accuracy") for selection in selections] == [0.1, 0.2, 0.3, None]
    assert selections[3]["user_satisfaction"] == 0.4


def test_of_several_evaluations_the_newest_holds_and_a_label_can_stand_for_a_score() -> None:
    recorder = Recorder()
    events = [evaluation("Correct", 0.9), evaluation("Correct", 0.2), evaluation("Polite", 1)]
    recorder.span(CHAT, events=[*events, evaluation("Liked", None, {"gen_ai.evaluation.score.label": "Pass"})])
    assert (only(recorder.spans)["accuracy"], only(recorder.spans)["user_satisfaction"]) == (0.2, 1.0)


def test_a_scores_scale_is_given_by_a_mapping_and_a_score_outside_it_is_refused(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "map.toml").write_text('[columns]\naccuracy = { from = "Correct", minimum = 1, maximum = 5 }\n')
    recorder, shelf = Recorder(), Shelf(SourceSettings(location="here", mapping=tmp_path / "map.toml"))
    for score in (1, 4, 0.5, "five"):
        recorder.span(CHAT, events=[{**evaluation("Correct"), "gen_ai.evaluation.score.value": score}])
    with writing(sqlite_engine) as connection:
        stats = store(connection, prepare(shelf.take(recorder.spans), "otel", None))
    with reading(sqlite_engine) as connection:
        stored = connection.scalars(select(SELECTION.c.accuracy).order_by(SELECTION.c.request_id)).all()
    assert stored == [0.0, 0.75, None, None]
    assert dict(stats.rejected) == {"a score outside 0 to 1": 2}


def test_an_evaluation_of_a_call_that_is_no_longer_remembered_reaches_what_is_stored(engine: Engine) -> None:
    recorder, earlier, later = Recorder(), Shelf(), Shelf()
    call = recorder.span(CHAT)
    recorder.span(evaluation("Correct", 0.75), parent=call)
    for shelf, span in ((earlier, recorder.spans[0]), (later, recorder.spans[1])):
        with writing(engine) as connection:
            store(connection, prepare(shelf.take([span]), "otel", None))
    with reading(engine) as connection:
        stored = connection.execute(select(SELECTION.c.request_id, SELECTION.c.accuracy)).one()
    assert tuple(stored) == (request_id(call), 0.75)


# --- whatever order, and however often ----------------------------------------------------------------------------

KINDS: tuple[dict[str, Any], ...] = (
    CHAT | {"routewatch.complexity": "complex"}, {**CHAT, "llm.cost.total": 1.0}, {"http.route": "/"},
    {"gen_ai.operation.name": "invoke_agent", "routewatch.team": "ops"}, {"routewatch.internal": "classifier"},
    CHAT | {"gen_ai.operation.name": "embeddings"}, evaluation("Correct", 0.25), {"gen_ai.operation.name": "chat"},
)  # fmt: skip


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[ReadableSpan], list[list[ReadableSpan]]]:
    """Spans of a trace or two, and a way of sending them: in any parts and order, some of them again."""
    recorder = Recorder()
    made: list[Any] = []
    for number in range(draw(st.integers(1, 8))):
        parent = draw(st.sampled_from([None, *made])) if made else None
        kind = draw(st.sampled_from(KINDS))
        made.append(recorder.span(kind, parent=parent, at_ms=number, took_ms=100 - number))
    spans = list(recorder.spans)
    sent = draw(st.permutations([*spans, *draw(st.lists(st.sampled_from(spans), max_size=4))]))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(sent) - 1)), max_size=4)))
    parts = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    return spans, [part for part in parts if part]


def innermost(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """The calls that wrap none of their kind, found from below."""
    by_id = {span.get_span_context().span_id: span for span in spans}  # type: ignore[union-attr]

    def kind(span: ReadableSpan) -> str:
        said = span.attributes or {}
        operation = str(said.get("gen_ai.operation.name", ""))
        if operation in ("chat", "embeddings"):
            return operation
        return "step" if operation or "gen_ai.evaluation.name" in said else "nothing"

    wrapping = set()
    for span in spans:
        above = span.parent
        while above is not None and kind(by_id[above.span_id]) == "nothing":
            above = by_id[above.span_id].parent
        if above is not None and kind(by_id[above.span_id]) == kind(span):
            wrapping.add(above.span_id)
    calls = [span for span in spans if kind(span) in ("chat", "embeddings")]
    return [it for it in calls if it.get_span_context().span_id not in wrapping]  # type: ignore[union-attr]


@settings(max_examples=150, deadline=None)
@given(deliveries())
def test_any_order_parts_and_repetition_of_spans_make_the_same_selections(
    delivery: tuple[list[ReadableSpan], list[list[ReadableSpan]]],
) -> None:
    spans, parts = delivery
    whole, piecemeal = Shelf(), Shelf()
    whole.take(spans)
    assert {*whole.selections, *whole.overhead} == {request_id(span) for span in innermost(spans)}
    for part in parts:
        read = piecemeal.take(part)
        assert len(part) <= (
            read.selections.height + read.overhead.height + sum(read.skipped.values()) + sum(read.rejected.values())
        )
    assert piecemeal.selections == whole.selections
    assert piecemeal.overhead == whole.overhead


def test_a_batch_that_was_not_stored_is_given_again(sqlite_engine: Engine) -> None:
    """Nothing was confirmed: neither the added selections, nor additions to earlier spans."""
    recorder, reader, traces = Recorder(), SpanReader(SETTINGS), Traces()
    outer = recorder.span({"routewatch.complexity": "complex"})
    recorder.span(CHAT, parent=outer)
    early, late = (body_of([span]) for span in reversed(recorder.spans))
    for body, is_stored in ((early, True), (late, False), (late, True)):
        finished = traces.add(reader.spans(from_protobuf(Signal.TRACES, body, reader.wants)))
        if is_stored:
            with writing(sqlite_engine) as connection:
                store(connection, prepare(finished.batch, "otel", None))
            traces.confirm(finished)
    with reading(sqlite_engine) as connection:
        assert connection.scalars(select(SELECTION.c.complexity)).all() == ["complex"]


def test_what_is_remembered_has_a_bound() -> None:
    """A call that comes after too many others is counted separately; nothing is lost."""
    recorder, shelf = Recorder(), Shelf(most_spans=10, most_of_trace=5)
    outer = recorder.span(CHAT)
    for _ in range(40):
        recorder.span(CHAT, parent=outer)
    for _ in range(40):
        recorder.span(CHAT)
    for span in recorder.spans:
        shelf.take([span])
    assert len(shelf.selections) == 80
    assert 0 < shelf.traces.span_count <= 10


def test_evaluations_without_end_are_not_all_remembered() -> None:
    recorder, shelf = Recorder(), Shelf()
    call = recorder.span(CHAT)
    for number in range(100):
        recorder.span(evaluation("Correct", 0.5, {"gen_ai.response.id": f"r{number}"}), links=[call])
    shelf.take(recorder.spans)
    assert 0 < shelf.traces.most_scores <= MOST_SCORES_OF_CALL


def test_a_retracted_selection_is_removed_from_the_rollups(engine: Engine) -> None:
    """The wrapping call came first: it was stored, rolled up, and then the inner call arrived."""
    recorder, shelf = Recorder(), Shelf()
    outer = recorder.span(CHAT | {"llm.cost.total": 5.0})
    inner = recorder.span(CHAT | {"llm.cost.total": 4.0}, parent=outer, at_ms=3_600_000)
    for span in recorder.spans:
        with writing(engine) as connection:
            store(connection, prepare(shelf.take([span]), "otel", None))
        update_rollups(engine, RollupSettings("UTC", 2_000.0), now=NOW)
    rebuild_changed_hours(engine)
    with reading(engine) as connection:
        assert connection.scalars(select(SELECTION.c.request_id)).all() == [request_id(inner)]
        hours = select(ROLLUP.c.bucket, ROLLUP.c.count, ROLLUP.c.cost_sum_usd).where(ROLLUP.c.level == Level.HOUR)
        assert [tuple(row) for row in connection.execute(hours)] == [(datetime(2026, 9, 7, 9, tzinfo=UTC), 1, 4.0)]


# --- files --------------------------------------------------------------------------------------------------------


def json_of(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """As the Collector writes it: ids in hex, 64-bit numbers as texts."""
    sent = encode_spans(spans)
    content: dict[str, Any] = MessageToDict(sent)
    for of_resource, group in zip(content["resourceSpans"], sent.resource_spans, strict=True):
        for of_scope, scope in zip(of_resource["scopeSpans"], group.scope_spans, strict=True):
            for item, span in zip(of_scope["spans"], scope.spans, strict=True):
                item["traceId"], item["spanId"] = span.trace_id.hex(), span.span_id.hex().upper()
                if span.parent_span_id:
                    item["parentSpanId"] = span.parent_span_id.hex()
    return content


def recorded() -> tuple[ReadableSpan, ...]:
    recorder = Recorder()
    outer = recorder.span(CHAT | {"routewatch.complexity": "complex"}, events=[evaluation("Correct", 0.5)])
    recorder.span(CHAT, parent=outer)
    recorder.span(CHAT | {"gen_ai.input.messages": "hello" * 1_000, "llm.cost.total": 0.5}, failed=True)
    recorder.span({"http.route": "/"})
    return recorder.spans


def test_json_and_protobuf_say_the_same() -> None:
    spans, reader = recorded(), SpanReader(SETTINGS)
    by_protobuf = list(reader.spans(from_protobuf(Signal.TRACES, body_of(spans), reader.wants)))
    in_hex = json.dumps(json_of(spans)).encode()
    in_base64 = json.dumps(MessageToDict(encode_spans(spans))).encode()
    in_snake_case = json.dumps(MessageToDict(encode_spans(spans), preserving_proto_field_name=True)).encode()
    for body in (in_hex, in_base64, in_snake_case):
        assert list(reader.spans(from_json(Signal.TRACES, body, reader.wants))) == by_protobuf
    assert [span.row is not None for span in by_protobuf] == [True, True, True, False]


def delimited(spans: Sequence[ReadableSpan], style: str) -> bytes:
    bodies = [body_of(spans[:2]), body_of(spans[2:])]
    if style == "collector":
        return b"".join(len(body).to_bytes(4) + body for body in bodies)
    if style == "varint":
        return b"".join(varint(len(body)) + body for body in bodies)
    return body_of(spans)


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128, number >> 7]) if number > 127 else bytes([number])


def written(folder: Path, style: str, spans: Sequence[ReadableSpan]) -> Path:
    lines = "".join(json.dumps(json_of(part)) + "\n" for part in (spans[:2], spans[2:])).encode()
    name, content = {
        "lines": ("traces.json", lines),
        "gzip": ("traces.jsonl.gz", gzip.compress(lines)),
        "document": ("traces.json", json.dumps(json_of(spans), indent=2).encode()),
    }.get(style, ("traces.pb", delimited(spans, style)))
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("style", ["lines", "gzip", "document", "collector", "varint", "single"])
def test_files_of_every_form_are_pulled_once(sqlite_engine: Engine, tmp_path: Path, style: str) -> None:
    path = written(tmp_path, style, recorded())
    source = SETTINGS.model_copy(update={"location": str(path)})
    first = pull(sqlite_engine, "otel", OTel(str(path), source), source, NOW)
    assert (first.added, first.rejected.total(), dict(first.skipped)) == (2, 0, {WRAPS: 1, "not a model call": 1})
    second = pull(sqlite_engine, "otel", OTel(str(path), source), source, NOW)
    assert (second.read, second.added) == (0, 0)
    with reading(sqlite_engine) as connection:
        columns = (SELECTION.c.complexity, SELECTION.c.accuracy, SELECTION.c.cost_usd, SELECTION.c.error)
        rows = {row[-1]: tuple(row[:-1]) for row in connection.execute(select(*columns))}
    assert rows[False][:2] == ("complex", 0.5)
    assert rows[True] == ("simple", None, 0.5)


def test_a_call_that_wraps_one_of_the_pull_before_counts_once(sqlite_engine: Engine, tmp_path: Path) -> None:
    """The file had grown between the two: the inner call ended first, and was pulled alone."""
    recorder, path = Recorder(), tmp_path / "traces.jsonl"
    outer = recorder.span(CHAT | {"routewatch.complexity": "complex"})
    inner = recorder.span(CHAT, parent=outer)
    source = SETTINGS.model_copy(update={"location": str(tmp_path)})
    for span in reversed(recorder.spans):
        with path.open("a") as file:
            file.write(json.dumps(json_of([span])) + "\n")
        pull(sqlite_engine, "otel", OTel(str(tmp_path), source), source, NOW)
    with reading(sqlite_engine) as connection:
        stored = connection.execute(select(SELECTION.c.request_id, SELECTION.c.complexity)).one()
    assert tuple(stored) == (request_id(inner), "complex")


def test_what_is_no_otlp_is_counted_and_the_rest_is_kept(sqlite_engine: Engine, tmp_path: Path) -> None:
    spans = recorded()
    (tmp_path / "a.jsonl").write_text(
        f'{json.dumps(json_of(spans))}\nnonsense\n[]\n{{"resourceMetrics": []}}\n{{"resourceSpans": 7}}\n'
        '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": {}}]}]}]}\n'
    )
    (tmp_path / "b.pb").write_bytes(delimited(spans, "collector")[:-1])
    source = SETTINGS.model_copy(update={"location": str(tmp_path)})
    stats = pull(sqlite_engine, "otel", OTel(str(tmp_path), source), source, NOW)
    assert stats.added == 2
    assert stats.rejected.total() == 6
    assert cursor_of(sqlite_engine, "otel") is not None


def test_evaluations_among_log_records_are_read(sqlite_engine: Engine, tmp_path: Path) -> None:
    """The standard's own way: an event is a log record."""
    recorder = Recorder()
    call = recorder.span(CHAT).get_span_context()
    attributes = [
        {"key": "gen_ai.evaluation.name", "value": {"stringValue": "Correct"}},
        {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.625}},
    ]
    record = {
        "timeUnixNano": str(START_NS), "eventName": "gen_ai.evaluation.result", "attributes": attributes,
        "traceId": f"{call.trace_id:032x}", "spanId": f"{call.span_id:016x}", "body": {"stringValue": "fine"},
    }  # fmt: skip
    (tmp_path / "logs.jsonl").write_text(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))
    (tmp_path / "traces.jsonl").write_text(json.dumps(json_of(recorder.spans)))
    source = SETTINGS.model_copy(update={"location": str(tmp_path)})
    pull(sqlite_engine, "otel", OTel(str(tmp_path), source), source, NOW)
    with reading(sqlite_engine) as connection:
        assert connection.scalars(select(SELECTION.c.accuracy)).all() == [0.625]


def test_since_reads_spans_again_that_began_from_then_on(sqlite_engine: Engine, tmp_path: Path) -> None:
    recorder = Recorder()
    for hour in range(3):
        recorder.span(CHAT, at_ms=hour * 3_600_000)
    path = written(tmp_path, "lines", recorder.spans)
    source = SETTINGS.model_copy(update={"location": str(path)})
    stats = pull(sqlite_engine, "otel", OTel(str(path), source), source, NOW, since=NOW)
    assert stats.added == 2


SOME = recorded()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda cut: body_of(SOME)[:cut], st.integers(0, 400)))
def test_no_body_whatever_breaks_the_reading(body: bytes) -> None:
    reader = SpanReader(SETTINGS)
    with suppress(ValueError):
        Traces().add(list(reader.spans(from_protobuf(Signal.TRACES, body, reader.wants, DecodingBudget(10)))))
    with suppress(ValueError):
        Traces().add(list(reader.spans(from_json(Signal.TRACES, body, reader.wants, DecodingBudget(10)))))
