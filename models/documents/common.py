"""What every report bears: period, coverage, KPIs, trends, alerts and charts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, computed_field

from models.base import DEPRECATED, ApiModel, RenamedFields
from models.kpis import Direction, KpiName, KpiState
from models.metrics import known_metric
from models.notifications import AlertRule, Severity
from models.settings import ChartName

SCHEMA_VERSION = "1.1"

CONFIDENCE = 0.95
"""Level of every interval, but for the budget projection's, which is at 0.80."""


class PeriodPart(ApiModel):
    """The period that the numbers are over. Where it was rounded outward, `requested_*` says what was asked for."""

    start: datetime
    end: datetime
    zone: str
    requested_start: datetime
    requested_end: datetime

    @property
    def rounded(self) -> bool:
        return (self.start, self.end) != (self.requested_start, self.requested_end)


class Coverage(ApiModel):
    """Over how many of the selections a column is known. `share` is 0 where nothing is, also without selections."""

    known: int
    of: int
    share: float


class CoverageByColumn(ApiModel):
    response_time: Coverage
    cost: Coverage
    cache_hit: Coverage
    accuracy: Coverage
    user_satisfaction: Coverage
    prompt_tokens: Coverage
    completion_tokens: Coverage


class Freshness(RenamedFields):
    """How new the data is: the newest selection known to the rollups, and when they were last brought up to date."""

    FORMER_NAMES: ClassVar = {"foldedAt": "rollupsUpdatedAt"}

    last_selection_at: datetime | None
    rollups_updated_at: datetime | None

    @computed_field(alias="foldedAt", json_schema_extra=DEPRECATED)  # type: ignore[prop-decorator]
    @property
    def former_rollups_updated_at(self) -> datetime | None:
        """The former name of `rollupsUpdatedAt`, written until the next release."""
        return self.rollups_updated_at


class Filters(ApiModel):
    """Empty is "all". The complexity "unclassified" is that of selections without one."""

    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    complexities: tuple[str, ...] = ()

    @property
    def leaves_out(self) -> bool:
        """Whether not all selections of a period are meant."""
        return bool(self.models or self.teams or self.complexities)


class Interval(ApiModel):
    """An estimate with its bounds; the bounds are None where they cannot be told."""

    estimate: float
    low: float | None = None
    high: float | None = None


class Trend(ApiModel):
    """One headline number against an earlier period. `change` is current - before, in the number's unit.

    The same weekdays before are as many whole weeks earlier as keep them from overlapping the period.
    `reason` says why there is no verdict, where the direction is unknown. `upto` is until when both were compared,
    where the period was not over or not settled then: `current` is over that part alone.
    """

    metric: Annotated[str, AfterValidator(known_metric)]
    compared_with: Literal["previousPeriod", "samePeriodLastWeek", "sameWeekdaysBefore"]
    current: float | None
    before: float | None
    change: Interval | None
    change_share: float | None
    direction: Direction
    reason: str | None = None
    upto: datetime | None = None


class Kpi(ApiModel):
    """One KPI's value over the period, its limits and its state. `reason` says why there is no value.

    For responseTime the value is the average in ms.
    """

    name: KpiName
    value: float | None
    unit: str
    state: KpiState
    target: float
    warning: float
    critical: float
    coverage: Coverage
    reason: str | None = None


class TimelinePoint(ApiModel):
    """One bucket of the timeline; `start` is UTC. A bucket without selections is there, with count 0."""

    start: datetime
    count: int
    avg_response_time: float | None
    p50_response_time: float | None
    p95_response_time: float | None
    error_rate: float | None
    cache_hit_rate: float | None
    cost_usd: float | None


class DistributionBin(ApiModel):
    """Selections with a response time in [from_ms, to_ms)."""

    from_ms: float
    to_ms: float
    count: int


class HeatmapCell(ApiModel):
    """One hour of the week in the report's zone: weekday 0 is Monday."""

    weekday: int
    hour: int
    count: int
    p95_response_time: float | None
    cost_usd: float | None


class Charts(ApiModel):
    """The data of the four charts; the comparison is drawn from the model breakdown."""

    bucket: Literal["minute", "hour", "day"]
    timeline: tuple[TimelinePoint, ...]
    distribution: tuple[DistributionBin, ...]
    heatmap: tuple[HeatmapCell, ...]
    shown: tuple[ChartName, ...] = tuple(ChartName)


class ReportAlert(ApiModel):
    """A KPI beyond its warning or critical limit over the period."""

    rule: str
    subject: str
    severity: Literal["warning", "critical"]
    value: float
    threshold: float


class FiredAlert(ApiModel):
    """An alert that fired at some time of the period. `subject` is a model, a flow, or empty: over all.

    `value` and `threshold` are of its last look, in the rule's unit (models.notifications). Without `resolved_at` it
    still fires.
    """

    rule: AlertRule
    subject: str
    severity: Severity
    value: float | None
    threshold: float | None
    learned: bool
    fired_at: datetime
    resolved_at: datetime | None
