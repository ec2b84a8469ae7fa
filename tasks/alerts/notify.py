"""Notify: update alerts by evaluations and queue notifications for delivery, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from models.notifications import AlertMessage
from models.settings import Alerting, Settings
from tasks.alerts.grouping import GroupingPolicy
from tasks.alerts.limits import Evaluation
from tasks.alerts.registry import AlertRegistry, notification_of, read_registry, write_registry
from tasks.alerts.silences import read_silences
from tasks.delivery.outbox import enqueue_message

AT_ONCE = GroupingPolicy(timedelta(), timedelta())


def update_alerts(
    connection: Connection,
    found: Sequence[tuple[datetime, Sequence[Evaluation]]],
    alerting: Alerting,
    since: datetime,
    *,
    at_all: bool = True,
) -> AlertRegistry:
    """Update and store all alerts by the evaluations at each time; `since` is the first of the times."""
    rests_from = since - timedelta(minutes=alerting.cool_down_minutes)
    registry = read_registry(connection, rests_from)
    for at, evaluations in found:
        registry.update(at, evaluations, alerting, at_all=at_all)
    write_registry(connection, registry)
    return registry


def enqueue_notification(
    connection: Connection,
    registry: AlertRegistry,
    settings: Settings,
    at: datetime,
    grouping: GroupingPolicy,
    *,
    notified_at: datetime | None,
) -> AlertMessage | None:
    """Store and queue the message of pending notifications and return it; None if it is not due.

    `at` is the evaluated time; delivery uses the clock.
    """
    alerting = settings.monitoring.alerting
    if not alerting.enabled:
        return None
    due = registry.take_due(at, notified_at, read_silences(connection, at), grouping)
    write_registry(connection, registry)
    if not due:
        return None
    notified = {tracked.id for tracked in due}
    message = AlertMessage(
        at=at,
        zone=settings.timezone,
        locale=settings.reporting.locale,
        window_minutes=alerting.window_minutes,
        notifications=tuple(notification_of(tracked, alerting.window_minutes) for tracked in due),
        still_firing=sum(tracked.id not in notified for tracked in registry.firing()),
    )
    which = "+".join(f"{item.alert_id}:{item.event}" for item in message.notifications)
    enqueue_message(
        connection,
        message,
        f"alerts {at.isoformat()} {which}",
        alerting.channels,
        settings=settings,
        now=datetime.now(UTC),
    )
    return message
