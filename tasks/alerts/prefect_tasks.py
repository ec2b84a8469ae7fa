"""Alerts as tasks of Prefect; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from models.context import Workplace
from tasks.alerts.evaluate import Watched, watch


@task(name="watch alerts", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def watch_alerts(place: Workplace, now: datetime) -> Watched:
    """Judge what has settled since the last run, and queue the news for delivery."""
    watched = watch(place.engine, place.settings, now, flush=True)
    told = len(watched.message.news) if watched.message else 0
    get_run_logger().info("judged %s minutes; %s alerts fire, %s are news", watched.minutes, watched.firing, told)
    return watched
