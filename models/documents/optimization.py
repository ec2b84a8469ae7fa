"""The optimization report."""

from __future__ import annotations

from typing import Literal

from models.base import ApiModel
from models.documents.bottlenecks import Bottleneck
from models.documents.changes import AppliedOptimization, ConfigHistoryEntry, Recommendation
from models.documents.common import PeriodPart
from models.documents.header import DocumentHeader
from models.documents.spending import Baselines, OptimizationSavings


class OptimizationSummary(ApiModel):
    """Headline numbers, and the number of the period's optimizations by state."""

    period: PeriodPart
    total_selections: int
    total_cost: float | None
    waiting: int
    observing: int
    kept: int
    reverted: int


class OptimizationReport(DocumentHeader):
    """`recommendations` are sorted by score, best first; `applied_optimizations` by time."""

    template: Literal["optimization"] = "optimization"
    summary: OptimizationSummary
    bottlenecks: tuple[Bottleneck, ...]
    recommendations: tuple[Recommendation, ...]
    applied_optimizations: tuple[AppliedOptimization, ...]
    savings: OptimizationSavings
    baselines: Baselines
    config_history: tuple[ConfigHistoryEntry, ...]

    @property
    def headline_numbers(self) -> OptimizationSummary:
        return self.summary

    @property
    def selection_count(self) -> int:
        return self.summary.total_selections

    @property
    def spent_usd(self) -> float | None:
        return self.summary.total_cost

    @property
    def found_bottlenecks(self) -> tuple[Bottleneck, ...]:
        return self.bottlenecks

    @property
    def config_changes(self) -> tuple[AppliedOptimization, ...]:
        return self.applied_optimizations
