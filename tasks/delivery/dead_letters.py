"""A notice where deliveries are given up: once for each, and not about a notice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from models.context import Workplace
from models.database import reading, writing
from models.notifications import DeadDeliveries, DeadDelivery
from models.recipient import CONSOLE
from models.schema import DELIVERY, DeliveryState
from tasks.delivery.outbox import post_to
from tasks.delivery.queries import what_is_carried, with_contents
from tasks.delivery.recipients import recipients_for

MOST_IN_ONE = 100
"""Deaths that one notice names; the next run tells of the others."""


def tell_of_deaths(place: Workplace, now: datetime) -> int | None:
    """Post a notice of the deliveries that were given up since the last one; the message's id, None without any.

    It goes to the channels of alerts, the console always among them, but not to where deliveries just died.
    """
    untold = (DELIVERY.c.state == DeliveryState.DEAD.value) & DELIVERY.c.death_told.is_(False)
    query = select(DELIVERY.c.id).where(untold).order_by(DELIVERY.c.id).limit(MOST_IN_ONE)
    with reading(place.engine) as connection:
        if not connection.execute(query).first():
            return None
    with writing(place.engine) as connection:
        # What another sender is about to tell of is left to it.
        ids = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
        connection.execute(update(DELIVERY).where(DELIVERY.c.id.in_(ids)).values(death_told=True))
        dead = _dead(connection, ids)
        return _post(connection, place, dead, now) if dead else None


# ----------------------------------------------------------------------------------------------------------------------


def _dead(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """What somebody is to be told of: a notice that did not arrive is no reason for another."""
    query = with_contents().where(DELIVERY.c.id.in_(ids)).order_by(DELIVERY.c.id)
    return [row for row in connection.execute(query) if (row.content or {}).get("kind") != "deadDeliveries"]


def _post(connection: Connection, place: Workplace, dead: Sequence[Row[Any]], now: datetime) -> int | None:
    settings = place.settings
    message = DeadDeliveries(
        at=now, zone=settings.timezone, locale=settings.reporting.locale, deliveries=tuple(map(_told, dead))
    )
    alerting = settings.monitoring.alerting
    addresses, _ = recipients_for((CONSOLE, *(alerting.channels if alerting.enabled else ())), settings)
    died = {(row.channel, row.recipient) for row in dead}
    attempts = ",".join(f"{row.id}:{row.attempt_id}" for row in dead)
    key = f"dead-deliveries-{hashlib.sha256(attempts.encode()).hexdigest()[:24]}"
    return post_to(connection, message, key, [address for address in addresses if address not in died], now)


def _told(row: Row[Any]) -> DeadDelivery:
    return DeadDelivery(
        delivery_id=row.id,
        what=what_is_carried(row),
        channel=row.channel,
        recipient=row.recipient,
        attempts=row.attempts,
        answer=row.answer or "",
    )
