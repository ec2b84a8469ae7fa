"""Problem details: every error response, as application/problem+json (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from dashboard.security_headers import HEADERS
from models.errors import ConfigConflict, DatabaseUnavailable, RoutewatchError, SchemaOutdated, UsageError
from models.redaction import hide

logger = logging.getLogger("routewatch")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Problem(BaseModel):
    """An error. `detail` says what was found, what was expected and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ApiError(RoutewatchError):
    """A request that gets an error status; `closes` the connection if its body was not read."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, *, closes: bool = False
    ) -> None:
        self.status = status
        self.headers = dict(headers or {}) | ({"Connection": "close"} if closes else {})
        super().__init__(detail)


_MEANINGS: dict[int, str] = {
    400: "The body is not JSON",
    401: "No valid token",
    403: "The token lacks the scope, or the request comes from another site",
    404: "Not found",
    408: "The body took too long",
    409: "Its state does not allow this",
    413: "The body is too large",
    415: "The body has an unsupported type",
    421: "The request's host name is not the server's",
    422: "A parameter or the body is not as documented",
    429: "Too many requests at once, or too many wrong tokens; Retry-After says when to retry",
    503: "The database is unavailable, or has no data yet",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route, for its `responses`, including those of every route."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({401, 403, 421, 429, 503, *statuses})
    }


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return one response."""
    said = Problem(title=HTTPStatus(status).phrase, status=status, detail=hide(detail))
    return Response(orjson.dumps(said.model_dump()), status, dict(headers or {}), media_type=MEDIA_TYPE)


def respond_with_problems(app: FastAPI, *named: type[BaseModel]) -> None:
    """Return every error of the app as a problem, and add Problem to its OpenAPI document.

    `named`: further models that the document refers to and no route declares.
    """
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RoutewatchError, of_the_family)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        models: tuple[type[BaseModel], ...] = (Problem, *named)
        for model in models:
            schemas.setdefault(model.__name__, model.model_json_schema())
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def of_the_family(_request: Request, error: Exception) -> Response:
    """Return the response to a RoutewatchError; details for the administrator only go to the log."""
    if isinstance(error, (DatabaseUnavailable, SchemaOutdated)):
        # Only the administrator may see the database's address; the response says that it is unavailable.
        logger.warning("a request could not be answered: %s", error)
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return problem(503, "the database cannot be used for now: the server's log says why; try again later", headers)
    if isinstance(error, UsageError):
        return problem(422, str(error))
    if isinstance(error, ConfigConflict):
        return problem(409, str(error))
    logger.warning("a request could not be answered: %s", error)
    return problem(503, str(error), {"Retry-After": str(RETRY_AFTER_S)})


# ----------------------------------------------------------------------------------------------------------------------


def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - it is registered for no other
    return problem(error.status, str(error), error.headers)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = (f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors())
    return problem(422, "; ".join(faults))


def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return problem(error.status_code, str(error.detail), error.headers)


def _unforeseen(_request: Request, error: Exception) -> Response:
    logger.error("a request failed", exc_info=error)
    # This response bypasses the middleware that adds headers to all others.
    return problem(500, "the server failed: its log says why", HEADERS)
