"""Rollups as tasks of Prefect; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from models.context import Workplace
from models.period import Period
from tasks.rollups.backfill import days_of, rebuild_day, rebuild_weeks
from tasks.rollups.checkpoint import State, basis_of, read_state
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import FoldResult, fold


@task(name="fold", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def fold_selections(place: Workplace, now: datetime) -> FoldResult:
    """Bring the rollups up to date."""
    result = fold(place.engine, basis_of(place.settings), now=now)
    if result.held_by:
        told_held = "selections wait to be counted until the open transactions of these processes end: %s"
        get_run_logger().warning(told_held, ", ".join(map(str, result.held_by)))
    if result.left:
        told_left = "selections of %s hours were changed whose raw rows are gone: their rollups stay as they are"
        get_run_logger().warning(told_left, result.left)
    told = f"{result.rows:,}", result.last_selection_at, result.mended
    get_run_logger().info("folded %s selections, the newest of %s; mended %s hours", *told)
    return result


@task(name="reconcile", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def reconcile_rollups(place: Workplace) -> int:
    """Hold the rollups against the raw rows, and mend what differs."""
    mended = reconcile(place.engine)
    if mended:
        get_run_logger().warning("%s hours of rollups differed from their raw rows and were made anew", mended)
    return mended


@task(name="plan backfill", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def plan_backfill(place: Workplace, period: Period, now: datetime) -> tuple[list[datetime], State]:
    """The days to make anew, and the progress that they are made on."""
    return days_of(place.engine, period), read_state(place.engine, basis_of(place.settings), now)


@task(name="backfill day", task_run_name="backfill {day:%Y-%m-%d}", cache_policy=NO_CACHE, retries=3,
      retry_delay_seconds=[1, 5, 30])  # fmt: skip
def backfill_day(place: Workplace, day: datetime, state: State) -> int:
    """One day's rollups anew; how many raw rows they are of."""
    return rebuild_day(place.engine, day, state)


@task(name="backfill weeks", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def backfill_weeks(place: Workplace, days: list[datetime]) -> None:
    """The weeks of the days anew."""
    rebuild_weeks(place.engine, days)
