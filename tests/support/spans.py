"""Spans for tests, made by OpenTelemetry's own SDK, with times that are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, Status, StatusCode, set_span_in_context

START_NS = 1_788_768_000_000_000_000
"""2026-09-07T08:00:00Z"""

CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 260,
    "gen_ai.usage.output_tokens": 110,
}


class Counted(IdGenerator):
    """Consecutive ids: random ones would make another test each time."""

    _ids = count(1)

    def generate_span_id(self) -> int:
        return next(self._ids)

    def generate_trace_id(self) -> int:
        return next(self._ids) << 64


@dataclass
class Recorder:
    """Records spans of one service; `spans` are those that ended, in that order."""

    resource: Mapping[str, Any] = field(default_factory=lambda: {"service.name": "router"})

    def __post_init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(
            resource=Resource(dict(self.resource)), id_generator=Counted(), shutdown_on_exit=False
        )
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = provider.get_tracer("tests")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def span(
        self,
        attributes: Mapping[str, Any],
        *,
        parent: Span | None = None,
        at_ms: float = 0,
        took_ms: float = 100,
        failed: bool = False,
        thrown: Exception | None = None,
        events: Sequence[Mapping[str, Any]] = (),
        links: Sequence[Span] = (),
    ) -> Span:
        start = START_NS + int(at_ms * 1_000_000)
        span = self._tracer.start_span(
            "call",
            context=None if parent is None else set_span_in_context(parent),
            attributes=dict(attributes),
            links=[Link(it.get_span_context()) for it in links],
            start_time=start,
        )
        for number, event in enumerate(events):
            span.add_event("gen_ai.evaluation.result", dict(event), timestamp=start + number)
        if thrown is not None:
            span.record_exception(thrown)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(start + int(took_ms * 1_000_000))
        assert isinstance(span, Span)
        return span


def evaluation(name: str, value: float | None = None, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    said = {} if value is None else {"gen_ai.evaluation.score.value": value}
    return {"gen_ai.evaluation.name": name, **said, **(more or {})}


def request_id(span: Any) -> str:
    context = span.get_span_context()
    return f"otel:{context.trace_id:032x}:{context.span_id:016x}"


def body_of(spans: Sequence[ReadableSpan]) -> bytes:
    """What the SDK's exporters would send."""
    return bytes(encode_spans(spans).SerializeToString())
