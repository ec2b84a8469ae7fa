"""The HTTP interface for programs, added to the app of the page."""

from __future__ import annotations

from fastapi import FastAPI

from dashboard import ingest, security
from dashboard.ingest import Intake
from dashboard.problems import answer_with_problems
from models.workplace import Workplace


def add_to(app: FastAPI, place: Workplace, host: str) -> None:
    """Add the routes, the gate before all of the app's routes, and what they need. Raises TokensNeeded."""
    app.state.intake = Intake(place)
    app.include_router(ingest.router)
    security.protect(app, place, host)
    answer_with_problems(app)
