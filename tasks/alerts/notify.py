"""Notify: update alerts by evaluations and queue notifications for delivery, in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from models.notifications import (
    MOST_EXAMPLES,
    MOST_NOTIFICATIONS,
    MOST_UNGROUPED,
    AlertGroup,
    AlertMessage,
)
from models.settings import Alerting, Settings
from tasks.alerts.grouping import GroupingPolicy
from tasks.alerts.limits import Evaluation
from tasks.alerts.registry import AlertRegistry, TrackedAlert, notification_of, read_registry, write_registry
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
    notified, events = {tracked.id for tracked in due}, [tracked.lifecycle.pending_event for tracked in due]
    message = AlertMessage(
        at=at,
        zone=settings.timezone,
        locale=settings.reporting.locale,
        window_minutes=alerting.window_minutes,
        notifications=tuple(notification_of(tracked, alerting.window_minutes) for tracked in due[:MOST_NOTIFICATIONS]),
        not_listed=max(0, len(due) - MOST_NOTIFICATIONS),
        groups=_groups(due) if len(due) > MOST_UNGROUPED else (),
        still_firing=sum(tracked.id not in notified for tracked in registry.firing()),
    )
    which = "+".join(f"{tracked.id}:{event}" for tracked, event in zip(due, events, strict=True))
    enqueue_message(
        connection,
        message,
        f"alerts {at.isoformat()} {which}",
        alerting.channels,
        settings=settings,
        now=datetime.now(UTC),
    )
    return message


# ----------------------------------------------------------------------------------------------------------------------


def _groups(due: Sequence[TrackedAlert]) -> tuple[AlertGroup, ...]:
    """Count the events by rule, event and severity, in the order in which each first occurs."""
    subjects: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for tracked in due:
        kind = tracked.evaluation.rule, tracked.lifecycle.pending_event, tracked.lifecycle.severity
        subjects[kind].append(tracked.evaluation.subject)
    return tuple(
        AlertGroup(
            rule=rule, event=event, severity=severity, count=len(found),
            examples=tuple(subject for subject in found if subject)[:MOST_EXAMPLES],
        )
        for (rule, event, severity), found in subjects.items()
    )  # fmt: skip
