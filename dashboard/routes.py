"""The HTTP interface for programs, added to the app of the page."""

from __future__ import annotations

from fastapi import FastAPI

from dashboard import api, health, ingest, metrics, otlp
from dashboard import middleware as security
from dashboard import summary_api as summary
from dashboard.ingest import Intake, SentSelection
from dashboard.otlp import SpanIntake, Status
from dashboard.problem_details import respond_with_problems
from dashboard.summary_api import Summaries
from models.context import AppContext


def add_to(app: FastAPI, ctx: AppContext, host: str) -> None:
    """Add the routes, authentication of all the app's routes, and their dependencies. Raises TokensNeeded."""
    app.state.intake = Intake(ctx)
    app.state.span_intake = SpanIntake(ctx)
    app.state.summaries = Summaries(ctx)
    for routes in (ingest.router, otlp.router, summary.router, api.router, health.router, metrics.router):
        app.include_router(routes)
    security.protect(app, ctx, host)
    # Added last, it is the outermost, and counts rejected requests too.
    metrics.measure(app, ctx)
    respond_with_problems(app, SentSelection, Status)
