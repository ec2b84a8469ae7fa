"""Rollups as Prefect tasks; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from models.context import AppContext
from models.period import Period
from tasks.rollups.backfill import days_of, rebuild_day, rebuild_weeks
from tasks.rollups.checkpoint import Checkpoint, read_checkpoint, rollup_settings
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import UpdateResult, update_rollups


@task(name="fold", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def roll_up_selections(ctx: AppContext, now: datetime) -> UpdateResult:
    """Bring the rollups up to date."""
    result = update_rollups(ctx.engine, rollup_settings(ctx.settings), now=now, ingestion=ctx.settings.ingestion)
    if result.held_by:
        warning = "selections are not aggregated until the open transactions of these processes end: %s"
        get_run_logger().warning(warning, ", ".join(map(str, result.held_by)))
    if result.remaining_hours:
        warning = "selections changed in %s hours whose raw rows are gone: their rollups stay unchanged"
        get_run_logger().warning(warning, result.remaining_hours)
    log_args = f"{result.rows:,}", result.last_selection_at, result.rebuilt_hours
    get_run_logger().info("aggregated %s selections, the newest of %s; rebuilt %s hours", *log_args)
    return result


@task(name="reconcile", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def reconcile_rollups(ctx: AppContext) -> int:
    """Compare the rollups with the raw rows, and rebuild those that differ."""
    rebuilt_hours = reconcile(ctx.engine)
    if rebuilt_hours:
        get_run_logger().warning("%s hours of rollups differed from their raw rows and were rebuilt", rebuilt_hours)
    return rebuilt_hours


@task(name="plan backfill", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def plan_backfill(ctx: AppContext, period: Period, now: datetime) -> tuple[list[datetime], Checkpoint]:
    """The days to rebuild, and the checkpoint to rebuild them at."""
    return days_of(ctx.engine, period), read_checkpoint(ctx.engine, rollup_settings(ctx.settings), now)


@task(name="backfill day", task_run_name="backfill {day:%Y-%m-%d}", cache_policy=NO_CACHE, retries=3,
      retry_delay_seconds=[1, 5, 30])  # fmt: skip
def backfill_day(ctx: AppContext, day: datetime, state: Checkpoint) -> int:
    """Rebuild one day's rollups; return the number of raw rows."""
    return rebuild_day(ctx.engine, day, state)


@task(name="backfill weeks", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def backfill_weeks(ctx: AppContext, days: list[datetime]) -> None:
    """Rebuild the weeks of the days."""
    rebuild_weeks(ctx.engine, days)
