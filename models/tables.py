"""The tables. Constraints hold in SQLite and PostgreSQL alike; instants are UTC."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from routewatch.selection import LARGEST_AMOUNT, METADATA, SELECTION, UtcDateTime, identity_column, within

UNKNOWN = ""
"""A rollup's model, complexity or team where the selections' is NULL: a key column cannot be NULL."""

OTHER_TEAMS = "(other)"

HOUR_TOTAL = "hour_total"
"""The level of rollups of an hour over all models, complexities and teams, which time series are made of."""


class _Table(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


def _instant(*, nullable: bool = False) -> Any:
    return Column(UtcDateTime(), nullable=nullable)


def table_of(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table of a model, for statements over many rows at once."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


class Selection(_Table, table=True):
    """One row a pick of the router, as routewatch.selection describes it."""

    __table__: ClassVar[Table] = SELECTION


class Overhead(_Table, table=True):
    """A call that the router made for itself, such as one that classifies: no selection, but money.

    `kind` is what it was for; `source` is the one that it was pulled from.
    """

    __tablename__ = "overhead"
    __table_args__ = (within("cost_usd", 0, LARGEST_AMOUNT), Index(None, "timestamp"))

    request_id: str = Field(primary_key=True, sa_type=Text)
    timestamp: datetime = Field(sa_column=_instant())
    source: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    model_id: str | None = Field(default=None, sa_type=Text)
    cost_usd: float | None = None
    cost_priced_on: date | None = None


class PullState(_Table, table=True):
    """How far a source has been pulled. `cursor` is the source's own; `last` tells what the last pull found."""

    __tablename__ = "pull_state"

    source: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    cursor: str | None = Field(default=None, sa_type=Text)
    pulled_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    last: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))


class Rollup(_Table, table=True):
    """What merges exactly, per level × bucket × model × complexity × team. Every `_count` is a coverage.

    A level is one of models.period.Level, or HOUR_TOTAL: the hours once more, with model, complexity and team UNKNOWN.
    `latency_histogram` is little-endian pairs of int32 bin and uint32 count, by rising bin (models.ddsketch).
    `_sum_sq` are sums of squares, for intervals.
    """

    __tablename__ = "rollup"

    level: str = Field(primary_key=True, sa_type=Text)
    bucket: datetime = Field(sa_column=Column(UtcDateTime(), primary_key=True))
    model_id: str = Field(primary_key=True, sa_type=Text)
    complexity: str = Field(primary_key=True, sa_type=Text)
    team: str = Field(primary_key=True, sa_type=Text)
    count: int = Field(sa_type=BigInteger)
    error_count: int = Field(sa_type=BigInteger)
    response_time_count: int = Field(sa_type=BigInteger)
    response_time_sum_ms: float
    response_time_sum_sq: float
    over_target_count: int = Field(sa_type=BigInteger)
    cost_count: int = Field(sa_type=BigInteger)
    cost_sum_usd: float
    cost_sum_sq: float
    cache_count: int = Field(sa_type=BigInteger)
    cache_hit_count: int = Field(sa_type=BigInteger)
    cache_hit_cost_count: int = Field(sa_type=BigInteger)
    cache_hit_cost_sum_usd: float
    cache_hit_cost_sum_sq: float
    accuracy_count: int = Field(sa_type=BigInteger)
    accuracy_sum: float
    accuracy_sum_sq: float
    satisfaction_count: int = Field(sa_type=BigInteger)
    satisfaction_sum: float
    prompt_token_count: int = Field(sa_type=BigInteger)
    prompt_token_sum: int = Field(sa_type=BigInteger)
    completion_token_count: int = Field(sa_type=BigInteger)
    completion_token_sum: int = Field(sa_type=BigInteger)
    latency_histogram: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class SelectionChange(_Table, table=True):
    """A time whose selections were changed after they were written: triggers note it, the fold takes it away."""

    __tablename__ = "selection_change"
    __table_args__ = (Index(None, "at"),)

    id: int | None = Field(default=None, sa_column=identity_column())
    at: datetime = Field(sa_column=_instant())


