"""The deliveries as the command line lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, func, select

from models.database import reading
from models.tables import Delivery, DeliveryAttempt, Report, StoredMessage, table_of
from tasks.contents import what_is_carried

DELIVERY, ATTEMPT = table_of(Delivery), table_of(DeliveryAttempt)
REPORT, MESSAGE = table_of(Report), table_of(StoredMessage)


@dataclass(frozen=True)
class Listed:
    """One delivery; `answer` is the last attempt's."""

    id: int
    what: str
    channel: str
    recipient: str
    state: str
    attempts: int
    next_attempt_at: datetime
    answer: str | None


def list_deliveries(engine: Engine, *, limit: int = 200) -> list[Listed]:
    """The deliveries, the newest first."""
    last = select(func.max(ATTEMPT.c.id)).group_by(ATTEMPT.c.delivery_id)
    query = (
        select(DELIVERY, REPORT.c.kind, REPORT.c.template, REPORT.c.period_start, MESSAGE.c.content, ATTEMPT.c.answer)
        .outerjoin(REPORT, REPORT.c.id == DELIVERY.c.report_id)
        .outerjoin(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id)
        .outerjoin(ATTEMPT, (ATTEMPT.c.delivery_id == DELIVERY.c.id) & ATTEMPT.c.id.in_(last))
        .order_by(DELIVERY.c.id.desc())
        .limit(limit)
    )
    with reading(engine) as connection:
        return [_listed(row) for row in connection.execute(query)]


def _listed(row: Row[Any]) -> Listed:
    what = what_is_carried(row)
    return Listed(row.id, what, row.channel, row.recipient, row.state, row.attempts, row.next_attempt_at, row.answer)
