"""The month's spend against its budget."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import BudgetProjection
from models.period import Level, floor_to
from reports.text.formatting import Formats
from reports.view.sections import budget_text
from tasks.forecasting.budget import SPENT, basis, month_of, project_budget
from tasks.forecasting.daily_model import forecast_days, weekday_factors
from tasks.rollups.aggregate import rollup_schema
from tasks.statistics.intervals import Z_80
from tests.support.factories import hours

START, END = datetime(2026, 8, 15, tzinfo=UTC), datetime(2026, 9, 11, tzinfo=UTC)
SHOW = Formats("en_US", "UTC")


def spend(start: datetime, days: int, usd_per_day: float) -> pl.DataFrame:
    return hours(*({"timestamp": start + timedelta(hours=h), "cost_usd": usd_per_day / 24} for h in range(24 * days)))


def by_day(usd: list[float | None], end: datetime, zone: str = "UTC") -> pl.DataFrame:
    """Return hours with SPENT: each day's spend at the zone's noon, the last before `end`; None: cost unknown.

    A day of 1 USD goes before, as the first known day counts as the one in which recording began.
    """
    today = end.astimezone(ZoneInfo(zone)).date()
    days = [today - timedelta(days=back) for back in range(len(usd) + 1, 0, -1)]
    noons = [datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC) for day in days]
    rows = [(noon, 1, int(it is not None), it or 0.0) for noon, it in zip(noons, [1.0, *usd], strict=True)]
    return pl.DataFrame(rows, schema={name: rollup_schema()[name] for name in ("bucket", *SPENT)}, orient="row")


# --- what is projected ------------------------------------------------------------------------------------------------


def test_a_steady_spend_is_carried_on() -> None:
    """Ten days at 100 USD a day: 1,000 used and 3,000 at the end of September, run out on the 21st."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", 2000.0)
    assert budget.month == "2026-09"
    assert budget.used_usd == pytest.approx(1000)
    assert budget.used_share == pytest.approx(0.5)
    assert budget.basis_days == 26
    assert budget.projected_usd is not None
    assert budget.projected_usd.estimate == pytest.approx(3000)
    assert budget.projected_usd.low == pytest.approx(3000, rel=0.05)
    assert budget.runs_out_on == pytest.approx(datetime(2026, 9, 21, tzinfo=UTC), abs=timedelta(minutes=1))


def test_weekends_are_modelled_separately() -> None:
    """From Friday evening on, a month's end on Sunday is two weekend days away, not two average days."""
    friday = datetime(2026, 5, 30, tzinfo=UTC)
    days: list[float | None] = [*([90.0] * 5 + [30.0] * 2) * 6, *[90.0] * 5]
    budget = project_budget(by_day(days, friday), friday, "UTC", None)
    assert budget.projected_usd is not None
    assert budget.projected_usd.estimate - budget.used_usd == pytest.approx(60, rel=0.02)


def test_growth_is_carried_on_and_damped() -> None:
    """Where every week costs 5 % more than the last, more is projected than for a level that stays."""
    end = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=5)
    rising = [100 * 1.05 ** (day / 7) for day in range(56)]
    budget = project_budget(by_day(list(rising), end), end, "UTC", None)
    steady = project_budget(by_day([rising[-1]] * 56, end), end, "UTC", None)
    assert budget.projected_usd is not None
    assert steady.projected_usd is not None
    actual = budget.used_usd + sum(100 * 1.05 ** (day / 7) for day in range(56, 56 + 25))
    assert steady.projected_usd.estimate < budget.projected_usd.estimate < actual


def test_one_day_far_off_does_not_carry_on() -> None:
    """Ten times a day's spend on a single day moves the days to come by less than a fifth."""
    usual: list[float | None] = [100.0 + day % 3 for day in range(40)]
    burst = [*usual[:-3], 1000.0, *usual[-2:]]
    budgets = [project_budget(by_day(days, END), END, "UTC", None) for days in (usual, burst)]
    ahead = [it.projected_usd.estimate - it.used_usd for it in budgets if it.projected_usd]
    assert ahead[1] == pytest.approx(ahead[0], rel=0.2)


