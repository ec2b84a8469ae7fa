"""Security: authentication of every route, response headers, scopes of routes, and browser login."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import authentication as authenticator
from dashboard import otlp_responses as otlp_answers
from dashboard.authentication import COOKIE, SESSION_LENGTH, Authenticator, Person, WrongToken, session_in
from dashboard.guess_limit import GuessLimit
from dashboard.problem_details import ApiError, problem
from dashboard.request_body import Lingering, read_body
from dashboard.security_headers import HEADERS
from models.access_token import Scope as TokenScope
from models.access_token import parse_tokens
from models.clock import true_now
from models.context import AppContext

LARGEST_FORM_BYTES = 8 * 1024
FORM_TIMEOUT_S = 10.0

_BEARER = HTTPBearer(auto_error=False, description="A token of ROUTEWATCH_TOKENS")

router = APIRouter(include_in_schema=False)


def protect(app: FastAPI, ctx: AppContext, host: str) -> None:
    """Add authentication to the app, which will listen on `host`. Raises TokensNeeded."""
    tokens = ctx.environment.tokens
    app.state.authenticator = Authenticator(() if tokens is None else parse_tokens(tokens.get_secret_value()), host)
    app.state.login_limit = GuessLimit()
    app.add_middleware(_Guard, authenticator=app.state.authenticator)
    app.include_router(router)


def requires(scope: str) -> Callable[..., str]:
    """Dependency that requires a token with `scope` (write, read or admin) and returns the person's name."""
    needed = TokenScope(scope)

    def who(request: Request, _bearer: Annotated[Any, Security(_BEARER)]) -> str:
        person: Person = request.scope["person"]
        if needed not in person.scopes and TokenScope.ADMIN not in person.scopes:
            has = "+".join(sorted(person.scopes))
            detail = f"the token {person.name} is for {has}, and this needs {needed}: use another token"
            raise ApiError(HTTPStatus.FORBIDDEN, detail, closes=request.method not in authenticator.READING)
        return person.name

    return who


@router.get("/login")
def login_form(request: Request) -> Response:
    """Return the login form."""
    if request.app.state.authenticator.is_open:
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)
    return HTMLResponse(_FORM.format(said=""))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Create a browser session for a token."""
    own: Authenticator = request.app.state.authenticator
    if own.is_open:
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)
    limit, address = request.app.state.login_limit, _address_of(request.scope)
    limit.check(address, time.monotonic())
    form = parse_qs((await read_body(request, LARGEST_FORM_BYTES, FORM_TIMEOUT_S)).decode(errors="replace"))
    # Others may have guessed while this body came.
    limit.check(address, time.monotonic())
    try:
        session = own.session_for(form.get("token", [""])[0].strip(), true_now())
    except ApiError as refused:
        limit.count_wrong(address, time.monotonic())
        said = "<p role=alert>This is no token that is known, or it is over.</p>"
        return HTMLResponse(_FORM.format(said=said), refused.status)
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(SESSION_LENGTH.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the browser's session, and each copy of it."""
    own: Authenticator = request.app.state.authenticator
    own.end_session(session_in(request.headers), true_now())
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


# ----------------------------------------------------------------------------------------------------------------------

_FORM = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>Routewatch: log in</title>
<main><h1>Routewatch</h1>{said}
<form method=post action=/login><label>Token <input name=token type=password required autofocus
autocomplete=current-password></label> <button>Log in</button></form></main></html>
"""


class _Guard:
    """Middleware that authenticates requests and adds headers to every response."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator
        # Apart from the login form's, which refuses the right token too: programs must not close it to people.
        self._limit = GuessLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await lingering.send(message)

        headers, lingering = Headers(scope=scope), Lingering(receive, send)
        try:
            scope["person"] = self._person(scope, headers)
        except ApiError as refused:
            await _refusal(refused, scope, headers)(scope, lingering.receive, send_with_headers)
        else:
            await self._app(scope, lingering.receive, send_with_headers)

    def _person(self, scope: Scope, headers: Headers) -> Person | None:
        """The sender of a request. Raises ApiError, 429 after too many wrong tokens; a right one is always accepted."""
        try:
            return self._authenticator.authenticate(
                scope["method"], scope["path"], headers, scope["scheme"], true_now()
            )
        except WrongToken as wrong:
            self._limit.check_wrong(_address_of(scope), wrong.token, time.monotonic())
            raise


def _address_of(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _refusal(refused: ApiError, scope: Scope, headers: Headers) -> Response:
    """Redirect a browser that opens a page without a token to the login form."""
    opens_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if refused.status is HTTPStatus.UNAUTHORIZED and opens_page and "authorization" not in headers:
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    if scope["path"] in otlp_answers.PATHS:
        return otlp_answers.refusal(headers, refused.status, str(refused), refused.headers)
    return problem(refused.status, str(refused), refused.headers)


def _add_headers(message: MutableMapping[str, Any]) -> None:
    said = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        said.setdefault(name, value)
