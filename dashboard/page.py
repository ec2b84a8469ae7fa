"""The page's own routes: the page, its sections anew, and what a person does there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from dashboard.live_views import LiveViews
from dashboard.middleware import requires
from dashboard.render import live_style
from dashboard.view_filter import USUAL_RANGE, Chosen, names
from models.attribution import Attribution
from models.context import Workplace
from models.notifications import AlertRule
from tasks.alerts.silences import Wanted, end_silence, silence
from tasks.optimizer import decisions as decide

LONGEST_BY = 80
"""What is typed and the name of a token that may stand beside it are together no longer than a name on record."""

router = APIRouter(include_in_schema=False)

Reader = Annotated[str, Depends(requires("read"))]
Admin = Annotated[str, Depends(requires("admin"))]
Names = Annotated[list[str], Query()]


class _Said(BaseModel):
    """A person's word."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=LONGEST_BY)]
    note: Annotated[str, Field(max_length=500)] = ""

    def word(self, request: Request, token: str) -> Attribution:
        """The word for the record: where tokens are asked for, the name that was typed is of one token's bearer."""
        is_known = request.app.state.gate.is_open or self.by.strip() == token
        return Attribution(self.by if is_known else f"{self.by.strip()} (token {token})", self.note, datetime.now(UTC))


class _Silence(_Said):
    rule: AlertRule | None = None
    subject: Annotated[str, Field(max_length=200)] | None = None
    hours: Annotated[float, Field(gt=0, le=744)]


def chosen(range: str = USUAL_RANGE, model: Names = [], team: Names = []) -> Chosen:  # noqa: A002, B006 - the address's own words
    """What the address says that somebody looks at."""
    return Chosen(range, names(model), names(team))


Choice = Annotated[Chosen, Depends(chosen)]


@router.get("/", response_class=HTMLResponse)
def page(request: Request, choice: Choice, _who: Reader) -> str:
    """The live page."""
    return _views(request).page(choice)


@router.get("/live/sections")
def sections(request: Request, choice: Choice, _who: Reader, *, anew: bool = False) -> dict[str, Any]:
    """Each section with what tells whether it has changed."""
    shown = _views(request).shown(choice, anew=anew)
    return {
        "now": shown.live.now,
        "servedAt": datetime.now(UTC),
        "sections": {name: {"hash": shown.hashes[name], "html": html} for name, html in shown.sections.items()},
    }


@router.get("/live.css")
def live_css(_who: Reader) -> Response:
    """The style sheet, with its fonts."""
    return Response(live_style(), media_type="text/css", headers={"Cache-Control": "private, max-age=3600"})


@router.post("/live/optimizations/{optimization_id}/{action}")
def decide_on(
    request: Request, optimization_id: int, action: Literal["approve", "reject", "revert"], said: _Said, who: Admin
) -> dict[str, str]:
    """Approve or reject a proposal, or take an applied one back."""
    place: Workplace = request.app.state.place
    word = said.word(request, who)
    match action:
        case "approve":
            told = decide.approve(place.engine, optimization_id, place.settings, word)
        case "reject":
            told = decide.reject(place.engine, optimization_id, word)
        case "revert":
            told = decide.revert(place.engine, optimization_id, word)
    return {"told": told}


@router.post("/live/silences")
def silence_alerts(request: Request, said: _Silence, who: Admin) -> dict[str, str]:
    """Silence alerts for a while."""
    place: Workplace = request.app.state.place
    wanted = Wanted(said.rule, said.subject, timedelta(hours=said.hours))
    number = silence(place.engine, wanted, said.word(request, who))
    return {"told": f"silence {number} holds for {said.hours:g} h"}


@router.post("/live/silences/{silence_id}/end")
def end(request: Request, silence_id: int, _said: _Said, who: Admin) -> dict[str, str]:
    """End a silence."""
    place: Workplace = request.app.state.place
    end_silence(place.engine, silence_id, datetime.now(UTC))
    return {"told": f"silence {silence_id} is over"}


def _views(request: Request) -> LiveViews:
    views: LiveViews = request.app.state.views
    return views