def test_today_counts_for_what_is_left_of_it() -> None:
    """At six in the evening, a spend that falls in the morning leaves nothing to come of the day."""
    evening = END + timedelta(hours=18)
    morning = spend(START, 27, 100.0).filter(pl.col("bucket").dt.hour() < 12)
    budget = project_budget(morning, evening, "UTC", None)
    assert budget.projected_usd is not None
    assert budget.projected_usd.estimate - budget.used_usd == pytest.approx(19 * 50.0, rel=0.02)


def test_uneven_days_widen_the_interval() -> None:
    """The 80 % interval holds the estimate and grows with the days' spread."""
    rows = pl.concat([spend(START, 13, 50.0), spend(START + timedelta(days=13), 14, 150.0)])
    budget, steady = (project_budget(it, END, "UTC", 2000.0) for it in (rows, spend(START, 27, 100.0)))
    assert _low(budget) < _estimate(budget) < _high(budget)
    assert _high(budget) - _low(budget) > 2 * (_high(steady) - _low(steady))


def _estimate(budget: BudgetProjection) -> float:
    assert budget.projected_usd is not None
    return budget.projected_usd.estimate


def _low(budget: BudgetProjection) -> float:
    assert budget.projected_usd is not None
    assert budget.projected_usd.low is not None
    return budget.projected_usd.low


def _high(budget: BudgetProjection) -> float:
    assert budget.projected_usd is not None
    assert budget.projected_usd.high is not None
    return budget.projected_usd.high


# --- what is not known ------------------------------------------------------------------------------------------------


def test_too_few_days_are_not_projected() -> None:
    """Two whole days make no projection, and the reason is given."""
    budget = project_budget(spend(END - timedelta(days=3), 3, 100.0), END, "UTC", 2000.0)
    assert budget.projected_usd is None
    assert (budget.runs_out_on, budget.runs_out_earliest, budget.runs_out_latest) == (None, None, None)
    assert budget.reason == "fewer than 3 whole days of spend are known"
    assert project_budget(hours(), END, "UTC", 2000.0).used_usd == 0


def test_less_than_two_weeks_make_a_weak_projection() -> None:
    """It exists, is wide, and states what it does not know."""
    budget = project_budget(spend(END - timedelta(days=6), 6, 100.0), END, "UTC", 2000.0)
    assert budget.reason == "weekdays can hardly be told apart before two weeks are known"
    assert _high(budget) - _low(budget) > 0.2 * _estimate(budget)
    assert budget_text(budget, SHOW).text.endswith(f"over 5 whole days. W{budget.reason[1:]}.")


def test_days_whose_cost_is_unknown_are_not_free() -> None:
    """Selections without a known cost leave a gap; a day without selections is a day without spend."""
    days: list[float | None] = [100.0] * 40
    gaps, pauses = list(days), by_day(days, END).filter(pl.col("bucket").dt.day() % 4 != 0)
    gaps[25:32] = [None] * 7
    known, gone, paused = (
        project_budget(it, END, "UTC", None) for it in (by_day(days, END), by_day(gaps, END), pauses)
    )
    assert (known.basis_days, gone.basis_days) == (40, 33)
    assert _estimate(gone) - gone.used_usd == pytest.approx(_estimate(known) - known.used_usd)
    assert _estimate(paused) - paused.used_usd < 0.9 * (_estimate(known) - known.used_usd)


def test_a_month_that_is_over_is_known() -> None:
    """Nothing is left to project, however little is known."""
    october = datetime(2026, 10, 1, tzinfo=UTC)
    budget = project_budget(spend(october - timedelta(days=2), 2, 100.0), october, "UTC", 5000.0)
    assert (budget.month, budget.reason) == ("2026-09", None)
    assert (_low(budget), _estimate(budget), _high(budget)) == (budget.used_usd,) * 3


