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

from models.file_format import FileFormat
from models.kpi import KpiName, KpiState
from models.notifications import AlertRule, Severity
from models.settings import ChartName

SCHEMA_VERSION = "1.0"

CONFIDENCE = 0.95
"""Level of every interval, but for the budget projection's, which is at 0.80."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="null",
        use_attribute_docstrings=True,
    )  # fmt: skip


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
    """Empty is "all". The complexity "unclassified" is that of selections without one."""

    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    complexities: tuple[str, ...] = ()

    @property
    def leaves_out(self) -> bool:
        """Whether not all selections of a period are meant."""
        return bool(self.models or self.teams or self.complexities)


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

    The same weekdays before are as many whole weeks earlier as keep them from overlapping the period.
    `reason` says why there is no verdict, where the direction is unknown. `upto` is until when both were compared,
    where the period was not over or not settled then: `current` is over that part alone.
    """

    metric: str
    compared_with: Literal["previousPeriod", "samePeriodLastWeek", "sameWeekdaysBefore"]
    current: float | None
    before: float | None
    change: Interval | None
    change_share: float | None
    direction: Direction
    reason: str | None = None
    upto: datetime | None = None


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

    `rate` is the bottleneck's own measure there (share of slow selections, hit rate, cost in USD, error rate), and
    `rate_without` the same of everything else: what would be left of the bottleneck without this place.
    """

    dimension: Literal["model", "complexity", "team", "hour"]
    value: str
    rate: float
    affected: int
    share: float
    rate_without: float | None = None


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


class ModelRegression(_Bottleneck):
    """One model that does worse than in the period before, by more than chance; `change` is in the unit of `metric`."""

    type: Literal["model_regression"] = "model_regression"
    model_id: str
    metric: KpiName
    before: float
    after: float
    change: Interval


class SpendSpike(_Bottleneck):
    """One stretch of hours that cost far more than the same hours of the week usually do."""

    type: Literal["spend_spike"] = "spend_spike"
    affected: int
    start: datetime
    end: datetime
    cost_usd: float
    usual_cost_usd: float


Bottleneck = Annotated[
    SlowResponse | LowCacheHitRate | HighCost | ErrorBurst | ModelRegression | SpendSpike, Field(discriminator="type")
]


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
    optimization_id: int | None = None
    decide_url: str | None = None
    worth: float | None = None
    confidence: float | None = None
    score: float | None = None
    complexity: str | None = None
    from_model: str | None = None
    to_model: str | None = None
    savings_usd: Interval | None = None
    accuracy_after: Interval | None = None
    sample: int | None = None
    observational: bool = False


class MetricChange(_Part):
    """One KPI over matched hours before and after a change of the config. `change` is after - before, in its unit.

    It is judged worse where the whole interval is on the worse side and the change is beyond `margin`, and better or
    same where even the interval's worse end is within the margin.
    """

    metric: KpiName | Literal["averageCost", "slowShare"]
    before: float | None
    after: float | None
    change: Interval | None
    margin: float
    sample_before: int
    sample_after: int
    judgement: Literal["better", "same", "worse", "unclear", "unknown"]
    reason: str | None = None


class Verdict(_Part):
    """What was found of a change of the config by comparing the hours after it with matched hours before.

    `goal` is what the change was to better, `guards` what it must not harm. `hours` is how many hours were matched, and
    `incident_hours` how many of both sides were left out because a passing incident made most of their errors.
    `savings_usd` is measured: what the observed selections cost less than before; a loss is negative.
    """

    state: Literal["observing", "kept", "reverted", "expired"]
    reason: str
    judged_at: datetime
    observed_from: datetime
    observed_to: datetime
    matched_by: Literal["hour of the week", "hour of the day"] | None
    hours: int
    incident_hours: int = 0
    goal: MetricChange | None
    guards: tuple[MetricChange, ...] = ()
    savings_usd: Interval | None = None


class AppliedOptimization(_Part):
    """One change of the router's config by an optimization, or its being taken back.

    `state` is that of the optimization, of which `verdict` is the newest. `estimated_savings_usd` stood in its
    recommendation, over the period that it was made from; the verdict has the measured one.
    """

    type: str
    key: str
    from_value: Any
    to_value: Any
    applied_at: datetime
    reason: str
    state: str
    optimization_id: int | None = None
    by: str = "routewatch"
    verdict: Verdict | None = None
    estimated_savings_usd: Interval | None = None


class ConfigHistoryEntry(_Part):
    """One change of the router's config by anybody."""

    key: str
    from_value: Any
    to_value: Any
    changed_at: datetime
    changed_by: str
    reason: str
    reverted: bool = False


