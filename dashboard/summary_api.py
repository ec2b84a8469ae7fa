"""Summary: the product document's generateSummary over a range up to now, cached."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy import func, select

from dashboard.middleware import requires
from dashboard.problem_details import problems
from dashboard.shared_work import SharedWork
from dashboard.view_filter import Chosen, measured, names
from models.base import ResponseModel
from models.clock import true_now
from models.context import AppContext
from models.database import reading
from models.documents import (
    CoverageByColumn,
    Filters,
    Freshness,
    IntakePart,
    PerformanceReport,
    PeriodPart,
    Recommendation,
    Trend,
)
from models.period import Level, floor_to
from routewatch.quarantine import QUARANTINE
from tasks.reporting.material import ReportMaterial
from tasks.rollups.checkpoint import read_known_checkpoint
from tasks.rollups.totals import Totals, totals_by

CHECKED_EVERY_S = 1.0
"""How often a cached response is checked for changes."""
RESTS_FOR = 10.0
"""Minimum time between computations, in multiples of their duration: at most a tenth of a processor."""
STALEST_S = 15.0
"""Maximum age of a cached response; older ones are not served, and requests wait for the new one."""
MOST_KEPT = 64
MOST_AWAITED = 16
MOST_NAMES = 100


class Overview(ResponseModel):
    """Over all selections. Times in ms, costs in USD; null is unknown."""

    total_selections: int
    average_response_time: float | None
    cache_hit_rate: float | None
    total_cost: float | None
    error_rate: float | None


class ModelSummary(ResponseModel):
    """One model. Averages and rates are over the selections for which they are known (`coverage`); null is unknown."""

    count: int
    total_response_time: float | None
    total_cost: float | None
    errors: int
    cache_hits: int | None
    avg_response_time: float | None
    avg_cost: float | None
    error_rate: float | None
    cache_hit_rate: float | None
    efficiency: float | None
    coverage: CoverageByColumn


class Summary(ResponseModel):
    """The product document's summary, with its coverage and freshness."""

    overview: Overview
    model_performance: dict[str, ModelSummary]
    trends: tuple[Trend, ...]
    recommendations: tuple[Recommendation, ...]
    range: str
    period: PeriodPart
    filters: Filters
    coverage: CoverageByColumn
    freshness: Freshness
    intake: IntakePart | None
    """Rows of the range that were rejected or set aside, and fields that became unknown."""
    quarantined_selections: int
    """Selections in the quarantine now, of any time."""
    notes: tuple[str, ...]
    generated_at: datetime
    """Time of computation. A response may be some seconds old: it is served while a new one is computed."""


@dataclass
class _KeptSummary:
    """A response as bytes, and the rollups' state when it was computed."""

    content: bytes
    data_state: tuple[Any, ...]
    made_at_s: float
    took_s: float
    checked_at_s: float


class Summaries:
    """Recently requested responses; each is computed once at a time, and all in one thread."""

    def __init__(self, ctx: AppContext) -> None:
        self._ctx = ctx
        self.work = SharedWork("a summary", threads=1, most_keys=MOST_AWAITED)
        self._kept: OrderedDict[Chosen, _KeptSummary] = OrderedDict()

    async def content(self, requested: Chosen) -> bytes:
        """Return the summary as JSON. Raises ApiError if too many are being computed, or the error of computing it."""
        kept, now_s = self._kept.get(requested), time.monotonic()
        if kept is None:
            return (await self.work.result(requested, partial(self._renewed, requested))).content
        self._kept.move_to_end(requested)
        if now_s - kept.checked_at_s < CHECKED_EVERY_S:
            return kept.content
        if now_s - kept.checked_at_s < STALEST_S:
            self.work.start(requested, partial(self._renewed, requested))
            return kept.content
        return (await self.work.result(requested, partial(self._renewed, requested))).content

    def _renewed(self, requested: Chosen) -> _KeptSummary:
        """Renew a cached response. In the only thread that does."""
        made = self._kept[requested] = renewed(self._ctx, requested, self._kept.get(requested))
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return made


router = APIRouter(tags=["numbers"])

