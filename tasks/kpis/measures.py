"""Compute KPIs, breakdowns and series from rollups. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

import polars as pl

from models.documents import (
    DistributionBin,
    GroupCost,
    HeatmapCell,
    Kpi,
    ModelCost,
    ModelStats,
    TimelinePoint,
)
from models.kpis import KPIS, KpiDefinition, KpiName, Thresholds, assess
from models.period import Level, Period, floor_to, next_start
from models.schema import UNKNOWN
from models.settings import PerformanceMetrics
from tasks.kpis.cost_efficiency import Efficiency, Measured, measured_efficiency
from tasks.rollups.aggregate import start_of
from tasks.rollups.histogram import histogram_table
from tasks.rollups.query import UNCLASSIFIED
from tasks.rollups.totals import NOTHING, Totals, percentiles_by, total, totals_by

DISTRIBUTION_EDGES_MS = (0, 50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 7500, 10000, 15000, 20000, 30000,
                         60000, 120000, 300000)  # fmt: skip
"""Round limits that include the product's own (2000, 3000, 5000 ms) as edges; the last bin is open."""


def kpis(totals: Totals, efficiency: Efficiency, limits: PerformanceMetrics) -> tuple[Kpi, ...]:
    """The five KPIs in their order, each over the selections for which it is known."""
    missing = f"not recorded for any of {totals.count:,} selections" if totals.count else "no selections in the period"
    return tuple(_kpi(kpi, _measured(kpi, totals, efficiency, missing), limits.of(name)) for name, kpi in KPIS.items())


def model_breakdown(rollups: pl.DataFrame, efficiencies: dict[str, float]) -> tuple[ModelStats, ...]:
    """One ModelStats per model, most selections first."""
    quantiles = percentiles_by(rollups, "model_id")
    stats = [_model_stats(key[0], totals, quantiles[key], efficiencies.get(key[0]))
             for key, totals in totals_by(rollups, "model_id").items()]  # fmt: skip
    return tuple(sorted(stats, key=lambda model: (-model.count, model.model_id)))


def model_costs(rollups: pl.DataFrame) -> tuple[ModelCost, ...]:
    """One ModelCost per model, most spent first."""
    spent = total(rollups).cost_usd
    costs = [_model_cost(key[0], totals, spent) for key, totals in totals_by(rollups, "model_id").items()]
    return tuple(sorted(costs, key=lambda model: (-(model.total_cost or 0), model.model_id)))


def group_costs(rollups: pl.DataFrame, dimension: Literal["complexity", "team"]) -> tuple[GroupCost, ...]:
    """One GroupCost per value of the dimension, most spent first."""
    spent = total(rollups).cost_usd
    costs = [
        GroupCost(
            name=group_name(dimension, key[0]),
            count=totals.count,
            total_cost=totals.cost_usd,
            avg_cost=totals.average_cost_usd,
            cost_share=_share(totals.cost_usd, spent),
        )
        for key, totals in totals_by(rollups, dimension).items()
    ]
    return tuple(sorted(costs, key=lambda group: (-(group.total_cost or 0), group.name)))


def group_name(dimension: str, value: str) -> str:
    """A dimension's value as users name it, such as "unclassified"."""
    if value != UNKNOWN:
        return value
    return UNCLASSIFIED if dimension == "complexity" else "unknown"


def timeline(rollups: pl.DataFrame, period: Period, level: Level) -> tuple[TimelinePoint, ...]:
    """One point per bucket of the period, empty ones too, in order of time. The rollups are of `level` or finer."""
    if level is Level.DAY:
        rollups = rollups.with_columns(bucket=start_of(rollups["bucket"], level, period.zone))
    sums, quantiles = totals_by(rollups, "bucket"), percentiles_by(rollups, "bucket")
    return tuple(
        _timeline_point(start, sums.get((start,), NOTHING), quantiles.get((start,), {}))
        for start in buckets(period, level)
    )


def distribution(rollups: pl.DataFrame) -> tuple[DistributionBin, ...]:
    """Selections by response time between DISTRIBUTION_EDGES_MS, from the first to the last non-empty bin."""
    found = histogram_table(rollups, [])
    edges, values_ms = [*DISTRIBUTION_EDGES_MS, float("inf")], found.values_ms
    all_counts = found.counts.sum(axis=0)
    counts = [int(all_counts[(low <= values_ms) & (values_ms < high)].sum()) for low, high in pairwise(edges)]
    nonempty = [index for index, count in enumerate(counts) if count]
    if not nonempty:
        return ()
    last_edge = max(edges[-2], float(values_ms[all_counts > 0].max()))
    return tuple(
        DistributionBin(from_ms=edges[i], to_ms=min(edges[i + 1], last_edge), count=counts[i])
        for i in range(nonempty[0], nonempty[-1] + 1)
    )


