"""Deliveries with their content and latest response."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, Select, func, select

from models.database import reading
from models.schema import DELIVERY, DELIVERY_ATTEMPT, MESSAGE, REPORT

_MESSAGES = {"alerts": "alerts", "deadDeliveries": "notice of dead letters", "sample": "sample"}


def with_contents() -> Select[Any]:
    """Every delivery, beside it kind, template and period_start of its report or the content of its message, and the
    last attempt's answer and attempt_id; NULL is none.
    """
    # Looked up per delivery: aggregating all attempts would take longer with each attempt ever made.
    made = DELIVERY_ATTEMPT.c.delivery_id == DELIVERY.c.id
    last = select(func.max(DELIVERY_ATTEMPT.c.id)).where(made).correlate(DELIVERY).scalar_subquery()
    return (
        select(DELIVERY, REPORT.c.kind, REPORT.c.template, REPORT.c.period_start, MESSAGE.c.content,
               DELIVERY_ATTEMPT.c.answer, DELIVERY_ATTEMPT.c.id.label("attempt_id"))
        .outerjoin(REPORT, REPORT.c.id == DELIVERY.c.report_id)
        .outerjoin(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id)
        .outerjoin(DELIVERY_ATTEMPT, DELIVERY_ATTEMPT.c.id == last)
    )  # fmt: skip


def content_of(row: Row[Any]) -> str:
    """Return a row's label: kind, template and period of its report, or kind of its message."""
    if row.content is not None:
        return _MESSAGES.get(row.content["kind"], "message")
    return f"{row.kind} {row.template} {row.period_start:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Listed:
    """One delivery; `answer` comes from the last attempt."""

    id: int
    what: str
    channel: str
    recipient: str
    state: str
    attempts: int
    next_attempt_at: datetime
    answer: str | None


def list_deliveries(engine: Engine, *, limit: int = 200) -> list[Listed]:
    """Return the deliveries, newest first."""
    query = with_contents().order_by(DELIVERY.c.id.desc()).limit(limit)
    with reading(engine) as connection:
        return [_listed(row) for row in connection.execute(query)]


def _listed(row: Row[Any]) -> Listed:
    what = content_of(row)
    return Listed(row.id, what, row.channel, row.recipient, row.state, row.attempts, row.next_attempt_at, row.answer)
