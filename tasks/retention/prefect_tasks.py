"""Retention as a task of Prefect; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from models.context import Workplace
from tasks.retention.purge import Retained, retain_by_settings


@task(name="retain", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[10, 60])
def retain_what_is_kept(place: Workplace, now: datetime) -> Retained:
    """Remove what is older than the settings keep."""
    result = retain_by_settings(place, now)
    if result.selections or result.rollups:
        told = f"{result.selections:,}", f"{result.rollups:,}"
        get_run_logger().info("retention removed %s selections and %s rollups", *told)
    return result
