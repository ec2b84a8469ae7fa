"""Watch: judge each minute that has settled, once, and tell what is new of alerts.

What was judged, what it came to and what is told of it change in one transaction, which goes ahead only where nobody
else has judged meanwhile: neither a restart nor a second process alerts again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, func, select, update

from models.database import insert_into, reading, writing
from models.notifications import AlertMessage
from models.period import Level, Period, floor_to
from models.schema import ALERT_WATCH, ROLLUP
from models.settings import Settings
from tasks.alerts.history import known_at
from tasks.alerts.limits import Finding
from tasks.alerts.notify import AT_ONCE, announced, moved
from tasks.alerts.registry import read_book, rhythm_of
from tasks.alerts.rules import Seen, judge_budget, looks
from tasks.alerts.windows import COST_WINDOWS, MINUTE
from tasks.forecasting.budget import SPENT, basis, project_budget
from tasks.rollups.checkpoint import read_known_state
from tasks.rollups.query import total_hours
from tasks.rollups.store import between, stored

SETTLES_AFTER = timedelta(minutes=1)
"""How long after its end a minute is judged: routers write their rows a moment later."""

LOOKS_BACK = timedelta(hours=24)
"""After a pause, older minutes are no longer judged: what was wrong then is in the reports."""


@dataclass(frozen=True)
class Watched:
    """What one turn of the watch did: minutes judged, what was told (None: nothing), and how many alerts fire."""

    minutes: int
    message: AlertMessage | None
    firing: int


def watch(engine: Engine, settings: Settings, now: datetime, *, flush: bool = False) -> Watched:
    """Judge every minute that has settled since the last time, and queue what is to be told.

    `flush`: whether news go out at once, as the next turn may be an hour away.
    """
    alerting = settings.monitoring.alerting
    with reading(engine) as connection:
        judged_until = _state(connection)[0]
        span = _span(connection, judged_until, now)
        found = list(_found(connection, settings, *span)) if span else []
    with writing(engine) as connection:
        before_until, told_at = _locked(connection)
        if before_until != judged_until:
            return Watched(0, None, len(read_book(connection, now).firing()))
        at = span[1] if span else judged_until or now
        book = moved(connection, found, alerting, since=span[0] if span else now)
        rhythm = AT_ONCE if flush else rhythm_of(alerting)
        message = announced(connection, book, settings, at, rhythm, told_at=told_at)
        told = told_at if message is None else at
        connection.execute(update(ALERT_WATCH).values(judged_until=span[1] if span else judged_until, told_at=told))
    return Watched(len(found), message, len(book.firing()))


# ----------------------------------------------------------------------------------------------------------------------


def _state(connection: Connection) -> tuple[datetime | None, datetime | None]:
    row = connection.execute(select(ALERT_WATCH.c.judged_until, ALERT_WATCH.c.told_at)).one_or_none()
    return (None, None) if row is None else (row.judged_until, row.told_at)


def _locked(connection: Connection) -> tuple[datetime | None, datetime | None]:
    connection.execute(insert_into(connection, ALERT_WATCH).values(id=1).on_conflict_do_nothing())
    row = connection.execute(select(ALERT_WATCH.c.judged_until, ALERT_WATCH.c.told_at).with_for_update()).one()
    return row.judged_until, row.told_at


def _span(connection: Connection, judged_until: datetime | None, now: datetime) -> tuple[datetime, datetime] | None:
    """The minutes to judge, both ends among them; None where there is none."""
    fold = read_known_state(connection)
    if fold is None or fold.folded_at is None:
        return None
    last = floor_to(Level.MINUTE, min(now, fold.folded_at) - SETTLES_AFTER, "UTC")
    first = last if judged_until is None else max(judged_until + MINUTE, last - LOOKS_BACK)
    return (first, last) if first <= last else None


def _found(
    connection: Connection, settings: Settings, first: datetime, last: datetime
) -> list[tuple[datetime, list[Finding]]]:
    alerting, zone = settings.monitoring.alerting, settings.timezone
    start = first - COST_WINDOWS * timedelta(minutes=alerting.window_minutes)
    minutes = stored(connection, between(Level.MINUTE, start, last))
    earlier = select(func.max(ROLLUP.c.bucket)).where(between(Level.MINUTE, start - LOOKS_BACK, start))
    last_before = connection.scalar(earlier)
    hours = {floor_to(Level.HOUR, at, zone) for at in _each_hour(first, last)}
    histories = {hour: known_at(connection, hour, settings) for hour in sorted(hours)}
    found = list(looks(Seen(minutes, last_before, histories), first, last, settings))
    # The budget is looked at once an hour.
    if settings.budget.monthly_usd is not None and floor_to(Level.HOUR, last, zone) >= first:
        found[-1][1].extend(_budget(connection, last, settings))
    return found


def _each_hour(first: datetime, last: datetime) -> list[datetime]:
    """An instant of every hour from first to last, and of each half, as some zones are half an hour off."""
    half = timedelta(minutes=30)
    return [first + half * step for step in range(int((last - first) / half) + 1)] + [last]


def _budget(connection: Connection, at: datetime, settings: Settings) -> list[Finding]:
    hours = total_hours(connection, Period(basis(at, settings.timezone).start, at, settings.timezone), SPENT)
    return judge_budget(at, project_budget(hours, at, settings.timezone, settings.budget.monthly_usd))
