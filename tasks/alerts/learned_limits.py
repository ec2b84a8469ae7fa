"""Learned limits: a KPI's baseline at an hour of the week, learned from its own history. Pure.

The baseline is a robust value of the same hours of the week, so that no single incident moves it. Deviation has
two parts: the spread of the hours themselves, as their median absolute deviation from the baseline, and the sampling
error of a window's selections. A window of few selections may deviate further before it is unusual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist

import numpy as np
import polars as pl

from models.kpis import KPIS, LOWER_IS_BETTER, KpiName, Scatter
from tasks.alerts.learning import LEAST_HOUR, NEIGHBOURS, InsufficientHistory, is_enough, known_days

FALSE_IN_FOUR_WEEKS = 1.0
"""Expected false warnings in four weeks, over all series."""

CRITICAL_BEYOND = 4.0
"""Standard deviations beyond the warning at which a value is critical, if also worse than the fixed warning."""

LEAST_AWAY_SHARE, LEAST_AWAY_PART = 0.01, 0.10
"""Smallest deviation from the baseline that alerts, however certain: of a share, and of other values."""

FEW_EVENTS = 5.0
HUBER_STEPS = 10

EVALUATIONS_PER_WINDOW = 3.0
"""Overlapping windows exceed a limit about this many times as often as adjacent windows."""

MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution in median absolute deviations."""


@dataclass(frozen=True)
class LearnedBaseline:
    """Baseline of one KPI at one time. `hour_sd` is the spread of whole hours, `one_sd` that of one selection.

    `is_share`: each selection counts as one or zero; `inputs` is the number of selections seen.
    """

    kpi: KpiName
    value: float
    hour_sd: float
    one_sd: float
    days: int
    is_share: bool = True
    inputs: int = 1_000

    def limit(self, times: float, sample: int, *, worse: bool = True) -> float:
        """Return the value `times` standard deviations from the baseline, on the KPI's worse or better side.

        At least the smallest deviation that alerts; infinite if no value is that far.
        """
        upward = (self.kpi in LOWER_IS_BETTER) is worse
        if self.is_share:
            share = min(1 - self._rarest, max(self._rarest, self.value))
            away = abs(
                _share_beyond(share, times**2 / 2 / self._independent(share, sample), upward=upward) - self.value
            )
            away = max(LEAST_AWAY_SHARE, away)
        else:
            away = times * math.hypot(self.one_sd / math.sqrt(max(1, sample)), self.hour_sd)
            away = max(LEAST_AWAY_PART * abs(self.value), away)
        return self.value + away if upward else self.value - away

    @property
    def _rarest(self) -> float:
        """Events never seen may still happen as often as once in all selections seen."""
        return 1 / (self.inputs + 2)

    def _independent(self, share: float, sample: int) -> float:
        """Return how many independent selections would deviate as much as these, which share hourly effects."""
        chance = share * (1 - share)
        return chance / (chance / max(1, sample) + self.hour_sd**2)


def warning_at(series: int, windows_a_day: float) -> float:
    """Return the standard deviations at which a window is unusual, for this number of series.

    Corrects for multiple comparisons: FALSE_IN_FOUR_WEEKS of all windows exceed it by chance.
    """
    windows = EVALUATIONS_PER_WINDOW * max(1, series) * windows_a_day * 28
    return NormalDist().inv_cdf(1 - FALSE_IN_FOUR_WEEKS / windows)