# --- the day on which the budget runs out -----------------------------------------------------------------------------


def test_a_spend_within_budget_never_runs_out() -> None:
    """If even the interval's upper end stays under the budget there is no run-out day."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", 5000.0)
    assert (budget.runs_out_on, budget.runs_out_earliest, budget.runs_out_latest) == (None, None, None)
    assert "run out" not in budget_text(budget, SHOW).text


def test_an_exhausted_budget_names_the_hour_in_which_it_ran_out() -> None:
    """Past the budget the day is that of the past, not a projection, and has no range."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", 245.0)
    assert budget.runs_out_on == datetime(2026, 9, 3, 10, tzinfo=UTC)
    assert (budget.runs_out_earliest, budget.runs_out_latest) == (None, None)
    assert "The budget ran out on Sep 3, 2026." in budget_text(budget, SHOW).text


def test_a_budget_that_is_spent_exactly_at_the_end_of_the_month_lasts() -> None:
    """An earlier run-out is possible, which is stated; it is less likely than not."""
    rows = by_day([80.0 + 40 * (day % 2) for day in range(40)], END)
    projected = _estimate(project_budget(rows, END, "UTC", None))
    budget = project_budget(rows, END, "UTC", projected)
    assert (budget.runs_out_on, budget.runs_out_latest) == (None, None)
    assert budget.runs_out_earliest is not None
    assert budget.runs_out_earliest < datetime(2026, 10, 1, tzinfo=UTC)
    assert "may run out from Sep " in budget_text(budget, SHOW).text


def test_the_day_has_a_range() -> None:
    """Early and late bounds lie around the day; a late bound beyond the month is stated."""
    rows = by_day([60.0 + 80 * (day % 2) for day in range(40)], END)
    soon, later = (project_budget(rows, END, "UTC", usd) for usd in (2000.0, 2900.0))
    assert soon.runs_out_earliest is not None
    assert soon.runs_out_on is not None
    assert soon.runs_out_latest is not None
    assert END < soon.runs_out_earliest < soon.runs_out_on < soon.runs_out_latest
    assert "(80% interval Sep " in budget_text(soon, SHOW).text
    assert (later.runs_out_on is None, later.runs_out_latest) == (False, None)
    assert " on, or not this month)" in budget_text(later, SHOW).text


def test_without_a_budget_the_spend_is_still_projected() -> None:
    """Shares and run-out day are unknown, the projection is not."""
    budget = project_budget(spend(START, 27, 100.0), END, "UTC", None)
    assert (budget.used_share, budget.projected_share, budget.runs_out_on) == (None, None, None)
    assert budget.projected_usd is not None


# --- zones and any history --------------------------------------------------------------------------------------------


def test_months_and_bases_are_the_zones() -> None:
    """At midnight in Shanghai the month that has just ended is reported; rollup settings begin at a midnight too."""
    end = datetime(2026, 8, 31, 16, tzinfo=UTC)
    month = month_of(end, "Asia/Shanghai")
    assert (month.start, month.end) == (datetime(2026, 7, 31, 16, tzinfo=UTC), end)
    assert basis(datetime(2026, 9, 2, tzinfo=UTC), "UTC").start == datetime(2026, 7, 7, tzinfo=UTC)
    november = datetime(2026, 11, 10, 23, tzinfo=UTC)
    assert basis(november, "Europe/Berlin").start == datetime(2026, 9, 14, 22, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"])
@pytest.mark.parametrize("day", [date(2026, 3, 10), date(2026, 4, 6), date(2026, 11, 5), date(2018, 11, 5)])
def test_a_day_of_23_or_25_hours_is_one_day(zone: str, day: date) -> None:
    """Whole days at 100 USD each come to 100 USD for every day of the month, whatever the clocks do."""
    end = floor_to(Level.DAY, datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)), zone)
    month = month_of(end, zone)
    budget = project_budget(by_day([100.0] * 50, end, zone), end, zone, 100.0 * (day.day + 4.5))
    days = (month.local(month.end).date() - month.local(month.start).date()).days
    assert budget.used_usd == pytest.approx(100 * (day.day - 1))
    assert _estimate(budget) == pytest.approx(100 * days)
    assert budget.runs_out_on is not None
    assert month.local(budget.runs_out_on).date() == day + timedelta(days=5)


