"""The metrics that a change is judged on: a ratio of two sums, and by how much it may get worse. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.kpis import KpiName
from models.metrics import METRICS, Better, Unit, ratio_sums


@dataclass(frozen=True)
class JudgedMetric:
    """A metric that is a ratio of two sums, and by how much it may get worse.

    `margin` is in the metric's unit, or if `relative` a share of its value before. `limit`: a worse value that is
    still on its good side does no harm.
    """

    name: KpiName | Literal["averageCost", "slowShare"]
    margin: float
    relative: bool = False
    limit: float | None = None

    @property
    def sums(self) -> tuple[str, str]:
        """Return the rollup columns of numerator and denominator."""
        return ratio_sums(METRICS[self.name])

    @property
    def lower_is_better(self) -> bool:
        return METRICS[self.name].better is Better.LOWER

    @property
    def is_share(self) -> bool:
        """Return whether the metric is a share of selections."""
        return METRICS[self.name].unit is Unit.RATIO

    def margin_of(self, before: float) -> float:
        return abs(before) * self.margin if self.relative else self.margin
