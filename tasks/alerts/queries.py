"""List recorded alerts, and report whether limits are still being learned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Row, and_, or_, select

from models.context import AppContext
from models.database import reading
from models.period import Level, Period, floor_to
from models.schema import ALERT, HOUR_TOTAL, ROLLUP
from tasks.alerts.learning import LEAST_HOUR, LENGTH, InsufficientHistory, is_enough, known_days

if TYPE_CHECKING:
    from models.documents import Filters, FiredAlert


def list_alerts(engine: Engine, *, everything: bool = False, limit: int | None = 200) -> Sequence[Row[Any]]:
    """Return the open alerts, critical ones first; with `everything` also resolved ones, by start time."""
    query = select(ALERT).order_by(ALERT.c.started_at.desc(), ALERT.c.id.desc())
    if not everything:
        query = select(ALERT).where(ALERT.c.resolved_at.is_(None)).order_by(ALERT.c.severity, ALERT.c.started_at)
    with reading(engine) as connection:
        return connection.execute(query.limit(limit)).fetchall()


def list_fired(connection: Connection, period: Period, filters: Filters) -> tuple[FiredAlert, ...]:
    """Return the alerts that were firing in a period, by firing time; only of the requested models."""
    from models.documents import FiredAlert  # noqa: PLC0415 - listing alerts needs none of a report's classes

    is_within = and_(
        ALERT.c.fired_at < period.end, or_(ALERT.c.resolved_at.is_(None), ALERT.c.resolved_at > period.start)
    )
    query = select(ALERT).where(is_within).order_by(ALERT.c.fired_at, ALERT.c.rule, ALERT.c.subject)
    if filters.models:
        query = query.where(ALERT.c.subject.in_(filters.models))
    names = FiredAlert.model_fields
    return tuple(FiredAlert(**{name: row[name] for name in names}) for row in connection.execute(query).mappings())


def baseline_progress(ctx: AppContext, now: datetime) -> str | None:
    """Return a sentence on why limits are not learned yet; None if they are learned or fixed.

    Derived from the error rate over all models, which every selection counts for.
    """
    if ctx.settings.monitoring.alerting.thresholds == "fixed":
        return None
    zone = ctx.settings.timezone
    hour = floor_to(Level.HOUR, now, zone)
    since = floor_to(Level.DAY, hour - LENGTH, zone)
    is_known = (ROLLUP.c.level == HOUR_TOTAL, ROLLUP.c.bucket >= since, ROLLUP.c.bucket < hour)
    query = select(ROLLUP.c.bucket).where(*is_known, ROLLUP.c["count"] >= LEAST_HOUR)
    with reading(ctx.engine) as connection:
        hours = connection.execute(query).scalars().all()
    if is_enough(hours, hour, zone):
        return None
    return f"{InsufficientHistory(known_days(hours, hour, zone)).reason}; until then only what is critical alerts"
