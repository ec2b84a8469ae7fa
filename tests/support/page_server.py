"""The live page's server, really listening on the loopback, for tests that call it by HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import httpx
import uvicorn
from pydantic import SecretStr
from sqlalchemy import Engine

from dashboard.app import create_app
from dashboard.server_config import config_of
from models.context import AppContext
from models.environment import Environment
from models.period import Period
from models.report_template import Template
from models.settings import parse_settings
from tasks.optimizer.router_config import set_by_hand
from tasks.reporting.publish import store_report, write_files
from tasks.reporting.request import Request
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support import documents
from tests.support.factories import insert_selections, selections
from tests.support.servers import HOST

WRITER, READER, ADMIN, OVER = (f"{name}-0123456789abcdef" for name in ("writer", "reader", "admin", "over"))
TOKENS = f"router:write:{WRITER} eye:read:{READER} chief:admin:{ADMIN} former:read+write:{OVER}:2026-01-31"


def app_context(engine: Engine, home: Path, *, tokens: str | None = TOKENS) -> AppContext:
    environment = Environment(
        home=home,
        database_url=SecretStr(engine.url.render_as_string(hide_password=False)),
        tokens=None if tokens is None else SecretStr(tokens),
    )
    return AppContext(environment, parse_settings({}, "test"))


@contextmanager
def serving(ctx: AppContext, *, host: str = HOST) -> Iterator[httpx.Client]:
    """Run a client of a server of the app, which neither updates rollups nor delivers."""
    with listening(ctx, host=host) as (address, _), httpx.Client(base_url=address, timeout=120) as client:
        yield client


@contextmanager
def listening(ctx: AppContext, *, host: str = HOST) -> Iterator[tuple[str, uvicorn.Server]]:
    """The address of such a server, and the server."""
    app = create_app(ctx, watches=False, host=host)
    server = uvicorn.Server(config_of(app))
    with socket.socket() as listener:
        # Requests wait at the socket until the server takes them: there is nothing to wait for here.
        listener.bind((HOST, 0))
        listener.listen(128)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            thread.join(20)


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def filled(engine: Engine, home: Path) -> AppContext:
    """Return a context with two hundred counted selections, a config key and a report with its files."""
    # Not a constant of the module: in a long run it would be outdated by now.
    now = datetime.now(UTC)
    ctx = app_context(engine, home)
    rows = ({"timestamp": now - timedelta(minutes=1 + number), "model_id": ("swift", "atlas")[number % 2],
             "response_time_ms": 400.0, "cost_usd": 0.01, "cache_hit": number % 4 == 0, "error": number % 50 == 0}
            for number in range(200))  # fmt: skip
    insert_selections(engine, selections(*rows))
    update_rollups(engine, rollup_settings(ctx.settings), now=now)
    set_by_hand(engine, "cache.ttl_seconds", 900, by="router", reason="default", now=now)
    document = documents.performance()
    period = document.period
    request = Request("custom", Template.PERFORMANCE, Period(period.start, period.end, period.zone))
    report = store_report(ctx, request, document, (), now=now, queued_at=now)
    write_files(report, ctx.environment.reports_folder)
    return ctx
