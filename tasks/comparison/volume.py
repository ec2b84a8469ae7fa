"""Assess whether a difference between two numbers of selections is statistically significant.

Requests come in bursts and days differ, so numbers of selections vary more than independent ones would: their variance
is a multiple of their mean (quasi-Poisson; McCullagh and Nelder, Generalized Linear Models, ch. 6). That multiple, the
dispersion, is estimated around the means of seasons: weekdays for days, hours of the week for hours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from models.documents import CONFIDENCE, Interval
from models.period import Level, Period, floor_to, next_start
from tasks.rollups.query import RollupSlice
from tasks.rollups.totals import total
from tasks.statistics.intervals import around, student

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

WEEKS_BEFORE = 4
WEEK_DAYS = 7

MINIMUM_FREEDOM = 6
"""Minimum degrees of freedom of a reliable dispersion."""

ENOUGH_DAYS = 14
"""Two of each weekday, which show the variation. With fewer, the period's own days are used, which blur it."""

VOLUME_MINIMUM_SAMPLE = 30
"""Minimum selections on both sides together to assess a change: fewer are not normally distributed."""

NOT_OVER = "the period is not over yet, or not all of it has been counted"
NOTHING_BEFORE = "no data on the same weekdays before"
PARTLY_KNOWN = "the same weekdays before are not known in full"
TOO_FEW_DAYS = "too few days are known to tell a change from chance"
TOO_FEW = f"fewer than {VOLUME_MINIMUM_SAMPLE} selections"

Dimension = Literal["model", "complexity", "team"]
DIMENSIONS: Mapping[Dimension, str] = {"model": "model_id", "complexity": "complexity", "team": "team"}

Key = tuple[Dimension, str]
"""A value of a dimension, as rollups have it."""

_ROUNDS = 30
"""Of proportional fitting; the means of seasons and blocks converge within a few."""


@dataclass(frozen=True)
class CountScatter:
    """The dispersion of each row of counts, and its degrees of freedom."""

    dispersion: Numbers
    freedom: Numbers


def scatter(counts: Numbers, seasons: Positions, blocks: Positions) -> CountScatter:
    """The dispersion of rows of counts around the means of their seasons, with a factor per block.

    A mean of 0 has no variation and is ignored. No dispersion is below 1, that of independent
    selections.
    """
    in_season, in_block = _members(seasons), _members(blocks)
    factor = np.ones((len(counts), in_block.shape[1]))
    for _ in range(_ROUNDS):
        season = _ratio(counts @ in_season, (factor @ in_block.T) @ in_season)
        factor = _ratio(counts @ in_block, (season @ in_season.T) @ in_block)
    means = (season @ in_season.T) * (factor @ in_block.T)
    deviance = _ratio((counts - means) ** 2, means).sum(axis=1)
    used = (season > 0).sum(axis=1) + np.maximum(0, (factor > 0).sum(axis=1) - 1)
    freedom = np.maximum(0, (means > 0).sum(axis=1) - used).astype(float)
    return CountScatter(np.maximum(1.0, _ratio(deviance, freedom)), freedom)


def volume_change(count: int, before: int, dispersion: float, freedom: float, comparisons: int = 1) -> Interval:
    """count - before, with bounds corrected for all `looked_at` such changes."""
    level = 1 - (1 - CONFIDENCE) / comparisons
    return around(count - before, student(level, freedom) * math.sqrt(dispersion * (count + before)))


def whole_days(period: Period) -> list[date]:
    """The zone's days that lie wholly within the period, in order."""
    first, last = next_start(Level.DAY, period.start, period.zone), floor_to(Level.DAY, period.end, period.zone)
    days = (period.local(last).date() - period.local(first).date()).days
    return [period.local(first).date() + timedelta(days=index) for index in range(max(0, days))]


def local_date(zone: str) -> pl.Expr:
    """The zone's date of a bucket."""
    return pl.col("bucket").dt.convert_time_zone(zone).dt.date()