_USD = st.none() | st.just(0.0) | st.floats(0.01, 1e6)
_ZONES = st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])


@settings(max_examples=200, deadline=None)
@given(
    usd=st.lists(_USD, max_size=70),
    minute=st.integers(0, 60 * 24 * 365 * 16),
    zone=_ZONES,
    monthly=st.none() | st.floats(1, 1e8),
)
def test_whatever_is_known_makes_a_projection_that_holds_together(
    usd: list[float | None], minute: int, zone: str, monthly: float | None
) -> None:
    """Never less than is used, bounds around the estimate, and run-out days in their order within the month."""
    end = datetime(2011, 12, 1, tzinfo=UTC) + timedelta(minutes=minute)
    budget = project_budget(by_day(usd, end, zone), end, zone, monthly)
    month = month_of(end, zone)
    assert budget.used_usd >= 0
    if budget.projected_usd is not None:
        slack = 1e-9 * _high(budget)
        assert budget.used_usd - slack <= _low(budget) <= _estimate(budget) + slack
        assert _estimate(budget) <= _high(budget) + slack
        assert np.isfinite(_high(budget))
    else:
        assert budget.reason
    known = [it for it in (budget.runs_out_earliest, budget.runs_out_on, budget.runs_out_latest) if it]
    assert known == sorted(known)
    assert all(month.start <= it < month.end for it in known)
    assert budget_text(budget, SHOW).text


@given(st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=60), st.integers(0, 6), st.integers(1, 31))
def test_any_history_can_be_carried_on(usd: list[float | None], weekday: int, ahead: int) -> None:
    """Sums never fall as days go by, nor does what is not known of them."""
    days = np.array(usd, dtype=np.float64)
    coming = forecast_days(days, weekday, np.ones(ahead))
    assert np.isfinite(coming.expected).all()
    assert np.isfinite(coming.spread).all()
    assert (np.diff(coming.expected, prepend=0.0) >= 0).all()
    assert (np.diff(coming.spread, prepend=0.0) >= -1e-9 * coming.spread[-1]).all()
    assert weekday_factors(days, weekday).mean() == pytest.approx(1)


def test_the_interval_holds_the_truth_in_four_of_five_draws() -> None:
    """Draw routers with rhythm, noise, a wandering level and, for every other one, a jump or growth at some time."""
    draw = np.random.default_rng(11)
    inside = 0
    for turn in range(400):
        known, coming = int(draw.integers(14, 57)), int(draw.integers(2, 29))
        count = known + coming
        steps = draw.normal(0, draw.choice([0.0, 0.03, 0.06]), count)
        steps[draw.integers(count)] += draw.normal(0, 0.5) * (turn % 4 == 1)
        steps += draw.normal(0, 0.01) * (turn % 4 == 3)
        grouping = np.tile([1.1, 1.2, 1.2, 1.1, 1.0, 0.5, 0.4], 13)[:count]
        spent = 100 * grouping * np.exp(np.cumsum(steps)) * draw.lognormal(0, 0.12, count)
        reported = forecast_days(spent[:known], 0, np.ones(coming))
        inside += abs(float(spent[known:].sum() - reported.expected[-1])) <= Z_80 * reported.spread[-1]
    assert 0.75 <= inside / 400 <= 0.85
