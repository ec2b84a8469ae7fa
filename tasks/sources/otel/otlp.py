"""Decode OTLP, OpenTelemetry's messages, from protobuf or JSON, span by span.

A body may hold millions of messages of only two bytes each, and grow a hundredfold in memory: all that is in it counts
against a budget before it is built, and only what is read of a span is built (tasks.sources.otel.wire).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any

import orjson

from tasks.ingestion.json_parts import has_more_json_parts
from tasks.ingestion.lenient_json import parse_json
from tasks.sources.otel.wire import (
    BYTES,
    LOG_RECORD,
    RESOURCE,
    SPAN,
    DecodingBudget,
    Layout,
    TooLarge,
    cut_down,
    fields,
)

Group = tuple[Any, Iterable[Any]]
"""A resource with its spans or log records, as messages."""


class Signal(Enum):
    """The kind of signal in a message: the names of its three levels in JSON."""

    TRACES = ("resourceSpans", "scopeSpans", "spans")
    LOGS = ("resourceLogs", "scopeLogs", "logRecords")


LARGEST_ITEM = 8 * 1024 * 1024
MOST_JSON_PARTS = 1_000_000
"""Objects, lists and values in a body of JSON, all of which are built before any can be left out."""


def from_protobuf(
    signal: Signal, body: bytes, wants: Callable[[str], bool], budget: DecodingBudget | None = None
) -> Iterator[Group]:
    """Decode an ExportTraceServiceRequest or ExportLogsServiceRequest, span by span, without unused attributes.

    Raises ValueError, TooLarge and TooSlow midway, and Abandoned as the budget says.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    budget = budget or DecodingBudget()
    resource_of, item_of, layout = _types(signal)

    def items(scopes: list[tuple[int, int, int]]) -> Iterator[Any]:
        for _, *scope in scopes:
            for _, start, end in _messages(body, (scope[0], scope[1]), {_INNER: _ITEMS}, budget):
                if end - start > LARGEST_ITEM:
                    raise TooLarge(f"has a span or log record of more than {LARGEST_ITEM} bytes")
                budget.begin()
                yield _parsed(item_of, cut_down(body, start, end, layout, wants, budget))

    try:
        for _, *of_resource in _messages(body, (0, len(body)), {_OUTER: "resources"}, budget):
            parts = _messages(body, (of_resource[0], of_resource[1]), _OF_RESOURCE, budget)
            resource = resource_of()
            for number, start, end in parts:
                if number == _OUTER:
                    budget.begin()
                    resource = _parsed(resource_of, cut_down(body, start, end, RESOURCE, wants, budget))
            yield resource, items([part for part in parts if part[0] == _INNER])
    except DecodeError:
        raise ValueError("is not an OTLP message in protobuf") from None


def from_json(
    signal: Signal, body: bytes, wants: Callable[[str], bool], budget: DecodingBudget | None = None
) -> Iterator[Group]:
    """Decode JSON, whose ids are in hex, unlike in protobuf's usual JSON. Raises ValueError, TooLarge and TooSlow.

    Skips unused attributes: prompts and answers make up most of a body.
    """
    if budget is not None and has_more_json_parts(body, MOST_JSON_PARTS, budget.check):
        raise TooLarge(f"has more than {MOST_JSON_PARTS} objects, lists and values")
    try:
        content = parse_json(body)
    except orjson.JSONDecodeError:
        raise ValueError("is not valid JSON") from None
    return from_object(signal, content, wants, budget)


def from_object(
    signal: Signal, content: Any, wants: Callable[[str], bool], budget: DecodingBudget | None = None
) -> Iterator[Group]:
    """Decode parsed JSON, modifying it in place. Raises ValueError and TooLarge, and TooSlow midway."""
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - the body is wrong, not the call
    budget = budget or DecodingBudget()
    kept = _kept(content, (signal.value[0],))
    for of_resource in _each(kept, signal.value[0], ("resource", signal.value[1])):
        budget.count("resources")
        _only(of_resource, "resource", ("attributes",), wants)
        for of_scope in _each(of_resource, signal.value[1], (signal.value[2],)):
            budget.count("scopes")
            for item in _each(of_scope, signal.value[2], _ITEM):
                budget.count(_ITEMS)
                budget.check()
                read = _finish(item, wants)
                for name in ("links", "events"):
                    for part in _each(item, name, _PART):
                        read += 1 + _finish(part, wants)
                _check_item(read)
    return _groups(signal, kept, budget)


# ----------------------------------------------------------------------------------------------------------------------

_SHOWN = 200
_HEX_LENGTHS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
_PART = ("traceId", "spanId", "timeUnixNano", "attributes")
_ITEM = (
    *_PART, "parentSpanId", "startTimeUnixNano", "endTimeUnixNano", "observedTimeUnixNano", "events", "links", "status",
)  # fmt: skip
"""Fields that are read of a span or log record, and of an event or link in it."""

_OUTER, _INNER = 1, 2
"""Field numbers: of a request, of the resource in its parts, of these parts and of their parts."""