def heatmap(rollups: pl.DataFrame, zone: str) -> tuple[HeatmapCell, ...]:
    """One cell per hour of the week of the zone that has selections, Monday first."""
    local = pl.col("bucket").dt.convert_time_zone(zone)
    localized = rollups.with_columns(weekday=local.dt.weekday().cast(pl.Int64) - 1, hour=local.dt.hour().cast(pl.Int64))
    quantiles = percentiles_by(localized, "weekday", "hour")
    return tuple(
        HeatmapCell(
            weekday=int(key[0]),
            hour=int(key[1]),
            count=totals.count,
            p95_response_time=quantiles[key]["p95"],
            cost_usd=totals.cost_usd,
        )
        for key, totals in totals_by(localized, "weekday", "hour").items()
    )


def buckets(period: Period, level: Level) -> Sequence[datetime]:
    """The starts of all buckets that overlap the period; the first may lie before it."""
    start, starts = floor_to(level, period.start, period.zone), []
    while start < period.end:
        starts.append(start)
        start = next_start(level, start + timedelta(microseconds=1), period.zone)
    return starts


# ----------------------------------------------------------------------------------------------------------------------


_WORKED_OUT = {KpiName.COST_EFFICIENCY: measured_efficiency}
"""Functions of KPIs that are not a ratio of rollup sums."""


def _measured(kpi: KpiDefinition, totals: Totals, efficiency: Efficiency, missing: str) -> Measured:
    if kpi.parts.is_derived:
        return _WORKED_OUT[kpi.name](totals, efficiency, missing)
    parts = kpi.parts
    return Measured(totals.ratio(parts.numerator, parts.denominator), totals.coverage_of(parts.sample), missing)


def _kpi(kpi: KpiDefinition, measured: Measured, limits: Thresholds) -> Kpi:
    return Kpi(
        name=kpi.name,
        value=measured.value,
        unit=limits.unit,
        state=assess(measured.value, limits),
        target=limits.target,
        warning=limits.warning,
        critical=limits.critical,
        coverage=measured.coverage,
        reason=measured.reason if measured.value is None else None,
    )


def _model_stats(
    model_id: str, totals: Totals, quantiles: dict[str, float | None], efficiency: float | None
) -> ModelStats:
    return ModelStats(
        model_id=model_id,
        count=totals.count,
        avg_response_time=totals.average_response_time_ms,
        p50_response_time=quantiles["p50"],
        p95_response_time=quantiles["p95"],
        p99_response_time=quantiles["p99"],
        avg_cost=totals.average_cost_usd,
        total_cost=totals.cost_usd,
        error_rate=totals.error_rate,
        cache_hit_rate=totals.hit_rate,
        accuracy=totals.accuracy,
        user_satisfaction=totals.user_satisfaction,
        efficiency=efficiency,
        coverage=totals.coverage,
    )


def _model_cost(model_id: str, totals: Totals, spent: float | None) -> ModelCost:
    prompt, completion = totals.prompt_tokens, totals.completion_tokens
    tokens = (prompt or 0) + (completion or 0)
    complete = (
        totals.known("cost_count")
        == totals.count
        == totals.known("prompt_token_count")
        == totals.known("completion_token_count")
    )
    per_million = totals.cost_usd / tokens * 1e6 if complete and tokens and totals.cost_usd is not None else None
    return ModelCost(
        model_id=model_id,
        count=totals.count,
        total_cost=totals.cost_usd,
        avg_cost=totals.average_cost_usd,
        cost_share=_share(totals.cost_usd, spent),
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost_per_million_tokens=per_million,
        coverage=totals.coverage_of("cost_count"),
    )


def _timeline_point(start: datetime, totals: Totals, quantiles: dict[str, float | None]) -> TimelinePoint:
    return TimelinePoint(
        start=start,
        count=totals.count,
        avg_response_time=totals.average_response_time_ms,
        p50_response_time=quantiles.get("p50"),
        p95_response_time=quantiles.get("p95"),
        error_rate=totals.error_rate,
        cache_hit_rate=totals.hit_rate,
        cost_usd=totals.cost_usd,
    )


def _share(part: float | None, overall: float | None) -> float | None:
    return part / overall if part is not None and overall else None
