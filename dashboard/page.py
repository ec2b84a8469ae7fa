"""Routes of the page: the page, updates of its sections, and its actions."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from dashboard.live_views import LiveViews
from dashboard.middleware import requires
from dashboard.render import live_style
from dashboard.shared_work import SharedWork
from dashboard.view_filter import USUAL_RANGE, Chosen, names
from models.attribution import Attribution
from models.clock import true_now
from models.context import AppContext
from models.ids import LARGEST_ID
from models.notifications import AlertRule
from tasks.alerts.silences import SilenceRequest, create_silence, end_silence
from tasks.optimizer import decisions as decide

LONGEST_BY = 80
"""Maximum length of a typed name: with a token's name beside it, it still fits the stored column."""

router = APIRouter(include_in_schema=False)

Reader = Annotated[str, Depends(requires("read"))]
_Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Admin = Annotated[str, Depends(requires("admin"))]
Names = Annotated[list[str], Query()]


class _ActionBody(BaseModel):
    """A decision."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=LONGEST_BY)]
    note: Annotated[str, Field(max_length=500)] = ""

    def attribution(self, request: Request, token: str) -> Attribution:
        """Return the attribution to record: with tokens, it also names the token beside the typed name."""
        is_known = request.app.state.authenticator.is_open or self.by.strip() == token
        return Attribution(self.by if is_known else f"{self.by.strip()} (token {token})", self.note, true_now())


class _SilenceBody(_ActionBody):
    rule: AlertRule | None = None
    subject: Annotated[str, Field(max_length=200)] | None = None
    hours: Annotated[float, Field(gt=0, le=744)]


def chosen(range: str = USUAL_RANGE, model: Names = [], team: Names = []) -> Chosen:  # noqa: A002, B006 - the address's own words
    """Return the filter in the URL."""
    return Chosen(range, names(model), names(team))


Choice = Annotated[Chosen, Depends(chosen)]


@router.get("/", response_class=HTMLResponse)
async def page(request: Request, choice: Choice, _who: Reader) -> str:
    """Return the live page."""
    work: SharedWork = request.app.state.view_work
    return await work.result((choice, "page"), partial(_views(request).page, choice))


@router.get("/live/sections")
async def sections(request: Request, choice: Choice, _who: Reader, *, anew: bool = False) -> dict[str, Any]:
    """Return each section with its change tag."""
    views, work = _views(request), request.app.state.view_work
    shown = None if anew else views.kept(choice)
    if shown is None:
        # What is asked for anew must be newer than what was done before: others' work may have begun earlier.
        requested_at_s = time.monotonic()
        key = (choice, requested_at_s) if anew else choice
        make = partial(views.shown, choice, anew=anew, requested_at_s=requested_at_s)
        shown = await work.result(key, make)
    return {
        "now": shown.live.now,
        "servedAt": true_now(),
        "sections": {name: {"hash": shown.hashes[name], "html": html} for name, html in shown.sections.items()},
    }


@router.get("/live.css")
def live_css(_who: Reader) -> Response:
    """Return the style sheet with its fonts."""
    return Response(live_style(), media_type="text/css", headers={"Cache-Control": "private, max-age=3600"})


@router.post("/live/optimizations/{optimization_id}/{action}")
def decide_on(
    request: Request,
    optimization_id: _Id,
    action: Literal["approve", "reject", "revert"],
    body: _ActionBody,
    who: Admin,
) -> dict[str, str]:
    """Approve or reject a proposal, or revert an applied optimization."""
    ctx: AppContext = request.app.state.ctx
    attribution = body.attribution(request, who)
    match action:
        case "approve":
            message = decide.approve(ctx.engine, optimization_id, ctx.settings, attribution)
        case "reject":
            message = decide.reject(ctx.engine, optimization_id, attribution)
        case "revert":
            message = decide.revert(ctx.engine, optimization_id, attribution)
    return _answer(message)


@router.post("/live/silences")
def silence_alerts(request: Request, body: _SilenceBody, who: Admin) -> dict[str, str]:
    """Silence alerts for a while."""
    ctx: AppContext = request.app.state.ctx
    silence = SilenceRequest(body.rule, body.subject, timedelta(hours=body.hours))
    number = create_silence(ctx.engine, silence, body.attribution(request, who))
    return _answer(f"silence {number} holds for {body.hours:g} h")


@router.post("/live/silences/{silence_id}/end")
def end(request: Request, silence_id: _Id, _body: _ActionBody, who: Admin) -> dict[str, str]:
    """End a silence."""
    ctx: AppContext = request.app.state.ctx
    end_silence(ctx.engine, silence_id, true_now())
    return _answer(f"silence {silence_id} is over")


def _answer(message: str) -> dict[str, str]:
    """Return the message, also under the field's former name until the next release."""
    return {"message": message, "told": message}


def _views(request: Request) -> LiveViews:
    views: LiveViews = request.app.state.views
    return views
