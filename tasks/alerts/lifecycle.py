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
class Look:
    """What one look at a settled window found: the breach, if there is one, and whether the value is well within.

    Between the two lies the band of hysteresis, in which nothing begins and nothing ends. Where too little is known
    there is neither, and `is_known` is False.
    """

    at: datetime
    breach: Severity | None
    is_well: bool
    is_known: bool = True


@dataclass(frozen=True)
class Life:
    """One alert as of its last look. `well_since` is since when it has been well without a break.

    `news` is what nobody was told of yet, since `news_since`.
    """

    state: AlertState
    severity: Severity
    started_at: datetime
    fired_at: datetime | None = None
    well_since: datetime | None = None
    unknown_since: datetime | None = None
    resolved_at: datetime | None = None
    news: AlertEvent | None = None
    news_since: datetime | None = None
    told_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.state is AlertState.RESOLVED

    def told(self, at: datetime) -> Life:
        """The same once somebody was told."""
        return replace(self, news=None, news_since=None, told_at=at)


def step(life: Life | None, look: Look, policy: Policy) -> Life | None:
    """The alert after a look. None is no alert; a resolved one is kept for its cool-down."""
    if life is None or life.is_over:
        return _begin(life, look, policy)
    if not look.is_known:
        return _wait(life, look)
    life = replace(life, unknown_since=None)
    if life.state is AlertState.PENDING:
        return _hold(life, look, policy)
    return _burn(replace(life, state=AlertState.FIRING), look, policy)


def _begin(before: Life | None, look: Look, policy: Policy) -> Life | None:
    rests = before is not None and before.resolved_at is not None and look.at - before.resolved_at < policy.cool_down
    if look.breach is None or (rests and look.breach != "critical"):
        return before
    return _hold(Life(AlertState.PENDING, look.breach, look.at), look, policy)


def _wait(life: Life, look: Look) -> Life | None:
    """A breach that was seen but did not fire is forgotten; one that fires waits."""
    if life.state is AlertState.PENDING:
        return None
    life = replace(life, state=AlertState.NO_DATA, well_since=None, unknown_since=life.unknown_since or look.at)
    if look.at - (life.unknown_since or look.at) < ENDS_WITHOUT_DATA:
        return life
    return _new(replace(life, state=AlertState.RESOLVED, resolved_at=look.at), AlertEvent.RESOLVED, look.at)


def _hold(life: Life, look: Look, policy: Policy) -> Life | None:
    if look.is_well:
        return None
    if look.breach is None:
        return life
    life = replace(life, severity=_worse(life.severity, look.breach))
    if look.at - life.started_at < policy.hold:
        return life
    return _new(replace(life, state=AlertState.FIRING, fired_at=look.at), AlertEvent.FIRED, look.at)


def _burn(life: Life, look: Look, policy: Policy) -> Life:
    if look.is_well:
        life = replace(life, well_since=life.well_since or look.at)
        if look.at - (life.well_since or look.at) < policy.resolve:
            return life
        return _new(replace(life, state=AlertState.RESOLVED, resolved_at=look.at), AlertEvent.RESOLVED, look.at)
    life = replace(life, well_since=None)
    if look.breach is not None and _worse(life.severity, look.breach) != life.severity:
        return _new(replace(life, severity=look.breach), AlertEvent.ESCALATED, look.at)
    if policy.remind is not None and life.told_at is not None and look.at - life.told_at >= policy.remind:
        return _new(life, AlertEvent.REMINDED, look.at)
    return life


def _new(life: Life, event: AlertEvent, at: datetime) -> Life:
    """With news: what was never told as fired stays that until it resolves; a resolved one is told as resolved."""
    if life.news is AlertEvent.FIRED and event in (AlertEvent.ESCALATED, AlertEvent.REMINDED):
        event = AlertEvent.FIRED
    return replace(life, news=event, news_since=life.news_since or at)


def _worse(one: Severity, other: Severity) -> Severity:
    return "critical" if "critical" in (one, other) else "warning"
