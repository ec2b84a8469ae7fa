"""Diagnose: the bottlenecks of a period, and where they sit.

The three rules and their limits are the product document's: over 10 % of selections slower than target; cache hit
rate below target; average cost over 0.05 USD. All are strict: at the limit there is no bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import polars as pl

from models.document import Bottleneck, ErrorBurst, HighCost, LowCacheHitRate, Place, SlowResponse
from models.settings import PerformanceMetrics
from models.tables import UNKNOWN
from tasks.interval import mean_interval, share_interval
from tasks.totals import Totals, total

SLOW_SHARE = 0.10
HIGH_AVERAGE_COST_USD = 0.05

BURST_FACTOR = 3.0
"""An hour is a burst when even the lower bound of its error rate is this many times the rest's, and above critical."""
BURST_MINIMUM_ERRORS = 10
LARGEST_BURSTS = 3

PLACE_MINIMUM_SAMPLE = 30

Dimension = Literal["model", "complexity", "team", "hour"]
_COLUMNS: dict[Dimension, str] = {"model": "model_id", "complexity": "complexity", "team": "team", "hour": "hour"}


@dataclass(frozen=True)
class Placed:
    """Rollups by model, complexity and team, and the same by bucket, with the hour of the day."""

    parts: pl.DataFrame
    hours: pl.DataFrame

    def by(self, dimension: Dimension) -> pl.DataFrame:
        return self.hours if dimension == "hour" else self.parts


def diagnose(
    rollups: pl.DataFrame, limits: PerformanceMetrics, zone: str, hours: pl.DataFrame | None = None
) -> tuple[Bottleneck, ...]:
    """The bottlenecks in rollups, the gravest first; `hours` are the same by the hour, where `rollups` are not."""
    hours = rollups if hours is None else hours
    totals = total(rollups)
    placed = Placed(rollups, hours.with_columns(hour=pl.col("bucket").dt.convert_time_zone(zone).dt.strftime("%H:00")))
    rules = (slow_response(totals, placed), low_cache_hit_rate(totals, placed, limits), high_cost(totals, placed))
    found: list[Bottleneck] = [bottleneck for bottleneck in rules if bottleneck is not None]
    found += error_bursts(hours, limits)
    return tuple(sorted(found, key=lambda bottleneck: ("high", "medium", "low").index(bottleneck.severity)))


def slow_response(totals: Totals, placed: Placed) -> SlowResponse | None:
    """Over 10 % of the selections with a known response time were slower than target.

    Failed calls without a time are neither fast nor slow, so they are in neither number.
    """
    known, slow = totals.known("response_time_count"), totals.known("over_target_count")
    if not known or slow <= known * SLOW_SHARE:
        return None
    interval = share_interval(slow, known)
    percent = interval.model_copy(
        update={name: 100 * value for name, value in interval.model_dump().items() if value is not None}
    )
    return SlowResponse(
        severity="high",
        sample=known,
        affected=slow,
        percentage=100 * slow / known,
        percentage_interval=percent,
        where=_places(placed, "over_target_count", "response_time_count"),
    )


def low_cache_hit_rate(totals: Totals, placed: Placed, limits: PerformanceMetrics) -> LowCacheHitRate | None:
    """The hit rate over the selections for which it is known is below target."""
    rate, target = totals.hit_rate, limits.cache_hit_rate.target
    if rate is None or rate >= target:
        return None
    missed = (pl.col("cache_count") - pl.col("cache_hit_count")).alias("miss_count")
    misses = Placed(placed.parts.with_columns(missed), placed.hours.with_columns(missed))
    return LowCacheHitRate(
        severity="medium",
        sample=totals.known("cache_count"),
        current_rate=rate,
        target_rate=target,
        rate_interval=share_interval(totals.sums["cache_hit_count"], totals.known("cache_count")),
        where=_places(misses, "miss_count", "cache_count", lambda rate: 1 - rate),
    )


