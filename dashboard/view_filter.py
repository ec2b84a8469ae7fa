"""Filter of a view, and the report material of its selections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard.render import RANGES
from models.context import AppContext
from models.documents import Filters, PerformanceReport
from models.errors import UsageError
from models.period import Level, Period, floor_to
from models.report_template import Template
from tasks.reporting.collect import collect_material
from tasks.reporting.composition import Composition
from tasks.reporting.documents.performance import compose_performance
from tasks.reporting.material import ReportMaterial
from tasks.reporting.request import Request

USUAL_RANGE = "24h"


@dataclass(frozen=True)
class Chosen:
    """A range up to now, and models and teams; empty is all. Raises UsageError for an unknown range."""

    range: str = USUAL_RANGE
    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.range not in RANGES:
            raise UsageError(f"unknown range {self.range!r}; expected one of {', '.join(RANGES)}")


def names(given: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, without the empty one that means all."""
    return tuple(sorted({name for name in given if name}))


def measured(ctx: AppContext, chosen: Chosen, now: datetime) -> tuple[ReportMaterial, PerformanceReport]:
    """Build the performance report of the filter up to `now`, including the current minute, and its material."""
    end = floor_to(Level.MINUTE, now, "UTC") + timedelta(minutes=1)
    period = Period(end - RANGES[chosen.range][1], end, ctx.settings.timezone)
    filters = Filters(models=chosen.models, teams=chosen.teams)
    request = Request("custom", Template.PERFORMANCE, period, "detailed", filters=filters)
    material = collect_material(ctx.engine, request, ctx.settings, now)
    return material, compose_performance(Composition(request, material, ctx.settings, now))
