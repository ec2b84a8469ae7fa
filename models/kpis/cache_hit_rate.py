"""The share of requests that the router's cache answered."""

from __future__ import annotations

from models.kpis.definition import KpiDefinition, KpiParts
from models.kpis.names import KpiName
from models.kpis.thresholds import FallingRatioThresholds

KPI = KpiDefinition(
    name=KpiName.CACHE_HIT_RATE,
    label="Cache hit rate",
    meaning="The share of requests that the router's own cache answered.",
    limits=FallingRatioThresholds(target=0.90, warning=0.80, critical=0.70),
    parts=KpiParts("cache_hit_count", "cache_count", sample="cache_count"),
    metric_names=("cacheHitRate",),
    timeline_field="cache_hit_rate",
    # More is better, but a cache that suddenly answers everything is likely to answer wrongly.
    doubt_when_better="this is more than usual: does the cache answer what it should not?",
)
