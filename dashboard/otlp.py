"""OTLP: convert spans that OpenTelemetry exporters send by HTTP to selections."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from dashboard.ingest import WRITE_TIMEOUT_S
from dashboard.middleware import requires
from dashboard.otlp_responses import JSON, PROTOBUF, kind_of, refusal, success
from dashboard.problem_details import ApiError, of_the_family
from dashboard.request_body import read_body
from dashboard.turns import time_left_s
from models.context import AppContext
from models.database import writing
from models.errors import RoutewatchError
from models.settings import Settings, SourceKind, SourceSettings
from tasks.ingestion.store_batch import prepare, store
from tasks.sources.otel.otlp import Signal, from_json, from_protobuf
from tasks.sources.otel.spans import Score, Span, SpanReader
from tasks.sources.otel.traces import Traces
from tasks.sources.otel.wire import Abandoned, DecodingBudget, TooLarge, TooSlow

NAME = SourceKind.OTEL.value

LARGEST_BODY_BYTES = 16 * 1024 * 1024
LARGEST_UNPACKED_BYTES = 64 * 1024 * 1024
MOST_SPANS = 20_000
"""Resources, scopes, and spans or log records of a request, each by itself."""
MOST_PARTS = 2_000_000
MOST_PARTS_OF_ITEM = 100_000
"""Attributes, links, events and other fields of a request, and of one span in it: SDKs end at 128 of each."""
DECODING_TIMEOUT_S = 5.0
DECODERS = 2
BODY_TIMEOUT_S = 20.0
MOST_REQUESTS_AT_ONCE = 8
"""Maximum requests being received, waiting or being written; further ones get 429, so that memory is bounded."""
RETRY_AFTER_S = 1

PACKINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Supported content encodings, and zlib's window bits for them."""


