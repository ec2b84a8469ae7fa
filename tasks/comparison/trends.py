"""Compute trends: a period's headline numbers compared with an earlier period's, and whether the change is significant.

Selections close in time resemble each other, so the sampling unit is the hour (the minute in short periods), not the
selection. Each hour is compared with its matching hour in the earlier period, so that the rhythm of the day is not
noise: a total by what hours differ beyond a common factor, a ratio by the residuals of the ratio estimator (Cochran,
Sampling Techniques, ch. 6). Neighbouring hours are correlated: what they have in common counts once (Zwiers and von
Storch 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from models.documents import CONFIDENCE, Direction, Interval, Trend
from models.kpis import KPIS
from models.metrics import Better, Metric, metric_of
from models.period import Level, Period, floor_to
from tasks.comparison.periods import (
    HOUR,
    Comparability,
    ComparedPeriods,
    clock_length,
    comparable_periods,
    final_until,
    kind_of,
)
from tasks.rollups.query import RollupSlice
from tasks.statistics.intervals import around, student

Floats = npt.NDArray[np.float64]

MINIMUM_BUCKETS = 6
"""Minimum hours (or minutes) with data on each side to assess a change: the variance of fewer is unreliable."""

KINDS = 48
"""Kinds of hours: 24 of working days, and 24 of weekends."""

LEAST_FREEDOM = 3.0
"""Minimum effective number of independent hours, less one, however correlated neighbours are."""

LARGEST_CORRELATION = 0.9
"""Upper bound of the neighbours' correlation: nearer to 1 a short series is unreliable."""

NO_DATA, NO_DATA_BEFORE = "no data in this period", "no data in the period compared with"
TOO_SHORT = "too short to tell a change from chance"
OF_PATTERN = "no more than the other number of weekends makes"
NOT_COMPARABLE = "other weekdays or times of day than in this period"
PARTLY_RECORDED = "recording began within the period compared with"

ComparedWith = Literal["previousPeriod", "samePeriodLastWeek", "sameWeekdaysBefore"]


HEADLINE_METRICS = (
    "totalSelections",
    "totalCost",
    *(kpi.name.value for kpi in KPIS.values() if kpi.has_trend),
    "averageCost",
)

USAGE_METRICS = ("promptTokensPerSelection", "completionTokensPerSelection", "userSatisfaction")
"""Averages of selections, for the usage report."""


def against(
    current: RollupSlice, earlier: Mapping[ComparedWith, RollupSlice], now: datetime, recorded_from: datetime | None
) -> tuple[Trend, ...]:
    """The trends against each earlier period that does not overlap this one, from data that is final at `now`."""
    final_at = final_until(current, now)
    differences = {
        name: before
        for name, before in earlier.items()
        if before.requested_period.end <= current.requested_period.start
    }
    return tuple(
        trend
        for name, before in differences.items()
        for trend in trends(current, before, name, final_at=final_at, recorded_from=recorded_from)
    )


def trends(
    current: RollupSlice,
    before: RollupSlice,
    compared_with: ComparedWith,
    metrics: Sequence[str] = HEADLINE_METRICS,
    *,
    final_at: datetime | None = None,
    recorded_from: datetime | None = None,
) -> tuple[Trend, ...]:
    """One Trend per metric, in their order, over the final part of the period and the same part of the earlier one.

    `metrics` are names of models.metrics. Data before `final_at` is final, and before `recorded_from` nothing was
    recorded.
    """
    found = comparable_periods(current, before, final_at)
    if isinstance(found, str):
        return tuple(_unknown_trend(name, compared_with, found) for name in metrics)
    is_partial = recorded_from is not None and found.then.start < recorded_from
    series = [_Series.of(metric_of(name)) for name in metrics]
    return tuple(_trend(of, current, before, found, compared_with, is_partial=is_partial) for of in series)


