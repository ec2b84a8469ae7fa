"""Inputs of a document: the material, its measures, and the fields of every document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from models.documents import (
    BudgetProjection,
    Charts,
    Document,
    Freshness,
    Kpi,
    PeriodPart,
    SpendCause,
    Trend,
    leading_trend,
)
from models.period import Level
from models.report_template import Template
from models.settings import Settings
from reports.text.labels import SPEND_METRICS
from tasks.comparison.periods import known_end
from tasks.comparison.trends import ComparedWith, against
from tasks.forecasting.budget import project_budget, recorded_from
from tasks.kpis.cost_efficiency import Efficiency, measure_efficiency
from tasks.kpis.measures import distribution, heatmap, kpis, timeline
from tasks.reporting.data_notes import data_notes
from tasks.reporting.material import ReportMaterial
from tasks.reporting.request import Request
from tasks.rollups.query import RollupSlice
from tasks.rollups.totals import Totals, total

HOURLY_TIMELINE_HOURS = 24.0 * 8
"""Longest period with an hourly timeline; longer ones have a daily timeline."""

LARGEST_TEAMS_SHOWN = 50


@dataclass(frozen=True)
class Composition:
    """All inputs of a document; values that several templates need are computed once, on first use.

    `now` is the document's generatedAt.
    """

    request: Request
    material: ReportMaterial
    settings: Settings
    now: datetime

    @cached_property
    def measured(self) -> Totals:
        return total(self.material.current.parts)

    @cached_property
    def efficiency(self) -> Efficiency:
        material, limits = self.material, self.settings.performance_metrics
        return measure_efficiency(material.current.parts, limits, material.split, cheapest=material.cheapest)

    @cached_property
    def kpis(self) -> tuple[Kpi, ...]:
        return kpis(self.measured, self.efficiency, self.settings.performance_metrics)

    @cached_property
    def period(self) -> PeriodPart:
        current = self.material.current
        return PeriodPart(
            start=current.period.start,
            end=current.period.end,
            zone=current.period.zone,
            requested_start=current.requested_period.start,
            requested_end=current.requested_period.end,
        )

    @property
    def header(self) -> dict[str, Any]:
        """Return the fields of every document (models.documents.DocumentHeader) by name."""
        current, request, reporting = self.material.current, self.request, self.settings.reporting
        return {
            "generated_at": self.now,
            "kind": request.kind,
            "depth": request.depth,
            "metrics": request.metrics,
            "formats": request.formats,
            "locale": reporting.locale,
            "paper": reporting.paper,
            "period": self.period,
            "filters": request.filters,
            "coverage": self.measured.coverage,
            "freshness": Freshness(
                last_selection_at=current.last_selection_at, rollups_updated_at=current.rollups_updated_at
            ),
            "intake": self.material.intake,
            "notes": data_notes(current, self.measured, self.now, self.material.intake),
            "kpis": self.kpis,
            "charts": _charts(current, self.settings),
        }

    def trends(self) -> tuple[Trend, ...]:
        """Compare the headline numbers with the period before and that of a week before."""
        material, current = self.material, self.material.current
        earlier: dict[ComparedWith, RollupSlice] = {
            "previousPeriod": material.previous,
            "samePeriodLastWeek": material.last_week,
        }
        began = recorded_from(material.spent, known_end(current, self.now), current.period.zone)
        return against(current, earlier, self.now, began)

    def cause(self, trends: tuple[Trend, ...]) -> SpendCause | None:
        """Return the drivers of the spend trend in the headline; None if they cannot be determined."""
        trend = leading_trend(trends, SPEND_METRICS, self.period)
        spending = self.material.spending
        return None if trend is None or spending is None else spending.cause(trend)

    def budget(self) -> BudgetProjection:
        """Return the month's projected spend and its budget."""
        current = self.material.current
        end, zone = known_end(current, self.now), current.period.zone
        return project_budget(self.material.spent, end, zone, self.settings.budget.monthly_usd)


@dataclass(frozen=True)
class Composer:
    """Builder of a template's document. `read_own` reads its own inputs, ReportMaterial.own."""

    template: Template
    compose: Callable[[Composition], Document]
    read_own: Callable[[Connection, RollupSlice, datetime], object] | None = None


# ----------------------------------------------------------------------------------------------------------------------


def _charts(current: RollupSlice, settings: Settings) -> Charts:
    by_minute = not current.minutes.is_empty()
    level = Level.MINUTE if by_minute else Level.HOUR if current.period.hours <= HOURLY_TIMELINE_HOURS else Level.DAY
    return Charts(
        bucket=level.value,
        timeline=timeline(current.minutes if by_minute else current.hours, current.period, level),
        distribution=distribution(current.parts),
        heatmap=heatmap(current.hours, current.period.zone),
        shown=settings.monitoring.dashboard.charts,
    )