Name = Annotated[str, Field(min_length=1, max_length=200)]
Range = Literal["15m", "1h", "6h", "24h", "7d", "30d"]
_NONE: list[str] = []


@router.get("/summary", response_model=Summary, responses=problems(422))
async def get_summary(
    request: Request,
    _name: Annotated[str, Depends(requires("read"))],
    range: Annotated[Range, Query(description="Up to now")] = "24h",  # noqa: A002 - the product document's name
    model: Annotated[list[Name], Query(max_length=MOST_NAMES, description="These models only")] = _NONE,
    team: Annotated[list[Name], Query(max_length=MOST_NAMES, description="These teams only")] = _NONE,
) -> Response:
    """Return a summary of a range up to now: overview, models, trends, recommendations."""
    summaries: Summaries = request.app.state.summaries
    requested = Chosen(range, names(model), names(team))
    return Response(await summaries.content(requested), media_type="application/json")


def renewed(ctx: AppContext, requested: Chosen, kept: _KeptSummary | None) -> _KeptSummary:
    """Return the cached response if it is current or recent, else compute a new one."""
    began_s, now = time.monotonic(), true_now()
    data_state = _data_state(ctx, now)
    if kept is not None and (kept.data_state == data_state or began_s - kept.made_at_s < RESTS_FOR * kept.took_s):
        kept.checked_at_s = began_s
        return kept
    content = summarize(ctx, requested, now).model_dump_json(by_alias=True).encode()
    done_s = time.monotonic()
    return _KeptSummary(content, data_state, done_s, done_s - began_s, done_s)


def summarize(ctx: AppContext, requested: Chosen, now: datetime) -> Summary:
    """Compute the summary up to `now`, including the current minute."""
    material, document = measured(ctx, requested, now)
    summary = document.summary
    return Summary(
        overview=Overview(
            total_selections=summary.total_selections,
            average_response_time=summary.average_response_time,
            cache_hit_rate=summary.cache_hit_rate,
            total_cost=summary.total_cost,
            error_rate=summary.error_rate,
        ),
        model_performance=_models(document, material),
        trends=document.performance_trends,
        recommendations=document.recommendations,
        range=requested.range,
        period=document.period,
        filters=document.filters,
        coverage=document.coverage,
        freshness=document.freshness,
        intake=document.intake,
        quarantined_selections=_quarantined(ctx),
        notes=document.notes,
        generated_at=now,
    )


# ----------------------------------------------------------------------------------------------------------------------


def _models(document: PerformanceReport, material: ReportMaterial) -> dict[str, ModelSummary]:
    added_up: Mapping[tuple[Any, ...], Totals] = totals_by(material.current.parts, "model_id")
    found = {}
    for stats in document.model_breakdown:
        totals = added_up[(stats.model_id,)]
        found[stats.model_id] = ModelSummary(
            count=stats.count,
            total_response_time=_known(totals, "response_time_sum_ms", "response_time_count"),
            total_cost=stats.total_cost,
            errors=totals.known("error_count"),
            cache_hits=totals.known("cache_hit_count") if totals.known("cache_count") else None,
            avg_response_time=stats.avg_response_time,
            avg_cost=stats.avg_cost,
            error_rate=stats.error_rate,
            cache_hit_rate=stats.cache_hit_rate,
            efficiency=stats.efficiency,
            coverage=stats.coverage,
        )
    return found


def _quarantined(ctx: AppContext) -> int:
    with reading(ctx.engine) as connection:
        return connection.scalar(select(func.count()).select_from(QUARANTINE)) or 0


def _known(totals: Totals, added: str, over: str) -> float | None:
    return totals.sums[added] if totals.known(over) else None


def _data_state(ctx: AppContext, now: datetime) -> tuple[Any, ...]:
    """Return the state that a response depends on: while it is the same, so is the response."""
    with reading(ctx.engine) as connection:
        state = read_known_checkpoint(connection)
    minute = floor_to(Level.MINUTE, now, "UTC")
    if state is None:
        return (minute,)
    updated = None if state.rollups_updated_at is None else floor_to(Level.MINUTE, state.rollups_updated_at, "UTC")
    return minute, state.last_id, state.change_batches_processed, state.raw_from, state.settings, updated
