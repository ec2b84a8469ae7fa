"""Define a KPI: all properties used to aggregate, evaluate, compare and show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.kpis.names import KpiName
from models.kpis.thresholds import Thresholds


class Scatter(StrEnum):
    """The kind of random variation of a KPI, which determines the confidence that a window is beyond a limit."""

    SHARE = "share"
    """Each selection contributes a value of 0 to 1."""
    MEAN = "mean"
    """The mean of amounts whose sum of squares is in the rollups."""
    AMOUNTS = "amounts"
    """One sum of amounts divided by another."""


@dataclass(frozen=True)
class KpiParts:
    """A KPI as one sum divided by another, over `sample` selections.

    The sums are columns of rollups, or if `is_derived` those that tasks.alerts.windows computes from them. `squares`
    are the squares of the numerator's amounts, or for AMOUNTS of the denominator's.
    """

    numerator: str
    denominator: str
    sample: str
    scatter: Scatter = Scatter.SHARE
    squares: str | None = None
    most: float | None = None
    """Upper cap of the value."""
    is_derived: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError without the squares that give the variance of amounts."""
        if self.squares is None and self.scatter is not Scatter.SHARE:
            raise ValueError(
                f"{self.numerator} adds amounts up: name the sum of their squares, or alerts cannot evaluate it"
            )


@dataclass(frozen=True)
class KpiDefinition:
    """One KPI. Unit and better side are those of its limits.

    `metric_names` are those under which documents tell of it, the summary's first. `timeline_field` is its number in
    models.documents.TimelinePoint, if it has one.
    """

    name: KpiName
    label: str
    meaning: str
    """The description in the settings' reference."""
    limits: Thresholds
    """Default limits; the settings can override them."""
    parts: KpiParts
    metric_names: tuple[str, ...]
    has_trend: bool = True
    """False if another number's trend has the same information."""
    timeline_field: str | None = None
    alert_windows: int = 1
    """Number of windows that are evaluated together: a KPI with more variation and less urgency needs more."""
    doubt_when_better: str = ""
    """Question for a significant change to better than the baseline, which then also alerts."""

    @property
    def lower_is_better(self) -> bool:
        return self.limits.lower_is_better

    @property
    def unit(self) -> str:
        return self.limits.unit
