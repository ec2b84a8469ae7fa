"""The cost report."""

from __future__ import annotations

from typing import Literal

from models.base import ApiModel
from models.documents.changes import Recommendation
from models.documents.common import Coverage, PeriodPart, Trend
from models.documents.header import DocumentHeader
from models.documents.spending import BudgetProjection, Savings, SpendCause


class CostSummary(ApiModel):
    period: PeriodPart
    total_selections: int
    total_spent: float | None
    budget_used: float | None
    average_cost_per_request: float | None
    cost_trend: tuple[Trend, ...]


class ModelCost(ApiModel):
    model_id: str
    count: int
    total_cost: float | None
    avg_cost: float | None
    cost_share: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_per_million_tokens: float | None
    coverage: Coverage


class GroupCost(ApiModel):
    """Spend of one complexity class or team."""

    name: str
    count: int
    total_cost: float | None
    avg_cost: float | None
    cost_share: float | None


class CostReport(DocumentHeader):
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

    @property
    def headline_numbers(self) -> CostSummary:
        return self.cost_summary

    @property
    def selection_count(self) -> int:
        return self.cost_summary.total_selections

    @property
    def spent_usd(self) -> float | None:
        return self.cost_summary.total_spent

    @property
    def trends(self) -> tuple[Trend, ...]:
        return self.cost_summary.cost_trend
