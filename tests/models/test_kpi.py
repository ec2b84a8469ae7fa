"""The product document's thresholds, each at, just under and just over the limit."""

from __future__ import annotations

import math

import pytest

from models.kpis import KPIS, KpiName, KpiParts, KpiState, Scatter, assess
from models.metrics import METRICS, OTHER_METRICS
from models.notifications import AlertRule
from models.settings import PerformanceMetrics, Schedule
from reports.text.formatting import Formats
from reports.text.labels import METRICS_OF_KPI, limit_text
from tasks.comparison.trends import HEADLINE_METRICS

LIMITS = PerformanceMetrics()

DOCUMENT = {
    KpiName.RESPONSE_TIME: (2000.0, 3000.0, 5000.0, +1),
    KpiName.SELECTION_ACCURACY: (0.95, 0.90, 0.85, -1),
    KpiName.CACHE_HIT_RATE: (0.90, 0.80, 0.70, -1),
    KpiName.COST_EFFICIENCY: (0.80, 0.70, 0.60, -1),
    KpiName.ERROR_RATE: (0.02, 0.05, 0.10, +1),
}


@pytest.mark.parametrize("name", KpiName)
def test_thresholds_are_the_documents(name: KpiName) -> None:
    """Every KPI's default limits are those of the product document."""
    limits = LIMITS.of(name)
    assert (limits.target, limits.warning, limits.critical) == DOCUMENT[name][:3]


@pytest.mark.parametrize("name", KpiName)
@pytest.mark.parametrize(
    ("limit", "within", "beyond"),
    [
        (0, KpiState.ON_TARGET, KpiState.OFF_TARGET),
        (1, KpiState.OFF_TARGET, KpiState.WARNING),
        (2, KpiState.WARNING, KpiState.CRITICAL),
    ],
    ids=["target", "warning", "critical"],
)
def test_a_limit_is_crossed_only_beyond_it(name: KpiName, limit: int, within: KpiState, beyond: KpiState) -> None:
    """At the limit and on the better side the milder state holds, one step past it the graver one."""
    *limits, worse = DOCUMENT[name]
    value = limits[limit]
    assert assess(value, LIMITS.of(name)) is within
    assert assess(math.nextafter(value, -worse * math.inf), LIMITS.of(name)) is within
    assert assess(math.nextafter(value, worse * math.inf), LIMITS.of(name)) is beyond


@pytest.mark.parametrize("name", KpiName)
def test_no_value_is_no_data(name: KpiName) -> None:
    """A KPI without a value is neither good nor bad."""
    assert assess(None, LIMITS.of(name)) is KpiState.NO_DATA


@pytest.mark.parametrize("name", KpiName)
def test_a_kpi_is_known_wherever_kpis_are_listed(name: KpiName) -> None:
    """A schedule can include it, it is watched and has texts; docs/architecture.md lists where each is."""
    assert Schedule(metrics=(name.value,)).metrics == (name,)
    assert AlertRule(name.value).name == name.name
    assert list(KPIS) == list(KpiName)
    assert KPIS[name].name is name


@pytest.mark.parametrize("name", KpiName)
def test_a_limit_is_shown_in_the_kpis_unit(name: KpiName) -> None:
    limits = LIMITS.of(name)
    shown = limit_text(name, limits.target, Formats("en_US", "UTC"))
    assert {"milliseconds": " s", "ratio": "%"}[limits.unit] in shown


@pytest.mark.parametrize("name", [name for name in KpiName if name is not KpiName.COST_EFFICIENCY])
def test_a_kpi_that_is_one_sum_over_another_has_a_trend(name: KpiName) -> None:
    assert set(HEADLINE_METRICS) & set(METRICS_OF_KPI[name])


def test_a_kpi_of_amounts_names_the_sum_of_their_squares() -> None:
    with pytest.raises(ValueError, match="name the sum of their squares"):
        KpiParts("tokens", "count", sample="count", scatter=Scatter.MEAN)


def test_no_two_metrics_have_one_name() -> None:
    names = [name for kpi in KPIS.values() for name in kpi.metric_names] + [metric.name for metric in OTHER_METRICS]
    assert sorted(names) == sorted(METRICS)
