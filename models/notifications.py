"""What is sent beside reports, described once: alerts that changed, deliveries that died, a sample.

A message is stored as it stands here, and every channel's format is made from it alone. None is "unknown".
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
    """What is watched: the five KPIs by window, single selections, the budget, the data itself, and the flows."""

    _ignore_ = ["members", "kpi"]  # noqa: RUF012 - Enum takes it away
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
    """A change of the config that harmed was taken back; over as soon as it is told."""


class AlertEvent(StrEnum):
    """What somebody is told of an alert."""

    FIRED = "fired"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    RESOLVED = "resolved"


class _MessagePart(ApiModel):
    model_config = ConfigDict(allow_inf_nan=False)


class AlertNotification(_MessagePart):
    """One alert, and what is new of it."""

    alert_id: int
    event: AlertEvent
    rule: AlertRule
    subject: str
    """A model's id, a flow's name, or empty: over all."""
    severity: Severity
    value: float | None
    """In the rule's unit: milliseconds, a ratio in 0..1, minutes, or USD. Of what fires, that of the newest look that
    was as severe; of a resolved alert the last one, None where too little was known to see it end."""
    threshold: float | None
    """The limit in force, in the same unit."""
    sample: int | None
    """Selections that the value is over."""
    learned: bool
    """Whether the limit was learned from the KPI's own history."""
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    window_minutes: int | None = None
    """Over how long the value is, where that is not the message's window."""
    detail: str
    """A sentence that the numbers do not tell, or empty."""


class AlertMessage(RenamedFields, _MessagePart):
    """All that became new of alerts at one time, the most severe first."""

    FORMER_NAMES: ClassVar = {"news": "notifications"}

    kind: Literal["alerts"] = "alerts"
    at: datetime
    zone: str
    locale: str
    window_minutes: int
    notifications: Annotated[tuple[AlertNotification, ...], Field(min_length=1)]
    still_firing: int
    """Alerts beside these that fire already."""

    @computed_field(alias="news", json_schema_extra=DEPRECATED)  # type: ignore[prop-decorator]
    @property
    def former_notifications(self) -> tuple[AlertNotification, ...]:
        """The former name of `notifications`, written until the next release."""
        return self.notifications


class DeadLetter(_MessagePart):
    """A delivery that was given up, with the recipient as it may be shown."""

    delivery_id: int
    what: str
    channel: str
    recipient: str
    attempts: int
    answer: str


class DeadLetters(_MessagePart):
    """A notice that deliveries were given up."""

    kind: Literal["deadDeliveries"] = "deadDeliveries"
    at: datetime
    zone: str
    locale: str
    deliveries: Annotated[tuple[DeadLetter, ...], Field(min_length=1)]


class SampleMessage(_MessagePart):
    """A sample that a person asked for, to see whether it arrives."""

    kind: Literal["sample"] = "sample"
    at: datetime
    zone: str
    locale: str


Message = AlertMessage | DeadLetters | SampleMessage
AnyMessage = Annotated[Message, Field(discriminator="kind")]
