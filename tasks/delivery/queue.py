"""Delivery queue: deliveries with their content, claimed by one sender at a time, with every attempt recorded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, or_, select, update

from models.database import insert_into, reading, writing
from models.errors import UnknownDelivery
from models.schema import DELIVERY, DELIVERY_ATTEMPT, MESSAGE, REPORT, DeliveryState
from tasks.delivery.recipients import RecipientAddress

JITTER = 0.2
MOST_WAIT_ASKED_S = 86_400.0
"""Longest wait that a receiver may request: a longer one could make a delivery never happen."""

LONGEST_ANSWER = 300

_HELD = (DeliveryState.SENDING.value, DeliveryState.COMMITTING.value)


@dataclass(frozen=True)
class RetryPolicy:
    """Time limits and waiting times.

    An attempt ends after `mail_s` or `webhook_s` whatever the receiver does; `lease` is far longer than that plus the
    rendering of a report, so that a claim never ends while its sender still sends. `back_off_s` are the waits between
    attempts: the schedule that Standard Webhooks suggests, ten attempts over about 75 hours. A run claims
    no deliveries after `run_s`.
    """

    mail_s: float = 60.0
    webhook_s: float = 20.0
    lease: timedelta = timedelta(minutes=10)
    back_off_s: tuple[float, ...] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    run_s: float = 300.0


DEFAULT_RETRY_POLICY = RetryPolicy()


@dataclass(frozen=True)
class AttemptResult:
    """Result of an attempt. QUEUED is a failure after which a retry can help."""

    state: DeliveryState
    answer: str
    retry_after_s: float | None = None

    @property
    def outcome(self) -> str:
        """Return the outcome recorded for the attempt."""
        return self.state.value if self.state in (DeliveryState.SENT, DeliveryState.UNCERTAIN) else "failed"


def enqueue(
    connection: Connection,
    report_id: int | None,
    recipients: Sequence[RecipientAddress],
    now: datetime,
    *,
    message_id: int | None = None,
) -> None:
    """Queue a report or a message for every recipient; those already queued or sent stay unchanged."""
    rows = [
        {"report_id": report_id, "message_id": message_id, "channel": channel, "recipient": reference,
         "state": DeliveryState.QUEUED.value, "attempts": 0, "queued_at": now, "next_attempt_at": now}
        for channel, reference in recipients
    ]  # fmt: skip
    if rows:
        connection.execute(insert_into(connection, DELIVERY).values(rows).on_conflict_do_nothing())


def due_ids(engine: Engine, now: datetime) -> list[tuple[int, RecipientAddress]]:
    """Return the deliveries due at `now` with their recipients: messages before reports, oldest first."""
    query = select(DELIVERY.c.id, DELIVERY.c.channel, DELIVERY.c.recipient).where(_due(now))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(DELIVERY.c.message_id.is_(None), DELIVERY.c.id)).all()
    return [(row.id, (row.channel, row.recipient)) for row in rows]


def next_due(engine: Engine) -> datetime | None:
    """Return when the next queued delivery is due; None if none is queued."""
    queued = DELIVERY.c.state == DeliveryState.QUEUED.value
    with reading(engine) as connection:
        return connection.execute(select(func.min(DELIVERY.c.next_attempt_at)).where(queued)).scalar()


def claim(
    engine: Engine,
    delivery_id: int,
    now: datetime,
    *,
    maximum_attempts: int,
    policy: RetryPolicy = DEFAULT_RETRY_POLICY,
) -> Row[Any] | None:
    """Claim a delivery for the caller and return it with its content; None if there is nothing to send any more.

    If its sender died, that is recorded first. A mail that was being committed then may have arrived, and is
    not sent again; neither is a delivery that repeatedly crashes its sender.
    """
    this, lease_until = DELIVERY.c.id == delivery_id, now + policy.lease
    mine = {"state": DeliveryState.SENDING.value, "lease_until": lease_until, "attempts": DELIVERY.c.attempts + 1}
    with writing(engine) as connection:
        _record_abandoned(connection, delivery_id, now, maximum_attempts)
        if connection.execute(update(DELIVERY).where(this, _due(now)).values(mine)).rowcount != 1:
            return None
        content = (
            select(DELIVERY, REPORT.c.document, REPORT.c.period_end, MESSAGE.c.content)
            .outerjoin(REPORT, REPORT.c.id == DELIVERY.c.report_id)
            .outerjoin(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id)
        )
        return connection.execute(content.where(this)).one()


def record_committing(engine: Engine, row: Row[Any]) -> bool:
    """Record that from here on only a response shows whether the delivery arrived.

    Returns False if the claim is no longer the caller's: then the delivery must not be sent.
    """
    with writing(engine) as connection:
        change = update(DELIVERY).where(_held_by(row)).values(state=DeliveryState.COMMITTING.value)
        return connection.execute(change).rowcount == 1


def record_attempt(
    engine: Engine,
    row: Row[Any],
    result: AttemptResult,
    now: datetime,
    *,
    maximum_attempts: int,
    policy: RetryPolicy = DEFAULT_RETRY_POLICY,
) -> DeliveryState:
    """Record the attempt and its consequences; return the delivery's new state.

    If another sender has taken it over meanwhile, only the attempt is recorded.
    """
    state = result.state
    if state is DeliveryState.QUEUED and row.attempts >= maximum_attempts:
        state = DeliveryState.DEAD
    values: dict[str, Any] = {"state": state.value, "lease_until": None}
    if state is DeliveryState.QUEUED:
        values["next_attempt_at"] = now + back_off(row.id, row.attempts, result.retry_after_s, policy)
    if state is DeliveryState.SENT:
        values["sent_at"] = now
    with writing(engine) as connection:
        connection.execute(update(DELIVERY).where(_held_by(row)).values(values))
        _write_attempt(connection, row.id, result, now)
    return state


def retry(engine: Engine, delivery_id: int, now: datetime) -> None:
    """Requeue a dead letter or uncertain delivery with all its attempts available. Raises UnknownDelivery."""
    again = (DeliveryState.DEAD.value, DeliveryState.UNCERTAIN.value)
    with writing(engine) as connection:
        state = connection.execute(select(DELIVERY.c.state).where(DELIVERY.c.id == delivery_id)).scalar_one_or_none()
        if state is None:
            raise UnknownDelivery(delivery_id, "does not exist")
        if state not in again:
            raise UnknownDelivery(delivery_id, f"is {state}: only one that is {' or '.join(again)} can be sent again")
        connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery_id).values(_requeued(now)))


def retry_all_dead_letters(engine: Engine, now: datetime) -> int:
    """Requeue every dead letter and return their number. Uncertain deliveries stay unchanged."""
    dead = DELIVERY.c.state == DeliveryState.DEAD.value
    with writing(engine) as connection:
        return connection.execute(update(DELIVERY).where(dead).values(_requeued(now))).rowcount


def back_off(
    delivery_id: int, attempts: int, asked_s: float | None, policy: RetryPolicy = DEFAULT_RETRY_POLICY
) -> timedelta:
    """Return the wait after the `attempts`-th attempt; at least what the recipient requested, up to a day.

    The jitter separates deliveries that failed together, and is deterministic.
    """
    base = policy.back_off_s[min(attempts, len(policy.back_off_s)) - 1]
    spread = random.Random(f"{delivery_id}:{attempts}").uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
    return timedelta(seconds=max(base * spread, min(asked_s or 0.0, MOST_WAIT_ASKED_S)))


# ----------------------------------------------------------------------------------------------------------------------


def _due(now: datetime) -> Any:
    queued = (DELIVERY.c.state == DeliveryState.QUEUED.value) & (DELIVERY.c.next_attempt_at <= now)
    abandoned = DELIVERY.c.state.in_(_HELD) & (DELIVERY.c.lease_until < now)
    return or_(queued, abandoned)


def _held_by(row: Row[Any]) -> Any:
    """Return the condition that the row still has the caller's claim."""
    same = (DELIVERY.c.attempts == row.attempts) & (DELIVERY.c.lease_until == row.lease_until)
    return (DELIVERY.c.id == row.id) & DELIVERY.c.state.in_(_HELD) & same