class FoldState(_Table, table=True):
    """One row: how far the fold has come, and on what basis the rollups were built.

    `minutes_from` is the instant from which minute rollups are kept; before `raw_from`, retention has removed raw rows.
    NULL is "from the beginning". `notes_taken` counts how often notes of changed selections were taken: what was read
    of raw rows before may be out of date.
    """

    __tablename__ = "fold_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True)
    last_id: int = Field(sa_type=BigInteger)
    zone: str = Field(sa_type=Text)
    target_ms: float
    last_selection_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    folded_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    minutes_from: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    raw_from: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    notes_taken: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0")))


class Config(_Table, table=True):
    """The router's settings. The version rises by one with every change: the handle for compare-and-set."""

    __tablename__ = "config"

    key: str = Field(primary_key=True, sa_type=Text)
    value: Any = Field(sa_column=Column(JSON, nullable=False))
    version: int
    updated_at: datetime = Field(sa_column=_instant())
    updated_by: str = Field(sa_type=Text)


class ConfigChange(_Table, table=True):
    """The audit trail of `config`. `from_value` is NULL for a key's first value."""

    __tablename__ = "config_change"
    __table_args__ = (UniqueConstraint("key", "version"),)

    id: int | None = Field(default=None, sa_column=identity_column())
    key: str = Field(sa_type=Text)
    version: int
    from_value: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    to_value: Any = Field(sa_column=Column(JSON, nullable=False))
    changed_at: datetime = Field(sa_column=_instant())
    changed_by: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    optimization_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("optimization.id"), index=True)
    )
    reverted_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("config_change.id")))


class OptimizationState(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    AUTO_APPLIED = "autoApplied"
    """Decided on by Routewatch itself, in a person's stead."""
    APPLIED = "applied"
    OBSERVING = "observing"
    KEPT = "kept"
    REVERTED = "reverted"
    EXPIRED = "expired"


class Optimization(_Table, table=True):
    """A recommendation through its life. `subject` names what it would change, so that one is open at a time.

    `verdict` is the newest of its observation (models.documents.Verdict).
    """

    __tablename__ = "optimization"
    __table_args__ = (
        Index(
            "uq_optimization_open",
            "type",
            "subject",
            unique=True,
            sqlite_where=text("state IN ('proposed', 'approved')"),
            postgresql_where=text("state IN ('proposed', 'approved')"),
        ),
    )

    id: int | None = Field(default=None, sa_column=identity_column())
    type: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    recommendation: Any = Field(sa_column=Column(JSON, nullable=False))
    period_start: datetime = Field(sa_column=_instant())
    period_end: datetime = Field(sa_column=_instant())
    created_at: datetime = Field(sa_column=_instant())
    updated_at: datetime = Field(sa_column=_instant())
    applied_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    verdict: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))


class OptimizationTransition(_Table, table=True):
    """One step of an optimization's life: when, by whom, why, and the numbers it was decided on."""

    __tablename__ = "optimization_transition"

    id: int | None = Field(default=None, sa_column=identity_column())
    optimization_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("optimization.id"), nullable=False, index=True)
    )
    at: datetime = Field(sa_column=_instant())
    from_state: str | None = Field(default=None, sa_type=Text)
    to_state: str = Field(sa_type=Text)
    by: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    evidence: Any = Field(default=None, sa_column=Column(JSON(none_as_null=True)))


