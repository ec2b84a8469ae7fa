"""The limits of the KPIs, alerts, monitoring and retention."""

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
    """When notifications of KPI alerts are sent, and how often.

    The product document defines the first three; the defaults of the others follow common on-call practice.
    """

    enabled: bool = True
    """Send notifications. If `false`, alerts are still evaluated and recorded."""
    channels: tuple[Literal["console", "webhook", "dashboard", "email"], ...] = ("console", "webhook", "dashboard")
    """Recipients of notifications: names of `delivery.recipients`, and the built-in `console` and `dashboard`."""
    thresholds: Literal["auto", "fixed"] = "auto"
    """`auto` learns a baseline from the four weeks before; `fixed` uses the limits of `performanceMetrics`."""
    window_minutes: Annotated[int, Field(ge=1, le=120)] = 15
    """Length of the evaluation window in minutes; it is evaluated every minute."""
    minimum_sample: Annotated[int, Field(ge=1)] = 30
    """A window with fewer selections is not evaluated."""
    hold_minutes: Annotated[int, Field(ge=0)] = 5
    """How long a breach must last before the alert fires."""
    resolve_minutes: Annotated[int, Field(ge=0)] = 10
    """How long the value must stay within limits before the alert resolves."""
    cool_down_minutes: Annotated[int, Field(ge=0)] = 30
    """Cooldown after an alert resolves; during it only critical breaches fire again."""
    remind_hours: Annotated[float, Field(gt=0)] | None = 24.0
    """Interval of repeated notifications for an alert that keeps firing; `null`: never."""
    group_wait_minutes: Annotated[int, Field(ge=0)] = 2
    """How long a notification waits for others, to group them in one message."""
    group_interval_minutes: Annotated[int, Field(ge=0)] = 10
    """Minimum interval between two messages."""
    no_data_minutes: Annotated[int, Field(ge=1)] = 60
    """Time without data before the data alert fires, until a baseline is learned."""
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
    """Refresh interval of the live page and the dashboard's file, in milliseconds."""
    charts: tuple[ChartName, ...] = tuple(ChartName)
    """The charts in reports, the dashboard and the live page."""


class Monitoring(SettingsBlock):
    enabled: bool = True
    """Update rollups, evaluate alerts and deliver continuously while the page is served. The schedule always runs."""
    update_interval: Milliseconds = 5_000
    """Interval of the monitor's runs, in milliseconds."""
    retention_period: Milliseconds = 2_592_000_000
    """Retention of raw selections, in milliseconds; the default is 30 days."""
    archive: bool = False
    """Write raw selections to `archive/` in `ROUTEWATCH_HOME` before they are deleted."""
    aggregation_levels: tuple[Literal["minute", "hour", "day", "week"], ...] = ("minute", "hour", "day", "week")
    """The levels of the rollups. Reports need all four, so no other value is accepted."""
    alerting: Alerting = Alerting()
    """When notifications of KPI alerts are sent, and how often."""
    dashboard: DashboardSettings = DashboardSettings()
    """The live page and the dashboard's file."""

    @field_validator("aggregation_levels")
    @classmethod
    def _all_levels(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if set(levels) != {"minute", "hour", "day", "week"}:
            raise ValueError("expected all of minute, hour, day, week: reports are computed from every level")
        return levels
