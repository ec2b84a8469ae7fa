"""What is told of alerts, and when: news that come together go into one message. Pure.

News wait a moment for others of the same cause, and after a message the next waits a while, so that an incident that
spreads over models and KPIs is a message or two. What is silenced is not told; if it still fires when the silence ends,
it is told then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from models.notifications import AlertEvent
from tasks.alerts.lifecycle import AlertLifecycle, AlertState


@dataclass(frozen=True)
class GroupingPolicy:
    """How long news wait for others, and how far apart messages are."""

    wait: timedelta = timedelta(minutes=2)
    interval: timedelta = timedelta(minutes=10)


@dataclass(frozen=True)
class Silence:
    """Alerts that nobody is told of from `starts_at` to `ends_at`; None is every rule, or every subject."""

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
    """The alert with its news as they are to be told now.

    Under a silence there are none. An alert whose firing was never told has news of it once no silence holds it.
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
    """Whether what is new of alerts is told at `at`; `notified_at` is when something was told last."""
    since = min((alert.pending_since for alert in alerts if alert.pending_since is not None), default=None)
    # Without a wait it is time also for what was found after the windows that are judged.
    if since is None or (grouping.wait and at - since < grouping.wait):
        return False
    return notified_at is None or at - notified_at >= grouping.interval


def is_silenced(silences: Collection[Silence], rule: str, subject: str, at: datetime) -> bool:
    """Whether any silence holds an alert."""
    return any(silence.holds(rule, subject, at) for silence in silences)
