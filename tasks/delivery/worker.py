"""Deliver: everything queued to every recipient, each on record, tried again with back-off, nothing sent twice."""

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
"""An attempt that is due within this time is waited for, rather than left to the next run."""


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery in this run. `recipient` is fit to be shown."""

    delivery_id: int
    channel: str
    recipient: str
    state: str
    answer: str


def deliver_due(ctx: AppContext, *, now: datetime, policy: RetryPolicy = DEFAULT_RETRY_POLICY) -> list[Receipt]:
    """Try once every delivery that is due at `now`; also those whose sender has died.

    Each is claimed by changing its row, so that two senders never hold the same one. Receivers are served at the same
    time, but each gets one after the other: one that stalls holds up nobody else. What is given up is told of by a
    message, which is queued too.
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
        # The context is Prefect's, which knows by it to which run a line of the log belongs.
        served = [pool.submit(copy_context().run, serve, lane) for lane in lanes]
    notify_dead_letters(ctx, clock())
    return sorted((it for future in served for it in future.result()), key=lambda it: it.delivery_id)


def deliver_until_quiet(ctx: AppContext) -> tuple[Receipt, ...]:
    """Deliver what is due, and once more where that is due in a moment; the last word on each that was tried.

    Times are the clock's, whatever time a run acts as: a recipient answers now.
    """
    last = {receipt.delivery_id: receipt for receipt in deliver_due(ctx, now=datetime.now(UTC))}
    due = next_due(ctx.engine)
    if due is not None and due <= datetime.now(UTC) + SOON:
        time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        last |= {receipt.delivery_id: receipt for receipt in deliver_due(ctx, now=datetime.now(UTC))}
    return tuple(last.values())


def log_receipts(receipts: Iterable[Receipt]) -> None:
    """A line a delivery, louder where it was not sent."""
    for receipt in receipts:
        level = logging.INFO if receipt.state == DeliveryState.SENT.value else logging.WARNING
        log_args = receipt.channel, receipt.recipient, receipt.state, receipt.answer
        logger().log(level, "%s to %s: %s (%s)", *log_args, extra={"delivery_id": receipt.delivery_id})


# ----------------------------------------------------------------------------------------------------------------------


def _clock_from(now: datetime) -> Callable[[], datetime]:
    """A clock that shows `now` and goes on from there: a claim that is made late in a long run lasts as long."""
    began_s = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began_s)


def _lanes(due: Iterable[tuple[int, RecipientAddress]]) -> list[list[int]]:
    """The deliveries by receiver, in order; all mail is handed to the same server."""
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
