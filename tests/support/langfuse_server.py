"""A server that answers as Langfuse's public API is documented to, with given rows and faults."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.servers import HOST

PUBLIC, SECRET = "pk-lf-1", "sk-lf-1"

GROUPS = {
    "core": ("id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type"),
    "basic": ("name", "level", "statusMessage", "version", "environment", "userId", "sessionId"),
    "time": ("completionStartTime", "createdAt", "updatedAt"),
    "metadata": ("metadata",),
    "model": ("providedModelName", "internalModelId", "modelParameters"),
    "usage": ("usageDetails", "costDetails", "totalCost"),
}


@dataclass
class Langfuse:
    """`older` is a server that has only the numbered pages. Each of `troubles` fails one request."""

    port: int = 0
    older: bool = False
    observations: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[tuple[int, Mapping[str, str]] | str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    largest_page: int = 1_000

    @property
    def address(self) -> str:
        return f"http://{PUBLIC}:{SECRET}@{HOST}:{self.port}"

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        """Return status and body for a request."""
        known = {
            "/api/public/v2/observations": self._observations, "/api/public/observations": self._old_observations,
            "/api/public/v3/scores": self._scores, "/api/public/v2/scores": self._old_scores,
        }  # fmt: skip
        newer = ("/api/public/v2/observations", "/api/public/v3/scores")
        if path not in known or (self.older and path in newer):
            return 404, {"message": "not found"}
        return known[path](query)

    def _matching(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = [
            row
            for row in self.observations
            if query.get("type") in (None, row["type"]) and query.get("traceId") in (None, row["traceId"])
        ]
        return _newest_first(rows, "startTime", query.get("fromStartTime"), query.get("toStartTime"))

    def _observations(self, query: dict[str, str]) -> tuple[int, Any]:
        if int(query.get("limit", 50)) > 1_000 or "fromStartTime" not in query or "toStartTime" not in query:
            return 400, {"message": "bad request"}
        groups = {"core", *query.get("fields", "core,basic").split(",")}
        if not groups <= set(GROUPS):
            return 400, {"message": "unknown field group"}
        names = {name for group in groups for name in GROUPS[group]}
        page, cursor = self._page(self._matching(query), query)
        rows = [{name: value for name, value in row.items() if name in names} for row in page]
        return 200, {"data": rows, "meta": {"cursor": cursor} if cursor else {}}

    def _old_observations(self, query: dict[str, str]) -> tuple[int, Any]:
        return 200, _numbered(self._matching(query), query)

    def _named(self, query: dict[str, str], names: list[str]) -> list[dict[str, Any]]:
        rows = [row for row in self.scores if row["name"] in names]
        return _newest_first(rows, "timestamp", query.get("fromTimestamp"), query.get("toTimestamp"))

    def _scores(self, query: dict[str, str]) -> tuple[int, Any]:
        if int(query.get("limit", 50)) > 100:
            return 400, {"message": "limit"}
        page, cursor = self._page(self._named(query, query["name"].split(",")), query)
        rows = [_with_subject(row) for row in page]
        return 200, {"data": rows, "meta": {"limit": 100, "cursor": cursor} if cursor else {"limit": 100}}

    def _old_scores(self, query: dict[str, str]) -> tuple[int, Any]:
        rows = self._named(query, [query["name"]])
        old = [row | {"value": float(row["value"])} if isinstance(row["value"], bool) else row for row in rows]
        return 200, _numbered(old, query)

    def _page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> tuple[list[dict[str, Any]], str | None]:
        begin = int(base64.b64decode(query["cursor"])) if "cursor" in query else 0
        end = begin + min(self.largest_page, int(query.get("limit", 50)))
        return rows[begin:end], base64.b64encode(str(end).encode()).decode() if end < len(rows) else None


@contextmanager
def langfuse(**options: Any) -> Iterator[Langfuse]:
    """Run a server."""
    target = Langfuse(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            target.asked.append(self.path)
            trouble = target.troubles.pop(0) if target.troubles else None
            if trouble == "cut":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"data": [')
                self.close_connection = True
            elif trouble == "garbage":
                self._send(200, b"<html>")
            elif isinstance(trouble, tuple):
                self._send(trouble[0], b"{}", trouble[1])
            else:
                self._answer()

        def _answer(self) -> None:
            expected = "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()
            if self.headers.get("authorization") != expected:
                self._send(401, b"{}")
                return
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, body = target.answer(parts.path, query)
            self._send(status, json.dumps(body).encode())

        def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    target.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield target
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ----------------------------------------------------------------------------------------------------------------------


def _newest_first(rows: list[dict[str, Any]], name: str, since: str | None, until: str | None) -> list[dict[str, Any]]:
    low = _at(since) if since else datetime.min.replace(tzinfo=UTC)
    high = _at(until) if until else datetime.max.replace(tzinfo=UTC)
    within = [row for row in rows if low <= _at(row[name]) < high]
    return sorted(within, key=lambda row: (_at(row[name]), row["id"]), reverse=True)


def _at(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _numbered(rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    page, limit = int(query.get("page", 1)), int(query.get("limit", 50))
    pages = -(-len(rows) // limit)
    meta = {"page": page, "limit": limit, "totalItems": len(rows), "totalPages": pages}
    return {"data": rows[(page - 1) * limit : page * limit], "meta": meta}


def _with_subject(row: dict[str, Any]) -> dict[str, Any]:
    """As in the newer path: one object identifies what a score belongs to."""
    plain = {name: value for name, value in row.items() if name not in ("observationId", "traceId", "sessionId")}
    if row.get("observationId"):
        return plain | {"subject": {"kind": "observation", "id": row["observationId"], "traceId": row.get("traceId")}}
    kind = "trace" if row.get("traceId") else "session"
    return plain | {"subject": {"kind": kind, "id": row.get("traceId") or row.get("sessionId")}}