_ITEMS = "spans or log records"
_OF_RESOURCE = {_OUTER: "descriptions of resources", _INNER: "scopes"}

_SCALARS = frozenset(
    ("stringValue", "boolValue", "intValue", "doubleValue", "string_value", "bool_value", "int_value", "double_value")
)
_MOST_OF_ITEM = 10_000
"""Attributes, links and events of one resource, span or log record that are read: they are built without a break."""


def _types(signal: Signal) -> tuple[Any, Any, Layout]:
    """Classes of resources and items, and what is read of an item."""
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource  # noqa: PLC0415

    if signal is Signal.TRACES:
        from opentelemetry.proto.trace.v1.trace_pb2 import Span  # noqa: PLC0415

        return Resource, Span, SPAN
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord  # noqa: PLC0415

    return Resource, LogRecord, LOG_RECORD


def _messages(
    body: bytes, within: tuple[int, int], kinds: Mapping[int, str], budget: DecodingBudget
) -> list[tuple[int, int, int]]:
    """The messages in the fields of these numbers, all counted: number, start and end of each.

    Raises ValueError if there is no message, and TooLarge.
    """
    found = []
    budget.begin()
    for number, kind, _, value, end in fields(body, *within, budget):
        if number in kinds and kind == BYTES:
            budget.count(kinds[number])
            found.append((number, value, end))
    return found


def _parsed(kind: Any, payload: bytes) -> Any:
    message = kind()
    message.ParseFromString(payload)
    return message


def _groups(signal: Signal, kept: Any, budget: DecodingBudget) -> Iterator[Group]:
    outer, inner, _ = signal.value
    resource_of, item_of, _layout = _types(signal)
    for of_resource in _listed(kept, outer):
        scopes = _listed(of_resource, inner)
        resource = _built(resource_of, of_resource.get("resource") or {})
        yield resource, _items(signal, scopes, item_of, budget)


def _items(signal: Signal, scopes: list[Any], item_of: Any, budget: DecodingBudget) -> Iterator[Any]:
    for of_scope in scopes:
        for item in _listed(of_scope, signal.value[2]):
            budget.check()
            yield _built(item_of, item)


def _listed(message: Any, name: str) -> list[Any]:
    """A repeated field. Raises ValueError if the message is none, or the field no list."""
    found = message.get(name, []) if isinstance(message, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"is not an OTLP message in JSON: {name} is not a list, or not in an object")  # noqa: TRY004
    return found


def _built(kind: Any, content: Any) -> Any:
    from google.protobuf.json_format import ParseDict, ParseError  # noqa: PLC0415

    try:
        return ParseDict(content, kind(), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"is not an OTLP message in JSON: {str(error)[:_SHOWN]}") from None


def _each(message: Any, name: str, fields: Iterable[str]) -> Iterator[Any]:
    """The items of a repeated field, reduced to these fields; the parser rejects what is not a list."""
    if isinstance(message, dict) and isinstance(items := message.get(name), list):
        message[name] = items = [_kept(item, fields) for item in items]
        yield from items


def _kept(message: Any, fields: Iterable[str]) -> Any:
    """A message reduced to these fields, in snake or camel case."""
    if not isinstance(message, dict):
        return message
    found = ((name, message.get(name, message.get(_snake(name)))) for name in fields)
    return {name: value for name, value in found if value is not None}


@cache
def _snake(name: str) -> str:
    return "".join(f"_{character.lower()}" if character.isupper() else character for character in name)


def _only(message: Any, name: str, fields: Iterable[str], wants: Callable[[str], bool]) -> None:
    if isinstance(message, dict) and name in message:
        message[name] = _kept(message[name], fields)
        _check_item(_finish(message[name], wants))


def _check_item(parts: int) -> None:
    if parts > _MOST_OF_ITEM:
        raise TooLarge(f"has an item of more than {_MOST_OF_ITEM} attributes, links and events")


def _finish(message: Any, wants: Callable[[str], bool]) -> int:
    """Keep the requested attributes and return how many; encode the ids in base64, as the parser expects.

    An id that is neither hex nor base64 of the right length becomes empty.
    """
    if not isinstance(message, dict):
        return 0
    kept = []
    if isinstance(pairs := message.get("attributes"), list):
        message["attributes"] = kept = [
            pair for pair in pairs if isinstance(pair, dict) and wants(str(pair.get("key"))) and _is_scalar(pair)
        ]
    for name, length in _HEX_LENGTHS.items():
        if isinstance(given := message.get(name), str):
            message[name] = base64.b64encode(_id(given, length)).decode()
    return len(kept)


def _is_scalar(pair: dict[str, Any]) -> bool:
    """Whether an attribute's value is neither a list nor a map, which are not read; the parser rejects what is none."""
    value = pair.get("value")
    return not isinstance(value, dict) or value.keys() <= _SCALARS


def _id(given: str, hex_length: int) -> bytes:
    try:
        found = bytes.fromhex(given) if len(given) == hex_length else base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return found if len(found) * 2 == hex_length else b""
