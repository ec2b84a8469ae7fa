"""Silence: alerts that nobody is told of for a while, by whose word and why."""

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
"""What is to be silent for longer is better switched off in the settings."""


@dataclass(frozen=True)
class SilenceRequest:
    """What is to be silent, and for how long; None is every rule, or every subject."""

    rule: AlertRule | None
    subject: str | None
    length: timedelta


def create_silence(engine: Engine, wanted_rows: SilenceRequest, attribution: Attribution) -> int:
    """Silence alerts from now on; the silence's number. Raises UsageError for a length that cannot be meant."""
    if not timedelta() < wanted_rows.length <= LONGEST:
        raise UsageError(f"a silence lasts up to {LONGEST.days} days; found {wanted_rows.length}")
    if not attribution.note.strip():
        raise UsageError("a silence needs a reason: whoever misses the alert will look for it")
    rule = wanted_rows.rule.value if wanted_rows.rule else None
    row = {
        "rule": rule,
        "subject": wanted_rows.subject,
        "starts_at": attribution.at,
        "ends_at": attribution.at + wanted_rows.length,
        "by": attribution.by.strip(),
        "reason": attribution.note.strip(),
    }
    with writing(engine) as connection:
        return int(connection.execute(insert(ALERT_SILENCE).values(row).returning(ALERT_SILENCE.c.id)).scalar_one())


def end_silence(engine: Engine, silence_id: int, now: datetime) -> None:
    """End a silence now. Raises UnknownSilence where it is not there or is over."""
    with writing(engine) as connection:
        ends_at = connection.scalar(select(ALERT_SILENCE.c.ends_at).where(ALERT_SILENCE.c.id == silence_id))
        if ends_at is None or ends_at <= now:
            raise UnknownSilence(silence_id, "does not exist" if ends_at is None else "is over already")
        connection.execute(update(ALERT_SILENCE).where(ALERT_SILENCE.c.id == silence_id).values(ends_at=now))


def list_silences(engine: Engine, now: datetime) -> Sequence[Row[Any]]:
    """The silences that are not over, the one that ends first first."""
    with reading(engine) as connection:
        query = (
            select(ALERT_SILENCE)
            .where(ALERT_SILENCE.c.ends_at > now)
            .order_by(ALERT_SILENCE.c.ends_at, ALERT_SILENCE.c.id)
        )
        return connection.execute(query).fetchall()


def read_silences(connection: Connection, at: datetime) -> list[Silence]:
    """Those in force at `at`."""
    query = select(ALERT_SILENCE.c.rule, ALERT_SILENCE.c.subject, ALERT_SILENCE.c.starts_at, ALERT_SILENCE.c.ends_at)
    rows = connection.execute(query.where(ALERT_SILENCE.c.starts_at <= at, ALERT_SILENCE.c.ends_at > at))
    return [Silence(*row) for row in rows]
