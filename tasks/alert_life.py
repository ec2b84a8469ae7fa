"""The life of an alert, from one look to the next: pending, firing, resolved. Pure.

A breach must hold before it fires, and be over for a while before it resolves; in between, small returns across the
limit change nothing. After it has resolved it rests, unless what comes is critical.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

Severity = Literal["warning", "critical"]


class AlertState(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Event(StrEnum):
    """What somebody is told of."""

    FIRED = "fired"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Policy:
    """How long a breach holds before it fires, how long it is over before it resolves, and how long then is quiet."""

    hold: timedelta = timedelta(minutes=5)
    resolve: timedelta = timedelta(minutes=10)
    cool_down: timedelta = timedelta(minutes=30)
    remind: timedelta | None = timedelta(hours=4)


@dataclass(frozen=True)
class Look:
    """What one look at a settled window found: the breach, if there is one, and whether the value is well within.

    Between the two lies the band of hysteresis, in which nothing begins and nothing ends. Where too little is known
    both are empty, and the alert stays as it is.
    """

    at: datetime
    breach: Severity | None
    is_well: bool


@dataclass(frozen=True)
class Life:
    """One alert as of its last look. `well_since` is since when it has been well without a break."""

    state: AlertState
    severity: Severity
    started_at: datetime
    fired_at: datetime | None = None
    well_since: datetime | None = None
    told_at: datetime | None = None
    resolved_at: datetime | None = None


def step(life: Life | None, look: Look, policy: Policy) -> tuple[Life | None, Event | None]:
    """The alert after a look, and what is to be told. None is no alert; a resolved one is kept for its cool-down."""
    if life is None or life.state is AlertState.RESOLVED:
        return _begin(life, look, policy)
    if life.state is AlertState.PENDING:
        return _hold(life, look, policy)
    return _burn(life, look, policy)


# ----------------------------------------------------------------------------------------------------------------------


def _begin(before: Life | None, look: Look, policy: Policy) -> tuple[Life | None, Event | None]:
    rests = before is not None and before.resolved_at is not None and look.at - before.resolved_at < policy.cool_down
    if look.breach is None or (rests and look.breach != "critical"):
        return before, None
    return _hold(Life(AlertState.PENDING, look.breach, look.at), look, policy)


def _hold(life: Life, look: Look, policy: Policy) -> tuple[Life | None, Event | None]:
    if look.is_well:
        return None, None
    if look.breach is None:
        return life, None
    life = replace(life, severity=_worse(life.severity, look.breach))
    if look.at - life.started_at < policy.hold:
        return life, None
    return replace(life, state=AlertState.FIRING, fired_at=look.at, told_at=look.at), Event.FIRED


def _burn(life: Life, look: Look, policy: Policy) -> tuple[Life | None, Event | None]:
    if look.is_well:
        life = replace(life, well_since=life.well_since or look.at)
        if look.at - (life.well_since or look.at) < policy.resolve:
            return life, None
        return replace(life, state=AlertState.RESOLVED, resolved_at=look.at, told_at=look.at), Event.RESOLVED
    life = replace(life, well_since=None)
    if look.breach is not None and _worse(life.severity, look.breach) != life.severity:
        return replace(life, severity=look.breach, told_at=look.at), Event.ESCALATED
    if policy.remind is not None and life.told_at is not None and look.at - life.told_at >= policy.remind:
        return replace(life, told_at=look.at), Event.REMINDED
    return life, None


def _worse(one: Severity, other: Severity) -> Severity:
    return "critical" if "critical" in (one, other) else "warning"
