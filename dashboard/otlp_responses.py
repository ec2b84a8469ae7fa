"""Responses to OpenTelemetry exporters: in the request's encoding, errors as google.rpc.Status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import Response
from starlette.datastructures import Headers

from tasks.sources.otel.otlp import Signal

PATHS: Mapping[str, Signal] = {"/v1/traces": Signal.TRACES, "/v1/logs": Signal.LOGS}
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def kind_of(headers: Headers) -> str:
    """Return the body's media type without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def refusal(headers: Headers, status: int, detail: str, more: Mapping[str, str]) -> Response:
    """Return an error. Exporters retry only after 429, 502, 503 and 504, and respect Retry-After."""
    from google.rpc.status_pb2 import Status  # noqa: PLC0415

    return _answer(headers, Status(code=_CODES.get(status, _UNKNOWN), message=detail), status, more)


def success(headers: Headers, signal: Signal, rejected: int, message: str) -> Response:
    """Return the result of a request with the number of permanently rejected spans or log records."""
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces  # noqa: PLC0415

    answer: Any
    if signal is Signal.TRACES:
        answer = traces.ExportTraceServiceResponse()
        if rejected:
            answer.partial_success.rejected_spans = rejected
    else:
        answer = logs.ExportLogsServiceResponse()
        if rejected:
            answer.partial_success.rejected_log_records = rejected
    if rejected:
        answer.partial_success.error_message = message
    return _answer(headers, answer, HTTPStatus.OK, {})


# ----------------------------------------------------------------------------------------------------------------------

_UNKNOWN = 2
_CODES = {400: 3, 401: 16, 403: 7, 408: 4, 413: 3, 415: 3, 421: 3, 429: 8, 500: 13, 503: 14}
"""Of google.rpc.Code."""


def _answer(headers: Headers, message: Any, status: int, more: Mapping[str, str]) -> Response:
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415

    if kind_of(headers) == PROTOBUF:
        return Response(message.SerializeToString(), status, dict(more), media_type=PROTOBUF)
    return Response(MessageToJson(message, indent=None), status, dict(more), media_type=JSON)
