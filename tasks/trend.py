"""Trends: a period's headline numbers against an earlier period's, and whether the change is more than noise.

Selections close in time resemble each other, so the unit of chance is the hour (the minute in short periods), not the
selection: a ratio's variance is that of the ratio estimator over hours (Cochran, Sampling Techniques, ch. 6), and a
total is compared hour by hour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from models.document import Direction, Interval, Trend
from models.kpi import KpiName
from tasks.gather import Gathered
from tasks.interval import Z_95

MINIMUM_BUCKETS = 6
"""Hours (or minutes) with data that each side needs before a change is judged; a variance of fewer is a guess."""

ComparedWith = Literal["previousPeriod", "samePeriodLastWeek", "sameWeekdaysBefore"]


@dataclass(frozen=True)
class _Metric:
    """A headline number as one sum over another (a total where `denominator` is None)."""

    name: str
    numerator: str
    denominator: str | None
    more_is: Direction
    less_is: Direction


METRICS = (
    _Metric("totalSelections", "count", None, Direction.MORE, Direction.LESS),
    _Metric("totalCost", "cost_sum_usd", None, Direction.MORE, Direction.LESS),
    _Metric(KpiName.RESPONSE_TIME, "response_time_sum_ms", "response_time_count", Direction.WORSE, Direction.BETTER),
    _Metric(KpiName.SELECTION_ACCURACY, "accuracy_sum", "accuracy_count", Direction.BETTER, Direction.WORSE),
    _Metric(KpiName.CACHE_HIT_RATE, "cache_hit_count", "cache_count", Direction.BETTER, Direction.WORSE),
    _Metric(KpiName.ERROR_RATE, "error_count", "count", Direction.WORSE, Direction.BETTER),
    _Metric("averageCost", "cost_sum_usd", "cost_count", Direction.WORSE, Direction.BETTER),
)

USAGE_METRICS = (
    _Metric("promptTokensPerSelection", "prompt_token_sum", "prompt_token_count", Direction.MORE, Direction.LESS),
    _Metric(
        "completionTokensPerSelection", "completion_token_sum", "completion_token_count", Direction.MORE, Direction.LESS
    ),
    _Metric("userSatisfaction", "satisfaction_sum", "satisfaction_count", Direction.BETTER, Direction.WORSE),
)
"""What selections are like, for the report about usage."""


def trends(
    current: Gathered, before: Gathered, compared_with: ComparedWith, metrics: Sequence[_Metric] = METRICS
) -> tuple[Trend, ...]:
    """One Trend per metric, in their order."""
    return tuple(_trend(metric, current, before, compared_with) for metric in metrics)


def ratio_error(buckets: pl.DataFrame) -> float:
    """Standard error of Σ above ÷ Σ below over buckets, of which there must be two."""
    ratio = float(buckets["above"].sum()) / float(buckets["below"].sum())
    residual = float(((buckets["above"] - ratio * buckets["below"]) ** 2).sum())
    count = buckets.height
    return math.sqrt(residual * count / (count - 1)) / float(buckets["below"].sum())


# ----------------------------------------------------------------------------------------------------------------------


def _trend(metric: _Metric, current: Gathered, before: Gathered, compared_with: ComparedWith) -> Trend:
    now, then = _buckets(metric, current), _buckets(metric, before)
    value, earlier = _value(metric, now), _value(metric, then)
    change, reason = _change(metric, now, then)
    return Trend(
        metric=metric.name,
        compared_with=compared_with,
        current=value,
        before=earlier,
        change=change,
        change_share=change.estimate / abs(earlier) if change and earlier else None,
        direction=_direction(metric, change),
        reason=reason,
    )


def _buckets(metric: _Metric, gathered: Gathered) -> pl.DataFrame:
    """`offset` from the period's start, `above` and `below` the line per bucket that has data, in order of time."""
    rollups = gathered.hours if gathered.minutes.is_empty() else gathered.minutes
    known = metric.denominator or ("cost_count" if metric.numerator.startswith("cost") else "count")
    sums = rollups.group_by("bucket").agg(
        above=pl.col(metric.numerator).sum().cast(pl.Float64), below=pl.col(known).sum().cast(pl.Float64)
    )
    offset = pl.col("bucket") - gathered.period.start
    return sums.filter(pl.col("below") > 0).select(offset.alias("offset"), "above", "below").sort("offset")


def _value(metric: _Metric, buckets: pl.DataFrame) -> float | None:
    if buckets.is_empty():
        return None
    total = float(buckets["above"].sum())
    return total if metric.denominator is None else total / float(buckets["below"].sum())


def _change(metric: _Metric, now: pl.DataFrame, then: pl.DataFrame) -> tuple[Interval | None, str | None]:
    if now.is_empty() or then.is_empty():
        return None, "no data in this period" if now.is_empty() else "no data in the period compared with"
    change = (_value(metric, now) or 0.0) - (_value(metric, then) or 0.0)
    if min(now.height, then.height) < MINIMUM_BUCKETS:
        return Interval(estimate=change), "too short to tell a change from chance"
    error = _total_error(now, then) if metric.denominator is None else math.hypot(ratio_error(now), ratio_error(then))
    return Interval(estimate=change, low=change - Z_95 * error, high=change + Z_95 * error), None


def _total_error(now: pl.DataFrame, then: pl.DataFrame) -> float:
    """Standard error of the difference of two totals, from the differences of equally placed buckets."""
    pairs = now.join(then, on="offset", how="full", coalesce=True).fill_null(0.0)
    difference = pairs["above"] - pairs["above_right"]
    return math.sqrt(pairs.height) * float(difference.std() or 0.0)  # type: ignore[arg-type]


def _direction(metric: _Metric, change: Interval | None) -> Direction:
    if change is None or change.low is None or change.high is None:
        return Direction.UNKNOWN
    if change.low <= 0 <= change.high:
        return Direction.SAME
    return metric.more_is if change.estimate > 0 else metric.less_is
