"""The average response time."""

from __future__ import annotations

from models.kpis.definition import KpiDefinition, KpiParts, Scatter
from models.kpis.names import KpiName
from models.kpis.thresholds import MillisecondThresholds

KPI = KpiDefinition(
    name=KpiName.RESPONSE_TIME,
    label="Average response time",
    meaning="From the pick to the answer, on average over the selections of which it is known.",
    limits=MillisecondThresholds(target=2000, warning=3000, critical=5000),
    parts=KpiParts(
        "response_time_sum_ms",
        "response_time_count",
        sample="response_time_count",
        scatter=Scatter.MEAN,
        squares="response_time_sum_sq",
    ),
    metric_names=("averageResponseTime", "responseTime"),
    timeline_field="avg_response_time",
)