def ratio_error(buckets: pl.DataFrame) -> float:
    """Standard error of Σ above ÷ Σ below over buckets, of which there must be two."""
    ratio = float(buckets["above"].sum()) / float(buckets["below"].sum())
    residual = float(((buckets["above"] - ratio * buckets["below"]) ** 2).sum())
    count = buckets.height
    return math.sqrt(residual * count / (count - 1)) / float(buckets["below"].sum())


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """A metric as one sum over another by the bucket (a total where `denominator` is None)."""

    name: str
    numerator: str
    denominator: str | None
    more_is: Direction
    less_is: Direction

    @classmethod
    def of(cls, metric: Metric) -> _Series:
        """Raises ValueError for a metric without sums."""
        if metric.sums is None:
            raise ValueError(f"{metric.name} has no sums: its hourly variation is unknown")
        return cls(metric.name, metric.sums.numerator, metric.sums.denominator, *_DIRECTIONS[metric.better])


_DIRECTIONS = {
    Better.HIGHER: (Direction.BETTER, Direction.WORSE),
    Better.LOWER: (Direction.WORSE, Direction.BETTER),
    Better.NEITHER: (Direction.MORE, Direction.LESS),
}
"""The directions of a rise and a fall."""


def _unknown_trend(name: str, compared_with: ComparedWith, reason: str) -> Trend:
    return Trend(
        metric=name, compared_with=compared_with, current=None, before=None, change=None, change_share=None,
        direction=Direction.UNKNOWN, reason=reason,
    )  # fmt: skip


def _trend(
    metric: _Series,
    current: RollupSlice,
    before: RollupSlice,
    found: ComparedPeriods,
    compared_with: ComparedWith,
    *,
    is_partial: bool,
) -> Trend:
    # A total is not compared by minutes: hours differ by more than their minutes show.
    by_minute = metric.denominator is not None and not (current.minutes.is_empty() or before.minutes.is_empty())
    now = _buckets(metric, current.minutes if by_minute else current.hours, found.now)
    then = _buckets(metric, before.minutes if by_minute else before.hours, found.then)
    value, earlier = _value(metric, now), _value(metric, then)
    change, reason = _change(metric, now, then, found, is_partial=is_partial)
    return Trend(
        metric=metric.name,
        compared_with=compared_with,
        current=value,
        before=earlier,
        change=change,
        change_share=change.estimate / abs(earlier) if change and earlier else None,
        direction=_direction(metric, change),
        reason=reason,
        upto=found.until,
    )


def _buckets(metric: _Series, rollups: pl.DataFrame, part: Period) -> pl.DataFrame:
    """Sums `above` and `below` per bucket with data, by `offset` from the part's start on the zone's clock."""
    known = metric.denominator or ("cost_count" if metric.numerator.startswith("cost") else "count")
    start = floor_to(Level.HOUR, part.start, part.zone)
    offset = pl.col("bucket").dt.convert_time_zone(part.zone).dt.replace_time_zone(None) - pl.lit(
        part.local(start).replace(tzinfo=None)
    )
    sums = (
        rollups.filter(pl.col("bucket").is_between(start, part.end, closed="left"))
        .group_by(offset=offset)
        .agg(above=pl.col(metric.numerator).sum().cast(pl.Float64), below=pl.col(known).sum().cast(pl.Float64))
    )
    return sums.filter(pl.col("below") > 0).sort("offset")


def _value(metric: _Series, buckets: pl.DataFrame) -> float | None:
    if buckets.is_empty():
        return None
    total = float(buckets["above"].sum())
    return total if metric.denominator is None else total / float(buckets["below"].sum())


def _change(
    metric: _Series, now: pl.DataFrame, then: pl.DataFrame, found: ComparedPeriods, *, is_partial: bool
) -> tuple[Interval | None, str | None]:
    if now.is_empty() or then.is_empty():
        return None, NO_DATA if now.is_empty() else NO_DATA_BEFORE
    is_total = metric.denominator is None
    change = (_value(metric, now) or 0.0) - (_value(metric, then) or 0.0)
    fewest = min(now.height, then.height)
    if why := _no_verdict(found.comparability, fewest, is_total=is_total, is_partial=is_partial):
        return Interval(estimate=change), why
    if is_total and found.comparability is Comparability.SAME_MIX:
        return _mixed_change(change, _by_hour(now, found.now), _by_hour(then, found.then))
    own, earlier = (frame["above"] if is_total else _residuals(frame) for frame in (now, then))
    if found.comparability is not Comparability.HOUR_MATCHED:
        return around(change, math.hypot(_reach(own.to_numpy()), _reach(earlier.to_numpy()))), None
    sides = now.select("offset", own=own), then.select("offset", earlier=earlier)
    pairs = sides[0].join(sides[1], on="offset", how="full", coalesce=True).sort("offset").fill_null(0.0)
    differences = _net_of if is_total else np.subtract
    return around(change, _reach(differences(pairs["own"].to_numpy(), pairs["earlier"].to_numpy()))), None


