"""A sample that somebody asks for, to see whether it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from models.context import Workplace
from models.database import reading, writing
from models.errors import UsageError
from models.notifications import Sample
from models.recipient import Recipient
from models.schema import DELIVERY
from tasks.delivery.outbox import post_to
from tasks.delivery.payloads import parcel_of_message
from tasks.delivery.queue import USUAL, Verdict
from tasks.delivery.recipients import recipients_for
from tasks.delivery.sender import Sender, Sending
from tasks.delivery.worker import Receipt, deliver_due


def send_sample(place: Workplace, names: Sequence[str], now: datetime) -> list[Receipt]:
    """Send a sample to everybody behind `names`, and what else is due; what became of the sample.

    Raises UsageError for a name that no address is set for.
    """
    addresses, without = recipients_for(names, place.settings)
    if without:
        raise UsageError(f"no address is set for {', '.join(without)} (delivery.recipients in the settings)")
    with writing(place.engine) as connection:
        message_id = post_to(connection, _sample(place, now), f"sample-{now.isoformat()}", addresses, now)
    receipts = deliver_due(place, now=now)
    with reading(place.engine) as connection:
        mine = connection.execute(select(DELIVERY.c.id).where(DELIVERY.c.message_id == message_id)).scalars().all()
    return [receipt for receipt in receipts if receipt.delivery_id in mine]


def try_recipient(place: Workplace, recipient: Recipient, now: datetime) -> Verdict:
    """Send a sample to somebody who need not be in the settings, once, and without the database; what came of it."""
    # Of the moment, for nothing else may bear the number: receivers drop what they have had.
    number = int(now.timestamp() * 1_000)
    parcel = parcel_of_message(number, _sample(place, now))
    sending = Sending(parcel, f"sample-{number}", f"sample_{number}", now, before_handing_over=lambda: None)
    return Sender(place, USUAL, lambda: now).send(recipient, lambda: sending)


# ----------------------------------------------------------------------------------------------------------------------


def _sample(place: Workplace, now: datetime) -> Sample:
    return Sample(at=now, zone=place.settings.timezone, locale=place.settings.reporting.locale)
