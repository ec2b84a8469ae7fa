"""The performance report."""

from __future__ import annotations

from typing import Literal

from models.base import ApiModel
from models.documents.bottlenecks import Bottleneck
from models.documents.changes import AppliedOptimization, Recommendation
from models.documents.common import CoverageByColumn, FiredAlert, PeriodPart, ReportAlert, Trend
from models.documents.header import DocumentHeader
from models.documents.spending import BudgetProjection, Savings, SpendCause


class ModelStats(ApiModel):
    """One model over the period. Times in ms, costs in USD; `efficiency` is the cost efficiency KPI."""

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


class PerformanceSummary(ApiModel):
    period: PeriodPart
    total_selections: int
    average_response_time: float | None
    cache_hit_rate: float | None
    total_cost: float | None
    error_rate: float | None
    efficiency: float | None
    p95_response_time: float | None
    user_satisfaction: float | None


class PerformanceReport(DocumentHeader):
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

    @property
    def headline_numbers(self) -> PerformanceSummary:
        return self.summary

    @property
    def selection_count(self) -> int:
        return self.summary.total_selections

    @property
    def spent_usd(self) -> float | None:
        return self.summary.total_cost

    @property
    def trends(self) -> tuple[Trend, ...]:
        return self.performance_trends

    @property
    def found_bottlenecks(self) -> tuple[Bottleneck, ...]:
        return self.optimization_opportunities

    @property
    def config_changes(self) -> tuple[AppliedOptimization, ...]:
        return self.applied_optimizations
