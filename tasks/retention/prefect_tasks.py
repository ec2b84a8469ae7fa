"""Retention as a Prefect task; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from models.context import AppContext
from tasks.retention.purge import Retained, retain_by_settings


@task(name="retain", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[10, 60])
def retain_what_is_kept(ctx: AppContext, now: datetime) -> Retained:
    """Delete data older than the settings' retention."""
    result = retain_by_settings(ctx, now)
    if result.selections or result.rollups:
        log_args = f"{result.selections:,}", f"{result.rollups:,}"
        get_run_logger().info("retention removed %s selections and %s rollups", *log_args)
    return result
