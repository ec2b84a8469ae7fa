"""A window exceeds a limit only if that is certain, and is within limits only if clearly back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from models.documents import BudgetProjection, Interval
from models.kpis import KpiName
from models.notifications import AlertRule
from models.settings import PerformanceMetrics
from tasks.alerts.learned_limits import LearnedBaseline
from tasks.alerts.learning import InsufficientHistory
from tasks.alerts.limits import Evaluation, KpiWindow, evaluate_fixed, evaluate_learned
from tasks.alerts.rules import evaluate_budget
from tests.support.factories import MONDAY

LIMITS = PerformanceMetrics()
ERRORS, HITS = KpiName.ERROR_RATE, KpiName.CACHE_HIT_RATE
USUAL_ERRORS = LearnedBaseline(ERRORS, 0.01, 0.002, 0.1, 28)
USUAL_HITS = LearnedBaseline(HITS, 0.75, 0.01, 0.43, 28)
TIMES = 4.4


def fixed(kpi: KpiName, value: float, sample: int = 1_000, **error: float) -> Evaluation:
    return evaluate_fixed(KpiWindow(MONDAY, kpi, "", value, sample, **error), LIMITS.of(kpi))


def learned(
    baseline: LearnedBaseline | InsufficientHistory,
    value: float,
    sample: int = 1_000,
    *,
    kpi: KpiName = ERRORS,
    both: bool = True,
) -> Evaluation:
    return evaluate_learned(KpiWindow(MONDAY, kpi, "", value, sample), LIMITS.of(kpi), baseline, TIMES, both=both)


@pytest.mark.parametrize(
    ("kpi", "value", "breach"),
    [(ERRORS, 0.04, None), (ERRORS, 0.09, "warning"), (ERRORS, 0.2, "critical"), (HITS, 0.85, None),
     (HITS, 0.74, "warning"), (HITS, 0.5, "critical")],
)  # fmt: skip
def test_a_fixed_limit_is_crossed_on_the_kpis_worse_side(kpi: KpiName, value: float, breach: str | None) -> None:
    found = fixed(kpi, value)
    assert found.observation.breach == breach
    assert not found.learned
    assert found.threshold == (LIMITS.of(kpi).critical if breach == "critical" else LIMITS.of(kpi).warning)


def test_few_selections_are_not_sure() -> None:
    """Three errors of thirty are beyond a limit of five in a hundred, but by chance as well."""
    assert fixed(ERRORS, 0.1, sample=30).observation.breach is None
    assert fixed(ERRORS, 0.1, sample=3_000).observation.breach == "warning"


def test_one_far_value_in_a_mean_is_not_sure() -> None:
    """A single call that hung moves the mean by its own standard error."""
    assert fixed(KpiName.RESPONSE_TIME, 9_000, error=3_000).observation.breach is None
    assert fixed(KpiName.RESPONSE_TIME, 9_000, error=300).observation.breach == "critical"
    assert fixed(KpiName.COST_EFFICIENCY, 0.3, relative_error=0.5).observation.breach is None
    assert fixed(KpiName.COST_EFFICIENCY, 0.3, relative_error=0.05).observation.breach == "critical"


def test_a_band_lies_between_the_limit_and_recovery() -> None:
    """Just within a limit no alert begins and none ends."""
    assert not fixed(ERRORS, 0.049).observation.is_recovered
    assert fixed(ERRORS, 0.04).observation.is_recovered
    assert not fixed(HITS, 0.81).observation.is_recovered
    assert fixed(HITS, 0.9).observation.is_recovered


def test_what_is_unusual_warns_long_before_the_fixed_limit() -> None:
    found = learned(USUAL_ERRORS, 0.04)
    assert (found.observation.breach, found.learned) == ("warning", True)
    assert found.threshold is not None
    assert 0.01 < found.threshold < 0.04


def test_what_is_unusual_is_critical_only_where_it_is_bad_too() -> None:
    """Far from the baseline but within the fixed warning is a warning; beyond both is critical."""
    assert learned(LearnedBaseline(ERRORS, 0.001, 0.0, 0.03, 28), 0.04).observation.breach == "warning"
    assert learned(USUAL_ERRORS, 0.09).observation.breach == "critical"


def test_critical_values_never_become_the_baseline() -> None:
    """Where a fifth of all calls fails in the baseline, the fixed limit still holds."""
    found = learned(LearnedBaseline(ERRORS, 0.2, 0.02, 0.4, 28), 0.2)
    assert (found.observation.breach, found.threshold) == ("critical", LIMITS.of(KpiName.ERROR_RATE).critical)


def test_while_it_learns_only_what_is_critical_counts() -> None:
    assert learned(InsufficientHistory(5), 0.08).observation.breach is None
    assert learned(InsufficientHistory(5), 0.2).observation.breach == "critical"


def test_a_cache_that_answers_everything_is_unusual_too() -> None:
    """But not in a new installation."""
    found = learned(USUAL_HITS, 0.95, kpi=HITS)
    assert found.observation.breach == "warning"
    assert "more than usual" in found.detail
    assert learned(USUAL_HITS, 0.95, kpi=HITS, both=False).observation.breach is None
    assert learned(USUAL_ERRORS, 0.0).observation.breach is None


# --- budget -----------------------------------------------------------------------------------------------------------


def budget(
    used: float, projected: tuple[float, float, float] | None = None, **values: Any
) -> dict[AlertRule, str | None]:
    """Return the check result for a budget of 1,000 USD."""
    estimate, low, high = projected or (0.0, 0.0, 0.0)
    projection = BudgetProjection(
        month="2026-09", monthly_usd=1_000.0, used_usd=used, used_share=used / 1_000, method="m", basis_days=40,
        projected_usd=Interval(estimate=estimate, low=low, high=high) if projected else None,
        projected_share=None, runs_out_on=None, **values,
    )  # fmt: skip
    return {found.rule: found.observation.breach for found in evaluate_budget(MONDAY + timedelta(days=9), projection)}


def test_a_budget_warns_at_four_fifths_and_is_critical_when_it_is_spent() -> None:
    assert budget(700) == {AlertRule.BUDGET_USED: None}
    assert budget(810) == {AlertRule.BUDGET_USED: "warning"}
    assert budget(1_000) == {AlertRule.BUDGET_USED: "critical"}


def test_a_projection_warns_where_nine_in_ten_months_would_exceed() -> None:
    """Not where only the estimate is above, nor from a weak projection."""
    projected = AlertRule.BUDGET_PROJECTED
    assert budget(500, (1_300, 1_100, 1_500))[projected] == "warning"
    assert budget(500, (1_050, 900, 1_200))[projected] is None
    assert projected not in budget(500, (1_300, 1_100, 1_500), reason="weekdays can hardly be told apart")
