"""A sample that somebody asks for, to see whether it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from models.database import reading, writing
from models.errors import UsageError
from models.message import Sample
from models.tables import Delivery, table_of
from models.workplace import Workplace
from tasks.addresses import recipients_for
from tasks.deliver import Receipt, deliver_due
from tasks.post import post_to

DELIVERY = table_of(Delivery)


def send_sample(place: Workplace, names: Sequence[str], now: datetime) -> list[Receipt]:
    """Send a sample to everybody behind `names`, and what else is due; what became of the sample.

    Raises UsageError for a name that no address is set for.
    """
    settings = place.settings
    addresses, without = recipients_for(names, settings)
    if without:
        raise UsageError(f"no address is set for {', '.join(without)} (delivery.recipients in the settings)")
    sample = Sample(at=now, zone=settings.timezone, locale=settings.reporting.locale)
    with writing(place.engine) as connection:
        message_id = post_to(connection, sample, f"sample-{now.isoformat()}", addresses, now)
    receipts = deliver_due(place, now=now)
    with reading(place.engine) as connection:
        mine = connection.execute(select(DELIVERY.c.id).where(DELIVERY.c.message_id == message_id)).scalars().all()
    return [receipt for receipt in receipts if receipt.delivery_id in mine]
