"""The limits of the KPIs, and what is watched and kept."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model, field_validator

from models.kpis import KPIS, KpiName, Thresholds
from models.settings.block import Milliseconds, SettingsBlock

if TYPE_CHECKING:
    _LimitsByKpi = SettingsBlock
else:
    _LimitsByKpi = create_model(
        "_LimitsByKpi",
        __base__=SettingsBlock,
        **{
            kpi.name.name.lower(): (type(kpi.limits), Field(default=kpi.limits, description=kpi.meaning))
            for kpi in KPIS.values()
        },
    )


class PerformanceMetrics(_LimitsByKpi):
    """Limits of the five KPIs; the defaults are the product document's."""

    def of(self, name: KpiName) -> Thresholds:
        """The limits of one KPI."""
        limits: Thresholds = getattr(self, name.name.lower())
        return limits


class Alerting(SettingsBlock):
    """When somebody is told that a KPI went wrong, and how often.

    The product document gives the first three; the others are as on-call people set such rules elsewhere.
    """

    enabled: bool = True
    """Tell somebody. Without it alerts are judged and on record, and nobody is told."""
    channels: tuple[Literal["console", "webhook", "dashboard", "email"], ...] = ("console", "webhook", "dashboard")
    """Who is told: names of `delivery.recipients`, and `console` and `dashboard`, which are built in."""
    thresholds: Literal["auto", "fixed"] = "auto"
    """`auto` learns what is usual from the four weeks before; `fixed` takes those of `performanceMetrics`."""
    window_minutes: Annotated[int, Field(ge=1, le=120)] = 15
    """How many minutes are judged together, each minute anew."""
    minimum_sample: Annotated[int, Field(ge=1)] = 30
    """With fewer selections a window says nothing."""
    hold_minutes: Annotated[int, Field(ge=0)] = 5
    """A breach lasts this long before the alert fires."""
    resolve_minutes: Annotated[int, Field(ge=0)] = 10
    """It is well for this long before the alert is over."""
    cool_down_minutes: Annotated[int, Field(ge=0)] = 30
    """For this long after an alert is over only what is critical fires again."""
    remind_hours: Annotated[float, Field(gt=0)] | None = 24.0
    """An alert that goes on is told again after this long; `null`: never."""
    group_wait_minutes: Annotated[int, Field(ge=0)] = 2
    """News wait this long for others, to be told in one message."""
    group_interval_minutes: Annotated[int, Field(ge=0)] = 10
    """Messages are at least this far apart."""
    no_data_minutes: Annotated[int, Field(ge=1)] = 60
    """Silence alerts after this long, while it is not yet known how long is usual."""
    single_selections: bool = True
    """Alert on single selections that hang (the rule `slowSelections`)."""


class ChartName(StrEnum):
    TIMELINE = "timeline"
    DISTRIBUTION = "distribution"
    HEATMAP = "heatmap"
    COMPARISON = "comparison"


class DashboardSettings(SettingsBlock):
    enabled: bool = True
    """Serve the live page with `routewatch serve`."""
    refresh_rate: Milliseconds = 10_000
    """How often the live page and the dashboard's file are renewed, in milliseconds."""
    charts: tuple[ChartName, ...] = tuple(ChartName)
    """Which charts reports, the dashboard and the live page show."""


class Monitoring(SettingsBlock):
    enabled: bool = True
    """Count, judge and deliver all the time while the page is served. The timetable does so without it."""
    update_interval: Milliseconds = 5_000
    """How often the monitor looks, in milliseconds."""
    retention_period: Milliseconds = 2_592_000_000
    """How long raw selections are kept, in milliseconds; the default is 30 days."""
    archive: bool = False
    """Write raw selections to `archive/` in `ROUTEWATCH_HOME` before they are removed."""
    aggregation_levels: tuple[Literal["minute", "hour", "day", "week"], ...] = ("minute", "hour", "day", "week")
    """The levels of the rollups. Reports need all four, so nothing else is accepted."""
    alerting: Alerting = Alerting()
    """When somebody is told that a KPI went wrong, and how often."""
    dashboard: DashboardSettings = DashboardSettings()
    """The live page and the dashboard's file."""

    @field_validator("aggregation_levels")
    @classmethod
    def _all_levels(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if set(levels) != {"minute", "hour", "day", "week"}:
            raise ValueError("expected all of minute, hour, day, week: reports are computed from every level")
        return levels
