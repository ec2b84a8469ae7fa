"""Ingest: selections that routers send by HTTP, one or many at once, each with its own result."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from dashboard.middleware import requires
from dashboard.problem_details import ApiError, problems
from dashboard.request_body import read_body
from dashboard.turns import time_left_s
from models.clock import true_now
from models.context import AppContext
from models.database import insert_into, writing
from routewatch.gate import (
    CLOCK_SKEW,
    EARLIEST,
    EPOCH,
    FIELDS,
    GIVEN_TWICE,
    LATEST,
    NOT_AN_INSTANT,
    UNIT_BUCKETS,
    AcceptedSelection,
    RejectedSelection,
    accept,
    epoch_fault,
    latest_instant,
)
from routewatch.quarantine import MOST_QUARANTINED_ROWS, Entrance, IntakeCounts, IntakeOutcome, set_aside
from routewatch.selection import SELECTION
from tasks.ingestion.json_parts import has_more_json_parts
from tasks.ingestion.lenient_json import parse_json

MOST_SELECTIONS = 10_000
LARGEST_BODY_BYTES = 16 * 1024 * 1024
BODY_TIMEOUT_S = 20.0
MOST_BATCHES_AT_ONCE = 8
"""Maximum batches being received, waiting or being written; further ones get 429, so that memory is bounded."""
WRITERS = 2
WRITE_TIMEOUT_S = 10.0
"""How long a batch that is there waits for its turn and for the database; then it gets 503, and nothing is stored."""
RETRY_AFTER_S = 1
MOST_PARTS = 500_000
"""Objects, lists and values in a body: of 10,000 selections with every field there are 150,000."""

_DOCUMENT_NAMES = {"responseTime": "response_time_ms", "cost": "cost_usd"}
"""The product document's names that differ from the columns' in camelCase."""

NAMES: dict[str, str] = {
    **{name: name for name in FIELDS},
    **{to_camel(name): name for name in FIELDS},
    **_DOCUMENT_NAMES,
}
"""Every accepted name of a selection's field, and its column."""

NOT_A_FIELD = "a field that a selection does not have"
"""The reason under which unknown names are counted; the response names them."""


class SelectionResult(BaseModel):
    """Result of one selection; a duplicate's request id is already known, and nothing was changed.

    One that is set aside is kept in the quarantine and not counted, with the reason as its `error`. `unknown` names the
    fields that could not be read, as they were sent, with the reason of each: the rest of the selection is stored.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    index: int
    status: Literal["created", "duplicate", "setAside", "refused"]
    request_id: str | None = None
    error: str | None = None
    unknown: dict[str, str] | None = None


class SelectionResults(BaseModel):
    """One result per selection, in the order sent."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    results: list[SelectionResult]
    created: int
    duplicates: int
    set_aside: int = 0
    refused: int


@dataclass
class Intake:
    """Batches in progress, and totals since the server started."""

    ctx: AppContext
    most_at_once: int = MOST_BATCHES_AT_ONCE
    body_timeout_s: float = BODY_TIMEOUT_S
    write_timeout_s: float = WRITE_TIMEOUT_S

    def __post_init__(self) -> None:
        self._engine_of = replace(self.ctx, pool="intake")
        self._threads = ThreadPoolExecutor(WRITERS, "selections")
        self._batches = 0
        self.totals = {"created": 0, "duplicate": 0, "setAside": 0, "refused": 0}

    async def take(self, request: Request) -> SelectionResults:
        """Ingest a request's selections. Raises ApiError."""
        if self._batches >= self.most_at_once:
            detail = f"{self._batches} batches are already in progress: send this one again after a moment"
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers, closes=True)
        self._batches += 1
        try:
            body = await read_body(request, LARGEST_BODY_BYTES, self.body_timeout_s)
            loop = asyncio.get_running_loop()
            # A caller that disconnects does not stop the write: the batch counts until it is written.
            ends_at_s = time.monotonic() + self.write_timeout_s
            results = await asyncio.shield(loop.run_in_executor(self._threads, self._take, body, ends_at_s))
        finally:
            self._batches -= 1
        for status, count in (
            ("created", results.created), ("duplicate", results.duplicates), ("setAside", results.set_aside),
            ("refused", results.refused),
        ):  # fmt: skip
            self.totals[status] += count
        return results

    def _take(self, body: bytes, ends_at_s: float) -> SelectionResults:
        left_s, ingestion = time_left_s(ends_at_s), self.ctx.settings.ingestion
        return record(
            self._engine_of.engine, selections_in(body), true_now(), wait_s=left_s,
            skew=ingestion.clock_skew, most_quarantined=ingestion.maximum_quarantined_rows,
        )  # fmt: skip


