"""Forecast: the month's spend against its budget."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from models.document import BudgetProjection, Interval
from models.period import Level, Period, floor_to
from tasks.interval import Z_80
from tasks.rollup import start_of

BASIS_DAYS = 28
"""The daily mean is taken over up to four whole weeks, so that every weekday counts alike."""

MINIMUM_DAYS = 3
"""Whole days below which no projection is made: an interval from two days would be no better than none."""

METHOD = "mean of the last whole days"


def month_of(end: datetime, zone: str) -> Period:
    """The zone's calendar month that holds the last instant before `end`."""
    local = (end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return Period(floor_to(Level.DAY, first, zone), floor_to(Level.DAY, following, zone), zone)


def basis(end: datetime, zone: str) -> Period:
    """The days that a projection at `end` looks back on: BASIS_DAYS whole ones, or the month so far if that is more."""
    start = floor_to(Level.DAY, floor_to(Level.DAY, end, zone) - timedelta(days=BASIS_DAYS) + timedelta(hours=3), zone)
    return Period(min(start, month_of(end, zone).start), end, zone)


def project_budget(rollups: pl.DataFrame, end: datetime, zone: str, monthly_usd: float | None) -> BudgetProjection:
    """Used and projected spend of the month at `end`, from hourly rollups over basis(end)."""
    month = month_of(end, zone)
    days = _daily(rollups, end, zone)
    used = float(rollups.filter(pl.col("bucket").is_between(month.start, end, closed="left"))["cost_sum_usd"].sum())
    remaining = max(0.0, (month.end - end) / timedelta(days=1))
    projected = _project(used, days, remaining)
    return BudgetProjection(
        month=month.start.astimezone(ZoneInfo(zone)).strftime("%Y-%m"),
        monthly_usd=monthly_usd,
        used_usd=used,
        used_share=used / monthly_usd if monthly_usd else None,
        projected_usd=projected,
        projected_share=projected.estimate / monthly_usd if projected and monthly_usd else None,
        runs_out_on=_ran_out_at(rollups, month.start, end, monthly_usd)
        or _runs_out_on(used, days, end, month.end, monthly_usd),
        method=METHOD,
        basis_days=len(days),
        reason=None if projected else f"fewer than {MINIMUM_DAYS} whole days of spend are known",
    )


# ----------------------------------------------------------------------------------------------------------------------


def _daily(rollups: pl.DataFrame, end: datetime, zone: str) -> list[float]:
    """Spend of each of the last whole days, from the first whole one that has selections."""
    if rollups.is_empty():
        return []
    today = floor_to(Level.DAY, end, zone)
    spent = (
        rollups.with_columns(bucket=start_of(rollups["bucket"], Level.DAY, zone))
        .filter(pl.col("bucket") < today)
        .group_by("bucket")
        .agg(pl.col("cost_sum_usd").sum())
        .sort("bucket")
    )
    # The first day is where recording began, seldom at midnight: it is no whole day.
    known = dict(spent.select("bucket", "cost_sum_usd").iter_rows())
    first = min(known, default=today)
    days: list[float] = []
    day = floor_to(Level.DAY, today - timedelta(hours=1), zone)
    while day > first and len(days) < BASIS_DAYS:
        days.append(known.get(day, 0.0))
        day = floor_to(Level.DAY, day - timedelta(hours=1), zone)
    return days


def _project(used: float, days: list[float], remaining: float) -> Interval | None:
    if len(days) < MINIMUM_DAYS:
        return None
    mean = sum(days) / len(days)
    variance = sum((day - mean) ** 2 for day in days) / (len(days) - 1)
    # The days to come vary by themselves, and their mean is not known exactly either.
    spread = Z_80 * math.sqrt(variance * (remaining + remaining**2 / len(days)))
    estimate = used + mean * remaining
    return Interval(estimate=estimate, low=max(used, estimate - spread), high=estimate + spread)


def _ran_out_at(rollups: pl.DataFrame, start: datetime, end: datetime, monthly_usd: float | None) -> datetime | None:
    """The hour in which the month's spend reached the budget; None where it has not."""
    hours = rollups.filter(pl.col("bucket").is_between(start, end, closed="left")).sort("bucket")
    over = hours.filter(pl.col("cost_sum_usd").cum_sum() >= (math.inf if monthly_usd is None else monthly_usd))
    return over["bucket"].first()  # type: ignore[return-value]


def _runs_out_on(
    used: float, days: list[float], end: datetime, month_end: datetime, monthly_usd: float | None
) -> datetime | None:
    if monthly_usd is None:
        return None
    mean = sum(days) / len(days) if len(days) >= MINIMUM_DAYS else 0.0
    if mean <= 0:
        return None
    at = end + timedelta(days=(monthly_usd - used) / mean)
    return at if at < month_end else None
