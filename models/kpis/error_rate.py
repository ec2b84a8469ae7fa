"""The share of selections that failed."""

from __future__ import annotations

from models.kpis.definition import KpiDefinition, KpiParts
from models.kpis.names import KpiName
from models.kpis.thresholds import RisingRatioThresholds

KPI = KpiDefinition(
    name=KpiName.ERROR_RATE,
    label="Error rate",
    meaning="The share of selections that failed.",
    limits=RisingRatioThresholds(target=0.02, warning=0.05, critical=0.10),
    parts=KpiParts("error_count", "count", sample="count"),
    metric_names=("errorRate",),
    timeline_field="error_rate",
)
