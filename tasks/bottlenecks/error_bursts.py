"""Detect error bursts: consecutive hours in which far more calls failed than in the rest of a period."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from models.documents import ErrorBurst
from models.kpis import KpiName
from models.settings import PerformanceMetrics
from tasks.bottlenecks.hotspots import PARTS, HotspotFrames, Measure, find_hotspots, merge_intervals
from tasks.statistics.intervals import share_interval

BURST_FACTOR = 3.0
"""An hour is a burst when even the lower bound of its error rate is so many times the median's, and above critical."""
BURST_MINIMUM_ERRORS = 10
LARGEST_BURSTS = 3

_ERRORS = Measure("error_count", "count", "error_count")


def error_bursts(hours: pl.DataFrame, limits: PerformanceMetrics, by_dimension: pl.DataFrame) -> list[ErrorBurst]:
    """Up to three spans of hours whose error rate is far above the rest of the period, the largest first.

    `by_dimension` are the same hours by model, complexity and team; those of burst_hours are enough.
    """
    bad = burst_hours(hours, limits)
    if not bad:
        return []
    others = _by_hour(hours).filter(pl.col("bucket").is_in(bad).not_())
    count = int(others["count"].sum())
    baseline = int(others["error_count"].sum()) / count if count else _median_error_rate(_by_hour(hours)) or 0.0
    bursts = [_burst(hours, by_dimension, interval, baseline) for interval in merge_intervals(bad)]
    return sorted(bursts, key=lambda burst: -burst.affected)[:LARGEST_BURSTS]


def burst_hours(hours: pl.DataFrame, limits: PerformanceMetrics) -> list[datetime]:
    """The buckets with an excessive error rate, by time."""
    summed = _by_hour(hours)
    median = _median_error_rate(summed)
    if median is None:
        return []
    floor = max(limits.of(KpiName.ERROR_RATE).critical, BURST_FACTOR * median)
    return [bucket for bucket, count, errors in summed.iter_rows() if _is_burst(errors, count, floor)]


# ----------------------------------------------------------------------------------------------------------------------


def _by_hour(hours: pl.DataFrame) -> pl.DataFrame:
    return hours.group_by("bucket").agg(pl.col("count", "error_count").sum()).sort("bucket")


def _median_error_rate(hours: pl.DataFrame) -> float | None:
    """The unweighted median of the hourly error rates: bursts are few, so they cannot move it."""
    rates = hours.filter(pl.col("count") > 0).select(pl.col("error_count") / pl.col("count")).to_series()
    median = rates.median()
    return float(median) if isinstance(median, float) else None


def _is_burst(errors: int, count: int, floor: float) -> bool:
    return errors >= BURST_MINIMUM_ERRORS and (share_interval(errors, count).low or 0.0) > floor


def _burst(
    hours: pl.DataFrame, by_dimension: pl.DataFrame, interval: tuple[datetime, datetime], baseline: float
) -> ErrorBurst:
    within = pl.col("bucket").is_between(*interval, closed="left")
    here, parts = hours.filter(within), by_dimension.filter(within)
    errors, count = int(here["error_count"].sum()), int(here["count"].sum())
    return ErrorBurst(
        severity="high",
        sample=count,
        affected=errors,
        start=interval[0],
        end=interval[1],
        error_rate=errors / count,
        usual_error_rate=baseline,
        where=find_hotspots(HotspotFrames(parts, parts), _ERRORS, PARTS),
    )