class ReportAlert(_Part):
    """A KPI beyond its warning or critical limit over the period."""

    rule: str
    subject: str
    severity: Literal["warning", "critical"]
    value: float
    threshold: float


class FiredAlert(_Part):
    """An alert that fired at some time of the period. `subject` is a model, a flow, or empty: over all.

    `value` and `threshold` are of its last look, in the rule's unit (models.notifications). Without `resolved_at` it still
    fires.
    """

    rule: AlertRule
    subject: str
    severity: Severity
    value: float | None
    threshold: float | None
    learned: bool
    fired_at: datetime
    resolved_at: datetime | None


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


class Baseline(_Part):
    """One way of routing the same selections: what it would have cost, and how accurate it would have been.

    Of the router itself both are measured. `covered_share` is the share of the selections for which it can be told.
    `reason` says why a number is missing.
    """

    name: Literal["router", "allCheapest", "shuffled"]
    model: str | None = None
    cost_usd: Interval | None
    accuracy: Interval | None
    covered_share: float
    reason: str | None = None


class Baselines(_Part):
    """Whether routing adds anything: the router beside two that know nothing of the request.

    `all_cheapest` sends everything to the cheapest model. `shuffled` hands out models at random, in such shares that it
    costs what the router did. `accuracy_gained` is the router's accuracy minus that of `shuffled`.
    """

    router: Baseline
    all_cheapest: Baseline
    shuffled: Baseline
    accuracy_gained: Interval | None
    observational: bool = True
    reason: str | None = None


class OptimizationSavings(_Part):
    """What could be saved by estimate, and what was saved by measurement.

    `measured_usd` adds up the verdicts of the `measured_count` optimizations that were judged in the period, each over
    its observed hours. `router_cost_usd` is what the router itself cost, where that is known, and `net_usd` the
    estimate less that.
    """

    estimated: Savings
    measured_usd: Interval | None
    measured_count: int
    router_cost_usd: float | None = None
    net_usd: Interval | None = None


class BudgetProjection(_Part):
    """The calendar month of the period's end, in the report's zone. The interval is at 80 %.

    `runs_out_on` is when the budget is spent, by the hour once it is. While it is not, that happens before
    `runs_out_earliest` in one case of ten, and after `runs_out_latest` in another; None is "not in this month".
    `basis_days` is over how many whole days the daily spend was taken. `reason` says why there is no projection, or
    what makes it a weak one.
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
    runs_out_earliest: datetime | None = None
    runs_out_latest: datetime | None = None


class SpendCause(_Part):
    """What carries most of a change of spend: `change_usd`, which is `share` of all of it.

    volume: more or fewer requests. routing: other models got the requests; `model_id` took over from `from_model`.
    cache: it answered fewer or more of them. price: those that a model answered itself cost more or less each.
    Where `complexity`, `model_id` or `team` is None, it is no single one that does.
    """

    kind: Literal["volume", "routing", "cache", "price"]
    compared_with: Literal["previousPeriod", "samePeriodLastWeek"]
    change_usd: Interval
    share: float
    complexity: str | None = None
    model_id: str | None = None
    from_model: str | None = None
    team: str | None = None


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


# --- usage ------------------------------------------------------------------------------------------------------------


class PeakHour(_Part):
    """The hour of the period with the most selections."""

    start: datetime
    count: int


class UsageSummary(_Part):
    """The size of it. Tokens are added up where they are known; `teams` is None where no team is recorded.

    `tokens_per_selection` is the average of both kinds, each over the selections for which it is known.
    """

    period: PeriodPart
    total_selections: int
    selections_per_day: float | None
    total_cost: float | None
    models: int
    teams: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    tokens_per_selection: float | None
    user_satisfaction: float | None
    peak_hour: PeakHour | None


class VolumeChange(_Part):
    """Selections of one model, complexity class or team against the same weekdays before.

    `change` is count - before. Its bounds hold for everything in the report at once, and the direction tells whether
    they leave 0 out: of many groups none is told as changed because it was looked at. Shares are of all selections.
    """

    name: str
    count: int
    share: float | None
    before: int
    share_before: float | None
    change: Interval | None
    change_share: float | None
    direction: Direction
    reason: str | None = None


class GroupUsage(VolumeChange):
    """The same with what its selections were like."""

    prompt_tokens: int | None
    completion_tokens: int | None
    tokens_per_selection: float | None
    user_satisfaction: float | None
    satisfaction_coverage: Coverage
    error_rate: float | None


class Mover(VolumeChange):
    """One of those whose volume changed most beyond chance."""

    dimension: Literal["model", "complexity", "team"]


class NewModel(_Part):
    """A model that served nothing in the weeks before; `since` is the start of the first hour or day with it."""

    model_id: str
    count: int
    share: float
    since: datetime


class VanishedModel(_Part):
    """A model that served nothing in the period, which beyond chance it would have; `last` as `since`."""

    model_id: str
    before: int
    share_before: float
    last: datetime


class VolumePoint(_Part):
    """Selections of one hour or day, and how many are usual then by the four weeks before.

    Chance leaves the interval of `usual` in one of twenty periods, wherever in it.
    """

    start: datetime
    count: int
    usual: Interval | None


class HourOfWeek(_Part):
    """One hour of the week in the report's zone, weekday 0 is Monday, and its selections on average."""

    weekday: int
    hour: int
    selections: float


