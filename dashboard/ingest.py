"""Ingest: selections that routers send by HTTP, one or many at once, each with its own result."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from dashboard.middleware import requires
from dashboard.problem_details import ApiError, problems
from dashboard.request_body import read_body
from dashboard.turns import time_left_s
from models.context import AppContext
from models.database import insert_into, writing
from routewatch.selection import SELECTION, SelectionInput
from tasks.ingestion.json_parts import has_more_json_parts

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
    **{name: name for name in SelectionInput.model_fields},
    **{to_camel(name): name for name in SelectionInput.model_fields},
    **_DOCUMENT_NAMES,
}
"""Every accepted name of a selection's field, and its column."""

_UNKNOWN: dict[str, Any] = dict.fromkeys(SelectionInput.model_fields) | {"error": False}


class SelectionResult(BaseModel):
    """Result of one selection; a duplicate's request id is already known, and nothing was changed."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    index: int
    status: Literal["created", "duplicate", "refused"]
    request_id: str | None = None
    error: str | None = None


class SelectionResults(BaseModel):
    """One result per selection, in the order sent."""

    results: list[SelectionResult]
    created: int
    duplicates: int
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
        self.totals = {"created": 0, "duplicate": 0, "refused": 0}

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
            ("created", results.created), ("duplicate", results.duplicates), ("refused", results.refused)
        ):  # fmt: skip
            self.totals[status] += count
        return results

    def _take(self, body: bytes, ends_at_s: float) -> SelectionResults:
        left_s = time_left_s(ends_at_s)
        return record(self._engine_of.engine, selections_in(body), datetime.now(UTC), wait_s=left_s)


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
        207: {"model": SelectionResults, "description": "Some or all were rejected; the others are stored"},
        **problems(400, 408, 413, 415, 422, 429),
    },
    openapi_extra=_BODY,
)
async def post_selections(request: Request, _name: Annotated[str, Depends(requires("write"))]) -> Response:
    """Send one selection, or a list of up to 10,000.

    Selections sent again with the same request ids count once. A missing request id is generated, a
    missing timestamp is now.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        detail = f"the body is of type {kind or 'nothing'!r}: send application/json"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, closes=True)
    intake: Intake = request.app.state.intake
    results = await intake.take(request)
    status = HTTPStatus.MULTI_STATUS if results.refused else HTTPStatus.OK
    content = orjson.dumps(results.model_dump(by_alias=True, exclude_none=True))
    return Response(content, status, media_type="application/json")


def selections_in(body: bytes) -> list[Any]:
    """Return a body's selections, unchecked. Raises ApiError."""
    if has_more_json_parts(body, MOST_PARTS):
        detail = f"the body has more than {MOST_PARTS} objects, lists and values: send it in parts"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    try:
        content = orjson.loads(body)
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


def record(engine: Engine, sent: Sequence[Any], now: datetime, *, wait_s: float | None = None) -> SelectionResults:
    """Check selections and write the valid ones in one transaction, which waits for others for at most `wait_s`."""
    checked = [_checked(item, now) for item in sent]
    rows = [row for row in checked if isinstance(row, dict)]
    refused: dict[int, str] = {}
    created: set[str] = set()
    if rows:
        with writing(engine, wait_s=wait_s) as connection:
            created, refused = _insert(connection, rows)
    results = []
    for index, row in enumerate(checked):
        if isinstance(row, str):
            results.append(SelectionResult(index=index, status="refused", error=row))
        elif id(row) in refused:
            error = refused[id(row)]
            results.append(SelectionResult(index=index, status="refused", request_id=row["request_id"], error=error))
        else:
            status: Literal["created", "duplicate"] = "created" if row["request_id"] in created else "duplicate"
            # If a batch contains an id twice, the first was created.
            created.discard(row["request_id"])
            results.append(SelectionResult(index=index, status=status, request_id=row["request_id"]))
    count = {status: sum(result.status == status for result in results) for status in ("created", "duplicate")}
    return SelectionResults(
        results=results,
        created=count["created"],
        duplicates=count["duplicate"],
        refused=len(results) - sum(count.values()),
    )


# ----------------------------------------------------------------------------------------------------------------------


class SentSelection(BaseModel):
    """A selection as sent. Missing or null fields are unknown; the columns' names are accepted too.

    `responseTime` is in ms, `cost` in USD; `timestamp` is ISO 8601 with an offset, or ms since 1970.
    """

    model_config = ConfigDict(extra="forbid")

    modelId: str = Field(min_length=1, max_length=200)  # noqa: N815 - the document's name
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


def _checked(item: Any, now: datetime) -> dict[str, Any] | str:
    """Return a row for the table, or why the selection is rejected."""
    if not isinstance(item, dict):
        return f"it is {type(item).__name__}, not an object with modelId and what else is known"
    row, spelled = dict(_UNKNOWN), dict[str, str]()
    for name, value in item.items():
        column = NAMES.get(name)
        if column is None:
            return (
                f"{name[:100]}: is no field of a selection; {', '.join(map(to_camel, SelectionInput.model_fields))} are"
            )
        if column in spelled:
            return f"{name}: is the same as {spelled[column]}, which is there too"
        spelled[column] = name
        row[column] = value
    try:
        row["timestamp"] = now if row["timestamp"] is None else _instant(row["timestamp"])
        row["request_id"] = uuid.uuid4().hex if row["request_id"] is None else row["request_id"]
        row["error"] = False if row["error"] is None else row["error"]
        return SelectionInput.model_validate(row).model_dump()
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{spelled.get(str(it['loc'][0]), to_camel(str(it['loc'][0])))}: {it['msg']}" for it in faults)
    except ValueError as problem:
        return f"{spelled['timestamp']}: {problem}"


def _instant(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is no ISO 8601 time such as 2026-09-06T16:00:00.250Z") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / 1_000, UTC)
        except (ValueError, OverflowError, OSError):
            raise ValueError("is no number of milliseconds since 1970 within the years 1 to 9999") from None
    return value


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
