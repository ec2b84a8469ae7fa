"""Grouping: which alert changes are notified, when, and in which message. Pure.

A change waits a moment for others of the same cause, and messages keep a minimum distance, so that an incident that
spreads over models and KPIs is a message or two. Silenced alerts send no notifications; those still firing when the
silence ends are notified then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from models.notifications import AlertEvent
from tasks.alerts.lifecycle import AlertLifecycle, AlertState


@dataclass(frozen=True)
class GroupingPolicy:
    """How long changes wait for others, and the minimum time between messages."""

    wait: timedelta = timedelta(minutes=2)
    interval: timedelta = timedelta(minutes=10)


@dataclass(frozen=True)
class Silence:
    """Alerts without notifications from `starts_at` to `ends_at`; None is every rule, or every subject."""

    rule: str | None
    subject: str | None
    starts_at: datetime
    ends_at: datetime

    def holds(self, rule: str, subject: str, at: datetime) -> bool:
        return (
            self.starts_at <= at < self.ends_at
            and self.rule in (None, rule)
            and self.subject in (None, subject)
        )  # fmt: skip


def unnotified(alert: AlertLifecycle, *, silenced: bool) -> AlertLifecycle:
    """Return the alert with its notification as pending now.

    Silenced alerts have none. An alert whose firing was not notified gets it back once no silence matches.
    """
    if silenced:
        return replace(alert, pending_event=None, pending_since=None)
    unheard = (
        alert.notified_at is None
        and alert.pending_event is None
        and alert.state in (AlertState.FIRING, AlertState.NO_DATA)
    )
    if unheard:
        return replace(alert, pending_event=AlertEvent.FIRED, pending_since=alert.fired_at)
    return alert


def is_time(
    alerts: Iterable[AlertLifecycle], notified_at: datetime | None, at: datetime, grouping: GroupingPolicy
) -> bool:
    """Return whether pending notifications are due at `at`; `notified_at` is the time of the last notification."""
    since = min((alert.pending_since for alert in alerts if alert.pending_since is not None), default=None)
    # Without a wait, changes from after the evaluated windows are due too.
    if since is None or (grouping.wait and at - since < grouping.wait):
        return False
    return notified_at is None or at - notified_at >= grouping.interval


def is_silenced(silences: Collection[Silence], rule: str, subject: str, at: datetime) -> bool:
    """Return whether any silence matches an alert."""
    return any(silence.holds(rule, subject, at) for silence in silences)
