"""Usual: how many selections there were by the hour or day, and how many are usual then."""

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
"""Whole weeks below which nothing is called usual: of a single one nobody knows how it scatters."""

DAILY_FROM = timedelta(days=4)
"""From this length on a period's volume is told by day."""


def volume(current: RollupSlice, before: Before, bucket: Literal["hour", "day"]) -> tuple[VolumePoint, ...]:
    """Selections by hour or day, in order of time, beside what is usual then by the whole weeks that are known.

    Of a bucket that is not over nothing is usual.
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
    """The length of time by which a period's volume is told."""
    return "day" if period.length >= DAILY_FROM else "hour"


def hours_of_week(current: RollupSlice) -> tuple[HourOfWeek, ...]:
    """Selections of each hour of the week that the period has, on average, Monday first."""
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
    """Selections by week, the newest first, and hour of the week; None of fewer weeks than LEAST_WEEKS."""
    if known_weeks < LEAST_WEEKS:
        return None
    period = weeks.period
    local = pl.col("bucket").dt.convert_time_zone(period.zone)
    days_left = (pl.lit(period.local(period.end).replace(tzinfo=None)) - local.dt.replace_time_zone(None)).dt
    week = (days_left.total_seconds() - 1) // timedelta(weeks=1).total_seconds()
    placed = weeks.hours.select(
        week=week.cast(pl.Int64),
        hour=((local.dt.weekday().cast(pl.Int64) - 1) * DAY_HOURS + local.dt.hour()),
        count="count",
    )
    grid = np.zeros((min(known_weeks, WEEKS_BEFORE), WEEK_HOURS))
    for at_week, hour, count in placed.group_by("week", "hour").agg(pl.col("count").sum()).iter_rows():
        if at_week < len(grid):
            grid[at_week, hour] = count
    return grid


def _mean(grid: Numbers | None, hour: datetime, period: Period) -> float:
    """What is usual within as much of an hour as lies in the period."""
    if grid is None:
        return 0.0
    local = period.local(hour)
    inside = min(hour + timedelta(hours=1), period.end) - max(hour, period.start)
    return float(grid[:, local.weekday() * DAY_HOURS + local.hour].mean()) * (inside / timedelta(hours=1))


def _expected_points(expected: Numbers, grid: Numbers | None, level: Level) -> Sequence[Interval | None]:
    """Intervals around what is expected, which all of them hold at once in CONFIDENCE of the periods."""
    if grid is None:
        return [None] * len(expected)
    counts = grid if level is Level.HOUR else grid.reshape(len(grid), WEEK_DAYS, DAY_HOURS).sum(axis=2)
    seasons = np.tile(np.arange(counts.shape[1]), len(counts))
    found = scatter(counts.reshape(1, -1), seasons, np.zeros_like(seasons))
    dispersion, freedom = float(found.dispersion[0]), float(found.freedom[0])
    if freedom < MINIMUM_FREEDOM:
        return [None] * len(expected)
    # On the scale of square roots counts scatter alike and evenly to both sides, also where few are usual. The mean of
    # so many weeks is itself not known for certain.
    reach = student(1 - (1 - CONFIDENCE) / len(expected), freedom) * math.sqrt(dispersion * (1 + 1 / len(grid))) / 2
    bounds = zip(
        expected, np.maximum(0.0, np.sqrt(expected) - reach) ** 2, (np.sqrt(expected) + reach) ** 2, strict=True
    )
    return [Interval(estimate=float(it), low=float(low), high=float(high)) for it, low, high in bounds]
