"""Compute the number of selections by hour or day, and its baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from models.documents import CONFIDENCE, HourOfWeek, Interval, VolumePoint
from models.period import Level, Period, floor_to
from tasks.comparison.volume import MINIMUM_FREEDOM, WEEK_DAYS, WEEKS_BEFORE, Before, Numbers, scatter
from tasks.kpis.measures import buckets
from tasks.rollups.query import RollupSlice
from tasks.statistics.intervals import student

DAY_HOURS = 24
WEEK_HOURS = WEEK_DAYS * DAY_HOURS

LEAST_WEEKS = 2
"""Minimum number of whole weeks for a baseline: a single one does not show the variation."""

DAILY_FROM = timedelta(days=4)
"""From this length on a period's volume is shown by day."""


def volume(current: RollupSlice, before: Before, bucket: Literal["hour", "day"]) -> tuple[VolumePoint, ...]:
    """Selections by hour or day, in order of time, with their baseline from the known whole weeks.

    A bucket that has not ended has no baseline.
    """
    period, level = current.period, Level(bucket)
    counted = dict(current.hours.group_by("bucket").agg(pl.col("count").sum()).iter_rows())
    points: dict[datetime, list[datetime]] = {}
    for hour in buckets(period, Level.HOUR):
        points.setdefault(floor_to(level, hour, period.zone), []).append(hour)
    grid = _weeks_of_hours(before.weeks, before.known_days // WEEK_DAYS)
    expected = [sum(_mean(grid, hour, period) for hour in hours) for hours in points.values()]
    counts = [sum(counted.get(hour, 0) for hour in hours) for hours in points.values()]
    rows = zip(points, counts, _expected_points(np.array(expected), grid, level), strict=True)
    return tuple(
        VolumePoint(start=start, count=count, usual=expected_count if before.is_known(end) else None)
        for (start, count, expected_count), end in zip(rows, [*list(points)[1:], period.end], strict=True)
    )


def volume_bucket(period: Period) -> Literal["hour", "day"]:
    """The bucket length of a period's volume."""
    return "day" if period.length >= DAILY_FROM else "hour"


def hours_of_week(current: RollupSlice) -> tuple[HourOfWeek, ...]:
    """Average selections of each hour of the week in the period, Monday first."""
    period = current.period
    counted = dict(current.hours.group_by("bucket").agg(pl.col("count").sum()).iter_rows())
    found: dict[tuple[int, int], list[int]] = {}
    for hour in buckets(period, Level.HOUR):
        local = period.local(hour)
        found.setdefault((local.weekday(), local.hour), []).append(counted.get(hour, 0))
    return tuple(
        HourOfWeek(weekday=weekday, hour=hour, selections=sum(counts) / len(counts))
        for (weekday, hour), counts in sorted(found.items())
    )


# ----------------------------------------------------------------------------------------------------------------------


def _weeks_of_hours(weeks: RollupSlice, known_weeks: int) -> Numbers | None:
    """Selections by week, the newest first, and hour of the week; None if there are fewer weeks than LEAST_WEEKS."""
    if known_weeks < LEAST_WEEKS:
        return None
    period = weeks.period
    local = pl.col("bucket").dt.convert_time_zone(period.zone)
    days_left = (pl.lit(period.local(period.end).replace(tzinfo=None)) - local.dt.replace_time_zone(None)).dt
    week = (days_left.total_seconds() - 1) // timedelta(weeks=1).total_seconds()
    localized = weeks.hours.select(
        week=week.cast(pl.Int64),
        hour=((local.dt.weekday().cast(pl.Int64) - 1) * DAY_HOURS + local.dt.hour()),
        count="count",
    )
    grid = np.zeros((min(known_weeks, WEEKS_BEFORE), WEEK_HOURS))
    for at_week, hour, count in localized.group_by("week", "hour").agg(pl.col("count").sum()).iter_rows():
        if at_week < len(grid):
            grid[at_week, hour] = count
    return grid


def _mean(grid: Numbers | None, hour: datetime, period: Period) -> float:
    """The baseline of the part of an hour that lies in the period."""
    if grid is None:
        return 0.0
    local = period.local(hour)
    inside = min(hour + timedelta(hours=1), period.end) - max(hour, period.start)
    return float(grid[:, local.weekday() * DAY_HOURS + local.hour].mean()) * (inside / timedelta(hours=1))


def _expected_points(expected: Numbers, grid: Numbers | None, level: Level) -> Sequence[Interval | None]:
    """Simultaneous intervals around the expected counts: all hold in CONFIDENCE of the periods."""
    if grid is None:
        return [None] * len(expected)
    counts = grid if level is Level.HOUR else grid.reshape(len(grid), WEEK_DAYS, DAY_HOURS).sum(axis=2)
    seasons = np.tile(np.arange(counts.shape[1]), len(counts))
    found = scatter(counts.reshape(1, -1), seasons, np.zeros_like(seasons))
    dispersion, freedom = float(found.dispersion[0]), float(found.freedom[0])
    if freedom < MINIMUM_FREEDOM:
        return [None] * len(expected)
    # On a square root scale the variance of counts is constant and symmetric, also where few are expected. The mean of
    # so many weeks has an error of its own.
    reach = student(1 - (1 - CONFIDENCE) / len(expected), freedom) * math.sqrt(dispersion * (1 + 1 / len(grid))) / 2
    bounds = zip(
        expected, np.maximum(0.0, np.sqrt(expected) - reach) ** 2, (np.sqrt(expected) + reach) ** 2, strict=True
    )
    return [Interval(estimate=float(it), low=float(low), high=float(high)) for it, low, high in bounds]
