"""Delivery as a Prefect task; only flows import this."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.context import AppContext
from tasks.delivery.worker import Receipt, deliver_until_quiet, log_receipts


@task(name="deliver reports", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[5, 30])
def deliver_reports(ctx: AppContext) -> tuple[Receipt, ...]:
    """Send due deliveries, also of earlier runs; return the final receipt of each attempted delivery."""
    receipts = deliver_until_quiet(ctx)
    log_receipts(receipts)
    return receipts