def learn(history: pl.DataFrame, kpi: KpiName, at: datetime, zone: str) -> LearnedBaseline | InsufficientHistory:
    """Return the baseline at `at`, from hours before it: `bucket`, `above`, `below`, `sample`, and `above_sq` if known.

    The KPI is `above` ÷ `below`, over `sample` selections. If `below` is that number, each selection counts as a
    part of one, or `above_sq` is the sum of squares of `above`'s summands. For a ratio of two amounts, such as cost
    efficiency, the whole deviation of hours is attributed to single selections.
    """
    known = history.filter((pl.col("sample") >= LEAST_HOUR) & (pl.col("below") > 0) & (pl.col("bucket") < at))
    value = pl.col("above") / pl.col("below")
    parts = KPIS[kpi].parts
    value = value if parts.most is None else value.clip(upper_bound=parts.most)
    known = known.with_columns(value=value, hour_of_week=_hour_of_week(pl.col("bucket"), zone))
    hours = known["bucket"].to_list()
    days = known_days(hours, at, zone)
    if not is_enough(hours, at, zone):
        return InsufficientHistory(days)
    near = known.filter(_is_near(at, zone))
    is_share = parts.scatter is Scatter.SHARE
    baseline = _baseline_share(known, near) if is_share else near["value"].median()
    if not isinstance(baseline, float):
        return InsufficientHistory(days)
    expected = known.join(
        known.group_by("hour_of_week").agg(pl.col("value").median().alias("usual")), on="hour_of_week"
    )
    deviation = (expected["value"] - expected["usual"]).abs().median()
    # With two weeks the median of an hour lies halfway between both values, which hides half of the spread.
    weeks = max(2.0, days / 7)
    all_sd = MAD_TO_SD * float(deviation or 0.0) * math.sqrt(weeks / (weeks - 1))  # type: ignore[arg-type]
    typical = float(known["sample"].median() or 1.0)  # type: ignore[arg-type]
    if parts.scatter is Scatter.AMOUNTS:
        return LearnedBaseline(kpi, baseline, 0.0, all_sd * math.sqrt(typical), days, is_share=False)
    one_sd = _one_sd(known)
    hour_sd = math.sqrt(max(0.0, all_sd**2 - one_sd**2 / typical))
    return LearnedBaseline(kpi, baseline, hour_sd, one_sd, days, is_share, int(known["sample"].sum()))


# ----------------------------------------------------------------------------------------------------------------------


def _share_beyond(share: float, distance: float, *, upward: bool) -> float:
    """Return the share at a Kullback-Leibler distance from another, on one side; infinite if none exists.

    It approximates the distribution of a binomial share well even if skewed (signed root of the deviance; McCullagh
    and Nelder, Generalized Linear Models, 2.4.3).
    """
    low, high = (share, 1.0) if upward else (0.0, share)
    if _distance(1.0 if upward else 0.0, share) < distance:
        return math.inf if upward else -math.inf
    for _ in range(40):
        middle = (low + high) / 2
        if (_distance(middle, share) < distance) is upward:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _distance(share: float, other: float) -> float:
    """Return the Kullback-Leibler distance of two Bernoulli distributions."""
    heads = share * math.log(share / other) if share > 0 else 0.0
    tails = (1 - share) * math.log((1 - share) / (1 - other)) if share < 1 else 0.0
    return heads + tails


def _hour_of_week(instant: pl.Expr, zone: str) -> pl.Expr:
    local = instant.dt.convert_time_zone(zone)
    return local.dt.weekday().cast(pl.Int64) * 24 + local.dt.hour()


def _is_near(at: datetime, zone: str) -> pl.Expr:
    """Return the rows of the hour of the week and its two neighbours."""
    near = pl.DataFrame({"bucket": [at - NEIGHBOURS, at, at + NEIGHBOURS]}, schema={"bucket": pl.Datetime("us", "UTC")})
    hours_of_week = near.select(_hour_of_week(pl.col("bucket"), zone)).to_series()
    return pl.col("hour_of_week").is_in(hours_of_week.implode())


def _baseline_share(known: pl.DataFrame, near: pl.DataFrame) -> float | None:
    """Return the share of the near hours, shrunk towards that of all hours by the weight of a few events.

    A median would suffice for common events, but most hours have no rare ones.
    """
    everywhere = _without_incidents(known)
    if everywhere is None or near.is_empty():
        return None
    weight = FEW_EVENTS / max(min(everywhere, 1 - everywhere), 1 / float(known["below"].sum()))
    here, count = _without_incidents(near) or 0.0, float(near["below"].sum())
    return (here * count + everywhere * weight) / (count + weight)


def _without_incidents(hours: pl.DataFrame) -> float | None:
    """Return the share over all hours, with outlying hours capped (Huber's winsorizing)."""
    above, below = (hours[name].cast(pl.Float64).to_numpy() for name in ("above", "below"))
    if not len(below):
        return None
    share = float(np.median(above / below))
    for _ in range(HUBER_STEPS):
        expected = share * below
        reach = 3 * np.sqrt(expected * (1 - share)) + 1
        share = float(np.clip(above, expected - reach, expected + reach).sum() / below.sum())
    return share


def _one_sd(known: pl.DataFrame) -> float:
    """Return the standard deviation of one selection's value around the KPI."""
    count, total = float(known["below"].sum()), float(known["above"].sum())
    mean = total / count
    if "above_sq" in known.columns:
        return math.sqrt(max(0.0, float(known["above_sq"].sum()) / count - mean**2))
    return math.sqrt(max(0.0, mean * (1 - mean)))
