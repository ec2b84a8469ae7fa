"""Thresholds: what is usual of a KPI at an hour of the week, learned from its own history. Pure.

The usual value is the median of the same hour of the week, which no single incident moves. How far values stray has
two parts: the scatter of the hours themselves, as their median absolute deviation from usual, and that of so many
selections in a window as it has. A window of few selections may stray further before it is unusual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from models.kpi import LOWER_IS_BETTER, KpiName

LEARNING_DAYS = 14
"""History below which nothing is called unusual: each hour of the week must have come twice."""

LEAST_HOUR = 20
"""Selections in an hour below which its value tells nothing of what is usual."""

WARNING_AT, CRITICAL_AT = 4.0, 8.0
"""Deviations from usual, in standard deviations. At 4, normal scatter alone gives one window in 30,000."""

MAD_TO_SD = 1.4826
"""Of a normal distribution: its standard deviation is so many median absolute deviations."""

NEIGHBOURS = timedelta(hours=1)


@dataclass(frozen=True)
class Usual:
    """What is usual of one KPI at one time. `hour_sd` is the scatter of whole hours, `one_sd` that of one selection.

    `is_share`: each selection counts as one or none.
    """

    kpi: KpiName
    value: float
    hour_sd: float
    one_sd: float
    days: int
    is_share: bool = True

    def threshold(self, severity: Literal["warning", "critical"], sample: int) -> float:
        """The value beyond which a window of so many selections is unusual, on the KPI's worse side."""
        times = WARNING_AT if severity == "warning" else CRITICAL_AT
        by_chance = self._chance(times, max(1, sample))
        away = math.hypot(by_chance, times * self.hour_sd)
        return self.value + away if self.kpi in LOWER_IS_BETTER else self.value - away

    def _chance(self, times: float, sample: int) -> float:
        """How far so many selections may stray by chance; of a share by Wilson's bound, for rare ones are skewed."""
        if not self.is_share:
            return times * self.one_sd / math.sqrt(sample)
        share = self.value if self.kpi in LOWER_IS_BETTER else 1 - self.value
        middle = share + times**2 / (2 * sample)
        spread = times * math.sqrt(share * (1 - share) / sample + times**2 / (4 * sample**2))
        return (middle + spread) / (1 + times**2 / sample) - share


@dataclass(frozen=True)
class Learning:
    """Too little is known of the KPI yet: so many days of LEARNING_DAYS."""

    days: int

    @property
    def reason(self) -> str:
        return f"still learning what is usual: {self.days} of {LEARNING_DAYS} days are known"


def learn(history: pl.DataFrame, kpi: KpiName, at: datetime, zone: str) -> Usual | Learning:
    """What is usual at `at`, from hours before it: `bucket`, `above`, `below`, and `above_sq` where it is known.

    The KPI is `above` ÷ `below`; `above_sq` is the sum of squares of what `above` adds up, and without it each
    selection counts as one or none.
    """
    known = history.filter((pl.col("below") >= LEAST_HOUR) & (pl.col("bucket") < at)).with_columns(
        value=pl.col("above") / pl.col("below"), place=_hour_of_week(pl.col("bucket"), zone)
    )
    days = _days(known, at, zone)
    usual = _median_near(known, at, zone)
    if days < LEARNING_DAYS or usual is None:
        return Learning(days)
    one_sd = _one_sd(known)
    expected = known.join(known.group_by("place").agg(pl.col("value").median().alias("usual")), on="place")
    stray = (expected["value"] - expected["usual"]).abs().median()
    # Of two weeks' hours the median of a place lies halfway between both, so that half of the scatter is not seen.
    weeks = max(2.0, days / 7)
    hour_sd = MAD_TO_SD * float(stray or 0.0) * math.sqrt(weeks / (weeks - 1))  # type: ignore[arg-type]
    typical = float(known["below"].median() or 1.0)  # type: ignore[arg-type]
    return Usual(
        kpi, usual, math.sqrt(max(0.0, hour_sd**2 - one_sd**2 / typical)), one_sd, days, "above_sq" not in known.columns
    )


# ----------------------------------------------------------------------------------------------------------------------


def _days(known: pl.DataFrame, at: datetime, zone: str) -> int:
    """Whole days from the first known hour on, or days that have one where those are fewer."""
    if known.is_empty():
        return 0
    first: datetime = known["bucket"].sort()[0]
    return min((at - first).days, known["bucket"].dt.convert_time_zone(zone).dt.date().n_unique())


def _hour_of_week(instant: pl.Expr, zone: str) -> pl.Expr:
    local = instant.dt.convert_time_zone(zone)
    return local.dt.weekday().cast(pl.Int64) * 24 + local.dt.hour()


def _median_near(known: pl.DataFrame, at: datetime, zone: str) -> float | None:
    """The median of the hour of the week and of the two beside it."""
    near = pl.DataFrame({"bucket": [at - NEIGHBOURS, at, at + NEIGHBOURS]}, schema={"bucket": pl.Datetime("us", "UTC")})
    places = near.select(_hour_of_week(pl.col("bucket"), zone)).to_series()
    median = known.filter(pl.col("place").is_in(places.implode()))["value"].median()
    return float(median) if isinstance(median, float) else None


def _one_sd(known: pl.DataFrame) -> float:
    """The standard deviation of one selection's value around the KPI."""
    count, total = float(known["below"].sum()), float(known["above"].sum())
    mean = total / count
    if "above_sq" in known.columns:
        return math.sqrt(max(0.0, float(known["above_sq"].sum()) / count - mean**2))
    return math.sqrt(max(0.0, mean * (1 - mean)))
