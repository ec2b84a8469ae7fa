"""Deliver: everything queued to every recipient, each on record, tried again with back-off, nothing sent twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.context import Workplace
from models.recipient import EMAIL
from models.schema import DeliveryState
from tasks.delivery.dead_letters import tell_of_deaths
from tasks.delivery.queue import USUAL, Pace, claim, due_ids, next_due, settle
from tasks.delivery.recipients import Address
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


def deliver_due(place: Workplace, *, now: datetime, pace: Pace = USUAL) -> list[Receipt]:
    """Try once every delivery that is due at `now`; also those whose sender has died.

    Each is claimed by changing its row, so that two senders never hold the same one. Receivers are served at the same
    time, but each gets one after the other: one that stalls holds up nobody else. What is given up is told of by a
    message, which is queued too.
    """
    clock = _clock_from(now)
    sender = Sender(place, pace, clock)
    until = now + timedelta(seconds=pace.run_s)

    def serve(ids: Sequence[int]) -> list[Receipt]:
        timely = (delivery_id for delivery_id in ids if clock() < until)
        receipts = (_deliver(place, sender, delivery_id, pace, clock) for delivery_id in timely)
        return [receipt for receipt in receipts if receipt is not None]

    lanes = _lanes(due_ids(place.engine, now))
    with ThreadPoolExecutor(place.settings.delivery.concurrency, "deliver") as pool:
        # The context is Prefect's, which knows by it to which run a line of the log belongs.
        served = [pool.submit(copy_context().run, serve, lane) for lane in lanes]
    tell_of_deaths(place, clock())
    return sorted((it for future in served for it in future.result()), key=lambda it: it.delivery_id)


def deliver_until_quiet(place: Workplace) -> tuple[Receipt, ...]:
    """Deliver what is due, and once more where that is due in a moment; the last word on each that was tried.

    Times are the clock's, whatever time a run acts as: a recipient answers now.
    """
    last = {receipt.delivery_id: receipt for receipt in deliver_due(place, now=datetime.now(UTC))}
    due = next_due(place.engine)
    if due is not None and due <= datetime.now(UTC) + SOON:
        time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        last |= {receipt.delivery_id: receipt for receipt in deliver_due(place, now=datetime.now(UTC))}
    return tuple(last.values())


def log_receipts(receipts: Iterable[Receipt]) -> None:
    """A line a delivery, louder where it was not sent."""
    for receipt in receipts:
        level = logging.INFO if receipt.state == DeliveryState.SENT.value else logging.WARNING
        told = receipt.channel, receipt.recipient, receipt.state, receipt.answer
        logger().log(level, "%s to %s: %s (%s)", *told, extra={"delivery_id": receipt.delivery_id})


# ----------------------------------------------------------------------------------------------------------------------


def _clock_from(now: datetime) -> Callable[[], datetime]:
    """A clock that shows `now` and goes on from there: a claim that is made late in a long run lasts as long."""
    began_s = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began_s)


def _lanes(due: Iterable[tuple[int, Address]]) -> list[list[int]]:
    """The deliveries by receiver, in order; all mail is handed to the same server."""
    lanes: dict[Address, list[int]] = {}
    for delivery_id, (channel, reference) in due:
        lanes.setdefault((channel, "" if channel == EMAIL else reference), []).append(delivery_id)
    return list(lanes.values())


def _deliver(
    place: Workplace, sender: Sender, delivery_id: int, pace: Pace, clock: Callable[[], datetime]
) -> Receipt | None:
    maximum = place.settings.delivery.maximum_attempts
    row = claim(place.engine, delivery_id, clock(), maximum_attempts=maximum, pace=pace)
    if row is None:
        return None
    verdict = sender.attempt(row)
    state = settle(place.engine, row, verdict, clock(), maximum_attempts=maximum, pace=pace)
    return Receipt(delivery_id, row.channel, row.recipient, state.value, verdict.answer)
