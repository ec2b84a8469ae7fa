"""What describes a KPI: all that is known of it, wherever it is counted, judged, compared or shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.kpis.names import KpiName
from models.kpis.thresholds import Thresholds


class Scatter(StrEnum):
    """What makes a KPI stray by chance, which tells how surely a window of so many selections is beyond a limit."""

    SHARE = "share"
    """Each selection counts as a part of one."""
    MEAN = "mean"
    """The mean of amounts, of which rollups have the sum of squares."""
    AMOUNTS = "amounts"
    """One sum of amounts over another."""


@dataclass(frozen=True)
class KpiParts:
    """A KPI as one sum over another, over `sample` selections.

    The sums are columns of rollups, or where `is_derived` those that tasks.alerts.windows makes of them. `squares` are
    of what the numerator adds up, or of AMOUNTS the denominator.
    """

    numerator: str
    denominator: str
    sample: str
    scatter: Scatter = Scatter.SHARE
    squares: str | None = None
    most: float | None = None
    """Where more than this is no more than this."""
    is_derived: bool = False


@dataclass(frozen=True)
class KpiDefinition:
    """One KPI. Unit and better side are those of its limits.

    `metric_names` are those under which documents tell of it, the summary's first. `timeline_field` is its number in
    models.documents.TimelinePoint, if it has one.
    """

    name: KpiName
    label: str
    meaning: str
    """As the settings tell it."""
    limits: Thresholds
    """Unless the settings have others."""
    parts: KpiParts
    metric_names: tuple[str, ...]
    has_trend: bool = True
    """False where another number's trend tells of it."""
    timeline_field: str | None = None
    alert_windows: int = 1
    """Over how many windows together it is judged: what scatters more needs more, where nobody need be told at once."""
    doubt_when_better: str = ""
    """What to ask where it is better than usual beyond chance, which then alerts too."""

    @property
    def lower_is_better(self) -> bool:
        return self.limits.lower_is_better

    @property
    def unit(self) -> str:
        return self.limits.unit
