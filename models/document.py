"""The report document: every number of a report, computed and not yet rendered.

One document is stored per report, and HTML, PDF, mail, CSV and JSON are made from it alone. Its JSON names are the
product document's (camelCase). None is "unknown", never zero.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from models.kpi import KpiName, KpiState
from models.settings import ChartName

SCHEMA_VERSION = "1.0"

CONFIDENCE = 0.95
"""Level of every interval, but for the budget projection's, which is at 0.80."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="null"
    )


# --- what every report bears ------------------------------------------------------------------------------------------


class PeriodPart(_Part):
    """The period that the numbers are over. Where it was rounded outward, `requested_*` says what was asked for."""

    start: datetime
    end: datetime
    zone: str
    requested_start: datetime
    requested_end: datetime

    @property
    def rounded(self) -> bool:
        return (self.start, self.end) != (self.requested_start, self.requested_end)


class Coverage(_Part):
    """Over how many of the selections a column is known. `share` is 0 where nothing is, also without selections."""

    known: int
    of: int
    share: float


class CoverageByColumn(_Part):
    response_time: Coverage
    cost: Coverage
    cache_hit: Coverage
    accuracy: Coverage
    user_satisfaction: Coverage
    prompt_tokens: Coverage
    completion_tokens: Coverage


class Freshness(_Part):
    """How new the data is: the newest selection known to the rollups, and when they were last brought up to date."""

    last_selection_at: datetime | None
    folded_at: datetime | None


class Filters(_Part):
    """Empty is "all"."""

    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


class Interval(_Part):
    """An estimate with its bounds; the bounds are None where they cannot be told."""

    estimate: float
    low: float | None = None
    high: float | None = None


