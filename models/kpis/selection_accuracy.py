"""How often the picked model was the right one."""

from __future__ import annotations

from models.kpis.definition import KpiDefinition, KpiParts
from models.kpis.names import KpiName
from models.kpis.thresholds import FallingRatioThresholds

KPI = KpiDefinition(
    name=KpiName.SELECTION_ACCURACY,
    label="Selection accuracy",
    meaning="How often the model was the right one for its request, on average.",
    limits=FallingRatioThresholds(target=0.95, warning=0.90, critical=0.85),
    parts=KpiParts("accuracy_sum", "accuracy_count", sample="accuracy_count"),
    metric_names=("selectionAccuracy", "accuracy"),
)
