"""Outbox: store a message once, and queue a delivery for each of its recipients."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from models.bounded_key import bounded_key
from models.database import insert_into
from models.notifications import Message
from models.schema import MESSAGE
from models.settings import Settings
from tasks.delivery.queue import enqueue
from tasks.delivery.recipients import RecipientAddress, recipients_for
from tasks.run_logger import logger

_warned_about: set[str] = set()


def enqueue_message(
    connection: Connection, message: Message, key: str, names: Iterable[str], *, settings: Settings, now: datetime
) -> int | None:
    """Store a message in the caller's transaction, queue it for all recipients of `names`, and return its id.

    Returns None without any change if a message with the same key exists. The key may be of any length: a long one is
    stored by its digest. Logs a name without an address once.
    """
    recipients, without = recipients_for(names, settings)
    for name in without:
        if name not in _warned_about:
            _warned_about.add(name)
            logger().warning("no address is set for %r (delivery.recipients.%s): it gets no messages", name, name)
    return enqueue_message_to(connection, message, key, recipients, now)


def enqueue_message_to(
    connection: Connection, message: Message, key: str, recipients: list[RecipientAddress], now: datetime
) -> int | None:
    """Store and queue a message for known recipients."""
    content = message.model_dump(mode="json", by_alias=True)
    row = {"key": bounded_key(key), "content": content, "created_at": now}
    insert = insert_into(connection, MESSAGE).values(row).on_conflict_do_nothing().returning(MESSAGE.c.id)
    message_id: int | None = connection.execute(insert).scalar_one_or_none()
    if message_id is not None:
        enqueue(connection, None, recipients, now, message_id=message_id)
    return message_id
