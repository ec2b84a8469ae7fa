"""Notices of dead-lettered deliveries: one for each, and none about a notice itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from models.context import AppContext
from models.database import reading, writing
from models.notifications import DeadLetter, DeadLetters
from models.recipient import CONSOLE
from models.schema import DELIVERY, DeliveryState
from tasks.delivery.outbox import enqueue_message_to
from tasks.delivery.queries import content_of, with_contents
from tasks.delivery.recipients import recipients_for

MOST_IN_ONE = 100
"""Maximum dead letters per notice; the next run reports the others."""


def notify_dead_letters(ctx: AppContext, now: datetime) -> int | None:
    """Queue a notice of the deliveries dead-lettered since the last one; return the message's id or None.

    It goes to the alert channels and always to the console, but not to recipients of dead letters.
    """
    unnotified = (DELIVERY.c.state == DeliveryState.DEAD.value) & DELIVERY.c.dead_letter_notified.is_(False)
    query = select(DELIVERY.c.id).where(unnotified).order_by(DELIVERY.c.id).limit(MOST_IN_ONE)
    with reading(ctx.engine) as connection:
        if not connection.execute(query).first():
            return None
    with writing(ctx.engine) as connection:
        # Skip those that another sender is about to report.
        ids = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
        connection.execute(update(DELIVERY).where(DELIVERY.c.id.in_(ids)).values(dead_letter_notified=True))
        dead_letters = _dead_letters(connection, ids)
        return _enqueue_notice(connection, ctx, dead_letters, now) if dead_letters else None


# ----------------------------------------------------------------------------------------------------------------------


def _dead_letters(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Select the dead letters to report: an undelivered notice causes no other notice."""
    query = with_contents().where(DELIVERY.c.id.in_(ids)).order_by(DELIVERY.c.id)
    return [row for row in connection.execute(query) if (row.content or {}).get("kind") != "deadDeliveries"]


def _enqueue_notice(
    connection: Connection, ctx: AppContext, dead_letters: Sequence[Row[Any]], now: datetime
) -> int | None:
    settings = ctx.settings
    message = DeadLetters(
        at=now,
        zone=settings.timezone,
        locale=settings.reporting.locale,
        deliveries=tuple(map(_dead_letter, dead_letters)),
    )
    alerting = settings.monitoring.alerting
    recipients, _ = recipients_for((CONSOLE, *(alerting.channels if alerting.enabled else ())), settings)
    dead_recipients = {(row.channel, row.recipient) for row in dead_letters}
    attempts = ",".join(f"{row.id}:{row.attempt_id}" for row in dead_letters)
    key = f"dead-deliveries-{hashlib.sha256(attempts.encode()).hexdigest()[:24]}"
    return enqueue_message_to(
        connection, message, key, [address for address in recipients if address not in dead_recipients], now
    )


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        delivery_id=row.id,
        what=content_of(row),
        channel=row.channel,
        recipient=row.recipient,
        attempts=row.attempts,
        answer=row.answer or "",
    )
