"""The KPIs: one module defines each, and all code that aggregates, evaluates or shows KPIs uses the definition."""

from __future__ import annotations

from collections.abc import Mapping

from models.kpis import cache_hit_rate, cost_efficiency, error_rate, response_time, selection_accuracy
from models.kpis.definition import KpiDefinition, KpiParts, Scatter
from models.kpis.names import KpiName
from models.kpis.thresholds import (
    Direction,
    FallingRatioThresholds,
    KpiState,
    MillisecondThresholds,
    RatioThresholds,
    RisingRatioThresholds,
    Thresholds,
    assess,
)

__all__ = [
    "KPIS",
    "LOWER_IS_BETTER",
    "Direction",
    "FallingRatioThresholds",
    "KpiDefinition",
    "KpiName",
    "KpiParts",
    "KpiState",
    "MillisecondThresholds",
    "RatioThresholds",
    "RisingRatioThresholds",
    "Scatter",
    "Thresholds",
    "assess",
]

KPIS: Mapping[KpiName, KpiDefinition] = {
    module.KPI.name: module.KPI
    for module in (response_time, selection_accuracy, cache_hit_rate, cost_efficiency, error_rate)
}
"""In the order of KpiName."""

LOWER_IS_BETTER = frozenset(name for name, kpi in KPIS.items() if kpi.lower_is_better)
