"""The app: every route of the live page's server in one place."""

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
from models.context import AppContext
from reports.charts.vega import own_process

STATIC = Path(__file__).parent / "static"


def create_app(ctx: AppContext, *, watches: bool = True, host: str = "127.0.0.1") -> FastAPI:
    """The app for a workplace; `watches`: whether it also folds, judges and delivers while it runs.

    `host` is the address that the server is going to listen on. Raises TokensNeeded for one that others can reach where
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
    interface.add_to(app, ctx, host)
    app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