router = APIRouter(tags=["selections"])

_EXAMPLE = {"modelId": "swift-mini", "responseTime": 412.0, "cost": 0.0004, "complexity": "simple", "cacheHit": False}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/SentSelection"},
                        {
                            "type": "array",
                            "maxItems": MOST_SELECTIONS,
                            "items": {"$ref": "#/components/schemas/SentSelection"},
                        },
                    ]
                },
                "example": [_EXAMPLE],
            }
        },
    }
}


@router.post(
    "/selections",
    response_model=SelectionResults,
    responses={
        207: {
            "model": SelectionResults,
            "description": "Some or all were rejected or set aside",
        },
        **problems(400, 408, 413, 415, 422, 429),
    },
    openapi_extra=_BODY,
)
async def post_selections(request: Request, _name: Annotated[str, Depends(requires("write"))]) -> Response:
    """Send one selection, or a list of up to 10,000.

    Selections sent again with the same request ids count once. A missing request id is generated, a
    missing timestamp is now. A value that cannot be read becomes unknown and is listed; only a
    timestamp that is no instant rejects its selection, and one ahead of the clock sets it aside.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        detail = f"the body is of type {kind or 'nothing'!r}: send application/json"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, closes=True)
    intake: Intake = request.app.state.intake
    results = await intake.take(request)
    status = HTTPStatus.MULTI_STATUS if results.refused or results.set_aside else HTTPStatus.OK
    content = orjson.dumps(results.model_dump(by_alias=True, exclude_none=True))
    return Response(content, status, media_type="application/json")


def selections_in(body: bytes) -> list[Any]:
    """Return a body's selections, unchecked. Raises ApiError."""
    if has_more_json_parts(body, MOST_PARTS):
        detail = f"the body has more than {MOST_PARTS} objects, lists and values: send it in parts"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    try:
        content = parse_json(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
    if isinstance(content, dict):
        return [content]
    if not isinstance(content, list):
        detail = "the body is neither a selection, which is an object, nor a list of them"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    if len(content) > MOST_SELECTIONS:
        detail = f"there are {len(content)} selections, at most {MOST_SELECTIONS} per request: send them in parts"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return content


def record(
    engine: Engine,
    sent: Sequence[Any],
    now: datetime,
    *,
    wait_s: float | None = None,
    skew: timedelta = CLOCK_SKEW,
    most_quarantined: int = MOST_QUARANTINED_ROWS,
) -> SelectionResults:
    """Accept selections at the gate, and write or set aside the accepted ones in one transaction.

    It waits for others for at most `wait_s`. Rejected ones and unreadable fields are counted by their reason in it.
    """
    latest = latest_instant(now, skew)
    read = [_accepted(item, now, latest) for item in sent]
    accepted = [it.accepted for it in read if it.accepted is not None]
    rows = [it.row for it in accepted if it.set_aside is None]
    aside = [(it.row, it.set_aside) for it in accepted if it.set_aside is not None]
    counts = _counts_of(read, now)
    refused: dict[int, str] = {}
    created: set[str] = set()
    if rows or aside or counts:
        with writing(engine, wait_s=wait_s) as connection:
            if rows:
                created, refused = _insert(connection, rows)
            done = set_aside(connection, aside, Entrance.HTTP, now, most_rows=most_quarantined)
            refused |= {
                id(row): f"{reason}, and the quarantine is full: dropped" for row, reason in aside[: done.dropped]
            }
            counts.write(connection)
    results = [_result(index, it, created, refused) for index, it in enumerate(read)]
    count = {status: sum(it.status == status for it in results) for status in ("created", "duplicate", "setAside")}
    return SelectionResults(
        results=results,
        created=count["created"],
        duplicates=count["duplicate"],
        set_aside=count["setAside"],
        refused=len(results) - sum(count.values()),
    )


# ----------------------------------------------------------------------------------------------------------------------


class SentSelection(BaseModel):
    """A selection as sent. Missing or null fields are unknown; the columns' names are accepted too.

    `responseTime` is in ms, `cost` in USD; `timestamp` is ISO 8601 with an offset, or ms since 1970. A value that does
    not fit becomes unknown. Without a model it is "unknown".
    """

    model_config = ConfigDict(extra="forbid")

    modelId: str | None = Field(default=None, max_length=200)  # noqa: N815 - the document's name
    timestamp: datetime | float | None = None
    requestId: str | None = Field(default=None, min_length=1, max_length=200)  # noqa: N815
    responseTime: float | None = Field(default=None, ge=0)  # noqa: N815
    cost: float | None = Field(default=None, ge=0)
    complexity: str | None = Field(default=None, max_length=200)
    cacheHit: bool | None = None  # noqa: N815
    accuracy: float | None = Field(default=None, ge=0, le=1)
    userSatisfaction: float | None = Field(default=None, ge=0, le=1)  # noqa: N815
    error: bool | None = None
    errorType: str | None = Field(default=None, max_length=200)  # noqa: N815
    promptTokens: int | None = Field(default=None, ge=0)  # noqa: N815
    completionTokens: int | None = Field(default=None, ge=0)  # noqa: N815
    team: str | None = Field(default=None, max_length=200)
    experiment: str | None = Field(default=None, max_length=200)
    arm: str | None = Field(default=None, max_length=200)
    unitBucket: int | None = Field(default=None, ge=0, lt=UNIT_BUCKETS)  # noqa: N815


@dataclass(frozen=True)
class _ReadSelection:
    """A sent selection as the gate read it: its accepted, or why there is none; and its unreadable fields as sent."""

    accepted: AcceptedSelection | None
    error: str | None = None
    unknown: dict[str, str] | None = None
    reasons: tuple[str, ...] = ()
    is_error: bool = False


def _accepted(item: Any, now: datetime, latest: datetime) -> _ReadSelection:
    if not isinstance(item, dict):
        error = f"it is {type(item).__name__}, not an object with modelId and what else is known"
        return _ReadSelection(None, error, reasons=("it is not an object",))
    given, spelled, unknown, reasons = dict[str, Any](), dict[str, str](), dict[str, str](), list[str]()
    for name, value in item.items():
        column = NAMES.get(name)
        if column is None:
            unknown[name[:100]] = f"is no field of a selection; {', '.join(map(to_camel, FIELDS))} are"
            reasons.append(NOT_A_FIELD)
        elif column in spelled and given[column] != value:
            unknown[name] = unknown[spelled[column]] = GIVEN_TWICE
            given[column] = None
            reasons.append(f"{column} {GIVEN_TWICE}")
        else:
            spelled[column], given[column] = name, value
    if not spelled:
        return _ReadSelection(None, "it has no field of a selection", reasons=("it has no field of a selection",))
    fault = None
    if "timestamp" in spelled and spelled["timestamp"] in unknown:
        fault = RejectedSelection("timestamp", GIVEN_TWICE)
    elif given.get("timestamp") is None:
        given["timestamp"] = now
    else:
        given["timestamp"], reason = _instant(given["timestamp"])
        fault = None if reason is None else RejectedSelection("timestamp", reason)
    try:
        accepted = accept(given | ({} if fault is None else {"timestamp": now}), latest)
    except RejectedSelection as rejected:
        return _rejected(rejected, spelled, is_error=rejected.is_error)
    if fault is not None:
        return _rejected(fault, spelled, is_error=accepted.row["error"])
    if accepted.row["request_id"] is None:
        accepted.row["request_id"] = uuid.uuid4().hex
    unknown |= {spelled[name]: reason for name, reason in accepted.unknown.items()}
    return _ReadSelection(accepted, accepted.set_aside, unknown or None, (*reasons, *accepted.reasons))


def _rejected(fault: RejectedSelection, spelled: dict[str, str], *, is_error: bool) -> _ReadSelection:
    # What would be said of the value itself is not counted: each value would be a reason of its own.
    reason = f"{fault.field} {fault.reason.partition(';')[0]}"
    return _ReadSelection(None, f"{spelled[fault.field]}: {fault.reason}", reasons=(reason,), is_error=is_error)


def _instant(value: Any) -> tuple[Any, str | None]:
    """An instant of ISO 8601 text or milliseconds, or why it is none."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip()), None
        except ValueError:
            return None, f"{NOT_AN_INSTANT}; expected ISO 8601, such as 2026-09-06T16:00:00.250Z, or ms since 1970"
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            instant = EPOCH + timedelta(milliseconds=value)
        except (ValueError, OverflowError):
            return None, epoch_fault(value, 1_000)
        is_valid = EARLIEST <= instant < LATEST
        return (instant, None) if is_valid else (None, epoch_fault(value, 1_000))
    return None, f"{NOT_AN_INSTANT}; expected ISO 8601, such as 2026-09-06T16:00:00.250Z, or ms since 1970"


def _counts_of(read: Sequence[_ReadSelection], now: datetime) -> IntakeCounts:
    counts = IntakeCounts(Entrance.HTTP)
    for it in read:
        if it.accepted is None:
            counts.add(IntakeOutcome.REJECTED, it.reasons[0], now, errors=int(it.is_error))
        elif it.accepted.set_aside is None:
            row = it.accepted.row
            for reason in it.reasons:
                counts.add(IntakeOutcome.UNKNOWN_FIELD, reason, row["timestamp"], errors=int(row["error"]))
    return counts


def _result(index: int, it: _ReadSelection, created: set[str], refused: dict[int, str]) -> SelectionResult:
    if it.accepted is None:
        return SelectionResult(index=index, status="refused", error=it.error)
    row = it.accepted.row
    request_id, error = row["request_id"], refused.get(id(row))
    if error is not None:
        return SelectionResult(index=index, status="refused", request_id=request_id, error=error)
    if it.accepted.set_aside is not None:
        error = f"{it.error}: it is set aside, and `routewatch quarantine list` shows it"
        return SelectionResult(index=index, status="setAside", request_id=request_id, error=error, unknown=it.unknown)
    status: Literal["created", "duplicate"] = "created" if request_id in created else "duplicate"
    # If a batch contains an id twice, the first was created.
    created.discard(request_id)
    return SelectionResult(index=index, status=status, request_id=request_id, unknown=it.unknown)


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> tuple[set[str], dict[int, str]]:
    """Write rows; return the new request ids, and why the database rejected rows, by their identity."""
    insertion = insert_into(connection, SELECTION).on_conflict_do_nothing(index_elements=["request_id"])
    try:
        with connection.begin_nested():
            return set(connection.scalars(insertion.returning(SELECTION.c.request_id), rows)), {}
    except (IntegrityError, DataError) as error:
        if len(rows) == 1:
            return set(), {id(rows[0]): f"the database refused it: {type(error.orig).__name__}"}
    middle = len(rows) // 2
    (created, refused), (more, others) = _insert(connection, rows[:middle]), _insert(connection, rows[middle:])
    return created | more, refused | others
