"""Bottlenecks of a period, one class for each rule."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from models.base import ApiModel
from models.documents.common import Interval
from models.kpis import KpiName


class Hotspot(ApiModel):
    """A main contributor to a bottleneck: one value of one dimension, and its share of all affected selections.

    `rate` is the bottleneck's own measure there (share of slow selections, hit rate, cost in USD, error rate), and
    `rate_without` the same of everything else: what would remain of the bottleneck without this contributor.
    """

    dimension: Literal["model", "complexity", "team", "hour"]
    value: str
    rate: float
    affected: int
    share: float
    rate_without: float | None = None


class _Bottleneck(ApiModel):
    severity: Literal["high", "medium", "low"]
    sample: int
    """Selections with a known value in the measured column."""
    where: tuple[Hotspot, ...] = ()


class SlowResponse(_Bottleneck):
    """Over 10 % of the selections with a known response time were slower than target. Percentages are 0..100."""

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
    """Consecutive hours whose error rate is far above the rest of the period."""

    type: Literal["error_burst"] = "error_burst"
    affected: int
    start: datetime
    end: datetime
    error_rate: float
    usual_error_rate: float


class ModelRegression(_Bottleneck):
    """One model that is significantly worse than in the period before; `change` is in the unit of `metric`."""

    type: Literal["model_regression"] = "model_regression"
    model_id: str
    metric: KpiName
    before: float
    after: float
    change: Interval


class SpendSpike(_Bottleneck):
    """Consecutive hours that cost far more than the baseline of the same hours of the week."""

    type: Literal["spend_spike"] = "spend_spike"
    affected: int
    start: datetime
    end: datetime
    cost_usd: float
    usual_cost_usd: float


Bottleneck = Annotated[
    SlowResponse | LowCacheHitRate | HighCost | ErrorBurst | ModelRegression | SpendSpike, Field(discriminator="type")
]
