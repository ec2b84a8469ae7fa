"""HTTP API of the router's config and the reports."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import TypeAdapter
from sqlalchemy import select

from dashboard.middleware import requires
from dashboard.problem_details import ApiError, problems
from models.base import ResponseModel
from models.context import AppContext
from models.database import reading
from models.documents import ReportDocument
from models.ids import LARGEST_ID
from models.schema import REPORT
from reports.file_names import file_stem
from routewatch.rollout import HASH_IN_WORDS, hash_examples
from tasks.optimizer.router_config import read_whole_config
from tasks.optimizer.router_values import Setting, UnreadableSetting

_FILE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox; frame-ancestors 'none'"
)
"""A stored page contains its own style and loads nothing; it does not get this server's origin."""

_TYPES = {
    "html": "text/html",
    "pdf": "application/pdf",
    "csv": "text/csv",
    "zip": "application/zip",
    "json": "application/json",
}


def _schema(kind: str) -> dict[str, str]:
    """Return the schema of a media type's files for the OpenAPI document."""
    return {"type": "object"} if kind == "application/json" else {"type": "string"}


_DOCUMENT: TypeAdapter[Any] = TypeAdapter(ReportDocument)

Reader = Annotated[str, Depends(requires("read"))]
ReportId = Annotated[int, Path(ge=1, le=LARGEST_ID)]


class HashOfUnit(ResponseModel):
    """What the hash gives for a salt and a unit, which is a candidate where `percent` is above `candidateAbove`."""

    salt: str
    unit: str
    digest: str
    n: int
    candidate_above: float
    unit_bucket: int


class AssignmentRule(ResponseModel):
    """How a router assigns a request by the value of a key `rollout.CLASS`, and by what it checks its own hash."""

    rule: str
    examples: list[HashOfUnit]


class ConfigValues(ResponseModel):
    """The router's config; a key's version rises with every change.

    `rollout.CLASS` is null, or an object with the text `candidate`, the number `percent` from 0 to 100, the text
    `salt`, `by`, which is "request" or "user", and the text `experiment`.
    """

    values: dict[str, Any]
    versions: dict[str, int]
    unreadable: dict[str, str]
    """Keys that are not in `values`, as what the table holds for them cannot be read, each with the reason."""
    assignment: AssignmentRule


class ListedReport(ResponseModel):
    id: int
    kind: str
    template: str
    period_start: datetime
    period_end: datetime
    created_at: datetime
    document: str
    """URL of the report's JSON document."""
    files: dict[str, str]
    """URLs of the existing files by suffix."""


class Reports(ResponseModel):
    reports: list[ListedReport]
    next: str | None
    """URL of the next page with older reports; null if there is none."""


_ASSIGNMENT = AssignmentRule(
    rule=HASH_IN_WORDS, examples=[HashOfUnit.model_validate(asdict(example)) for example in hash_examples()]
)

router = APIRouter()


@router.get(
    "/config",
    response_model=ConfigValues,
    tags=["config"],
    responses={304: {"description": "Unchanged since the ETag in If-None-Match"}, **problems()},
)
def get_config(request: Request, _name: Reader) -> Response:
    """Return the router's config. Send the last response's ETag in If-None-Match: 304 means unchanged."""
    ctx: AppContext = request.app.state.ctx
    found = read_whole_config(ctx.engine)
    settings = {key: it for key, it in found.items() if isinstance(it, Setting)}
    said = ConfigValues(
        values={key: setting.value for key, setting in settings.items()},
        versions={key: setting.version for key, setting in settings.items()},
        unreadable={key: str(it) for key, it in found.items() if isinstance(it, UnreadableSetting)},
        assignment=_ASSIGNMENT,
    )
    content = orjson.dumps(said.model_dump(by_alias=True))
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if _names(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


@router.get("/reports", tags=["reports"], responses=problems(422))
def get_reports(
    request: Request,
    _name: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_ID, description="Only reports with smaller ids")] = None,
) -> Reports:
    """List the stored reports, newest first."""
    ctx: AppContext = request.app.state.ctx
    query = select(REPORT).order_by(REPORT.c.id.desc()).limit(limit + 1)
    with reading(ctx.engine) as connection:
        rows = connection.execute(query if before is None else query.where(REPORT.c.id < before)).fetchall()
    shown, more = rows[:limit], len(rows) > limit
    following = f"/reports?limit={limit}&before={shown[-1].id}" if more else None
    return Reports(reports=[_listed(ctx, row) for row in shown], next=following)


@router.get("/reports/{report_id}", tags=["reports"], response_model=ReportDocument, responses=problems(404, 422))
def get_report(request: Request, _name: Reader, report_id: ReportId) -> Response:
    """Return a report's document with all its numbers."""
    return Response(orjson.dumps(_row(request, report_id).document), media_type="application/json")


@router.get(
    "/reports/{report_id}/files/{suffix}",
    tags=["reports"],
    response_class=Response,
    responses={
        200: {"description": "The file", "content": {kind: {"schema": _schema(kind)} for kind in _TYPES.values()}},
        **problems(404, 422),
    },
)
def get_report_file(
    request: Request, _name: Reader, report_id: ReportId, suffix: Literal["html", "pdf", "csv", "zip", "json"]
) -> Response:
    """Return a report's file."""
    ctx: AppContext = request.app.state.ctx
    path = _paths(ctx, _row(request, report_id)).get(suffix)
    if path is None:
        detail = f"report {report_id} has no file {suffix}: GET /reports lists the existing ones"
        raise ApiError(HTTPStatus.NOT_FOUND, detail)
    headers = {"Content-Security-Policy": _FILE_POLICY, "Cache-Control": "private, no-cache"}
    return FileResponse(
        path, media_type=_TYPES[suffix], filename=path.name, headers=headers, content_disposition_type="inline"
    )


# ----------------------------------------------------------------------------------------------------------------------


def _names(given: str, tag: str) -> bool:
    """Return whether an If-None-Match header contains a tag."""
    return given.strip() == "*" or tag in (name.strip().removeprefix("W/") for name in given.split(","))


def _row(request: Request, report_id: int) -> Any:
    ctx: AppContext = request.app.state.ctx
    with reading(ctx.engine) as connection:
        row = connection.execute(select(REPORT).where(REPORT.c.id == report_id)).one_or_none()
    if row is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"there is no report {report_id}: GET /reports lists the existing ones")
    return row


def _listed(ctx: AppContext, row: Any) -> ListedReport:
    return ListedReport(
        id=row.id,
        kind=row.kind,
        template=row.template,
        period_start=row.period_start,
        period_end=row.period_end,
        created_at=row.created_at,
        document=f"/reports/{row.id}",
        files={suffix: f"/reports/{row.id}/files/{suffix}" for suffix in _paths(ctx, row)},
    )


def _paths(ctx: AppContext, row: Any) -> dict[str, Any]:
    """Return a report's existing files by suffix. Their names come from its kind and period, never from a request."""
    document = _DOCUMENT.validate_python(row.document)
    stem, folder = file_stem(document, row.id), ctx.environment.reports_folder / document.kind
    paths = {suffix: folder / f"{stem}.{suffix}" for suffix in _TYPES}
    return {suffix: path for suffix, path in paths.items() if path.is_file()}
