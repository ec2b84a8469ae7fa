"""Delivery as a task of Prefect; only flows import this."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.context import AppContext
from tasks.delivery.worker import Receipt, deliver_until_quiet, log_receipts


@task(name="deliver reports", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[5, 30])
def deliver_reports(ctx: AppContext) -> tuple[Receipt, ...]:
    """Deliver what is due, also of earlier runs; the last word on each delivery that was tried."""
    receipts = deliver_until_quiet(ctx)
    log_receipts(receipts)
    return receipts
