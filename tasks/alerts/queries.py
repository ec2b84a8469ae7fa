"""List alerts: what is on record, and whether limits are still being learned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, or_, select

from models.context import Workplace
from models.database import reading
from models.documents import Filters, FiredAlert
from models.kpis import KpiName
from models.period import Period
from models.tables import Alert, table_of
from tasks.alerts.history import known_at
from tasks.alerts.learned_limits import Learning
from tasks.alerts.windows import OVERALL

ALERT = table_of(Alert)


def list_alerts(engine: Engine, *, everything: bool = False, limit: int = 200) -> Sequence[Row[Any]]:
    """The alerts that are not over, critical ones first; with `everything` also those that are, by when they began."""
    query = select(ALERT).order_by(ALERT.c.started_at.desc(), ALERT.c.id.desc())
    if not everything:
        query = select(ALERT).where(ALERT.c.resolved_at.is_(None)).order_by(ALERT.c.severity, ALERT.c.started_at)
    with reading(engine) as connection:
        return connection.execute(query.limit(limit)).fetchall()


def fired_in(connection: Connection, period: Period, filters: Filters) -> tuple[FiredAlert, ...]:
    """The alerts that fired at some time of a period, by when they did; of other models than those asked for none."""
    is_within = and_(
        ALERT.c.fired_at < period.end, or_(ALERT.c.resolved_at.is_(None), ALERT.c.resolved_at > period.start)
    )
    query = select(ALERT).where(is_within).order_by(ALERT.c.fired_at, ALERT.c.rule, ALERT.c.subject)
    if filters.models:
        query = query.where(ALERT.c.subject.in_(filters.models))
    names = FiredAlert.model_fields
    return tuple(FiredAlert(**{name: row[name] for name in names}) for row in connection.execute(query).mappings())


def learning(place: Workplace, now: datetime) -> str | None:
    """Why limits are not learned yet, in a sentence; None where they are, or are fixed."""
    if place.settings.monitoring.alerting.thresholds == "fixed":
        return None
    with reading(place.engine) as connection:
        usual = known_at(connection, now, place.settings).usual(KpiName.ERROR_RATE, OVERALL)
    return f"{usual.reason}; until then only what is critical alerts" if isinstance(usual, Learning) else None