@dataclass
class SpanIntake:
    """Requests in progress, known traces, and totals since the server started."""

    ctx: AppContext
    most_at_once: int = MOST_REQUESTS_AT_ONCE
    body_timeout_s: float = BODY_TIMEOUT_S
    write_timeout_s: float = WRITE_TIMEOUT_S

    def __post_init__(self) -> None:
        # Whatever a body costs to decode, others are decoded and written meanwhile.
        self.decoders = ThreadPoolExecutor(DECODERS, "decoding spans")
        # A single thread owns the traces: spans of a trace may arrive in different requests.
        self._thread = ThreadPoolExecutor(1, "spans")
        self._engine_of = replace(self.ctx, pool="intake")
        self.requests = 0
        self._settings = source_settings(self.ctx.settings)
        self._reader = SpanReader(self._settings)
        self._traces = Traces()
        self.totals: Counter[str] = Counter(dict.fromkeys(_TOTALS, 0))

    async def take(self, request: Request, signal: Signal) -> Response:
        """Ingest a request's spans or log records. Raises ApiError."""
        kind = kind_of(request.headers)
        if kind not in (PROTOBUF, JSON):
            detail = f"the body is of type {kind or 'nothing'!r}: send {PROTOBUF} or {JSON}"
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, closes=True)
        if self.requests >= self.most_at_once:
            detail = f"{self.requests} requests are already in progress: send this one again after a moment"
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers, closes=True)
        self.requests += 1
        try:
            body = await read_body(request, LARGEST_BODY_BYTES, self.body_timeout_s, PACKINGS)
            packing = request.headers.get("content-encoding", "identity")
            rejected, message = await self._unless_hung_up(request, signal, kind, body, packing)
        finally:
            self.requests -= 1
        return success(request.headers, signal, rejected, message)

    async def _unless_hung_up(
        self, request: Request, signal: Signal, kind: str, body: bytes, packing: str
    ) -> tuple[int, str]:
        """Decode and store, unless the caller hangs up before: exporters send again what was not answered."""
        loop, hung_up = asyncio.get_running_loop(), threading.Event()

        async def notice() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            hung_up.set()

        def unless_hung_up(work: Callable[[], _T]) -> _T:
            if hung_up.is_set():
                raise Abandoned
            return work()

        noticing = asyncio.create_task(notice())
        try:
            decode = partial(self._decode, signal, kind, body, packing, hung_up.is_set)
            spans, scores = await asyncio.shield(loop.run_in_executor(self.decoders, unless_hung_up, decode))
            store = partial(self._store, spans, scores, time.monotonic() + self.write_timeout_s)
            # Once writing has begun it ends: the request counts until then.
            return await asyncio.shield(loop.run_in_executor(self._thread, unless_hung_up, store))
        except Abandoned:
            raise ApiError(HTTPStatus.REQUEST_TIMEOUT, "the caller hung up: nothing was stored") from None
        finally:
            noticing.cancel()

    def _decode(
        self, signal: Signal, kind: str, body: bytes, packing: str, is_abandoned: Callable[[], bool]
    ) -> tuple[list[Span], list[Score]]:
        """Return the spans, or the evaluations in log records. Raises ApiError, and Abandoned once nobody waits."""
        ends_at_s = time.monotonic() + DECODING_TIMEOUT_S
        budget = DecodingBudget(MOST_SPANS, MOST_PARTS, MOST_PARTS_OF_ITEM, ends_at_s, is_abandoned)
        try:
            plain = unpacked(body, packing, LARGEST_UNPACKED_BYTES)
            decode = from_protobuf if kind == PROTOBUF else from_json
            groups = decode(signal, plain, self._reader.wants, budget)
            spans = list(_checked(self._reader.spans(groups), budget)) if signal is Signal.TRACES else []
            scores = list(_checked(self._reader.scores(groups), budget)) if signal is Signal.LOGS else []
        except (TooLarge, TooSlow) as error:
            detail = f"the body {error}: send it in parts"
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail) from None
        except ValueError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"the body {error}") from None
        return spans, scores

    def _store(self, spans: list[Span], scores: list[Score], ends_at_s: float) -> tuple[int, str]:
        """Store spans; return the number rejected, and why. Raises ApiError if others write for too long."""
        left_s = time_left_s(ends_at_s)
        finished = self._traces.add(spans, scores)
        ingestion = self.ctx.settings.ingestion
        prepared = prepare(finished.batch, NAME, self._settings.complexity_rule, ingestion=ingestion)
        given, kept = finished.batch.selections.height, prepared.selections.height + prepared.aside.height
        with writing(self._engine_of.engine, wait_s=left_s) as connection:
            stats = store(connection, prepared, ingestion=ingestion)
        self._traces.confirm(finished)
        rejected = sum(finished.batch.rejected.values()) + given - kept
        self.totals.update({
            "stored": stats.added, "overhead": stats.overhead, "left out": stats.skipped.total(), "rejected": rejected,
            "set aside": stats.set_aside, "dropped": stats.dropped,
        })  # fmt: skip
        return rejected, "; ".join(f"{count} × {reason}" for reason, count in stats.rejected.most_common(_MOST_REASONS))


def source_settings(settings: Settings) -> SourceSettings:
    """Return the settings of a source of this kind, preferring the one named like it, or the defaults."""
    known = [it for it in settings.sources.values() if it.kind is SourceKind.OTEL]
    default = known[0] if known else SourceSettings(kind=SourceKind.OTEL, location="by HTTP")
    return settings.sources.get(NAME, default)


def unpacked(body: bytes, packing: str, largest_bytes: int) -> bytes:
    """Decompress a body. Raises ValueError, and TooLarge as soon as the limit is exceeded."""
    if packing == "identity":
        return body
    parts: list[bytes] = []
    length = 0
    while body:
        # The remaining bytes are copied for each part: many small parts would take forever.
        if len(parts) == _MOST_PARTS:
            raise TooLarge(f"is packed in more than {_MOST_PARTS} parts")
        unpacking = zlib.decompressobj(PACKINGS[packing])
        try:
            parts.append(unpacking.decompress(body, largest_bytes + 1 - length))
        except zlib.error:
            raise ValueError(f"is not packed with {packing}, as it says") from None
        length += len(parts[-1])
        if length > largest_bytes:
            raise TooLarge(f"has more than {largest_bytes} bytes when it is unpacked")
        if not unpacking.eof:
            raise ValueError(f"is packed with {packing} and breaks off")
        # gzip data may have several members.
        body = unpacking.unused_data
    return b"".join(parts)


