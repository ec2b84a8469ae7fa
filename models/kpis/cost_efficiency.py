"""The cost of adequate models divided by the spend; tasks.kpis.cost_efficiency computes it."""

from __future__ import annotations

from models.kpis.definition import KpiDefinition, KpiParts, Scatter
from models.kpis.names import KpiName
from models.kpis.thresholds import FallingRatioThresholds

KPI = KpiDefinition(
    name=KpiName.COST_EFFICIENCY,
    label="Cost efficiency",
    meaning="What the cheapest adequate model would have cost, divided by what was spent.",
    limits=FallingRatioThresholds(target=0.80, warning=0.70, critical=0.60),
    parts=KpiParts(
        "needed_usd",
        "covered_usd",
        sample="covered_count",
        scatter=Scatter.AMOUNTS,
        squares="covered_sq",
        most=1.0,
        is_derived=True,
    ),
    metric_names=("efficiency", "costEfficiency"),
    # The average cost has a trend with the same information.
    has_trend=False,
    alert_windows=4,
)