def _no_verdict(comparability: Comparability, buckets: int, *, is_total: bool, is_partial: bool) -> str | None:
    if is_total and is_partial:
        return PARTLY_RECORDED
    if comparability is Comparability.NONE or (is_total and comparability is Comparability.ADJACENT):
        return NOT_COMPARABLE
    return TOO_SHORT if buckets < MINIMUM_BUCKETS else None


def _net_of(own: Floats, earlier: Floats) -> Floats:
    """The differences of hours beyond a common factor: growth is larger by day than by night, and not noise."""
    factor = math.sqrt(own.sum() / earlier.sum()) if own.sum() > 0 < earlier.sum() else 1.0
    return own / factor - earlier * factor


@dataclass(frozen=True)
class _Hours:
    """A total by hour, and the kind of each hour; hours without data are zero."""

    totals: Floats
    kinds: npt.NDArray[np.int64]

    def count(self) -> Floats:
        return np.bincount(self.kinds, minlength=KINDS).astype(np.float64)

    def means(self) -> Floats:
        """The mean of each kind; 0 if there is no hour of it."""
        return np.bincount(self.kinds, self.totals, minlength=KINDS) / np.maximum(1.0, self.count())


def _by_hour(buckets: pl.DataFrame, part: Period) -> _Hours:
    start = part.local(floor_to(Level.HOUR, part.start, part.zone)).replace(tzinfo=None)
    count = math.ceil(clock_length(part.start, part.end, part.zone) / HOUR)
    totals = np.zeros(count)
    totals[(buckets["offset"] / HOUR).cast(pl.Int64).to_numpy()] = buckets["above"].to_numpy()
    kinds = (kind_of(start + step * HOUR) for step in range(count))
    return _Hours(totals, np.array([hour + 24 * weekend for weekend, hour in kinds]))


def _mixed_change(change: float, now: _Hours, then: _Hours) -> tuple[Interval, str | None]:
    """For totals over different numbers of the same kinds of hours: the effect of the mix is not a change."""
    held = now.count() * (then.count() > 0)
    weights = held / np.maximum(1.0, then.count())
    own, earlier = now.means(), then.means()
    reach = math.hypot(
        _reach(now.totals - own[now.kinds]), _reach((then.totals - earlier[then.kinds]) * weights[then.kinds])
    )
    if abs(float((held * (own - earlier)).sum())) <= reach < abs(change):
        return Interval(estimate=change), OF_PATTERN
    return around(change, reach), None


def _residuals(buckets: pl.DataFrame) -> pl.Series:
    """The contribution of each bucket to the error of the ratio."""
    below = float(buckets["below"].sum())
    return (buckets["above"] - float(buckets["above"].sum()) / below * buckets["below"]) / below


def _reach(series: Floats) -> float:
    """Half the interval of the sum of a time-ordered series, at CONFIDENCE.

    The neighbours' correlation is corrected for its bias in short series (Kendall 1954), and never negative.
    """
    count = len(series)
    differences = series - series.mean()
    squares = float((differences**2).sum())
    if squares == 0:
        return 0.0
    seen = float((differences[1:] * differences[:-1]).sum()) / squares
    correlation = min(LARGEST_CORRELATION, max(0.0, (seen + 1 / count) / (1 - 3 / count)))
    each_counts = (1 - correlation) / (1 + correlation)
    freedom = max(LEAST_FREEDOM, count * each_counts - 1)
    return student(CONFIDENCE, freedom) * math.sqrt(count / each_counts * squares / (count - 1))


def _direction(metric: _Series, change: Interval | None) -> Direction:
    if change is None or change.low is None or change.high is None:
        return Direction.UNKNOWN
    if change.low <= 0 <= change.high:
        return Direction.SAME
    return metric.more_is if change.estimate > 0 else metric.less_is