# ----------------------------------------------------------------------------------------------------------------------

_T = TypeVar("_T")
_TOTALS = ("stored", "overhead", "left out", "rejected", "set aside", "dropped")
_MOST_REASONS = 5
_MOST_PARTS = 16
"""Maximum gzip members; exporters send one."""


def _checked(read: Iterable[_T], budget: DecodingBudget) -> Iterator[_T]:
    """Look at the clock after each: what a span says may take longer to read than to decode."""
    for one in read:
        budget.check()
        yield one


class _Route(APIRoute):
    """Returns errors in the format of exporters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except ApiError as error:
                return refusal(request.headers, error.status, str(error), error.headers)
            except RoutewatchError as error:
                problem_response = of_the_family(request, error)
                more = (
                    {"Retry-After": problem_response.headers["retry-after"]}
                    if "retry-after" in problem_response.headers
                    else {}
                )
                return refusal(
                    request.headers, problem_response.status_code, orjson.loads(problem_response.body)["detail"], more
                )

        return answer


class Status(BaseModel):
    """What went wrong, as google.rpc.Status."""

    code: int
    message: str


class PartialSuccess(BaseModel):
    """Number of permanently rejected spans or log records, as a string of digits, and why."""

    rejectedSpans: str | None = None  # noqa: N815 - the protocol's names
    rejectedLogRecords: str | None = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815


class Exported(BaseModel):
    """Everything was accepted, except for what `partialSuccess` reports."""

    partialSuccess: PartialSuccess | None = None  # noqa: N815


router = APIRouter(tags=["opentelemetry"], route_class=_Route)

_EXAMPLE = {
    "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
    "startTimeUnixNano": "1788768000000000000", "endTimeUnixNano": "1788768000412000000",
    "attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.response.model", "value": {"stringValue": "swift-mini"}},
    ],
}  # fmt: skip


def _body(signal: Signal, example: dict[str, Any]) -> dict[str, Any]:
    """Schema of only the outermost level of the protocol's messages."""
    outer, inner, items = signal.value
    schema = {"type": "object", "properties": {outer: {"type": "array", "items": {"type": "object"}}}}
    said = {"schema": schema, "example": {outer: [{inner: [{items: [example]}]}]}}
    return {"requestBody": {"required": True, "content": {JSON: said}}}


_STATUS = {JSON: {"schema": {"$ref": "#/components/schemas/Status"}}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": _STATUS}
    for status in (400, 401, 403, 408, 413, 415, 421, 429, 503)
}


@router.post("/v1/traces", response_model=Exported, responses=_ERRORS, openapi_extra=_body(Signal.TRACES, _EXAMPLE))
async def post_traces(request: Request, _name: Annotated[str, Depends(requires("write"))]) -> Response:
    """Send spans as OTLP/HTTP: application/x-protobuf or JSON, optionally compressed. The response has the same type.

    Model calls become selections, counted once even if sent again; other spans are skipped.
    """
    intake: SpanIntake = request.app.state.span_intake
    return await intake.take(request, Signal.TRACES)


@router.post("/v1/logs", response_model=Exported, responses=_ERRORS, openapi_extra=_body(Signal.LOGS, {}))
async def post_logs(request: Request, _name: Annotated[str, Depends(requires("write"))]) -> Response:
    """Send log records as OTLP/HTTP; only evaluations of answers are read."""
    intake: SpanIntake = request.app.state.span_intake
    return await intake.take(request, Signal.LOGS)
