"""Missed reports: find the daily and weekly reports to backfill because nothing ran when they were due.

Prefect schedules only some runs ahead: after a longer pause others were never created, and a crashed run leaves its
report missing too. Hourly reports are not backfilled: they are outdated.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Engine, select

from models.database import reading
from models.period import Period
from models.schema import REPORT
from models.settings import Settings
from tasks.orchestration.schedules import due_times
from tasks.reporting.request import scheduled

MissableKind = Literal["daily", "weekly"]

FURTHEST: dict[MissableKind, timedelta] = {"daily": timedelta(days=14), "weekly": timedelta(weeks=4)}
"""How far back reports are backfilled; older ones are no longer needed."""

GRACE = timedelta(hours=1)
"""How long after its due time a report is left to its own run."""


def missed(engine: Engine, kind: MissableKind, settings: Settings, now: datetime) -> list[datetime]:
    """Return the due times of runs whose reports are missing at `now`, oldest first.

    None before the first report of the kind: nothing was expected then. A period counts as reported whatever settings
    its report was made with.
    """
    if not getattr(settings.reporting.schedules, kind).enabled:
        return []
    dues = due_times(kind, now - FURTHEST[kind], now - GRACE, settings.timezone)
    expected = [(due, scheduled(kind, settings, due)[0].period) for due in dues]
    reported = _reported(engine, kind)
    if not reported:
        return []
    first = min(start for start, _ in reported)
    return [due for due, period in expected if period.start > first and not _is_reported(period, reported)]


# ----------------------------------------------------------------------------------------------------------------------


def _reported(engine: Engine, kind: MissableKind) -> list[tuple[datetime, datetime]]:
    # One that was made before its period was over does not tell of it.
    is_whole = REPORT.c.created_at >= REPORT.c.period_end
    query = select(REPORT.c.period_start, REPORT.c.period_end).where(REPORT.c.kind == kind, is_whole)
    with reading(engine) as connection:
        return [(row.period_start, row.period_end) for row in connection.execute(query)]


def _is_reported(period: Period, reported: list[tuple[datetime, datetime]]) -> bool:
    """Identify a period by its middle: if the zone was changed meanwhile, days begin some hours earlier or later."""
    middle = period.start + period.length / 2
    return any(start <= middle < end for start, end in reported)
