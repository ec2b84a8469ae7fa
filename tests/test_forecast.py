"""The month's spend against its budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tasks.forecast import basis, month_of, project_budget
from tests.factories import hours


def spend(start: datetime, days: int, usd_per_day: float) -> pl.DataFrame:
    return hours(*({"timestamp": start + timedelta(hours=h), "cost_usd": usd_per_day / 24} for h in range(24 * days)))


START, END = datetime(2026, 8, 15, tzinfo=UTC), datetime(2026, 9, 11, tzinfo=UTC)


def test_a_steady_spend_is_carried_on() -> None:
    """Ten days at 100 USD a day: 1,000 used and 3,000 at the end of September, run out on the 21st."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", 2000.0)
    assert budget.month == "2026-09"
    assert budget.used_usd == pytest.approx(1000)
    assert budget.used_share == pytest.approx(0.5)
    assert budget.projected_usd is not None
    assert budget.projected_usd.estimate == pytest.approx(3000)
    assert budget.projected_usd.low == pytest.approx(3000, rel=1e-6)
    assert budget.runs_out_on == pytest.approx(datetime(2026, 9, 21, tzinfo=UTC), abs=timedelta(minutes=1))


def test_a_spend_within_budget_never_runs_out() -> None:
    """Where the projection stays under the budget there is no run-out day."""
    assert project_budget(spend(START, 27, 100.0), END, "UTC", 5000.0).runs_out_on is None


def test_an_exhausted_budget_names_the_hour_in_which_it_ran_out() -> None:
    """Past the budget the day is that of the past, not a projection."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", 245.0)
    assert budget.runs_out_on == datetime(2026, 9, 3, 10, tzinfo=UTC)


def test_without_a_budget_the_spend_is_still_projected() -> None:
    """Shares and run-out day are unknown, the projection is not."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", None)
    assert (budget.used_share, budget.projected_share, budget.runs_out_on) == (None, None, None)
    assert budget.projected_usd is not None


def test_too_few_days_are_not_projected() -> None:
    """Two whole days make no projection, and it is said why."""
    budget = project_budget(spend(END - timedelta(days=3), 3, 100.0), END, "UTC", 2000.0)
    assert budget.projected_usd is None
    assert budget.reason == "fewer than 3 whole days of spend are known"
    assert project_budget(hours(), END, "UTC", 2000.0).used_usd == 0


def test_uneven_days_widen_the_interval() -> None:
    """The 80 % interval holds the estimate and grows with the days' spread."""
    rows = pl.concat([spend(START, 13, 50.0), spend(START + timedelta(days=13), 14, 150.0)])
    budget = project_budget(rows, END, "UTC", 2000.0)
    assert budget.projected_usd is not None
    low, high = budget.projected_usd.low, budget.projected_usd.high
    assert low is not None
    assert high is not None
    assert budget.used_usd < low < budget.projected_usd.estimate < high


def test_months_and_bases_are_the_zones() -> None:
    """At midnight in Shanghai the month that has just ended is the one told of."""
    end = datetime(2026, 8, 31, 16, tzinfo=UTC)
    month = month_of(end, "Asia/Shanghai")
    assert (month.start, month.end) == (datetime(2026, 7, 31, 16, tzinfo=UTC), end)
    assert basis(end, "Asia/Shanghai").start == month.start
    assert basis(datetime(2026, 9, 2, tzinfo=UTC), "UTC").start == datetime(2026, 8, 5, tzinfo=UTC)
