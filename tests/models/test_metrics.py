"""The table of metrics contains everything that a document can bear, and unknown metrics are errors."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from models.documents import Direction, MetricChange, ModelRegression, Trend
from models.kpis import KpiName
from models.metrics import METRICS, Unit, metric_of
from reports.text.formatting import Formats
from reports.text.labels import METRICS_OF_KPI, SPEND_METRICS, metric_change, metric_label, metric_value
from tasks.comparison.trends import HEADLINE_METRICS, USAGE_METRICS

SHOW = Formats("en_US", "UTC")


def names_in(annotation: Any) -> set[str]:
    """Every value that a type of literals and enums allows."""
    if isinstance(annotation, type):
        values: list[str] = list(annotation)  # type: ignore[call-overload]
        return set(values)
    return {name for arg in get_args(annotation) for name in ({arg} if isinstance(arg, str) else names_in(arg))}


def test_every_metric_that_a_document_can_bear_is_in_the_table() -> None:
    bears = {
        *names_in(MetricChange.model_fields["metric"].annotation),
        *names_in(ModelRegression.model_fields["metric"].annotation),
        *HEADLINE_METRICS,
        *USAGE_METRICS,
        *SPEND_METRICS,
        *(name for names in METRICS_OF_KPI.values() for name in names),
    }
    assert bears >= {*KpiName, "slowShare", "averageCost"}
    assert bears - METRICS.keys() == set()


def test_a_document_bears_no_trend_of_an_unknown_metric() -> None:
    known: dict[str, Any] = {"compared_with": "previousPeriod", "current": 1.0, "before": 1.0, "change": None,
                             "change_share": None, "direction": Direction.SAME}  # fmt: skip
    assert Trend(metric="totalCost", **known).metric == "totalCost"
    with pytest.raises(ValidationError, match="'somethingNew' is not a metric"):
        Trend(metric="somethingNew", **known)


@pytest.mark.parametrize("show", [lambda: metric_label("x"), lambda: metric_value("x", 1.0, SHOW)])
def test_an_unknown_metric_is_an_error_wherever_it_is_shown(show: Any) -> None:
    with pytest.raises(ValueError, match="'x' is not a metric"):
        show()


@pytest.mark.parametrize(
    ("unit", "number", "value", "change"),
    [
        (Unit.MILLISECONDS, 1_500.0, "1.50 s", "+1.50 s"),
        (Unit.USD, 12.5, "$12.50", "+$12.50"),
        (Unit.COUNT, 1_500.0, "1,500", "+1,500"),
        (Unit.RATIO, 0.25, "25.0%", "+25 pp"),
    ],
)
def test_a_metric_is_shown_in_its_unit(unit: Unit, number: float, value: str, change: str) -> None:
    name = next(name for name in METRICS if metric_of(name).unit is unit)
    assert metric_value(name, number, SHOW) == value
    assert metric_change(name, number, SHOW) == change
