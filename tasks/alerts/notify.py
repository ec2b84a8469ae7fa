"""Announce: alerts moved by what was found, and the news queued for delivery, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from models.notifications import AlertMessage
from models.settings import Alerting, Settings
from tasks.alerts.grouping import Rhythm
from tasks.alerts.limits import Finding
from tasks.alerts.registry import Book, news_of, read_book, write_book
from tasks.alerts.silences import read_silences
from tasks.delivery.outbox import post

AT_ONCE = Rhythm(timedelta(), timedelta())


def moved(
    connection: Connection,
    found: Sequence[tuple[datetime, Sequence[Finding]]],
    alerting: Alerting,
    since: datetime,
    *,
    at_all: bool = True,
) -> Book:
    """Every alert after what was found at each time, stored; `since` is the first of the times."""
    rests_from = since - timedelta(minutes=alerting.cool_down_minutes)
    book = read_book(connection, rests_from)
    for at, findings in found:
        book.look(at, findings, alerting, at_all=at_all)
    write_book(connection, book)
    return book


def announced(
    connection: Connection, book: Book, settings: Settings, at: datetime, rhythm: Rhythm, *, told_at: datetime | None
) -> AlertMessage | None:
    """The message of what is new, stored and queued, where its time has come; else None.

    `at` is the time that is judged; recipients are reached by the clock.
    """
    alerting = settings.monitoring.alerting
    if not alerting.enabled:
        return None
    news = book.tell(at, told_at, read_silences(connection, at), rhythm)
    write_book(connection, book)
    if not news:
        return None
    told = {entry.id for entry in news}
    message = AlertMessage(
        at=at,
        zone=settings.timezone,
        locale=settings.reporting.locale,
        window_minutes=alerting.window_minutes,
        news=tuple(news_of(entry, alerting.window_minutes) for entry in news),
        still_firing=sum(entry.id not in told for entry in book.firing()),
    )
    which = "+".join(f"{item.alert_id}:{item.event}" for item in message.news)
    post(
        connection,
        message,
        f"alerts {at.isoformat()} {which}",
        alerting.channels,
        settings=settings,
        now=datetime.now(UTC),
    )
    return message
