"""OpenTelemetry: spans of model calls, from files written by the Collector's file exporter."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import polars as pl

from models.errors import UnreadableInput
from models.settings import SourceKind, SourceSettings
from tasks.ingestion.file_reader import Reject
from tasks.ingestion.source import Batch
from tasks.sources.export_files import Exports, json_object
from tasks.sources.otel.otlp import Signal, from_object, from_protobuf
from tasks.sources.otel.spans import Score, Span, SpanReader
from tasks.sources.otel.traces import Traces

PROTOBUF = (".pb", ".binpb", ".proto", ".otlp")
LARGEST_MESSAGE = 64 * 1024 * 1024

ORIGINS: Mapping[str, str] = {
    "request_id": "the trace id and span id",
    "timestamp": "the span's start",
    "model_id": "gen_ai.response.model, llm.response.model_name, else the one that was asked for",
    "response_time_ms": "the span's end - start; none where it failed",
    "complexity": "routewatch.complexity or complexityKey, of the span, one around it or the resource",
    "cost_usd": "llm.cost.total, gen_ai.usage.cost; else list prices",
    "cache_hit": "routewatch.cache_hit",
    "accuracy": "the evaluation that accuracyScore names, or routewatch.accuracy",
    "user_satisfaction": "the evaluation that satisfactionScore names, or routewatch.user_satisfaction",
    "error": "the span's status, error.type, error, or the HTTP status",
    "error_type": "error.type, or the exception's type",
    "prompt_tokens": "gen_ai.usage.input_tokens, llm.token_count.prompt",
    "completion_tokens": "gen_ai.usage.output_tokens, llm.token_count.completion",
    "team": "routewatch.team or teamKey, of the span, one around it or the resource",
    "experiment": "routewatch.experiment, of the span, one around it or the resource",
    "arm": "routewatch.arm, likewise",
    "unit_bucket": "routewatch.unit_bucket, likewise",
}


class OTel:
    """OTLP files: JSON lines or JSON, protobuf as one message or length-prefixed messages, `.gz` too.

    If there is anything new, the part read last is read again: a call may wrap one in the part before.
    """

    kind = SourceKind.OTEL.value
    origins = ORIGINS

    def __init__(self, location: str, settings: SourceSettings) -> None:
        self._reader = SpanReader(settings)
        self._exports = Exports(location, parse=self._line, file_parsers=dict.fromkeys(PROTOBUF, self._messages))

    def size(self, cursor: str | None, since: datetime | None) -> int:
        """Bytes still to read."""
        return self._exports.size(None if since else _Cursor.of(cursor).read)

    def batches(self, cursor: str | None, since: datetime | None) -> Iterator[Batch]:
        """Read what is new, part by part; with `since`, everything that began at or after it."""
        start = _Cursor() if since else _Cursor.of(cursor)
        again = start.again if self._exports.size(start.read) else start.read
        traces = Traces()
        for chunk in self._exports.chunks(again):
            spans: list[Span] = []
            scores: list[Score] = []
            rejected = Counter(chunk.rejected)
            for row in chunk.rows:
                try:
                    found = row.value if isinstance(row.value, _Found) else self._found(row.value)
                except ValueError as error:
                    rejected[str(error)] += 1
                else:
                    spans += found.spans
                    scores += found.scores
            finished = traces.add(spans, scores, rejected=rejected)
            traces.confirm(finished)
            batch = replace(finished.batch, cursor=_Cursor(chunk.cursor, again).text, done=chunk.done)
            yield _since(batch, since)
            again = chunk.cursor

    # ------------------------------------------------------------------------------------------------------------------

    def _line(self, line: bytes) -> _Found:
        return self._found(json_object(line))

    def _found(self, content: dict[str, Any]) -> _Found:
        if "resourceLogs" in content or "resource_logs" in content:
            return _Found([], list(self._reader.scores(from_object(Signal.LOGS, content, self._reader.wants))))
        if "resourceSpans" in content or "resource_spans" in content:
            return _Found(list(self._reader.spans(from_object(Signal.TRACES, content, self._reader.wants))), [])
        raise ValueError("it has neither spans nor log records")

    def _messages(self, path: Path) -> Iterable[Any]:
        for message in _delimited(path):
            if message is None:
                yield Reject(0, "the file is truncated within a message")
                return
            try:
                yield _Found(list(self._reader.spans(from_protobuf(Signal.TRACES, message, self._reader.wants))), [])
            except ValueError as error:
                yield Reject(0, str(error))


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """The spans and evaluations of a line or a message."""

    spans: list[Span]
    scores: list[Score]


@dataclass(frozen=True)
class _Cursor:
    """The position read up to, and where to reread from when there is more."""

    read: str | None = None
    again: str | None = None

    @classmethod
    def of(cls, text: str | None) -> _Cursor:
        try:
            content = json.loads(text or "{}")
            return cls(content.get("read"), content.get("again"))
        except (ValueError, AttributeError):
            return cls()

    @property
    def text(self) -> str:
        return json.dumps({"read": self.read, "again": self.again}, separators=(",", ":"))


def _since(batch: Batch, since: datetime | None) -> Batch:
    if since is None:
        return batch
    began = pl.col("timestamp") >= since
    return replace(batch, selections=batch.selections.filter(began), overhead=batch.overhead.filter(began))


def _delimited(path: Path) -> Iterator[bytes | None]:
    """A file's messages; a last None if the file is truncated.

    Each message follows its length, in four bytes as the Collector writes it or as a varint as protobuf's libraries do;
    or the file is one message, recognized by its first byte.
    """
    with _opened(path) as stream:
        head = stream.peek(1)[:1]
        if head == _FIRST_FIELD:
            yield _read_messages(path, stream)
            return
        length_of = _four_bytes if head == b"\0" else _varint
        while (length := length_of(stream)) is not None:
            message = stream.read(length) if 0 <= length <= LARGEST_MESSAGE else b""
            if len(message) != length:
                yield None
                return
            yield message


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


_FIRST_FIELD = b"\x0a"
_BITS, _MORE, _LONGEST_VARINT = 7, 0x80, 5


def _read_messages(path: Path, stream: IO[bytes]) -> bytes:
    content = stream.read(LARGEST_MESSAGE + 1)
    if len(content) > LARGEST_MESSAGE:
        raise UnreadableInput(str(path), f"it is one message of more than {LARGEST_MESSAGE} bytes", "smaller ones")
    return content


def _four_bytes(stream: IO[bytes]) -> int | None:
    """The length; None at the end, -1 if it is invalid."""
    prefix = stream.read(4)
    return (int.from_bytes(prefix) if len(prefix) == 4 else -1) if prefix else None  # noqa: PLR2004


def _varint(stream: IO[bytes]) -> int | None:
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = stream.read(1)
        if not byte:
            return None if position == 0 else -1
        value |= (byte[0] & ~_MORE) << (_BITS * position)
        if not byte[0] & _MORE:
            return value
    return -1
