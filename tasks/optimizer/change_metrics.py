"""The metrics that a change is judged by, and how much each may get worse."""

from __future__ import annotations

from dataclasses import replace

from models.documents import Recommendation
from models.kpis import KpiName
from models.settings import PerformanceMetrics
from tasks.optimizer.judged_metric import JudgedMetric

ERROR_RATE_MARGIN, ACCURACY_MARGIN, HIT_RATE_MARGIN, SLOW_SHARE_MARGIN = 0.005, 0.01, 0.01, 0.01
SLOWER_MODEL_MARGIN = 0.02
RESPONSE_TIME_MARGIN, COST_MARGIN = 0.10, 0.05
"""How much a guardrail metric may get worse: points of a share, and shares of the value before. Chosen so that one
change uses up a tenth of the way from target to critical, or less."""

PRIMARY_METRIC_MARGIN = 0.2
"""A change may use up only this part of its primary metric's margin."""


UNEVEN_ALPHA = 0.001
"""Probability that sides with equally many known values, or prompts of equal length, are ever called unequal."""

UNEVEN_SHARE = 0.02
"""Relative difference of both sides' known shares from which a metric counts as not known: the answers that are known
may be other ones on each side."""


def metrics_of(item: Recommendation, limits: PerformanceMetrics) -> tuple[JudgedMetric, tuple[JudgedMetric, ...]]:
    """Return a recommendation's primary metric and guardrail metrics."""
    errors = JudgedMetric(KpiName.ERROR_RATE, margin=ERROR_RATE_MARGIN)
    accuracy = JudgedMetric(KpiName.SELECTION_ACCURACY, margin=ACCURACY_MARGIN)
    hits = JudgedMetric(KpiName.CACHE_HIT_RATE, margin=HIT_RATE_MARGIN)
    time = JudgedMetric(
        KpiName.RESPONSE_TIME, margin=RESPONSE_TIME_MARGIN, relative=True, limit=limits.of(KpiName.RESPONSE_TIME).target
    )
    slow = JudgedMetric("slowShare", margin=SLOW_SHARE_MARGIN * PRIMARY_METRIC_MARGIN)
    cost = JudgedMetric("averageCost", margin=COST_MARGIN, relative=True)
    if item.type == "model_selection":
        # A mean response time within its target may hide that many more answers exceed it.
        return _as_primary(cost), (accuracy, errors, time, JudgedMetric("slowShare", margin=SLOWER_MODEL_MARGIN))
    if item.type == "cache_strategy":
        return _as_primary(hits), (accuracy, errors, time, cost)
    return slow, (accuracy, errors, cost)


# ----------------------------------------------------------------------------------------------------------------------


def _as_primary(metric: JudgedMetric) -> JudgedMetric:
    return replace(metric, margin=metric.margin * PRIMARY_METRIC_MARGIN)
