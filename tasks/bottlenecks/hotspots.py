"""Find hotspots: where a bottleneck is concentrated, and its rate elsewhere.

A hotspot is named only if it is statistically significant: if the affected selections were distributed at random, their
number in one value would be hypergeometric. The bound has Bonferroni's correction for the values that were tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Literal

import polars as pl

from models.documents import Hotspot
from models.schema import COLLECTIVE

BOTTLENECK_MINIMUM_SAMPLE = 10
"""Minimum number of selections with a known value in a hotspot: with fewer, the normal approximation fails."""

FALSE_ALARM_RATE = 0.05
"""False positive rate per dimension."""

ROUNDING = 1e-9
"""Relative rounding tolerance: sums of equal rates differ by as much."""

DAY_HOURS = 24

Dimension = Literal["model", "complexity", "team", "hour"]
INPUT_COLUMNS: dict[Dimension, str] = {"model": "model_id", "complexity": "complexity", "team": "team", "hour": "hour"}
PARTS: tuple[Dimension, ...] = ("model", "complexity", "team")


@dataclass(frozen=True)
class HotspotFrames:
    """Rollups by model, complexity and team, and the same by bucket, with the hour of the zone's day (0..23)."""

    parts: pl.DataFrame
    hours: pl.DataFrame

    def by(self, dimension: Dimension) -> pl.DataFrame:
        return self.hours if dimension == "hour" else self.parts


def hotspot_frames(parts: pl.DataFrame, hours: pl.DataFrame, zone: str) -> HotspotFrames:
    """Prepare rollups for the search; `hours` need only their bucket."""
    return HotspotFrames(parts, hours.with_columns(hour=pl.col("bucket").dt.convert_time_zone(zone).dt.hour()))


@dataclass(frozen=True)
class Measure:
    """A bottleneck's measure: the column `affected` over the column `known`, as `shown`.

    `squares` is the sum of squares of the values in `affected`; for values of 0 or 1 it is `affected` itself.
    """

    affected: str
    known: str
    squares: str
    shown: Callable[[float], float] = lambda rate: rate

    @property
    def counts(self) -> bool:
        return self.squares == self.affected


def find_hotspots(
    where: HotspotFrames, measure: Measure, dimensions: Iterable[Dimension] = INPUT_COLUMNS
) -> tuple[Hotspot, ...]:
    """Per dimension the value with the largest excess over the overall rate, the largest excess first.

    For the time of day it is a span of hours, such as "22:00–02:00".
    """
    found = [hotspot for dimension in dimensions if (hotspot := _hotspot(where.by(dimension), dimension, measure))]
    return tuple(hotspot for _, hotspot in sorted(found, key=lambda item: -item[0]))


def merge_intervals(buckets: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Merge adjacent hours to [start, end), by time."""
    joined: list[tuple[datetime, datetime]] = []
    for bucket in sorted(buckets):
        if joined and bucket <= joined[-1][1]:
            joined[-1] = (joined[-1][0], bucket + timedelta(hours=1))
        else:
            joined.append((bucket, bucket + timedelta(hours=1)))
    return joined


def is_significant(excess: float, error: float, comparisons: int) -> bool:
    """Whether the largest of so many excesses is statistically significant; one-sided."""
    return excess > error * NormalDist().inv_cdf(1 - FALSE_ALARM_RATE / comparisons)


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MeasureSums:
    affected: float = 0.0
    known: float = 0.0
    squares: float = 0.0

    def __add__(self, other: _MeasureSums) -> _MeasureSums:
        return _MeasureSums(self.affected + other.affected, self.known + other.known, self.squares + other.squares)


def _hotspot(rollups: pl.DataFrame, dimension: Dimension, measure: Measure) -> tuple[float, Hotspot] | None:
    """The hotspot with its excess; None if there is no difference, or it is not significant."""
    column = INPUT_COLUMNS[dimension]
    sums = (pl.col(name).sum().cast(pl.Float64) for name in (measure.affected, measure.known, measure.squares))
    rows = rollups.group_by(column).agg(affected=next(sums), known=next(sums), squares=next(sums)).sort(column)
    groups = {value: _MeasureSums(*numbers) for value, *numbers in rows.iter_rows()}
    overall = sum(groups.values(), _MeasureSums())
    if len(groups) < 2 or not overall.affected:  # noqa: PLR2004
        return None
    candidates = dict(_runs(groups) if dimension == "hour" else _named(groups))
    excesses = {
        value: part.affected - part.known * overall.affected / overall.known
        for value, part in candidates.items()
        if part.known >= BOTTLENECK_MINIMUM_SAMPLE
    }
    if not excesses:
        return None
    value = max(excesses, key=excesses.__getitem__)
    part, excess = candidates[value], excesses[value]
    if excess <= overall.affected * ROUNDING or not is_significant(excess, _error(part, overall), len(excesses)):
        return None
    rest = overall.known - part.known
    return excess, Hotspot(
        dimension=dimension,
        value=value,
        rate=measure.shown(part.affected / part.known),
        affected=int(part.affected if measure.counts else part.known),
        share=part.affected / overall.affected,
        rate_without=measure.shown(max(0.0, overall.affected - part.affected) / rest) if rest else None,
    )


def _named(groups: dict[str, _MeasureSums]) -> Iterator[tuple[str, _MeasureSums]]:
    return ((value, part) for value, part in groups.items() if value not in COLLECTIVE)


def _runs(groups: dict[int, _MeasureSums]) -> Iterator[tuple[str, _MeasureSums]]:
    """Every span of the day but all of it, also across midnight, shortest first: the shortest of equals is named."""
    parts = [_MeasureSums()] * DAY_HOURS
    for length in range(1, DAY_HOURS):
        for first in range(DAY_HOURS):
            parts[first] += groups.get((first + length - 1) % DAY_HOURS, _MeasureSums())
            yield f"{first:02d}:00–{(first + length) % DAY_HOURS:02d}:00", parts[first]


def _error(part: _MeasureSums, overall: _MeasureSums) -> float:
    """The standard deviation of a value's sum under a random distribution."""
    variance = max(0.0, overall.squares - overall.affected**2 / overall.known) / overall.known
    return math.sqrt(variance * part.known * max(0.0, 1 - part.known / overall.known))
