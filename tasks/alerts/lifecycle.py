"""Alert lifecycle between evaluations: pending, firing, possibly noData, resolved. Pure.

A breach must last before it fires, and be over for a while before it resolves; in between, small returns across the
limit change nothing. After resolving it cools down, unless a critical breach follows. If data stops while it fires,
it moves to noData and resolves after some hours without data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from models.notifications import AlertEvent, Severity

ENDS_WITHOUT_DATA = timedelta(hours=6)
"""Ends alerts of models that no longer serve."""


class AlertState(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    NO_DATA = "noData"
    """Firing when last evaluated, but too little data since."""
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Policy:
    """How long a breach lasts before firing, how long it is over before resolving, and the cool-down after that."""

    hold: timedelta = timedelta(minutes=5)
    resolve: timedelta = timedelta(minutes=10)
    cool_down: timedelta = timedelta(minutes=30)
    repeat_after: timedelta | None = timedelta(hours=24)


@dataclass(frozen=True)
class Observation:
    """Evaluation of one final window: the breach, if any, and whether the value is clearly within limits.

    Between the two lies the hysteresis band, in which alerts neither start nor end. With too little data
    both are absent, and `is_known` is False.
    """

    at: datetime
    breach: Severity | None
    is_recovered: bool
    is_known: bool = True


@dataclass(frozen=True)
class AlertLifecycle:
    """One alert as of its last evaluation. `recovering_since` is the start of its uninterrupted time within limits.

    `pending_event` is the event not yet notified, since `pending_since`.
    """

    state: AlertState
    severity: Severity
    started_at: datetime
    fired_at: datetime | None = None
    recovering_since: datetime | None = None
    no_data_since: datetime | None = None
    resolved_at: datetime | None = None
    pending_event: AlertEvent | None = None
    pending_since: datetime | None = None
    notified_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.state is AlertState.RESOLVED

    def notified(self, at: datetime) -> AlertLifecycle:
        """Return the alert as notified."""
        return replace(self, pending_event=None, pending_since=None, notified_at=at)


def step(alert: AlertLifecycle | None, observation: Observation, policy: Policy) -> AlertLifecycle | None:
    """Return the alert after an evaluation. None is no alert; a resolved one is kept for its cool-down."""
    if alert is None or alert.is_over:
        return _begin(alert, observation, policy)
    if not observation.is_known:
        return _wait(alert, observation)
    alert = replace(alert, no_data_since=None)
    if alert.state is AlertState.PENDING:
        return _hold(alert, observation, policy)
    return _burn(replace(alert, state=AlertState.FIRING), observation, policy)


def _begin(before: AlertLifecycle | None, observation: Observation, policy: Policy) -> AlertLifecycle | None:
    rests = (
        before is not None and before.resolved_at is not None and observation.at - before.resolved_at < policy.cool_down
    )
    if observation.breach is None or (rests and observation.breach != "critical"):
        return before
    return _hold(AlertLifecycle(AlertState.PENDING, observation.breach, observation.at), observation, policy)


def _wait(alert: AlertLifecycle, observation: Observation) -> AlertLifecycle | None:
    """Drop a pending alert; move a firing one to noData."""
    if alert.state is AlertState.PENDING:
        return None
    alert = replace(
        alert, state=AlertState.NO_DATA, recovering_since=None, no_data_since=alert.no_data_since or observation.at
    )
    if observation.at - (alert.no_data_since or observation.at) < ENDS_WITHOUT_DATA:
        return alert
    return _new(
        replace(alert, state=AlertState.RESOLVED, resolved_at=observation.at), AlertEvent.RESOLVED, observation.at
    )


def _hold(alert: AlertLifecycle, observation: Observation, policy: Policy) -> AlertLifecycle | None:
    if observation.is_recovered:
        return None
    if observation.breach is None:
        return alert
    alert = replace(alert, severity=_worse(alert.severity, observation.breach))
    if observation.at - alert.started_at < policy.hold:
        return alert
    return _new(replace(alert, state=AlertState.FIRING, fired_at=observation.at), AlertEvent.FIRED, observation.at)


def _burn(alert: AlertLifecycle, observation: Observation, policy: Policy) -> AlertLifecycle:
    if observation.is_recovered:
        alert = replace(alert, recovering_since=alert.recovering_since or observation.at)
        if observation.at - (alert.recovering_since or observation.at) < policy.resolve:
            return alert
        return _new(
            replace(alert, state=AlertState.RESOLVED, resolved_at=observation.at), AlertEvent.RESOLVED, observation.at
        )
    alert = replace(alert, recovering_since=None)
    if observation.breach is not None and _worse(alert.severity, observation.breach) != alert.severity:
        return _new(replace(alert, severity=observation.breach), AlertEvent.ESCALATED, observation.at)
    if (
        policy.repeat_after is not None
        and alert.notified_at is not None
        and observation.at - alert.notified_at >= policy.repeat_after
    ):
        return _new(alert, AlertEvent.REMINDED, observation.at)
    return alert


def _new(alert: AlertLifecycle, event: AlertEvent, at: datetime) -> AlertLifecycle:
    """Return the alert with a pending event: an unnotified firing stays pending until the alert resolves."""
    if alert.pending_event is AlertEvent.FIRED and event in (AlertEvent.ESCALATED, AlertEvent.REMINDED):
        event = AlertEvent.FIRED
    return replace(alert, pending_event=event, pending_since=alert.pending_since or at)


def _worse(one: Severity, other: Severity) -> Severity:
    return "critical" if "critical" in (one, other) else "warning"
