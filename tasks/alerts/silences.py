"""Silences: pause notifications of alerts for a while, with author and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update

from models.attribution import Attribution
from models.database import reading, writing
from models.errors import UnknownSilence, UsageError
from models.notifications import AlertRule
from models.schema import ALERT_SILENCE
from tasks.alerts.grouping import Silence

LONGEST = timedelta(days=31)
"""Longest silence; alerts to silence for longer are better disabled in the settings."""
_NEEDS = {"alert_silence": "SELECT, INSERT, UPDATE"}
"""Rights to create and end silences."""


@dataclass(frozen=True)
class SilenceRequest:
    """What to silence, and for how long; None is every rule, or every subject."""

    rule: AlertRule | None
    subject: str | None
    length: timedelta


def create_silence(engine: Engine, request: SilenceRequest, attribution: Attribution) -> int:
    """Silence alerts from now on and return the silence's id. Raises UsageError if the length or reason is invalid."""
    if not timedelta() < request.length <= LONGEST:
        raise UsageError(f"a silence lasts up to {LONGEST.days} days; found {request.length}")
    if not attribution.note.strip():
        raise UsageError("a silence needs a reason, for those who miss the alert")
    rule = request.rule.value if request.rule else None
    row = {
        "rule": rule,
        "subject": request.subject,
        "starts_at": attribution.at,
        "ends_at": attribution.at + request.length,
        "by": attribution.by.strip(),
        "reason": attribution.note.strip(),
    }
    with writing(engine, needs=_NEEDS) as connection:
        return int(connection.execute(insert(ALERT_SILENCE).values(row).returning(ALERT_SILENCE.c.id)).scalar_one())


def end_silence(engine: Engine, silence_id: int, now: datetime) -> None:
    """End a silence now. Raises UnknownSilence if it does not exist or has ended."""
    with writing(engine, needs=_NEEDS) as connection:
        ends_at = connection.scalar(select(ALERT_SILENCE.c.ends_at).where(ALERT_SILENCE.c.id == silence_id))
        if ends_at is None or ends_at <= now:
            raise UnknownSilence(silence_id, "does not exist" if ends_at is None else "has already ended")
        connection.execute(update(ALERT_SILENCE).where(ALERT_SILENCE.c.id == silence_id).values(ends_at=now))


def list_silences(engine: Engine, now: datetime) -> Sequence[Row[Any]]:
    """Return the silences that have not ended, by end time."""
    with reading(engine) as connection:
        query = (
            select(ALERT_SILENCE)
            .where(ALERT_SILENCE.c.ends_at > now)
            .order_by(ALERT_SILENCE.c.ends_at, ALERT_SILENCE.c.id)
        )
        return connection.execute(query).fetchall()


def read_silences(connection: Connection, at: datetime) -> list[Silence]:
    """Return the silences in force at `at`."""
    query = select(ALERT_SILENCE.c.rule, ALERT_SILENCE.c.subject, ALERT_SILENCE.c.starts_at, ALERT_SILENCE.c.ends_at)
    rows = connection.execute(query.where(ALERT_SILENCE.c.starts_at <= at, ALERT_SILENCE.c.ends_at > at))
    return [Silence(*row) for row in rows]
