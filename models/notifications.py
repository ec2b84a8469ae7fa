"""Messages sent beside reports: alert notifications, dead letter notices and test messages.

A message is stored in this form, and every channel's format is rendered from it alone. None is "unknown".
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, computed_field

from models.base import DEPRECATED, ApiModel, RenamedFields
from models.kpis import KpiName

Severity = Literal["warning", "critical"]


class AlertRule(StrEnum):
    """Alert rules: the five KPIs by window, single selections, the budget, the data, the flows, and the counting."""

    _ignore_ = ["members", "kpi"]  # noqa: RUF012 - Enum removes it
    members = vars()
    for kpi in KpiName:
        members[kpi.name] = kpi.value
    SLOW_SELECTIONS = "slowSelections"
    """Single selections beyond the critical response time."""
    BUDGET_USED = "budgetUsed"
    BUDGET_PROJECTED = "budgetProjected"
    NO_DATA = "noData"
    FAILED_FLOW = "failedFlow"
    OPTIMIZATION_REVERTED = "optimizationReverted"
    """A harmful config change was reverted; resolved as soon as it is notified."""
    ROLLOUT_WAITS = "rolloutWaits"
    """A step of a rollout waits for a person; resolved as soon as it is notified."""
    COUNTING_STALLED = "countingStalled"
    """Selections wait, and the rollups do not advance."""
    ROWS_NOT_COUNTED = "rowsNotCounted"
    """More than a small share of the rows is rejected or set aside."""
    TIMES_AHEAD = "timesAhead"
    """Stored times lay ahead of the clock and were set back; resolved as soon as it is notified."""


class AlertEvent(StrEnum):
    """The event of an alert that is notified."""

    FIRED = "fired"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    RESOLVED = "resolved"


class _MessagePart(ApiModel):
    model_config = ConfigDict(allow_inf_nan=False)


class AlertNotification(_MessagePart):
    """One alert and its new event."""

    alert_id: int
    event: AlertEvent
    rule: AlertRule
    subject: str
    """A model's id, a flow's name, or empty for all."""
    severity: Severity
    value: float | None
    """In the rule's unit: milliseconds, a ratio in 0..1, minutes, or USD. For a firing alert, from the newest
    evaluation of that severity; for a resolved alert the last value, or None if data ran out before it ended."""
    threshold: float | None
    """The limit in force, in the same unit."""
    sample: int | None
    """Number of selections behind the value."""
    learned: bool
    """Whether the limit was learned from the KPI's own history."""
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    window_minutes: int | None = None
    """The span of the value, if it is not the message's window."""
    detail: str
    """A sentence with information beyond the numbers, or empty."""


MOST_NOTIFICATIONS = 100
"""Longest list of a message: whatever is at the bottom of a longer one, nobody reads."""

MOST_UNGROUPED = 20
"""From how many events on a message also says what they add up to."""

MOST_EXAMPLES = 3


class AlertGroup(_MessagePart):
    """Events of a message that are alike, counted."""

    rule: AlertRule
    event: AlertEvent
    severity: Severity
    count: int
    """All of them, whether the message lists them or not."""
    examples: tuple[str, ...]
    """Subjects of the first few."""


class AlertMessage(RenamedFields, _MessagePart):
    """The new alert events of one time, the most severe first. Of a storm it lists the first and counts all."""

    FORMER_NAMES: ClassVar = {"news": "notifications"}

    kind: Literal["alerts"] = "alerts"
    at: datetime
    zone: str
    locale: str
    window_minutes: int
    notifications: Annotated[tuple[AlertNotification, ...], Field(min_length=1)]
    not_listed: int = 0
    """Number of further events of the same time, for which `notifications` has no room."""
    groups: tuple[AlertGroup, ...] = ()
    """What all events add up to, listed or not, the most severe first; empty for a message of a few."""
    still_firing: int
    """Number of other alerts that are already firing."""

    @computed_field(alias="news", json_schema_extra=DEPRECATED)  # type: ignore[prop-decorator]
    @property
    def former_notifications(self) -> tuple[AlertNotification, ...]:
        """The former name of `notifications`, written until the next release."""
        return self.notifications


class DeadLetter(_MessagePart):
    """A dead-lettered delivery, with the recipient in the form that may be shown."""

    delivery_id: int
    what: str
    channel: str
    recipient: str
    attempts: int
    answer: str


class DeadLetters(_MessagePart):
    """A notice that deliveries were dead-lettered."""

    kind: Literal["deadDeliveries"] = "deadDeliveries"
    at: datetime
    zone: str
    locale: str
    deliveries: Annotated[tuple[DeadLetter, ...], Field(min_length=1)]


class SampleMessage(_MessagePart):
    """A test message that a person requested, to check whether it arrives."""

    kind: Literal["sample"] = "sample"
    at: datetime
    zone: str
    locale: str


Message = AlertMessage | DeadLetters | SampleMessage
AnyMessage = Annotated[Message, Field(discriminator="kind")]
