"""The names of the KPIs; models.kpis has a module that describes each."""

from __future__ import annotations

from enum import StrEnum


class KpiName(StrEnum):
    """In the order in which every report lists them."""

    RESPONSE_TIME = "responseTime"
    SELECTION_ACCURACY = "selectionAccuracy"
    CACHE_HIT_RATE = "cacheHitRate"
    COST_EFFICIENCY = "costEfficiency"
    ERROR_RATE = "errorRate"