# --- the documents ----------------------------------------------------------------------------------------------------


class _Document(_Part):
    schema_version: str = SCHEMA_VERSION
    kind: Literal["hourly", "daily", "weekly", "custom"]
    depth: Literal["summary", "detailed"]
    metrics: tuple[str, ...] = ("all",)
    formats: tuple[FileFormat, ...] = tuple(FileFormat)
    """What it is written as. Mails of a custom report bear these files, others the PDF."""
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
    fired_alerts: tuple[FiredAlert, ...] = ()
    savings: Savings | None = None
    budget: BudgetProjection | None = None
    cause: SpendCause | None = None


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
    cause: SpendCause | None = None


class OptimizationSummary(_Part):
    """How many optimizations of the period are in which state, beside the headline numbers."""

    period: PeriodPart
    total_selections: int
    total_cost: float | None
    waiting: int
    observing: int
    kept: int
    reverted: int


class OptimizationReport(_Document):
    """`recommendations` come by score, the best first; `applied_optimizations` by time."""

    template: Literal["optimization"] = "optimization"
    summary: OptimizationSummary
    bottlenecks: tuple[Bottleneck, ...]
    recommendations: tuple[Recommendation, ...]
    applied_optimizations: tuple[AppliedOptimization, ...]
    savings: OptimizationSavings
    baselines: Baselines
    config_history: tuple[ConfigHistoryEntry, ...]


class UsageReport(_Document):
    """Groups come by volume, movers by the size of their change.

    Everything is compared with `compared_from` to `compared_to`, which has the same weekdays. A model is new or has
    vanished from `least_selections` on; `days_before` is how many days before the period that was told from.
    """

    template: Literal["usage"] = "usage"
    usage_summary: UsageSummary
    compared_from: datetime
    compared_to: datetime
    model_usage: tuple[GroupUsage, ...]
    complexity_usage: tuple[GroupUsage, ...]
    team_usage: tuple[GroupUsage, ...]
    teams_left_out: int = 0
    top_movers: tuple[Mover, ...]
    new_models: tuple[NewModel, ...]
    vanished_models: tuple[VanishedModel, ...]
    least_selections: int
    days_before: int
    usage_trend: tuple[Trend, ...]
    volume_bucket: Literal["hour", "day"]
    volume: tuple[VolumePoint, ...]
    hours_of_week: tuple[HourOfWeek, ...]
    applied_optimizations: tuple[AppliedOptimization, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()


Document = PerformanceReport | CostReport | OptimizationReport | UsageReport
ReportDocument = Annotated[Document, Field(discriminator="template")]