# --- now and before --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Before:
    """The periods that usage is compared with: the same weekdays before, and the WEEKS_BEFORE weeks before the period.

    `known_until` is the end of the known part of the period; None means all of it.
    """

    same_weekdays: RollupSlice
    weeks: RollupSlice
    known_until: datetime | None = None

    def is_known(self, end: datetime) -> bool:
        """Whether all selections before an instant are known."""
        return self.known_until is None or end <= self.known_until

    @property
    def known_days(self) -> int:
        """Number of whole days with data right before the period; a day on which data begins is not whole."""
        sides = (self.weeks, self.same_weekdays)
        buckets = [bucket for side in sides for bucket in side.parts["bucket"].unique()]
        if not buckets:
            return 0
        period, earliest = self.weeks.period, min(side.period.start for side in sides)
        first, since = (period.local(instant).date() for instant in (min(buckets), earliest))
        begins = first if first <= since else first + timedelta(days=1)
        return max(0, (period.local(period.end).date() - begins).days)


def weeks_before(period: Period) -> Period:
    """The WEEKS_BEFORE weeks before a period."""
    first = period
    for _ in range(WEEKS_BEFORE):
        first = first.week_before()
    return Period(first.start, period.start, period.zone)


@dataclass(frozen=True)
class Noise:
    """The random variation of volumes: dispersion and freedom by group, None is all selections.

    `reason` says why nothing is assessed.
    """

    of: Mapping[Key | None, tuple[float, float]]
    reason: str | None

    def change(
        self, key: Key | None, count: int, before: int, *, comparisons: int
    ) -> tuple[Interval | None, str | None]:
        """count - before, with bounds or with the reason why there are none."""
        if self.reason == NOTHING_BEFORE:
            return None, self.reason
        too_few = TOO_FEW if count + before < VOLUME_MINIMUM_SAMPLE else None
        if reason := self.reason or too_few:
            return Interval(estimate=count - before), reason
        return volume_change(count, before, *self.of[key], comparisons), None


def noise_of(current: RollupSlice, before: Before, keys: Sequence[Key]) -> Noise:
    """Estimate from the whole days before; if those are fewer than ENOUGH_DAYS, also from those of the period.

    A group with data on few days gets the dispersion of all selections.
    """
    known = before.known_days
    earlier = whole_days(before.weeks.period)[-known:] if known else []
    own = whole_days(current.period) if known < ENOUGH_DAYS else []
    days = [*earlier, *own]
    counts = _by_day([before.weeks, current], keys, days)
    blocks = np.array([0] * len(earlier) + [1] * len(own), dtype=np.int64)
    found = scatter(counts, np.array([day.weekday() for day in days], dtype=np.int64), blocks)
    of = list(zip(map(float, found.dispersion), map(float, found.freedom), strict=True))
    by_key = {key: it if it[1] >= MINIMUM_FREEDOM else of[0] for key, it in zip((None, *keys), of, strict=True)}
    return Noise(by_key, _missing_reason(current, before, freedom=of[0][1]))


# ----------------------------------------------------------------------------------------------------------------------


def _by_day(sides: Sequence[RollupSlice], keys: Sequence[Key], days: Sequence[date]) -> Numbers:
    """Selections per day of all, and then of each key."""
    column_of, row_of = ({it: position for position, it in enumerate(them)} for them in (days, (None, *keys)))
    counts = np.zeros((len(row_of), len(days)))
    for side in sides:
        dated = side.parts.select(pl.col("count"), *DIMENSIONS.values(), day=local_date(side.period.zone))
        for dimension, column in DIMENSIONS.items():
            for day, value, count in dated.group_by("day", column).agg(pl.col("count").sum()).iter_rows():
                row, position = row_of.get((dimension, value)), column_of.get(day)
                if position is not None and row is not None:
                    counts[row, position] += count
                if position is not None and dimension == "model":
                    counts[0, position] += count
    return counts


def _missing_reason(current: RollupSlice, before: Before, *, freedom: float) -> str | None:
    """The reason why no change can be assessed."""
    same = before.same_weekdays
    if not before.is_known(current.period.end):
        return NOT_OVER
    if not total(same.parts).count:
        return NOTHING_BEFORE
    known_from = before.weeks.period.end - timedelta(days=before.known_days)
    if known_from - timedelta(hours=1) > same.period.start:
        return PARTLY_KNOWN
    return TOO_FEW_DAYS if freedom < MINIMUM_FREEDOM else None


def _members(positions: Positions) -> Numbers:
    """Indicator columns: one per index that occurs, with 1 for its days."""
    return np.asarray(positions[:, None] == np.unique(positions)[None, :], dtype=float)


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    """A quotient; 0 if the denominator is 0."""
    return np.asarray(np.divide(above, below, out=np.zeros_like(above, dtype=float), where=below > 0))
