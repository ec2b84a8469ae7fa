"""Decode OTLP, OpenTelemetry's messages, from protobuf or JSON, span by span.

A body may hold millions of spans of only two bytes each, and grow a hundredfold in memory: protobuf is decoded one
span at a time, and the spans of JSON are counted before decoding.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import cache
from typing import Any

import orjson

Group = tuple[Any, Iterable[Any]]
"""A resource with its spans or log records, as messages."""


class Signal(Enum):
    """The kind of signal in a message: the names of its three levels in JSON."""

    TRACES = ("resourceSpans", "scopeSpans", "spans")
    LOGS = ("resourceLogs", "scopeLogs", "logRecords")


class TooLarge(ValueError):
    """More spans or log records than are accepted at once, or one that is too large."""


LARGEST_ITEM = 8 * 1024 * 1024


def from_protobuf(signal: Signal, body: bytes, most: int | None = None) -> Iterator[Group]:
    """Decode an ExportTraceServiceRequest or ExportLogsServiceRequest. Raises ValueError and TooLarge midway."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    resource_of, item_of = _types(signal)
    count = 0

    def items(of_resource: memoryview) -> Iterator[Any]:
        nonlocal count
        for of_scope in _payloads(of_resource, _INNER):
            for item in _payloads(of_scope, _INNER):
                count += 1
                _check(count, most)
                if len(item) > LARGEST_ITEM:
                    raise TooLarge(f"has a span or log record of more than {LARGEST_ITEM} bytes")
                yield _parsed(item_of, item)

    try:
        for of_resource in _payloads(memoryview(body), _OUTER):
            resources = [_parsed(resource_of, it) for it in _payloads(of_resource, _OUTER)]
            yield (resources[-1] if resources else resource_of()), items(of_resource)
    except DecodeError:
        raise ValueError("is not an OTLP message in protobuf") from None


def from_json(signal: Signal, body: bytes, wants: Callable[[str], bool], most: int | None = None) -> Iterator[Group]:
    """Decode JSON, whose ids are in hex, unlike in protobuf's usual JSON. Raises ValueError and TooLarge.

    Skips unused attributes: prompts and answers make up most of a body.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValueError("is not valid JSON") from None
    return from_object(signal, content, wants, most)


def from_object(signal: Signal, content: Any, wants: Callable[[str], bool], most: int | None = None) -> Iterator[Group]:
    """Decode parsed JSON, modifying it in place. Raises ValueError and TooLarge."""
    from google.protobuf.json_format import ParseDict, ParseError  # noqa: PLC0415

    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - the body is wrong, not the call
    count = 0
    kept = _kept(content, (signal.value[0],))
    for of_resource in _each(kept, signal.value[0], ("resource", signal.value[1])):
        _only(of_resource, "resource", ("attributes",), wants)
        for of_scope in _each(of_resource, signal.value[1], (signal.value[2],)):
            for item in _each(of_scope, signal.value[2], _ITEM):
                count += 1
                _check(count, most)
                _finish(item, wants)
                for name in ("links", "events"):
                    for part in _each(item, name, _PART):
                        _finish(part, wants)
    try:
        request = ParseDict(kept, _request(signal), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"is not an OTLP message in JSON: {str(error)[:_SHOWN]}") from None
    return _groups(signal, request)


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

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_BITS, _MORE, _LONGEST_VARINT = 7, 0x80, 10


def _types(signal: Signal) -> tuple[Any, Any]:
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource  # noqa: PLC0415

    if signal is Signal.TRACES:
        from opentelemetry.proto.trace.v1.trace_pb2 import Span  # noqa: PLC0415

        return Resource, Span
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord  # noqa: PLC0415

    return Resource, LogRecord


def _request(signal: Signal) -> Any:
    if signal is Signal.TRACES:
        from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415

        return TracesData()
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData  # noqa: PLC0415

    return LogsData()


def _groups(signal: Signal, request: Any) -> Iterator[Group]:
    if signal is Signal.TRACES:
        for of_resource in request.resource_spans:
            yield of_resource.resource, (it for of_scope in of_resource.scope_spans for it in of_scope.spans)
    else:
        for of_resource in request.resource_logs:
            yield of_resource.resource, (it for of_scope in of_resource.scope_logs for it in of_scope.log_records)


def _check(count: int, most: int | None) -> None:
    if most is not None and count > most:
        raise TooLarge(f"has more than {most} spans or log records")


def _parsed(kind: Any, payload: memoryview) -> Any:
    message = kind()
    message.ParseFromString(bytes(payload))
    return message


def _payloads(message: memoryview, field: int) -> Iterator[memoryview]:
    """The submessages in the fields of this number. Raises ValueError if the message is invalid."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _number(message, position)
        kind = tag & 7
        if kind == _BYTES:
            length, position = _number(message, position)
            if length > end - position:
                raise ValueError("is no OTLP message in protobuf: it breaks off")
            if tag >> 3 == field:
                yield message[position : position + length]
            position += length
        elif kind == _VARINT:
            _, position = _number(message, position)
        elif kind in _SIZES and position + _SIZES[kind] <= end:
            position += _SIZES[kind]
        else:
            raise ValueError("is not an OTLP message in protobuf")


def _number(message: memoryview, position: int) -> tuple[int, int]:
    """Decode a varint; also return the position after it."""
    value = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & ~_MORE) << (_BITS * index)
        if not byte & _MORE:
            return value, position + index + 1
    raise ValueError("is no OTLP message in protobuf")


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
        _finish(message[name], wants)


def _finish(message: Any, wants: Callable[[str], bool]) -> None:
    """Keep the requested attributes, and encode the ids in base64, as the parser expects.

    An id that is neither hex nor base64 of the right length becomes empty.
    """
    if not isinstance(message, dict):
        return
    if isinstance(pairs := message.get("attributes"), list):
        message["attributes"] = [pair for pair in pairs if isinstance(pair, dict) and wants(str(pair.get("key")))]
    for name, length in _HEX_LENGTHS.items():
        if isinstance(given := message.get(name), str):
            message[name] = base64.b64encode(_id(given, length)).decode()


def _id(given: str, hex_length: int) -> bytes:
    try:
        found = bytes.fromhex(given) if len(given) == hex_length else base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return found if len(found) * 2 == hex_length else b""
