"""The deliveries as the command line lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row

from models.database import reading
from tasks.contents import DELIVERY, what_is_carried, with_contents


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
    query = with_contents().order_by(DELIVERY.c.id.desc()).limit(limit)
    with reading(engine) as connection:
        return [_listed(row) for row in connection.execute(query)]


def _listed(row: Row[Any]) -> Listed:
    what = what_is_carried(row)
    return Listed(row.id, what, row.channel, row.recipient, row.state, row.attempts, row.next_attempt_at, row.answer)
