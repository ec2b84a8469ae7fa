"""The metrics in documents: the label, unit, better direction and sums of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from models.kpis import KPIS, KpiDefinition


class Unit(StrEnum):
    """The unit of a metric; reports.text.labels formats each."""

    MILLISECONDS = "milliseconds"
    USD = "USD"
    COUNT = "count"
    RATIO = "ratio"
    """0..1, shown in percent; differences are in percentage points."""


class Better(StrEnum):
    """The direction in which a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Sums:
    """A metric as one sum of rollup columns divided by another; without a denominator it is the sum itself."""

    numerator: str
    denominator: str | None = None


@dataclass(frozen=True)
class Metric:
    """One metric. `sums` defines it, if it derives from sums in the rollups."""

    name: str
    label: str
    unit: Unit
    better: Better
    sums: Sums | None = None


_SPENT, _AVERAGE_COST = Sums("cost_sum_usd"), Sums("cost_sum_usd", "cost_count")

OTHER_METRICS = (
    Metric("totalSelections", "Requests", Unit.COUNT, Better.NEITHER, Sums("count")),
    Metric("totalCost", "Spend", Unit.USD, Better.NEITHER, _SPENT),
    Metric("totalSpent", "Spend", Unit.USD, Better.NEITHER, _SPENT),
    Metric("averageCostPerRequest", "Average cost per request", Unit.USD, Better.LOWER, _AVERAGE_COST),
    Metric("averageCost", "Average cost per request", Unit.USD, Better.LOWER, _AVERAGE_COST),
    Metric("slowShare", "Slow responses", Unit.RATIO, Better.LOWER, Sums("over_target_count", "response_time_count")),
    Metric("p95ResponseTime", "p95 response time", Unit.MILLISECONDS, Better.LOWER),
    Metric(
        "promptTokensPerSelection", "Prompt tokens per request", Unit.COUNT, Better.NEITHER,
        Sums("prompt_token_sum", "prompt_token_count"),
    ),
    Metric(
        "completionTokensPerSelection", "Completion tokens per request", Unit.COUNT, Better.NEITHER,
        Sums("completion_token_sum", "completion_token_count"),
    ),
    Metric(
        "userSatisfaction", "User satisfaction", Unit.RATIO, Better.HIGHER,
        Sums("satisfaction_sum", "satisfaction_count"),
    ),
)  # fmt: skip


def _of_kpi(kpi: KpiDefinition) -> tuple[Metric, ...]:
    """A KPI under each of its names."""
    better = Better.LOWER if kpi.lower_is_better else Better.HIGHER
    sums = None if kpi.parts.is_derived else Sums(kpi.parts.numerator, kpi.parts.denominator)
    return tuple(Metric(name, kpi.label, Unit(kpi.unit), better, sums) for name in kpi.metric_names)


METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (*(it for kpi in KPIS.values() for it in _of_kpi(kpi)), *OTHER_METRICS)
}
"""Metrics by name; some have two names in documents."""


def metric_of(name: str) -> Metric:
    """The metric of a name. Raises ValueError for a name that is not in the table."""
    if name not in METRICS:
        raise ValueError(f"{name!r} is not a metric; models/metrics.py has {', '.join(METRICS)}")
    return METRICS[name]


def ratio_sums(metric: Metric) -> tuple[str, str]:
    """The rollup columns of numerator and denominator. Raises ValueError for a metric that is not a ratio of sums."""
    if metric.sums is None or metric.sums.denominator is None:
        raise ValueError(f"{metric.name} is not one sum over another")
    return metric.sums.numerator, metric.sums.denominator


def known_metric(name: str) -> str:
    """Return a valid metric name unchanged; for the fields of documents. Raises ValueError as metric_of does."""
    return metric_of(name).name
