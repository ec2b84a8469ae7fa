"""Health: liveness of the server, and freshness of its numbers."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import Connection

from dashboard.middleware import requires
from dashboard.problem_details import ApiError, problems
from models.clock import is_ahead, true_now
from models.context import AppContext
from models.database import check_revision, reading
from models.errors import SchemaOutdated
from tasks.rollups.checkpoint import read_known_checkpoint
from tasks.rollups.progress import read_backlog, stalled_after

OLDEST_UPDATE = timedelta(minutes=10)
WINDOW = timedelta(minutes=15)
"""Length of the latest window that the KPIs cover."""
MOST_MODELS = 200

router = APIRouter(tags=["health"])

Reader = Annotated[str, Depends(requires("read"))]


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("/healthz", responses={421: problems()[421]})
async def healthz() -> Alive:
    """Report that the server is alive. Needs no token and no database."""
    return Alive()


@router.get("/readyz", responses=problems())
def readyz(request: Request, _name: Reader) -> Alive:
    """Report that the database is available, at this program's revision, and rolled up within ten minutes; else 503.

    So it does where selections wait and none was counted for 90 s, whatever the reason.
    """
    ctx: AppContext = request.app.state.ctx
    now = true_now()
    try:
        check_revision(ctx.engine)
    except SchemaOutdated as error:
        found = error.found or "none"
        raise _not_ready(f"the database is at revision {found}, not {error.expected}: {error.remedy}") from None
    with reading(ctx.engine) as connection:
        behind_s = lag_s(connection, now)
        backlog = read_backlog(connection)
    if behind_s is None:
        raise _not_ready(f"no selection has been counted yet: {_COUNTING}")
    if behind_s > OLDEST_UPDATE.total_seconds():
        oldest_s = OLDEST_UPDATE.total_seconds()
        raise _not_ready(f"selections were counted {behind_s:.0f} s ago, more than {oldest_s:.0f} s: {_COUNTING}")
    stalled = backlog.stalled_for(now)
    if stalled >= stalled_after(ctx.settings):
        raise _not_ready(f"{backlog.shown}, and none was counted for {stalled.total_seconds():.0f} s: {_COUNTING}")
    return Alive()


def lag_s(connection: Connection, now: datetime) -> float | None:
    """Return the time since the last rollup update; None if there was none, or its time is ahead of the clock."""
    state = read_known_checkpoint(connection)
    if state is None or state.rollups_updated_at is None or is_ahead(state.rollups_updated_at, now):
        return None
    return max(0.0, (now - state.rollups_updated_at).total_seconds())


# ----------------------------------------------------------------------------------------------------------------------

_COUNTING = "let the monitor run (`monitoring.enabled`), or see in the server's log why it does not update rollups"


def _not_ready(detail: str) -> ApiError:
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "60"})
