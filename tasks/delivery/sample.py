"""Test messages, sent on request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from models.context import AppContext
from models.database import reading, writing
from models.errors import UsageError
from models.notifications import SampleMessage
from models.recipient import Recipient
from models.schema import DELIVERY
from tasks.delivery.outbox import enqueue_message_to
from tasks.delivery.payloads import payload_of_message
from tasks.delivery.queue import DEFAULT_RETRY_POLICY, AttemptResult
from tasks.delivery.recipients import recipients_for
from tasks.delivery.sender import OutgoingMessage, Sender
from tasks.delivery.worker import Receipt, deliver_due


def send_test_message(ctx: AppContext, names: Sequence[str], now: datetime) -> list[Receipt]:
    """Send a test message to all recipients of `names`, and all other due deliveries; return the test's receipts.

    Raises UsageError for a name without an address.
    """
    recipients, without = recipients_for(names, ctx.settings)
    if without:
        raise UsageError(f"no address is set for {', '.join(without)} (delivery.recipients in the settings)")
    with writing(ctx.engine) as connection:
        message_id = enqueue_message_to(
            connection, _test_message(ctx, now), f"sample-{now.isoformat()}", recipients, now
        )
    receipts = deliver_due(ctx, now=now)
    with reading(ctx.engine) as connection:
        mine = connection.execute(select(DELIVERY.c.id).where(DELIVERY.c.message_id == message_id)).scalars().all()
    return [receipt for receipt in receipts if receipt.delivery_id in mine]


def try_recipient(ctx: AppContext, recipient: Recipient, now: datetime) -> AttemptResult:
    """Send a test message once, without settings or database, and return the attempt's result."""
    # From the clock, so that it is unique: receivers drop ids that they have already received.
    number = int(now.timestamp() * 1_000)
    payload = payload_of_message(number, _test_message(ctx, now))
    outgoing = OutgoingMessage(payload, f"sample-{number}", f"sample_{number}", now, before_commit=lambda: None)
    return Sender(ctx, DEFAULT_RETRY_POLICY, lambda: now).send(recipient, lambda: outgoing)


# ----------------------------------------------------------------------------------------------------------------------


def _test_message(ctx: AppContext, now: datetime) -> SampleMessage:
    return SampleMessage(at=now, zone=ctx.settings.timezone, locale=ctx.settings.reporting.locale)
