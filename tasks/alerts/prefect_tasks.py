"""Alerts as Prefect tasks; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from models.clock import not_ahead, true_now
from models.context import AppContext
from tasks.alerts.evaluate import EvaluationResult, evaluate_alerts
from tasks.alerts.self_watch import reset_times_ahead, watch_intake
from tasks.marks import MarkAhead


@task(name="bound times", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def bound_times(ctx: AppContext) -> tuple[MarkAhead, ...]:
    """Set back what was remembered from ahead of the true clock, so that nothing waits for it."""
    return reset_times_ahead(ctx, true_now())


@task(name="watch alerts", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def evaluate_alerts_once(ctx: AppContext, now: datetime) -> EvaluationResult:
    """Evaluate the minutes that became final since the last run, and queue notifications."""
    watch_intake(ctx, true_now())
    watched = evaluate_alerts(ctx.engine, ctx.settings, not_ahead(now), flush=True)
    notified = len(watched.message.notifications) if watched.message else 0
    get_run_logger().info(
        "evaluated %s minutes: %s alerts firing, %s notified", watched.minutes, watched.firing, notified
    )
    return watched
