"""Messages for tests, made inline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from models.kpis import KpiName
from models.notifications import (
    AlertEvent,
    AlertMessage,
    AlertNotification,
    AlertRule,
    DeadLetter,
    DeadLetters,
    SampleMessage,
)

AT = datetime(2026, 10, 12, 12, 5, tzinfo=UTC)
ABOUT: dict[str, Any] = {"at": AT, "zone": "Europe/Berlin", "locale": "en_US"}


ERROR_RATE = AlertRule(KpiName.ERROR_RATE)


def alert_notification(rule: AlertRule = ERROR_RATE, **changes: Any) -> AlertNotification:
    usual: dict[str, Any] = {
        "alert_id": 7,
        "event": AlertEvent.FIRED,
        "rule": rule,
        "subject": "m-large",
        "severity": "critical",
        "value": 0.31,
        "threshold": 0.10,
        "sample": 412,
        "learned": False,
        "started_at": AT - timedelta(minutes=20),
        "fired_at": AT - timedelta(minutes=15),
        "resolved_at": None,
        "detail": "",
    }
    return AlertNotification(**usual | changes)


def alerts(*of: AlertNotification, still_firing: int = 0) -> AlertMessage:
    return AlertMessage(
        **ABOUT, window_minutes=15, notifications=of or (alert_notification(),), still_firing=still_firing
    )


def several() -> AlertMessage:
    """One of each event, and of each kind of rule."""
    return alerts(
        alert_notification(),
        alert_notification(
            AlertRule(KpiName.RESPONSE_TIME),
            alert_id=8,
            event=AlertEvent.ESCALATED,
            subject="",
            value=5_410.0,
            threshold=5_000.0,
            learned=True,
        ),
        alert_notification(
            AlertRule.SLOW_SELECTIONS,
            alert_id=9,
            severity="warning",
            value=64_000.0,
            threshold=20_000.0,
            sample=1_204,
        ),
        alert_notification(
            AlertRule.BUDGET_USED,
            alert_id=10,
            event=AlertEvent.REMINDED,
            severity="warning",
            subject="",
            value=4_100.0,
            threshold=4_000.0,
            sample=None,
            detail="of 2026-10",
            started_at=AT - timedelta(days=1),
        ),
        alert_notification(AlertRule.NO_DATA, alert_id=11, subject="", value=75.0, threshold=60.0, sample=None),
        alert_notification(
            AlertRule.FAILED_FLOW,
            alert_id=12,
            subject="daily",
            value=None,
            threshold=None,
            sample=None,
            detail="The database was away.",
        ),
        alert_notification(
            AlertRule(KpiName.CACHE_HIT_RATE),
            alert_id=13,
            event=AlertEvent.RESOLVED,
            severity="warning",
            value=0.84,
            threshold=0.80,
            resolved_at=AT + timedelta(minutes=5),
        ),
        still_firing=3,
    )


def resolved() -> AlertMessage:
    return alerts(alert_notification(event=AlertEvent.RESOLVED, value=0.04, resolved_at=AT + timedelta(hours=2)))


def dead(count: int = 2) -> DeadLetters:
    one = DeadLetter(
        delivery_id=41, what="daily performance 2026-10-11 00:00", channel="slack",
        recipient="https://hooks.slack.com/…#3f9a2c", attempts=10, answer="503 Service Unavailable",
    )  # fmt: skip
    return DeadLetters(
        **ABOUT, deliveries=tuple(one.model_copy(update={"delivery_id": 41 + number}) for number in range(count))
    )


def sample() -> SampleMessage:
    return SampleMessage(**ABOUT)


def endless(name: str) -> AlertMessage:
    """Return 200 alerts with names of the maximum length."""
    long = (name * 200)[:200]
    return alerts(*(alert_notification(alert_id=number, subject=long, detail=long) for number in range(200)))
