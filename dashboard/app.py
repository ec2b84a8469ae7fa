"""The app: all routes of the live page's server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from dashboard import page
from dashboard import routes as interface
from dashboard.live_views import LiveViews
from dashboard.monitor import Monitor
from dashboard.shared_work import SharedWork
from models.context import AppContext
from reports.charts.vega import own_process

VIEW_THREADS = 2
MOST_VIEWS_AT_ONCE = 16
"""Maximum views that are computed or wait for it; further ones get 503, so that memory is bounded."""

STATIC = Path(__file__).parent / "static"


def create_app(ctx: AppContext, *, watches: bool = True, host: str = "127.0.0.1") -> FastAPI:
    """Return the app for a context; `watches`: also update rollups, evaluate alerts and deliver while it runs.

    `host` is the address that the server will listen on. Raises TokensNeeded if other machines can reach it and
    no tokens are set.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        monitor = Monitor(ctx)
        if watches and ctx.settings.monitoring.enabled:
            monitor.start()
        with own_process():
            yield
        monitor.stop()

    app = FastAPI(title="Routewatch", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.ctx = ctx
    app.state.views = LiveViews(ctx)
    app.state.view_work = SharedWork("the page", threads=VIEW_THREADS, most_keys=MOST_VIEWS_AT_ONCE)
    interface.add_to(app, ctx, host)
    app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
