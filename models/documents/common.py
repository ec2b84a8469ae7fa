"""The parts of every report: period, coverage, KPIs, trends, alerts and charts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, computed_field

from models.base import DEPRECATED, ApiModel, RenamedFields
from models.kpis import Direction, KpiName, KpiState
from models.metrics import known_metric
from models.notifications import AlertRule, Severity
from models.settings import ChartName

SCHEMA_VERSION = "1.3"

CONFIDENCE = 0.95
"""Level of every interval except the budget projection's, which is at 0.80."""

ERROR_BUDGET = 0.05
"""Of changes that do nothing, at most this share is ever found worse, and at most this share better: over all looks and
all metrics. Of harmful ones, at most this share is ever found no worse."""


class PeriodPart(ApiModel):
    """The period that the numbers cover. If it was rounded outward, `requested_*` is the requested period."""

    start: datetime
    end: datetime
    zone: str
    requested_start: datetime
    requested_end: datetime

    @property
    def rounded(self) -> bool:
        return (self.start, self.end) != (self.requested_start, self.requested_end)


class Coverage(ApiModel):
    """The number of selections with a known value in a column. `share` is 0 if there are none."""

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
    """Data freshness: the newest selection in the rollups, and the time of their last update."""

    FORMER_NAMES: ClassVar = {"foldedAt": "rollupsUpdatedAt"}

    last_selection_at: datetime | None
    rollups_updated_at: datetime | None

    @computed_field(alias="foldedAt", json_schema_extra=DEPRECATED)  # type: ignore[prop-decorator]
    @property
    def former_rollups_updated_at(self) -> datetime | None:
        """The former name of `rollupsUpdatedAt`, written until the next release."""
        return self.rollups_updated_at


class IntakeReason(ApiModel):
    """Rows, or fields of rows, that became what `outcome` says, for one reason; `errors` are known failed calls."""

    outcome: Literal["rejected", "setAside", "unknownField"]
    reason: str
    rows: int
    errors: int


class IntakePart(ApiModel):
    """What the gate did to rows of the period's hours that it did not simply accept.

    A row without a valid time has the hour of the rows that came with it, or that in which it arrived. The counts are
    of all models, teams and complexities, whatever the report's filter, because such a row may not say its own.
    """

    rejected: int
    """Rows that say no valid time. They are in no other number of the report."""
    rejected_errors: int
    """Of these, calls that are known to have failed."""
    set_aside: int
    """Rows that wait in the quarantine, or were dropped from it. They are in no other number of the report."""
    set_aside_errors: int
    unknown_fields: int
    """Fields that could not be read. Their calls are counted."""
    unreadable_error_flags: int
    """Of these, fields that say whether the call failed, of calls without an error type: they count as good."""
    reasons: tuple[IntakeReason, ...] = ()
    """The most frequent reasons, first those of rows that are not counted."""

    @property
    def not_counted(self) -> int:
        """Rows that are in no other number of the report."""
        return self.rejected + self.set_aside

    @property
    def errors_not_counted(self) -> int:
        """Of these, calls that are known to have failed."""
        return self.rejected_errors + self.set_aside_errors


Evidence = Literal["observational", "declared split, not checkable", "split checked", "trial"]
"""What an estimate of another model's cost or accuracy rests on.

observational: other requests got the other model, and nobody knows whether they were alike. declared split, not
checkable: the settings say that models are handed out at random, but too little is known to see whether they are.
split checked: they say so, and nothing in the data contradicts it. trial: the change itself was tried.
Only of the last two does an interval hold what is not known.
"""


class Filters(ApiModel):
    """Empty means "all". Selections without a complexity have "unclassified"."""

    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    complexities: tuple[str, ...] = ()

    @property
    def leaves_out(self) -> bool:
        """Whether the filter excludes any selections."""
        return bool(self.models or self.teams or self.complexities)


class Interval(ApiModel):
    """An estimate with its bounds; the bounds are None if they are unknown."""

    estimate: float
    low: float | None = None
    high: float | None = None


class Trend(ApiModel):
    """One headline number compared with an earlier period. `change` is current - before, in the number's unit.

    The same weekdays before are as many whole weeks earlier as keep them from overlapping the period.
    `reason` says why the direction is unknown. `upto` is the end of the compared span, if the period was not over or
    not final at that time: `current` covers that span only.
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
    """One bucket of the timeline; `start` is UTC. A bucket without selections is included, with count 0."""

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
    """The data of the four charts; the comparison uses the model breakdown."""

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
    """An alert that fired during the period. `subject` is a model, a flow, or empty for all.

    `value` and `threshold` are of its last evaluation, in the rule's unit (models.notifications). Without `resolved_at`
    it is still firing.
    """

    rule: AlertRule
    subject: str
    severity: Severity
    value: float | None
    threshold: float | None
    learned: bool
    fired_at: datetime
    resolved_at: datetime | None
