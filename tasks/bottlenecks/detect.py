"""Detect the bottlenecks of a period and their hotspots.

The first three rules and their limits are the product document's: over 10 % of selections slower than target; cache hit
rate below target; average cost over 0.05 USD. All are strict: at the limit there is no bottleneck. Error bursts, model
regressions and spend spikes have modules of their own.
"""

from __future__ import annotations

import polars as pl

from models.documents import Bottleneck, HighCost, LowCacheHitRate, SlowResponse
from models.kpis import KpiName
from models.settings import PerformanceMetrics
from tasks.bottlenecks.error_bursts import error_bursts
from tasks.bottlenecks.hotspots import HotspotFrames, Measure, find_hotspots, hotspot_frames
from tasks.bottlenecks.inputs import RuleInputs
from tasks.bottlenecks.model_regressions import regressions
from tasks.bottlenecks.spend_spikes import spend_spikes
from tasks.rollups.totals import Totals, total
from tasks.statistics.intervals import mean_interval, share_interval

SLOW_SHARE = 0.10
HIGH_AVERAGE_COST_USD = 0.05

_SLOW = Measure("over_target_count", "response_time_count", "over_target_count")
_MISSES = Measure("miss_count", "cache_count", "miss_count", lambda missed: 1 - missed)
_COST = Measure("cost_sum_usd", "cost_count", "cost_sum_sq")


def detect_bottlenecks(
    rollups: pl.DataFrame,
    limits: PerformanceMetrics,
    zone: str,
    hours: pl.DataFrame | None = None,
    inputs: RuleInputs | None = None,
) -> tuple[Bottleneck, ...]:
    """Detect bottlenecks in rollups, the most severe first; `hours` are the same by hour, if `rollups` are not.

    Without `inputs` regressions and spikes are not checked: they need data to compare with.
    """
    hours = rollups if hours is None else hours
    totals, where = total(rollups), hotspot_frames(rollups, hours, zone)
    rules = (slow_response(totals, where), low_cache_hit_rate(totals, where, limits), high_cost(totals, where))
    found: list[Bottleneck] = [bottleneck for bottleneck in rules if bottleneck is not None]
    found += error_bursts(hours, limits, inputs.by_dimension if inputs else hours)
    if inputs:
        found += regressions(inputs.models, inputs.models_earlier, limits)
        found += spend_spikes(hours, inputs.history, zone, inputs.by_dimension)
    return tuple(sorted(found, key=lambda bottleneck: ("high", "medium", "low").index(bottleneck.severity)))


def slow_response(totals: Totals, where: HotspotFrames) -> SlowResponse | None:
    """Over 10 % of the selections with a known response time were slower than target.

    Failed calls without a response time are in neither number.
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
        where=find_hotspots(where, _SLOW),
    )


def low_cache_hit_rate(totals: Totals, where: HotspotFrames, limits: PerformanceMetrics) -> LowCacheHitRate | None:
    """The hit rate over selections with a known hit or miss is below target."""
    rate, target = totals.hit_rate, limits.of(KpiName.CACHE_HIT_RATE).target
    if rate is None or rate >= target:
        return None
    missed = (pl.col("cache_count") - pl.col("cache_hit_count")).alias("miss_count")
    misses = HotspotFrames(where.parts.with_columns(missed), where.hours.with_columns(missed))
    return LowCacheHitRate(
        severity="medium",
        sample=totals.known("cache_count"),
        current_rate=rate,
        target_rate=target,
        rate_interval=share_interval(totals.sums["cache_hit_count"], totals.known("cache_count")),
        where=find_hotspots(misses, _MISSES),
    )


def high_cost(totals: Totals, where: HotspotFrames) -> HighCost | None:
    """The average known cost is over 0.05 USD."""
    average, count = totals.average_cost_usd, totals.known("cost_count")
    if average is None or average <= HIGH_AVERAGE_COST_USD:
        return None
    return HighCost(
        severity="medium",
        sample=count,
        average_cost=average,
        average_cost_interval=mean_interval(count, totals.sums["cost_sum_usd"], totals.sums["cost_sum_sq"]),
        where=find_hotspots(where, _COST),
    )
