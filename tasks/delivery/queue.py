"""The ledger of deliveries: queued with what they carry, claimed by one sender at a time, every attempt on record."""

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
"""What a receiver may ask for at most: a longer wait would be a way to make a delivery forgotten."""

LONGEST_ANSWER = 300

_HELD = (DeliveryState.SENDING.value, DeliveryState.COMMITTING.value)


@dataclass(frozen=True)
class RetryPolicy:
    """How long things may take and how long is waited.

    An attempt ends after `mail_s` or `webhook_s` whatever the other side does; `lease` is far beyond that and what it
    takes to make a report ready, so that a claim never ends while its sender still sends. `back_off_s` goes from one
    attempt to the next: the schedule that Standard Webhooks suggests, ten attempts over some 75 hours. A run claims
    nothing more after `run_s`.
    """

    mail_s: float = 60.0
    webhook_s: float = 20.0
    lease: timedelta = timedelta(minutes=10)
    back_off_s: tuple[float, ...] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    run_s: float = 300.0


DEFAULT_RETRY_POLICY = RetryPolicy()


@dataclass(frozen=True)
class AttemptResult:
    """What came of an attempt. QUEUED is a failure after which trying again can help."""

    state: DeliveryState
    answer: str
    retry_after_s: float | None = None

    @property
    def outcome(self) -> str:
        """How the attempt is put on record."""
        return self.state.value if self.state in (DeliveryState.SENT, DeliveryState.UNCERTAIN) else "failed"


def enqueue(
    connection: Connection,
    report_id: int | None,
    recipients: Sequence[RecipientAddress],
    now: datetime,
    *,
    message_id: int | None = None,
) -> None:
    """Queue a report or a message for every address; one that is queued or sent already stays as it is."""
    rows = [
        {"report_id": report_id, "message_id": message_id, "channel": channel, "recipient": reference,
         "state": DeliveryState.QUEUED.value, "attempts": 0, "queued_at": now, "next_attempt_at": now}
        for channel, reference in recipients
    ]  # fmt: skip
    if rows:
        connection.execute(insert_into(connection, DELIVERY).values(rows).on_conflict_do_nothing())


def due_ids(engine: Engine, now: datetime) -> list[tuple[int, RecipientAddress]]:
    """The deliveries that wait for a sender at `now`, with where they go: messages before reports, the oldest first."""
    query = select(DELIVERY.c.id, DELIVERY.c.channel, DELIVERY.c.recipient).where(_due(now))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(DELIVERY.c.message_id.is_(None), DELIVERY.c.id)).all()
    return [(row.id, (row.channel, row.recipient)) for row in rows]


def next_due(engine: Engine) -> datetime | None:
    """When the next queued delivery is due; None where none is queued."""
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
    """The delivery with what it carries, now the caller's to send; None where there is nothing to send any more.

    Where its sender died, that is put on record first. A mail that was being handed over then may have arrived, and is
    not sent again; nor is what brings its sender down time after time.
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
    """Put on record that from here on it cannot be known without an answer whether it arrived.

    False where the delivery is no longer the caller's: then it must not go out.
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
    """Write the attempt and what follows from it; the state that the delivery is left in.

    Where another sender has taken it over meanwhile, only the attempt is written.
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
    """Queue again a delivery that was given up or is uncertain, with all its attempts. Raises UnknownDelivery."""
    again = (DeliveryState.DEAD.value, DeliveryState.UNCERTAIN.value)
    with writing(engine) as connection:
        state = connection.execute(select(DELIVERY.c.state).where(DELIVERY.c.id == delivery_id)).scalar_one_or_none()
        if state is None:
            raise UnknownDelivery(delivery_id, "does not exist")
        if state not in again:
            raise UnknownDelivery(delivery_id, f"is {state}: only one that is {' or '.join(again)} can be sent again")
        connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery_id).values(_requeued(now)))


def retry_all_dead_letters(engine: Engine, now: datetime) -> int:
    """Queue again every delivery that was given up; how many these are. Uncertain ones stay as they are."""
    dead = DELIVERY.c.state == DeliveryState.DEAD.value
    with writing(engine) as connection:
        return connection.execute(update(DELIVERY).where(dead).values(_requeued(now))).rowcount


def back_off(
    delivery_id: int, attempts: int, asked_s: float | None, policy: RetryPolicy = DEFAULT_RETRY_POLICY
) -> timedelta:
    """How long to wait after the `attempts`-th attempt; never less than the recipient asked for, up to a day.

    The jitter keeps deliveries that failed together apart, and is the same every time.
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
    """The row, as long as its claim is the one that was given out with it."""
    same = (DELIVERY.c.attempts == row.attempts) & (DELIVERY.c.lease_until == row.lease_until)
    return (DELIVERY.c.id == row.id) & DELIVERY.c.state.in_(_HELD) & same


def _record_abandoned(connection: Connection, delivery_id: int, now: datetime, maximum_attempts: int) -> None:
    """What follows where the sender died; what can be sent again is queued."""
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
