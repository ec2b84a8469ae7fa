"""Delivery worker: send queued deliveries to all recipients, record each, retry with back-off, send nothing twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.context import AppContext
from models.recipient import EMAIL
from models.schema import DeliveryState
from tasks.delivery.dead_letters import notify_dead_letters
from tasks.delivery.queue import DEFAULT_RETRY_POLICY, RetryPolicy, claim, due_ids, next_due, record_attempt
from tasks.delivery.recipients import RecipientAddress
from tasks.delivery.sender import Sender
from tasks.run_logger import logger

SOON = timedelta(seconds=10)
"""A run waits for attempts that are due within this time, rather than leaving them to the next run."""


@dataclass(frozen=True)
class Receipt:
    """Result of a delivery in this run. `recipient` is safe to show."""

    delivery_id: int
    channel: str
    recipient: str
    state: str
    answer: str


def deliver_due(ctx: AppContext, *, now: datetime, policy: RetryPolicy = DEFAULT_RETRY_POLICY) -> list[Receipt]:
    """Attempt once every delivery that is due at `now`, including those whose sender died.

    Each is claimed by changing its row, so that two senders never hold the same one. Receivers are served
    concurrently, but each gets one delivery after the other: a stalled one does not delay others. A queued
    message reports dead letters.
    """
    clock = _clock_from(now)
    sender = Sender(ctx, policy, clock)
    until = now + timedelta(seconds=policy.run_s)

    def serve(ids: Sequence[int]) -> list[Receipt]:
        timely = (delivery_id for delivery_id in ids if clock() < until)
        receipts = (_deliver(ctx, sender, delivery_id, policy, clock) for delivery_id in timely)
        return [receipt for receipt in receipts if receipt is not None]

    lanes = _lanes(due_ids(ctx.engine, now))
    with ThreadPoolExecutor(ctx.settings.delivery.concurrency, "deliver") as pool:
        # Prefect's context, which assigns log lines to runs.
        served = [pool.submit(copy_context().run, serve, lane) for lane in lanes]
    notify_dead_letters(ctx, clock())
    return sorted((it for future in served for it in future.result()), key=lambda it: it.delivery_id)


def deliver_until_quiet(ctx: AppContext) -> tuple[Receipt, ...]:
    """Send due deliveries, retry those due again in a moment, and return the final receipt of each.

    Uses the clock, whatever time a run acts as: recipients respond now.
    """
    last = {receipt.delivery_id: receipt for receipt in deliver_due(ctx, now=datetime.now(UTC))}
    due = next_due(ctx.engine)
    if due is not None and due <= datetime.now(UTC) + SOON:
        time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        last |= {receipt.delivery_id: receipt for receipt in deliver_due(ctx, now=datetime.now(UTC))}
    return tuple(last.values())


def log_receipts(receipts: Iterable[Receipt]) -> None:
    """Log one line per delivery, at a higher level if it was not sent."""
    for receipt in receipts:
        level = logging.INFO if receipt.state == DeliveryState.SENT.value else logging.WARNING
        log_args = receipt.channel, receipt.recipient, receipt.state, receipt.answer
        logger().log(level, "%s to %s: %s (%s)", *log_args, extra={"delivery_id": receipt.delivery_id})


# ----------------------------------------------------------------------------------------------------------------------


def _clock_from(now: datetime) -> Callable[[], datetime]:
    """Clock that starts at `now`: claims late in a long run last as long as early ones."""
    began_s = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began_s)


def _lanes(due: Iterable[tuple[int, RecipientAddress]]) -> list[list[int]]:
    """Group the deliveries by receiver, in order; all mail has the same receiver, the mail server."""
    lanes: dict[RecipientAddress, list[int]] = {}
    for delivery_id, (channel, reference) in due:
        lanes.setdefault((channel, "" if channel == EMAIL else reference), []).append(delivery_id)
    return list(lanes.values())


def _deliver(
    ctx: AppContext, sender: Sender, delivery_id: int, policy: RetryPolicy, clock: Callable[[], datetime]
) -> Receipt | None:
    maximum = ctx.settings.delivery.maximum_attempts
    row = claim(ctx.engine, delivery_id, clock(), maximum_attempts=maximum, policy=policy)
    if row is None:
        return None
    result = sender.attempt(row)
    state = record_attempt(ctx.engine, row, result, clock(), maximum_attempts=maximum, policy=policy)
    return Receipt(delivery_id, row.channel, row.recipient, state.value, result.answer)
