"""The thresholds of a KPI, which direction is better, and the state of a value by its thresholds."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict, model_validator

from models.base import DescribedModel


class KpiState(StrEnum):
    """How a value stands to its thresholds. A value exactly at a limit has not crossed it."""

    ON_TARGET = "on target"
    OFF_TARGET = "off target"
    WARNING = "warning"
    CRITICAL = "critical"
    NO_DATA = "no data"


class Direction(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    MORE = "more"
    LESS = "less"
    """More and less apply to metrics that are neither good nor bad, such as the number of selections."""
    SAME = "no clear change"
    """The difference is not statistically significant."""
    UNKNOWN = "unknown"


class Thresholds(DescribedModel):
    """Target, warning and critical limit of one KPI, in the KPI's unit."""

    lower_is_better: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    target: float
    """The target; beyond it the KPI is off target."""
    warning: float
    """Beyond this limit the KPI is in the state *warning*."""
    critical: float
    """Beyond this limit the KPI is in the state *critical*, which alerts even without a baseline."""
    unit: str
    """The unit of the three limits; no other value is accepted."""


class MillisecondThresholds(Thresholds):
    """Limits of a duration: lower is better, so they rise from target to critical."""

    lower_is_better = True

    unit: str = "milliseconds"
    """The unit of the three limits; no other value is accepted."""

    @model_validator(mode="after")
    def _rises(self) -> MillisecondThresholds:
        if self.unit != "milliseconds":
            raise ValueError(f"unit is {self.unit!r}, expected 'milliseconds'")
        if not 0 <= self.target <= self.warning <= self.critical:
            raise ValueError("expected 0 <= target <= warning <= critical, because lower is better")
        return self


class RatioThresholds(Thresholds):
    """Limits of a ratio in 0..1."""

    unit: str = "ratio"
    """The unit of the three limits; no other value is accepted."""

    @model_validator(mode="after")
    def _within_bounds(self) -> RatioThresholds:
        if self.unit != "ratio":
            raise ValueError(f"unit is {self.unit!r}, expected 'ratio'")
        if not all(0 <= limit <= 1 for limit in (self.target, self.warning, self.critical)):
            raise ValueError("expected every limit within 0 and 1")
        return self


class FallingRatioThresholds(RatioThresholds):
    """Limits of a ratio where higher is better."""

    @model_validator(mode="after")
    def _falls(self) -> FallingRatioThresholds:
        if not self.target >= self.warning >= self.critical:
            raise ValueError("expected target >= warning >= critical, because higher is better")
        return self


class RisingRatioThresholds(RatioThresholds):
    """Limits of a ratio where lower is better."""

    lower_is_better = True

    @model_validator(mode="after")
    def _rises(self) -> RisingRatioThresholds:
        if not self.target <= self.warning <= self.critical:
            raise ValueError("expected target <= warning <= critical, because lower is better")
        return self


def assess(value: float | None, limits: Thresholds) -> KpiState:
    """The state of a KPI's value: crossing means strictly beyond the limit, on the worse side."""
    if value is None:
        return KpiState.NO_DATA
    sign = 1 if limits.lower_is_better else -1
    if sign * value > sign * limits.critical:
        return KpiState.CRITICAL
    if sign * value > sign * limits.warning:
        return KpiState.WARNING
    if sign * value > sign * limits.target:
        return KpiState.OFF_TARGET
    return KpiState.ON_TARGET
