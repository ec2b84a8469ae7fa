"""Read Langfuse's public API: observations and scores of a time span, oldest first.

The pages of a request come newest first, so time is read in windows small enough to be read whole. Newer versions page
by a cursor, older ones by number; if the newer path does not exist, the older one is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

import httpx
import stamina

from models.errors import Fault, SettingsError, SourceUnavailable

FIRST = datetime(2023, 5, 1, tzinfo=UTC)
"""Before Langfuse existed: reading from here reads everything."""

OBSERVATIONS, OLD_OBSERVATIONS = "/api/public/v2/observations", "/api/public/observations"
SCORES, OLD_SCORES = "/api/public/v3/scores", "/api/public/v2/scores"

PAGE_ROWS, OLD_PAGE_ROWS, SCORE_ROWS = 1_000, 100, 100
"""Rows per page: the API's maximum, or the recommended number of its older version."""

PAGES = 20
"""Pages per window; a larger window is split, so that rows are stored soon after they are read."""

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=64)
TIMEOUT_S = 60.0
ATTEMPTS = 6
RETRIES: dict[str, Any] = {"attempts": ATTEMPTS, "timeout": None, "wait_initial": 1.0, "wait_max": 30.0}
LONGEST_WAIT_S = 120.0
"""Longest wait that the API may ask for within a pull; after a longer one the next pull continues."""

FIELDS = "core,basic,time,model,usage"

CONNECTION_CHECK = "Check the address and that the project's keys are valid"


Pages = Callable[[datetime, datetime], Iterator[list[dict[str, Any]]]]
"""Yields the pages of rows from one time to another, newest first."""


@dataclass(frozen=True)
class PageWindow:
    """All rows from one time to another, oldest first."""

    rows: list[dict[str, Any]]
    end: datetime


