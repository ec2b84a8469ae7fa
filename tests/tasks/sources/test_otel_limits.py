"""A request of OpenTelemetry costs no more than its limits, however it is made, and what is read of it is unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from models.settings import SourceSettings
from tasks.ingestion.json_parts import outside_texts
from tasks.sources.otel.otlp import Signal, from_json, from_protobuf
from tasks.sources.otel.spans import SpanReader
from tasks.sources.otel.traces import MOST_ANCESTORS, Traces
from tasks.sources.otel.wire import Abandoned, DecodingBudget, TooLarge, TooSlow
from tests.support.spans import CHAT, START_NS, Recorder, body_of, request_id

SETTINGS = SourceSettings(
    location="here", accuracy_score="Correct", satisfaction_score="Liked", team_key="service.name"
)

SOME = Recorder()
SOME.span(CHAT)


def varint(number: int) -> bytes:
    low = bytes([number & 127 | (128 if number > 127 else 0)])
    return low + (varint(number >> 7) if number > 127 else b"")


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def within_span(content: bytes) -> bytes:
    return message(1, message(2, message(2, content)))


MANY = 30_000
TEXT = message(1, b"gen_ai.response.model")
"""The key of an attribute that is read."""
BOMBS = {
    "resources": b"\x0a\x00" * MANY,
    "scopes": message(1, b"\x12\x00" * MANY),
    "descriptions of a resource": message(1, b"\x0a\x00" * MANY),
    "attributes of a resource": message(1, message(1, b"\x0a\x00" * MANY)),
    "spans": message(1, message(2, b"\x12\x00" * MANY)),
    "spans in several resources": message(1, message(2, b"\x12\x00" * (MANY // 3))) * 3,
    "attributes": within_span(b"\x4a\x00" * MANY),
    "attributes that are read": within_span(message(9, TEXT) * MANY),
    "keys of an attribute": within_span(message(9, TEXT * MANY)),
    "values of an attribute": within_span(message(9, TEXT + b"\x12\x00" * MANY)),
    "links": within_span(b"\x6a\x00" * MANY),
    "events": within_span(b"\x5a\x00" * MANY),
    "attributes of an event": within_span(message(11, b"\x1a\x00" * MANY)),
    "states": within_span(b"\x7a\x00" * MANY),
    "fields that are not known": b"\x78\x00" * MANY,
    "fields of a span that are not known": within_span(b"\xf8\x07\x00" * MANY),
    "one large span": within_span(message(9, bytes(9 << 20))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_body_that_would_fill_the_memory_is_refused_before_it_is_built(name: str) -> None:
    """Two bytes become a message of a hundred: wherever they are repeated, they are counted first."""
    reader, budget = SpanReader(SETTINGS), DecodingBudget(most_items=20_000, most_parts=25_000, most_of_item=25_000)
    with pytest.raises(TooLarge):
        list(reader.spans(from_protobuf(Signal.TRACES, BOMBS[name], reader.wants, budget)))


def test_an_attribute_with_a_list_is_not_built_however_long_it_is() -> None:
    """Only scalars are read; a list that comes after a text in the same value would replace it."""
    identified = message(1, b"t" * 16) + message(2, b"s" * 8)
    texts = message(9, TEXT + message(2, message(1, b"swift-mini")))
    lists = [
        message(9, TEXT + message(2, before + message(5, b"\x0a\x00" * MANY))) for before in (b"", message(1, b"x"))
    ]
    reader, budget = SpanReader(SETTINGS), DecodingBudget(most_parts=100)
    for body in (within_span(identified + texts + listed) for listed in lists):
        groups = list(from_protobuf(Signal.TRACES, body, reader.wants, replace(budget)))
        (span,) = [span for _, spans in groups for span in spans]
        assert [pair.value.string_value for pair in span.attributes] == ["swift-mini"]


def in_json(item: str) -> str:
    return f'{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{item}]}}]}}]}}'


@pytest.mark.parametrize(
    "body",
    [
        '{"resourceSpans": [' + "{}," * MANY + "{}]}",
        '{"resourceSpans": [{"scopeSpans": [' + "{}," * MANY + "{}]}]}",
        in_json("{}," * MANY + "{}"),
        in_json('{"links": [' + "{}," * MANY + "{}]}"),
        in_json('{"events": [' + "{}," * MANY + "{}]}"),
        in_json('{"attributes": [' + '{"key": "gen_ai.response.model"},' * MANY + "{}]}"),
        '{"resourceSpans": [{"resource": {"attributes": [' + '{"key": "service.name"},' * MANY + "{}]}}]}",
        '{"else": [' + "0," * MANY + "0]}",
        '{"else": "' + "{" * MANY + '", "more": [' + "[]," * MANY + "0]}",
    ],
)
def test_json_that_would_fill_the_memory_is_refused(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.sources.otel.otlp.MOST_JSON_PARTS", MANY)
    reader, budget = SpanReader(SETTINGS), DecodingBudget(most_items=20_000)
    with pytest.raises(TooLarge):
        list(reader.spans(from_json(Signal.TRACES, body.encode(), reader.wants, budget)))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text() | st.sampled_from(['"', "\\", '\\"', "{[,", "\n"]), max_size=20),
    st.integers(1, 30),
)
def test_what_stands_in_texts_counts_for_nothing(texts: list[str], chunk: int) -> None:
    """Wherever a chunk ends, in a text, before an escape or after one: prompts are full of braces and commas."""
    body = orjson.dumps({"prompts": texts})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.ingestion.json_parts.CHUNK_BYTES", chunk)
        plain = b"".join(outside_texts(body))
    assert plain == b"{:[" + b"," * (len(texts) - 1) + b"]}"


def test_decoding_ends_at_its_deadline_and_when_nobody_waits_for_it() -> None:
    reader, body = SpanReader(SETTINGS), body_of(SOME.spans)
    for budget, error in (
        (DecodingBudget(ends_at_s=0.0), TooSlow),
        (DecodingBudget(is_abandoned=lambda: True), Abandoned),
    ):
        for decode, sent in (
            (from_protobuf, body),
            (from_json, json.dumps(MessageToDict(encode_spans(SOME.spans))).encode()),
        ):
            with pytest.raises(error):
                list(reader.spans(decode(Signal.TRACES, sent, reader.wants, replace(budget))))


VALUES = st.recursive(
    st.text(max_size=5) | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
NAMES = st.sampled_from(
    ["gen_ai.response.model", "gen_ai.operation.name", "gen_ai.usage.cost", "gen_ai.input.messages"]
)


def value_of(given: Any) -> AnyValue:
    if isinstance(given, list):
        return AnyValue(array_value=ArrayValue(values=map(value_of, given)))
    kinds = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
    return AnyValue(**{kinds[type(given)]: given})


def pairs_of(given: list[tuple[str, Any]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value_of(value)) for key, value in given]


PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(pairs_of)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(PAIRS, PAIRS, st.integers(0, 2), st.booleans()), max_size=4), PAIRS)
def test_what_is_cut_down_reads_as_the_whole(given_spans: list[Any], origin: list[KeyValue]) -> None:
    data = TracesData()
    scope = data.resource_spans.add(resource=Resource(attributes=origin)).scope_spans.add()
    for number, (pairs, of_event, links, failed) in enumerate(given_spans, 1):
        span = scope.spans.add(
            trace_id=bytes([number]) * 16, span_id=bytes([number]) * 8, name="call", kind=3, attributes=pairs,
            start_time_unix_nano=START_NS, end_time_unix_nano=START_NS + number, flags=1,
        )  # fmt: skip
        span.status.code = 2 if failed else 0
        span.events.add(time_unix_nano=START_NS, name="event", attributes=of_event)
        for other in range(links):
            span.links.add(trace_id=bytes([other + 1]) * 16, span_id=b"link" * 2, attributes=pairs)
    reader = SpanReader(SETTINGS)
    whole = [(it.resource, [span for scope in it.scope_spans for span in scope.spans]) for it in data.resource_spans]
    assert list(reader.spans(from_protobuf(Signal.TRACES, data.SerializeToString(), reader.wants))) == list(
        reader.spans(whole)
    )


def test_a_chain_of_thousands_of_spans_costs_no_more_than_they_are_many() -> None:
    """Each call looks at the nearest spans above it, not at all of them."""
    recorder = Recorder()
    traces, parent = Traces(), None
    for _ in range(600):
        parent = recorder.span({}, parent=parent)
    call = recorder.span(CHAT, parent=parent)
    reader = SpanReader(SETTINGS)
    traces.add(list(reader.spans(from_protobuf(Signal.TRACES, body_of(recorder.spans), reader.wants))))
    (trace,) = traces.open_traces.values()
    (innermost,) = [span for span in trace.spans.values() if span.row is not None]
    assert request_id(call) == innermost.row["request_id"]  # type: ignore[index]
    assert len(list(trace.above(innermost))) == MOST_ANCESTORS