class Alert(_Table, table=True):
    """One life of one alert; per (rule, subject) at most one is unresolved.

    `subject` is a model's id, a flow's name, or empty: over all. `news` is what is still to be told of it, since
    `news_since`. A resolved one stays for the record.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "uq_alert_unresolved",
            "rule",
            "subject",
            unique=True,
            sqlite_where=text("resolved_at IS NULL"),
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(None, "resolved_at"),
    )

    id: int | None = Field(default=None, sa_column=identity_column())
    rule: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    severity: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    value: float | None = None
    threshold: float | None = None
    sample: int | None = Field(default=None, sa_type=BigInteger)
    learned: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    detail: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": text("''")})
    started_at: datetime = Field(sa_column=_instant())
    fired_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    well_since: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    unknown_since: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    resolved_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    news: str | None = Field(default=None, sa_type=Text)
    news_since: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    told_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))


class AlertWatch(_Table, table=True):
    """One row: up to where windows have been judged, and when alerts were told last. Its lock is the judge's."""

    __tablename__ = "alert_watch"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True)
    judged_until: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    told_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))


class AlertSilence(_Table, table=True):
    """Alerts that nobody is told of for a while. NULL rule or subject: every one."""

    __tablename__ = "alert_silence"

    id: int | None = Field(default=None, sa_column=identity_column())
    rule: str | None = Field(default=None, sa_type=Text)
    subject: str | None = Field(default=None, sa_type=Text)
    starts_at: datetime = Field(sa_column=_instant())
    ends_at: datetime = Field(sa_column=_instant())
    by: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)


class StoredMessage(_Table, table=True):
    """What is sent beside reports (models.notifications), once per `key`."""

    __tablename__ = "message"

    id: int | None = Field(default=None, sa_column=identity_column())
    key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    content: Any = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=_instant())


class Report(_Table, table=True):
    """A report, once per (kind, period, parameters). `document` is the whole of it: every format is made from it."""

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("kind", "period_start", "period_end", "parameters_hash"),)

    id: int | None = Field(default=None, sa_column=identity_column())
    kind: str = Field(sa_type=Text)
    template: str = Field(sa_type=Text)
    period_start: datetime = Field(sa_column=_instant())
    period_end: datetime = Field(sa_column=_instant())
    parameters_hash: str = Field(sa_type=Text)
    parameters: Any = Field(sa_column=Column(JSON, nullable=False))
    document: Any = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=_instant())


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    HANDING_OVER = "handing over"
    """Being sent, and at the point from which on it cannot be known without an answer whether it arrived."""
    SENT = "sent"
    UNCERTAIN = "uncertain"
    """All of it was handed over, but the answer was lost: sending again could deliver it twice."""
    DEAD = "dead"
    """Given up: refused for good, or tried often enough."""


class Delivery(_Table, table=True):
    """One report or message on its way to one recipient. `lease_until` frees a row whose sender died.

    `recipient` holds no secret: of an address that has one it is the reference (models.recipient). `death_told` is
    whether somebody was told that it was given up.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("report_id", "channel", "recipient"),
        UniqueConstraint("message_id", "channel", "recipient"),
        CheckConstraint("(report_id IS NULL) <> (message_id IS NULL)", name="one_content"),
        Index(None, "state", "next_attempt_at"),
    )

    id: int | None = Field(default=None, sa_column=identity_column())
    report_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("report.id")))
    message_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("message.id")))
    channel: str = Field(sa_type=Text)
    recipient: str = Field(sa_type=Text)
    state: str = Field(default=DeliveryState.QUEUED.value, sa_type=Text)
    attempts: int = 0
    queued_at: datetime = Field(sa_column=_instant())
    next_attempt_at: datetime = Field(sa_column=_instant())
    lease_until: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    sent_at: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    death_told: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class DeliveryAttempt(_Table, table=True):
    """One attempt to send: what was answered, word for word but for secrets, and what it meant."""

    __tablename__ = "delivery_attempt"

    id: int | None = Field(default=None, sa_column=identity_column())
    delivery_id: int = Field(sa_column=Column(BigInteger, ForeignKey("delivery.id"), nullable=False, index=True))
    at: datetime = Field(sa_column=_instant())
    outcome: str = Field(sa_type=Text)
    answer: str = Field(sa_type=Text)
