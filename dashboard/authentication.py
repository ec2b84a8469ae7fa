"""Authentication of every request, before any route, known or not."""

from __future__ import annotations

import base64
import getpass
import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from dashboard.problem_details import ApiError
from models.access_token import Scope, Token, token_of
from models.clock import TOLERANCE
from models.errors import TokensNeeded

COOKIE = "routewatch_session"
SESSION_LENGTH = timedelta(hours=12)

MOST_ENDED = 10_000
"""Sessions that were logged out and would not be over yet; with more of them, all sessions end."""

LONGEST_TIME = 12
"""Maximum digits of a valid time in seconds since 1970."""

OPEN_PATHS = frozenset({"/healthz", "/login"})
"""Paths that need no token."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="routewatch"'}


@dataclass(frozen=True)
class Person:
    """Sender of a request: the token's name, or the server's user if no tokens are set."""

    name: str
    scopes: frozenset[Scope]


class WrongToken(ApiError):
    """An Authorization header whose token is none of ours."""

    def __init__(self, token: str) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, "the token is none of ROUTEWATCH_TOKENS", _CHALLENGE, closes=True)
        self.token = token


class Authenticator:
    """Authenticates requests by tokens, or by reachability from this machine only.

    Without tokens every user of this machine may do everything, so the server then only listens on the loopback.
    """

    def __init__(self, tokens: Sequence[Token], host: str) -> None:
        """Raise TokensNeeded if others can reach the address and no tokens are set."""
        self._tokens = tuple(tokens)
        self._on_loopback = is_loopback(host)
        # Ended sessions are known to this process alone, so that none outlives it.
        self._key = secrets.token_bytes(32)
        self._ended: dict[str, int] = {}
        if not tokens and not self._on_loopback:
            raise TokensNeeded(host)

    @property
    def is_open(self) -> bool:
        """Return whether no token is required."""
        return not self._tokens

    def authenticate(self, method: str, path: str, headers: Headers, scheme: str, now: datetime) -> Person | None:
        """Return the sender of a request; None on public paths. Raises ApiError."""
        host = headers.get("host", "")
        if self._on_loopback and _name_of(host) not in LOOPBACK_NAMES:
            # Another name resolves to this server: a page of that name would share our origin (DNS rebinding).
            detail = f"this server is localhost or 127.0.0.1, and was asked for as {host!r}: use one of its own names"
            raise ApiError(HTTPStatus.MISDIRECTED_REQUEST, detail, closes=True)
        bearer = headers.get("authorization")
        if method not in READING and (bearer is None or path in OPEN_PATHS):
            self._check_origin(headers, f"{scheme}://{host}", needed=COOKIE in _cookies(headers))
        if path in OPEN_PATHS:
            return None
        return self._person(bearer, headers, now)

    def session_for(self, secret: str, now: datetime) -> str:
        """Return the value of a browser's cookie for a token's secret. Raises ApiError."""
        token = self._of_secret(secret, now)
        ends, number = int((now + SESSION_LENGTH).timestamp()), secrets.token_hex(8)
        return f"{_encoded(token.name)}.{ends}.{number}.{self._signature(token, ends, number)}"

    def end_session(self, session: str, now: datetime) -> None:
        """End a session, wherever its cookie was copied to. One that is unknown or over needs no end."""
        try:
            self._of_session(session, now)
        except ApiError:
            return
        _, ends, number, _ = session.split(".")
        self._ended = {it: until for it, until in self._ended.items() if until >= now.timestamp()}
        self._ended[number] = int(ends)
        if len(self._ended) > MOST_ENDED:
            # Another key ends all sessions: none that was ended may come to life because it was forgotten.
            self._key, self._ended = secrets.token_bytes(32), {}

    # ------------------------------------------------------------------------------------------------------------------

    def _person(self, bearer: str | None, headers: Headers, now: datetime) -> Person:
        if self.is_open:
            return Person(getpass.getuser(), frozenset({Scope.ADMIN}))
        if bearer is not None:
            kind, _, secret = bearer.partition(" ")
            if kind.lower() != "bearer":
                raise _unknown("the Authorization header is not `Bearer` and a token")
            token = self._of_secret(secret.strip(), now)
        elif session := _cookies(headers).get(COOKIE):
            token = self._of_session(session, now)
        else:
            raise _unknown("there is no token: send `Authorization: Bearer TOKEN`, or log in at /login")
        return Person(token.name, token.scopes)

    def _of_secret(self, secret: str, now: datetime) -> Token:
        token = token_of(self._tokens, secret)
        if token is None:
            raise WrongToken(secret)
        return _good(token, now)

    def _of_session(self, session: str, now: datetime) -> Token:
        name, ends, number, signature = [*session.split("."), "", "", "", ""][:4]
        # As bytes: only ASCII texts can be compared, and a header may contain anything.
        token = next(
            (it for it in self._tokens if hmac.compare_digest(_encoded(it.name).encode(), name.encode())), None
        )
        if token is None or not (ends.isascii() and ends.isdecimal()) or len(ends) > LONGEST_TIME:
            raise _unknown("the session is not known: log in again at /login")
        if not hmac.compare_digest(self._signature(token, int(ends), number).encode(), signature.encode()):
            raise _unknown("the session is not known: log in again at /login")
        if number in self._ended:
            raise _unknown("the session was logged out: log in again at /login")
        # One that lasts longer than any may was made by a clock that ran ahead.
        if not now.timestamp() <= int(ends) <= (now + SESSION_LENGTH + TOLERANCE).timestamp():
            raise _unknown("the session is over: log in again at /login")
        return _good(token, now)

    def _signature(self, token: Token, ends: int, number: str) -> str:
        """Sign with the token's secret, so that a session ends with its token, and with this process's key."""
        said = f"routewatch session {_encoded(token.name)} {ends} {number}".encode()
        return hmac.new(self._key + token.secret.encode(), said, sha256).hexdigest()

    def _check_origin(self, headers: Headers, own: str, *, needed: bool) -> None:
        """Require that changes come from a page of this server; programs have no cookie and send no origin."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if origin is not None and not self.is_same(origin, own):
            raise _from_elsewhere(f"the page at {origin!r}")
        if site is not None and site != "same-origin":
            raise _from_elsewhere(f"a page of another site (Sec-Fetch-Site: {site})")
        if needed and site is None and origin is None:
            raise _from_elsewhere("a page that names neither Origin nor Sec-Fetch-Site")

    @staticmethod
    def is_same(origin: str, own: str) -> bool:
        """Return whether an origin is this server's; the scheme may differ behind a proxy that terminates TLS."""
        return urlsplit(origin).scheme in ("http", "https") and urlsplit(origin).netloc == urlsplit(own).netloc


def session_in(headers: Headers) -> str:
    """Return the session that a browser sends; empty without one."""
    return _cookies(headers).get(COOKIE, "")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ----------------------------------------------------------------------------------------------------------------------


def _good(token: Token, now: datetime) -> Token:
    if token.is_over(now):
        raise _unknown(f"the token {token.name} was good until {token.last_day}: ask for a new one")
    return token


def _unknown(detail: str) -> ApiError:
    return ApiError(HTTPStatus.UNAUTHORIZED, detail, _CHALLENGE, closes=True)


def _from_elsewhere(where: str) -> ApiError:
    detail = f"the request comes from {where}, and only this server's own pages may change something"
    return ApiError(HTTPStatus.FORBIDDEN, detail, closes=True)


def _encoded(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _cookies(headers: Headers) -> dict[str, str]:
    return cookie_parser("; ".join(headers.getlist("cookie")))


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
