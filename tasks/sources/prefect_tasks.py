"""Scheduled pulls as a task of Prefect; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.context import Workplace
from tasks.ingestion.pull_stats import Tally
from tasks.sources.scheduled_pull import pull_enabled


@task(name="pull", cache_policy=NO_CACHE)
def pull_sources(place: Workplace, now: datetime) -> dict[str, Tally]:
    """Pull from every enabled source."""
    return pull_enabled(place, now)
