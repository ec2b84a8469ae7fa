"""Scheduled pulls as a Prefect task; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.context import AppContext
from tasks.ingestion.pull_stats import PullStats
from tasks.sources.scheduled_pull import pull_enabled


@task(name="pull", cache_policy=NO_CACHE)
def pull_sources(ctx: AppContext, now: datetime) -> dict[str, PullStats]:
    """Pull from every enabled source."""
    return pull_enabled(ctx, now)