class Api:
    """A project of a Langfuse server, read with GET requests only."""

    def __init__(self, location: str) -> None:
        """Connect to `https://PUBLIC_KEY:SECRET_KEY@HOST`, or `https://HOST` with the keys in the environment.

        Raises SettingsError if there are no keys.
        """
        url = httpx.URL(location)
        public = url.username or os.environ.get("LANGFUSE_PUBLIC_KEY", "")
        secret = url.password or os.environ.get("LANGFUSE_SECRET_KEY", "")
        if not public or not secret:
            fault = Fault("location", "has no keys, and LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are not set")
            raise SettingsError("langfuse", [fault])
        self._base = url.copy_with(userinfo=b"", query=None, fragment=None)
        self._auth = (public, secret)
        self._client: httpx.Client | None = None
        self._missing: set[str] = set()

    @contextmanager
    def opened(self) -> Iterator[Api]:
        """Keep a connection open within the context."""
        with httpx.Client(base_url=self._base, auth=self._auth, timeout=TIMEOUT_S) as client:
            self._client = client
            try:
                yield self
            finally:
                self._client = None

    def observations(self, begin: datetime, end: datetime, *, with_metadata: bool) -> Iterator[PageWindow]:
        """Generations by their start. Raises SourceUnavailable."""
        fields = f"{FIELDS},metadata" if with_metadata else FIELDS
        kind = {"type": "GENERATION"}

        def pages(since: datetime, until: datetime) -> Iterator[list[dict[str, Any]]]:
            span = kind | {"fromStartTime": _stamp(since), "toStartTime": _stamp(until)}
            return self._pages(OBSERVATIONS, span | {"fields": fields, "limit": str(PAGE_ROWS)}) or self._numbered(
                OLD_OBSERVATIONS, span | {"limit": str(OLD_PAGE_ROWS)}
            )

        return windows(pages, begin, end)

    def scores(self, begin: datetime, end: datetime, names: list[str]) -> Iterator[PageWindow]:
        """Scores of these names by their time. Raises SourceUnavailable."""

        def pages(since: datetime, until: datetime) -> Iterator[list[dict[str, Any]]]:
            span = {"fromTimestamp": _stamp(since), "toTimestamp": _stamp(until), "limit": str(SCORE_ROWS)}
            found = self._pages(SCORES, span | {"name": ",".join(names), "fields": "subject"})
            return found or self._old_scores(span, names)

        return windows(pages, begin, end)

    def generations_of(self, trace: str) -> list[str]:
        """The ids of a trace's generations. Raises SourceUnavailable."""
        parameters_of_trace = {"type": "GENERATION", "traceId": trace}
        pages = self._pages(OBSERVATIONS, parameters_of_trace | _ALL_TIME | {"fields": "core", "limit": "10"})
        pages = pages or self._numbered(OLD_OBSERVATIONS, parameters_of_trace | {"limit": "10"})
        return [str(row["id"]) for row in next(pages, []) if row.get("id") is not None]

    # --- pages --------------------------------------------------------------------------------------------------------

    def _old_scores(self, span: dict[str, str], names: list[str]) -> Iterator[list[dict[str, Any]]]:
        # The older path accepts one name at a time.
        for name in names:
            yield from self._numbered(OLD_SCORES, span | {"name": name, "fields": "score"})

    def _pages(self, path: str, parameters: Mapping[str, str]) -> Iterator[list[dict[str, Any]]] | None:
        """Pages by cursor; None if the server does not have the path."""
        if path in self._missing:
            return None
        answer = self._get(path, parameters, may_be_missing=True)
        if answer is None:
            self._missing.add(path)
            return None
        return self._by_cursor(path, parameters, answer)

    def _by_cursor(
        self, path: str, parameters: Mapping[str, str], answer: dict[str, Any] | None
    ) -> Iterator[list[dict[str, Any]]]:
        while answer is not None:
            yield answer["data"]
            cursor = (answer.get("meta") or {}).get("cursor")
            answer = self._get(path, {**parameters, "cursor": cursor}) if cursor else None

    def _numbered(self, path: str, parameters: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
        page, pages = 1, 1
        while page <= pages:
            answer = self._get(path, {**parameters, "page": str(page)})
            if answer is None or not answer["data"]:
                return
            yield answer["data"]
            pages = int((answer.get("meta") or {}).get("totalPages") or 0)
            page += 1

    def _get(self, path: str, parameters: Mapping[str, str], *, may_be_missing: bool = False) -> dict[str, Any] | None:
        try:
            answer = self._request(path, parameters)
            if answer.status_code == httpx.codes.NOT_FOUND and may_be_missing:
                return None
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise SourceUnavailable(str(self._base), _cause(error, path), _advice(error)) from error
        if not isinstance(found, dict) or not isinstance(found.get("data"), list):
            raise SourceUnavailable(
                str(self._base), f"{path} gave something else than a page of rows", CONNECTION_CHECK
            )
        return found

    def _request(self, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        if self._client is None:
            raise RuntimeError("the API is used within opened()")
        for attempt in stamina.retry_context(
            on=_again, attempts=ATTEMPTS, timeout=None, wait_initial=1.0, wait_max=30.0
        ):
            with attempt:
                answer = self._client.get(path.lstrip("/"), params=dict(parameters))
                if answer.status_code in _BUSY or answer.is_server_error:
                    answer.raise_for_status()
        return answer


def windows(pages: Pages, begin: datetime, end: datetime) -> Iterator[PageWindow]:
    """Windows of at most PAGES, as far as time can be split; they grow if there is little to read."""
    length = timedelta(hours=1)
    while begin < end:
        until = min(begin + length, end)
        read = list(islice(pages(begin, until), None if until - begin <= SHORTEST else PAGES + 1))
        if len(read) > PAGES and until - begin > SHORTEST:
            length = max(SHORTEST, (until - begin) / 8)
            continue
        rows = [row for page in read for row in page][::-1]
        if rows or until == end:
            yield PageWindow(rows, until)
        begin = until
        length = min(LONGEST, length * (1 if len(read) > PAGES / 4 else 2 if rows else 4))


# ----------------------------------------------------------------------------------------------------------------------

_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT)

_ALL_TIME = {"fromStartTime": FIRST.isoformat(), "toStartTime": "2100-01-01T00:00:00Z"}
"""The newer path requires a bounded time span."""


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _again(error: Exception) -> bool | float:
    """Whether to retry: after the number of seconds that the server asks for, else with growing waits."""
    if isinstance(error, httpx.HTTPStatusError):
        wait = requested_wait_s(error.response, datetime.now(UTC))
        return True if wait is None else wait if wait <= LONGEST_WAIT_S else False
    return isinstance(error, httpx.TransportError)


def requested_wait_s(answer: httpx.Response, now: datetime) -> float | None:
    """How long a response asks to wait before the next request; None if it does not say."""
    requested_wait = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(requested_wait))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(requested_wait) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _cause(error: Exception, path: str) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        wait = requested_wait_s(error.response, datetime.now(UTC))
        asks = "" if wait is None else f" and asks to wait {wait:.0f} s"
        return f"{path} answered {error.response.status_code} {error.response.reason_phrase}{asks}"
    if isinstance(error, httpx.HTTPError):
        return f"{path}: {error or type(error).__name__}"
    return f"{path} gave something else than JSON"


def _advice(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in _REFUSED:
        return "What was read is kept; the next pull continues from there"
    return CONNECTION_CHECK


_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST)