class Direction(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    MORE = "more"
    LESS = "less"
    """More and less are for what is neither good nor bad, such as the number of selections."""
    SAME = "no clear change"
    """The difference is within what chance would do."""
    UNKNOWN = "unknown"


class Trend(_Part):
    """One headline number against an earlier period. `change` is current - before, in the number's unit.

    `reason` says why there is no verdict, where the direction is unknown.
    """

    metric: str
    compared_with: Literal["previousPeriod", "samePeriodLastWeek"]
    current: float | None
    before: float | None
    change: Interval | None
    change_share: float | None
    direction: Direction
    reason: str | None = None


class Kpi(_Part):
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


# --- breakdowns -------------------------------------------------------------------------------------------------------


class ModelStats(_Part):
    """One model over the period. Times in ms, costs in USD; `efficiency` as the KPI, of this model's spend."""

    model_id: str
    count: int
    avg_response_time: float | None
    p50_response_time: float | None
    p95_response_time: float | None
    p99_response_time: float | None
    avg_cost: float | None
    total_cost: float | None
    error_rate: float | None
    cache_hit_rate: float | None
    accuracy: float | None
    user_satisfaction: float | None
    efficiency: float | None
    coverage: CoverageByColumn


class TimelinePoint(_Part):
    """One bucket of the timeline; `start` is UTC. A bucket without selections is there, with count 0."""

    start: datetime
    count: int
    avg_response_time: float | None
    p50_response_time: float | None
    p95_response_time: float | None
    error_rate: float | None
    cache_hit_rate: float | None
    cost_usd: float | None


class DistributionBin(_Part):
    """Selections with a response time in [from_ms, to_ms)."""

    from_ms: float
    to_ms: float
    count: int


class HeatmapCell(_Part):
    """One hour of the week in the report's zone: weekday 0 is Monday."""

    weekday: int
    hour: int
    count: int
    p95_response_time: float | None
    cost_usd: float | None


class Charts(_Part):
    """The data of the four charts; the comparison is drawn from the model breakdown."""

    bucket: Literal["minute", "hour", "day"]
    timeline: tuple[TimelinePoint, ...]
    distribution: tuple[DistributionBin, ...]
    heatmap: tuple[HeatmapCell, ...]
    shown: tuple[ChartName, ...] = tuple(ChartName)


# --- bottlenecks, recommendations, changes ----------------------------------------------------------------------------


class Place(_Part):
    """Where a bottleneck sits: one value of one dimension, and its share of all that is affected.

    `rate` is the bottleneck's own measure there (share of slow selections, hit rate, cost in USD, error rate).
    """

    dimension: Literal["model", "complexity", "team", "hour"]
    value: str
    rate: float
    affected: int
    share: float


class _Bottleneck(_Part):
    severity: Literal["high", "medium", "low"]
    sample: int
    """Selections for which the measured column is known."""
    where: tuple[Place, ...] = ()


class SlowResponse(_Bottleneck):
    """Over 10 % of the selections with a known time were slower than target. Percentages are 0..100."""

    type: Literal["slow_response"] = "slow_response"
    affected: int
    percentage: float
    percentage_interval: Interval


class LowCacheHitRate(_Bottleneck):
    type: Literal["low_cache_hit_rate"] = "low_cache_hit_rate"
    current_rate: float
    target_rate: float
    rate_interval: Interval


class HighCost(_Bottleneck):
    type: Literal["high_cost"] = "high_cost"
    average_cost: float
    average_cost_interval: Interval
    recommendation: str = "Consider using cheaper models for simple tasks"


class ErrorBurst(_Bottleneck):
    """One stretch of hours whose errors stand far above the rest of the period's."""

    type: Literal["error_burst"] = "error_burst"
    affected: int
    start: datetime
    end: datetime
    error_rate: float
    usual_error_rate: float


Bottleneck = Annotated[SlowResponse | LowCacheHitRate | HighCost | ErrorBurst, Field(discriminator="type")]


class ConfigMove(_Part):
    """One bounded change of one key of the router's config, from the value and version that were read."""

    key: str
    from_value: Any
    to_value: Any
    version: int


class Recommendation(_Part):
    """What to do about a bottleneck.

    `auto_apply` is whether Routewatch may do it by itself; `status` and `note` say what became of it: waiting is for
    a person's word, deferred until evidence or time has passed.
    The fields from `complexity` on are those of model_selection.
    """

    type: Literal["cache_optimization", "cache_strategy", "model_selection"]
    bottleneck: str
    description: str
    impact: Literal["high", "medium", "low"]
    effort: Literal["high", "medium", "low"]
    auto_apply: bool
    moves: tuple[ConfigMove, ...] = ()
    status: Literal["proposed", "applied", "waiting", "deferred", "impossible"] = "proposed"
    note: str | None = None
    complexity: str | None = None
    from_model: str | None = None
    to_model: str | None = None
    savings_usd: Interval | None = None
    accuracy_after: Interval | None = None
    sample: int | None = None
    observational: bool = False


class AppliedOptimization(_Part):
    """One change of the router's config that Routewatch made in the period or the hours after it."""

    type: str
    key: str
    from_value: Any
    to_value: Any
    applied_at: datetime
    reason: str
    state: str


class ReportAlert(_Part):
    """A KPI beyond its warning or critical limit over the period."""

    rule: str
    subject: str
    severity: Literal["warning", "critical"]
    value: float
    threshold: float


# --- money ------------------------------------------------------------------------------------------------------------


class SavingsByClass(_Part):
    """One complexity class: what was spent there on selections with a known cost, and what the baseline would have."""

    complexity: str
    selections: int
    spent_usd: float
    baseline_model: str | None
    baseline_usd: Interval | None
    savings_usd: Interval | None
    reason: str | None = None


class Savings(_Part):
    """Spend against the cheapest adequate model per complexity class; negative where that would have cost more.

    `covered_share` is the share of the known spend for which an adequate model is known.
    """

    baseline: str = "cheapest adequate model per complexity class"
    spent_usd: float | None
    savings_usd: Interval | None
    covered_share: float
    observational: bool = True
    classes: tuple[SavingsByClass, ...]
    reason: str | None = None


class BudgetProjection(_Part):
    """The calendar month of the period's end, in the report's zone. The interval is at 80 %.

    `basis_days` is over how many whole days the daily spend was taken.
    """

    month: str
    monthly_usd: float | None
    used_usd: float
    used_share: float | None
    projected_usd: Interval | None
    projected_share: float | None
    runs_out_on: datetime | None
    method: str
    basis_days: int
    reason: str | None = None


class PerformanceSummary(_Part):
    period: PeriodPart
    total_selections: int
    average_response_time: float | None
    cache_hit_rate: float | None
    total_cost: float | None
    error_rate: float | None
    efficiency: float | None
    p95_response_time: float | None
    user_satisfaction: float | None


class CostSummary(_Part):
    period: PeriodPart
    total_selections: int
    total_spent: float | None
    budget_used: float | None
    average_cost_per_request: float | None
    cost_trend: tuple[Trend, ...]


class ModelCost(_Part):
    model_id: str
    count: int
    total_cost: float | None
    avg_cost: float | None
    cost_share: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_per_million_tokens: float | None
    coverage: Coverage


class GroupCost(_Part):
    """Spend of one complexity class or team."""

    name: str
    count: int
    total_cost: float | None
    avg_cost: float | None
    cost_share: float | None


# --- the documents ----------------------------------------------------------------------------------------------------


class _Document(_Part):
    schema_version: str = SCHEMA_VERSION
    kind: Literal["hourly", "daily", "weekly", "custom"]
    depth: Literal["summary", "detailed"]
    metrics: tuple[str, ...] = ("all",)
    generated_at: datetime
    locale: str = "en_US"
    paper: Literal["A4", "Letter"] = "A4"
    period: PeriodPart
    filters: Filters
    coverage: CoverageByColumn
    freshness: Freshness
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the numbers: roundings, missing columns, folded teams."""
    kpis: tuple[Kpi, ...]
    charts: Charts


class PerformanceReport(_Document):
    template: Literal["performance"] = "performance"
    summary: PerformanceSummary
    model_breakdown: tuple[ModelStats, ...]
    performance_trends: tuple[Trend, ...]
    optimization_opportunities: tuple[Bottleneck, ...]
    recommendations: tuple[Recommendation, ...]
    applied_optimizations: tuple[AppliedOptimization, ...]
    alerts: tuple[ReportAlert, ...]
    savings: Savings | None = None
    budget: BudgetProjection | None = None


class CostReport(_Document):
    template: Literal["cost"] = "cost"
    cost_summary: CostSummary
    model_cost_breakdown: tuple[ModelCost, ...]
    complexity_cost_breakdown: tuple[GroupCost, ...]
    team_cost_breakdown: tuple[GroupCost, ...]
    teams_left_out: int = 0
    cost_optimization_savings: Savings
    budget_projection: BudgetProjection
    recommendations: tuple[Recommendation, ...]


Document = PerformanceReport | CostReport
ReportDocument = Annotated[Document, Field(discriminator="template")]