def _record_abandoned(connection: Connection, delivery_id: int, now: datetime, maximum_attempts: int) -> None:
    """Record that the sender died; requeue the delivery if it can be sent again."""
    abandoned = DELIVERY.c.state.in_(_HELD) & (DELIVERY.c.lease_until < now)
    query = select(DELIVERY.c.state, DELIVERY.c.attempts).where(DELIVERY.c.id == delivery_id, abandoned)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        return
    result = AttemptResult(DeliveryState.QUEUED, "the sender died")
    if row.state == DeliveryState.COMMITTING.value:
        result = AttemptResult(
            DeliveryState.UNCERTAIN, "the sender died while it was handing over: it may have arrived"
        )
    elif row.attempts >= maximum_attempts:
        result = AttemptResult(DeliveryState.DEAD, "the sender died at the last attempt")
    values = {"state": result.state.value, "lease_until": None, "next_attempt_at": now}
    connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery_id).values(values))
    _write_attempt(connection, delivery_id, result, now)


def _write_attempt(connection: Connection, delivery_id: int, result: AttemptResult, now: datetime) -> None:
    answer = " ".join(result.answer.split())[:LONGEST_ANSWER]
    values = {"delivery_id": delivery_id, "at": now, "outcome": result.outcome, "answer": answer}
    connection.execute(DELIVERY_ATTEMPT.insert().values(values))


def _requeued(now: datetime) -> dict[str, Any]:
    queued = {"state": DeliveryState.QUEUED.value, "attempts": 0, "next_attempt_at": now}
    return queued | {"lease_until": None, "dead_letter_notified": False}
