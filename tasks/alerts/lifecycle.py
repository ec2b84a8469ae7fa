"""The life of an alert, from one look to the next: pending, firing, perhaps without data, resolved. Pure.

A breach must hold before it fires, and be over for a while before it resolves; in between, small returns across the
limit change nothing. After it has resolved it rests, unless what comes is critical. Where the data end while it fires,
it is neither well nor ill: it waits, and ends after some hours without any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from models.notifications import AlertEvent, Severity

ENDS_WITHOUT_DATA = timedelta(hours=6)
"""A model that serves no more can no longer get well."""


class AlertState(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    NO_DATA = "noData"
    """Firing when it was last known, but too little is known since."""
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Policy:
    """How long a breach holds before it fires, how long it is over before it resolves, and how long then is quiet."""

    hold: timedelta = timedelta(minutes=5)
    resolve: timedelta = timedelta(minutes=10)
    cool_down: timedelta = timedelta(minutes=30)
    remind: timedelta | None = timedelta(hours=24)


@dataclass(frozen=True)
class Observation:
    """What one look at a settled window found: the breach, if there is one, and whether the value is well within.

    Between the two lies the band of hysteresis, in which nothing begins and nothing ends. Where too little is known
    there is neither, and `is_known` is False.
    """

    at: datetime
    breach: Severity | None
    is_recovered: bool
    is_known: bool = True


@dataclass(frozen=True)
class AlertLifecycle:
    """One alert as of its last look. `recovering_since` is since when it has been well without a break.

    `pending_event` is what nobody was told of yet, since `pending_since`.
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
        """The same once somebody was told."""
        return replace(self, pending_event=None, pending_since=None, notified_at=at)


def step(alert: AlertLifecycle | None, observation: Observation, policy: Policy) -> AlertLifecycle | None:
    """The alert after a look. None is no alert; a resolved one is kept for its cool-down."""
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
    """A breach that was seen but did not fire is forgotten; one that fires waits."""
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
        policy.remind is not None
        and alert.notified_at is not None
        and observation.at - alert.notified_at >= policy.remind
    ):
        return _new(alert, AlertEvent.REMINDED, observation.at)
    return alert


def _new(alert: AlertLifecycle, event: AlertEvent, at: datetime) -> AlertLifecycle:
    """With news: what was never told as fired stays that until it resolves; a resolved one is told as resolved."""
    if alert.pending_event is AlertEvent.FIRED and event in (AlertEvent.ESCALATED, AlertEvent.REMINDED):
        event = AlertEvent.FIRED
    return replace(alert, pending_event=event, pending_since=alert.pending_since or at)


def _worse(one: Severity, other: Severity) -> Severity:
    return "critical" if "critical" in (one, other) else "warning"
