"""Forecast the month's spend and compare it with the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from models.documents import BudgetProjection, Interval
from models.period import Level, Period, floor_to
from tasks.forecasting.daily_model import WEEK, Floats, forecast_days
from tasks.statistics.intervals import Z_80

BASIS_DAYS = 56
"""Up to eight whole weeks are used: with four, the backtest's errors are a tenth larger."""

MINIMUM_DAYS = 3
"""Minimum whole days for a projection: an interval from two days would be useless."""

ENOUGH_DAYS = 2 * WEEK
"""Whole days below which a projection is marked as weak: each weekday occurred at most once."""

METHOD = "level and damped trend of the last whole days, by weekday"

SPENT = ("count", "cost_count", "cost_sum_usd")
"""The columns of rollups that are used here, beside the bucket."""


def month_of(end: datetime, zone: str) -> Period:
    """The zone's calendar month that holds the last instant before `end`."""
    local = (end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return Period(floor_to(Level.DAY, first, zone), floor_to(Level.DAY, following, zone), zone)


def basis(end: datetime, zone: str) -> Period:
    """The period that a projection at `end` uses: BASIS_DAYS whole days, and one more in which recording may begin."""
    return Period(_midnight(end.astimezone(ZoneInfo(zone)).date() - timedelta(days=BASIS_DAYS + 1), zone), end, zone)


def recorded_from(rollups: pl.DataFrame, end: datetime, zone: str) -> datetime | None:
    """When recording began, by hours over basis(end); None if it lies before them, or nothing is recorded."""
    first: datetime | None = rollups["bucket"].min()  # type: ignore[assignment]
    return None if first is None or first < basis(end, zone).start + timedelta(days=1) else first


def project_budget(rollups: pl.DataFrame, end: datetime, zone: str, monthly_usd: float | None) -> BudgetProjection:
    """Used and projected spend of the month at `end`, from hours with SPENT over basis(end)."""
    month = month_of(end, zone)
    used = float(rollups.filter(pl.col("bucket").is_between(month.start, end, closed="left"))["cost_sum_usd"].sum())
    days = _whole_days(rollups, end, zone)
    known = int(np.isfinite(days).sum())
    paths = _paths(days, _days_ahead(rollups, end, month.end, zone), end, month.end, zone)
    projected = paths.total(used) if paths else None
    left = math.inf if monthly_usd is None else monthly_usd - used
    spent_at = _ran_out_at(rollups, month.start, end, monthly_usd)
    to_come = paths if spent_at is None else None
    return BudgetProjection(
        month=month.start.astimezone(ZoneInfo(zone)).strftime("%Y-%m"),
        monthly_usd=monthly_usd,
        used_usd=used,
        used_share=used / monthly_usd if monthly_usd else None,
        projected_usd=projected,
        projected_share=projected.estimate / monthly_usd if projected and monthly_usd else None,
        runs_out_on=spent_at or (to_come.reaches(to_come.expected, left) if to_come else None),
        runs_out_earliest=to_come.reaches(to_come.high, left) if to_come else None,
        runs_out_latest=to_come.reaches(to_come.low, left) if to_come else None,
        method=METHOD,
        basis_days=known,
        reason=_reason(known, projected, is_over=end >= month.end),
    )


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Paths:
    """The forecast spend from the report's end to each of `times`, whose first is that end itself."""

    times: Sequence[datetime]
    expected: Floats
    low: Floats
    high: Floats

    def total(self, used: float) -> Interval:
        """The forecast for the month, including the spend so far."""
        estimate, low, high = (used + float(path[-1]) for path in (self.expected, self.low, self.high))
        return Interval(estimate=estimate, low=low, high=high)

    def reaches(self, path: Floats, amount: float) -> datetime | None:
        """When a path reaches an amount, interpolated within the day; None if it does not before the end."""
        after = int(np.searchsorted(path, amount))
        if after == 0 or after >= len(path):
            return None
        part = (amount - path[after - 1]) / (path[after] - path[after - 1])
        at = self.times[after - 1] + float(part) * (self.times[after] - self.times[after - 1])
        return at if at < self.times[-1] else None


def _paths(days: Floats, ahead: Floats, end: datetime, month_end: datetime, zone: str) -> _Paths | None:
    """The 80 % interval, as a sum of many days is nearly normal. None if too few days are known."""
    if not len(ahead):
        return _Paths([end], np.zeros(1), np.zeros(1), np.zeros(1))
    if np.isfinite(days).sum() < MINIMUM_DAYS:
        return None
    today = end.astimezone(ZoneInfo(zone)).date()
    midnights = [_midnight(today + timedelta(days=step), zone) for step in range(1, len(ahead))]
    coming = forecast_days(days, (today - timedelta(days=len(days))).weekday(), ahead)
    expected, reach = (np.concatenate([[0.0], path]) for path in (coming.expected, Z_80 * coming.spread))
    low = np.maximum.accumulate(np.maximum(0.0, expected - reach))
    return _Paths([end, *midnights, month_end], expected, low, expected + reach)


def _whole_days(rollups: pl.DataFrame, end: datetime, zone: str) -> Floats:
    """Spend of each of the last whole days up to today, by time; NaN if selections have no known cost.

    The first day, on which recording began, is seldom whole. One without selections cost nothing.
    """
    today = end.astimezone(ZoneInfo(zone)).date()
    spent = (
        rollups.group_by(day=pl.col("bucket").dt.convert_time_zone(zone).dt.date())
        .agg(pl.col(SPENT).sum())
        .filter(pl.col("day") < today)
        .select("day", pl.when((pl.col("count") == 0) | (pl.col("cost_count") > 0)).then("cost_sum_usd"))
    )
    by_day: dict[date, float | None] = dict(spent.iter_rows())
    count = min(BASIS_DAYS, (today - min(by_day)).days - 1) if by_day else 0
    days = [by_day.get(today - timedelta(days=back), 0.0) for back in range(count, 0, -1)]
    return np.array(days, dtype=np.float64)


def _days_ahead(rollups: pl.DataFrame, end: datetime, month_end: datetime, zone: str) -> Floats:
    """Of today and each day to come in the month, the part that is still to come; empty once the month is over."""
    if end >= month_end:
        return np.zeros(0)
    tz = ZoneInfo(zone)
    today = end.astimezone(tz).date()
    ahead = np.ones((month_end.astimezone(tz).date() - today).days)
    ahead[0] = _left_of_day(rollups, end, zone)
    return ahead


def _left_of_day(rollups: pl.DataFrame, end: datetime, zone: str) -> float:
    """The part of a day's spend that comes after the time of day at `end`, from the days before."""
    tz = ZoneInfo(zone)
    start, local = _midnight(end.astimezone(tz).date(), zone), end.astimezone(tz)
    if end <= start:
        return 1.0
    clock = pl.col("bucket").dt.convert_time_zone(zone).dt.hour()
    by_hour = rollups.filter(pl.col("bucket") < start).group_by(clock=clock).agg(pl.col("cost_sum_usd").sum())
    spent = dict(by_hour.iter_rows())
    gone_of_hour = (local.minute * 60 + local.second) / 3600
    later = sum(usd * (1 - gone_of_hour if hour == local.hour else hour > local.hour) for hour, usd in spent.items())
    overall = sum(spent.values())
    return later / overall if overall > 0 else 1 - (local.hour + gone_of_hour) / 24


def _ran_out_at(rollups: pl.DataFrame, start: datetime, end: datetime, monthly_usd: float | None) -> datetime | None:
    """The hour in which the month's spend reached the budget; None if it has not."""
    hours = rollups.filter(pl.col("bucket").is_between(start, end, closed="left")).sort("bucket")
    over = hours.filter(pl.col("cost_sum_usd").cum_sum() >= (math.inf if monthly_usd is None else monthly_usd))
    return over["bucket"].first()  # type: ignore[return-value]


def _reason(known: int, projected: Interval | None, *, is_over: bool) -> str | None:
    if projected is None:
        return f"fewer than {MINIMUM_DAYS} whole days of spend are known"
    if known < ENOUGH_DAYS and not is_over:
        return "weekdays can hardly be told apart before two weeks are known"
    return None


def _midnight(day: date, zone: str) -> datetime:
    """The start of the zone's day."""
    return floor_to(Level.DAY, datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)), zone)
