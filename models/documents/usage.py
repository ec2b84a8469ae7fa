"""The usage report."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.base import ApiModel
from models.documents.changes import AppliedOptimization, Recommendation
from models.documents.common import Coverage, Interval, PeriodPart, Trend
from models.documents.header import DocumentHeader, trends_by_comparison
from models.kpis import Direction


class PeakHour(ApiModel):
    """The hour of the period with the most selections."""

    start: datetime
    count: int


class UsageSummary(ApiModel):
    """Total volume. Tokens are summed where known; `teams` is None if no team is recorded.

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


class VolumeChange(ApiModel):
    """Selections of one model, complexity class or team compared with the same weekdays before.

    `change` is count - before. Its bounds are corrected for all comparisons in the report, and the direction is known
    if they exclude 0. Shares are of all selections.
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
    """The same with averages over its selections."""

    prompt_tokens: int | None
    completion_tokens: int | None
    tokens_per_selection: float | None
    user_satisfaction: float | None
    satisfaction_coverage: Coverage
    error_rate: float | None


class Mover(VolumeChange):
    """A group with one of the largest statistically significant changes of volume."""

    dimension: Literal["model", "complexity", "team"]


class NewModel(ApiModel):
    """A model that served nothing in the weeks before; `since` is the start of the first hour or day with it."""

    model_id: str
    count: int
    share: float
    since: datetime


class VanishedModel(ApiModel):
    """A model that served nothing in the period, which is statistically significant; `last` is defined like `since`."""

    model_id: str
    before: int
    share_before: float
    last: datetime


class VolumePoint(ApiModel):
    """Selections of one hour or day, and the baseline from the four weeks before.

    By chance, the interval of `usual` is left anywhere in the period in one of twenty periods.
    """

    start: datetime
    count: int
    usual: Interval | None


class HourOfWeek(ApiModel):
    """One hour of the week in the report's zone, weekday 0 is Monday, and its selections on average."""

    weekday: int
    hour: int
    selections: float


class UsageReport(DocumentHeader):
    """Groups are sorted by volume, movers by the size of their change.

    Everything is compared with `compared_from` to `compared_to`, which has the same weekdays. A model is new or has
    vanished from `least_selections` on, based on the `days_before` days before the period.
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

    @property
    def headline_numbers(self) -> UsageSummary:
        return self.usage_summary

    @property
    def selection_count(self) -> int:
        return self.usage_summary.total_selections

    @property
    def spent_usd(self) -> float | None:
        return self.usage_summary.total_cost

    @property
    def trends(self) -> tuple[Trend, ...]:
        return self.usage_trend

    @property
    def config_changes(self) -> tuple[AppliedOptimization, ...]:
        return self.applied_optimizations

    def trend_of(self, metrics: tuple[str, ...]) -> Trend | None:
        """Usage is compared only with the same weekdays."""
        return trends_by_comparison(self.trends, metrics).get("sameWeekdaysBefore")