def high_cost(totals: Totals, placed: Placed) -> HighCost | None:
    """The average known cost is over 0.05 USD."""
    average, count = totals.average_cost_usd, totals.known("cost_count")
    if average is None or average <= HIGH_AVERAGE_COST_USD:
        return None
    return HighCost(
        severity="medium",
        sample=count,
        average_cost=average,
        average_cost_interval=mean_interval(count, totals.sums["cost_sum_usd"], totals.sums["cost_sum_sq"]),
        where=_places(placed, "cost_sum_usd", "cost_count"),
    )


def error_bursts(rollups: pl.DataFrame, limits: PerformanceMetrics) -> list[ErrorBurst]:
    """Up to three stretches of hours whose errors stand far above the rest of the period's, the largest first."""
    hours = rollups.group_by("bucket").agg(pl.col("count").sum(), pl.col("error_count").sum()).sort("bucket")
    median = _median_error_rate(hours)
    if median is None:
        return []
    floor = max(limits.error_rate.critical, BURST_FACTOR * median)
    bad = [hour for hour in map(_Hour._make, hours.iter_rows()) if _is_burst(hour, floor)]
    stretches: list[list[_Hour]] = []
    for hour in bad:
        if stretches and hour.bucket - stretches[-1][-1].bucket <= timedelta(hours=1):
            stretches[-1].append(hour)
        else:
            stretches.append([hour])
    others = hours.filter(pl.col("bucket").is_in([hour.bucket for hour in bad]).not_())
    count = int(others["count"].sum())
    usual = int(others["error_count"].sum()) / count if count else median
    bursts = [_burst(stretch, usual) for stretch in stretches]
    return sorted(bursts, key=lambda burst: -burst.affected)[:LARGEST_BURSTS]


# ----------------------------------------------------------------------------------------------------------------------


class _Hour(NamedTuple):
    bucket: datetime
    selections: int
    errors: int


def _places(
    placed: Placed, affected: str, known: str, shown: Callable[[float], float] = lambda rate: rate
) -> tuple[Place, ...]:
    """Per dimension the value that adds most beyond what it would at the overall rate, the largest excess first."""
    whole, of = float(placed.parts[affected].sum()), float(placed.parts[known].sum())
    places: list[tuple[float, Place]] = []
    for dimension, column in _COLUMNS.items():
        groups = placed.by(dimension).group_by(column).agg(pl.col(affected, known).sum())
        large = groups.filter((pl.col(known) >= PLACE_MINIMUM_SAMPLE) & (pl.col(column) != UNKNOWN))
        excess = large.with_columns(excess=pl.col(affected) - pl.col(known) * whole / of).sort("excess", column)
        if groups.height < 2 or excess.is_empty() or excess["excess"][-1] <= 0:  # noqa: PLR2004
            continue
        row = excess.row(-1, named=True)
        count = int(row[known]) if affected.startswith("cost") else int(row[affected])
        place = Place(
            dimension=dimension, value=row[column], rate=shown(row[affected] / row[known]), affected=count,
            share=row[affected] / whole,
        )  # fmt: skip
        places.append((row["excess"], place))
    return tuple(place for _, place in sorted(places, key=lambda item: -item[0]))


def _median_error_rate(hours: pl.DataFrame) -> float | None:
    """The median hour's error rate, weighted by nothing: bursts are few, so they cannot move it."""
    rates = hours.filter(pl.col("count") > 0).select(pl.col("error_count") / pl.col("count")).to_series()
    median = rates.median()
    return float(median) if isinstance(median, float) else None


def _is_burst(hour: _Hour, floor: float) -> bool:
    return hour.errors >= BURST_MINIMUM_ERRORS and (share_interval(hour.errors, hour.selections).low or 0.0) > floor


def _burst(stretch: list[_Hour], usual: float) -> ErrorBurst:
    errors, count = sum(hour.errors for hour in stretch), sum(hour.selections for hour in stretch)
    return ErrorBurst(
        severity="high",
        sample=count,
        affected=errors,
        start=stretch[0].bucket,
        end=stretch[-1].bucket + timedelta(hours=1),
        error_rate=errors / count,
        usual_error_rate=usual,
    )
