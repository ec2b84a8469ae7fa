"""The tables of the database. Constraints hold in SQLite and PostgreSQL alike; instants are UTC.

They stand here without the classes of models.tables, which take longer to import than most commands to run.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from routewatch.selection import LARGEST_AMOUNT, METADATA, UtcDateTime, identity_column, within

UNKNOWN = ""
"""A rollup's model, complexity or team where the selections' is NULL: a key column cannot be NULL."""

OTHER_TEAMS = "(other)"

HOUR_TOTAL = "hour_total"
"""The level of rollups of an hour over all models, complexities and teams, which time series are made of."""


OVERHEAD = Table(
    "overhead",
    METADATA,
    Column("request_id", Text, primary_key=True),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model_id", Text),
    Column("cost_usd", Float),
    Column("cost_priced_on", Date),
    within("cost_usd", 0, LARGEST_AMOUNT),
    Index(None, "timestamp"),
)
"""A call that the router made for itself, such as one that classifies: no selection, but money.

`kind` is what it was for; `source` is the one that it was pulled from."""

PULL_STATE = Table(
    "pull_state",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("cursor", Text),
    Column("pulled_at", UtcDateTime),
    Column("last", JSON(none_as_null=True)),
)
"""How far a source has been pulled. `cursor` is the source's own; `last` tells what the last pull found."""

ROLLUP = Table(
    "rollup",
    METADATA,
    Column("level", Text, primary_key=True),
    Column("bucket", UtcDateTime, primary_key=True),
    Column("model_id", Text, primary_key=True),
    Column("complexity", Text, primary_key=True),
    Column("team", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("error_count", BigInteger, nullable=False),
    Column("response_time_count", BigInteger, nullable=False),
    Column("response_time_sum_ms", Float, nullable=False),
    Column("response_time_sum_sq", Float, nullable=False),
    Column("over_target_count", BigInteger, nullable=False),
    Column("cost_count", BigInteger, nullable=False),
    Column("cost_sum_usd", Float, nullable=False),
    Column("cost_sum_sq", Float, nullable=False),
    Column("cache_count", BigInteger, nullable=False),
    Column("cache_hit_count", BigInteger, nullable=False),
    Column("cache_hit_cost_count", BigInteger, nullable=False),
    Column("cache_hit_cost_sum_usd", Float, nullable=False),
    Column("cache_hit_cost_sum_sq", Float, nullable=False),
    Column("accuracy_count", BigInteger, nullable=False),
    Column("accuracy_sum", Float, nullable=False),
    Column("accuracy_sum_sq", Float, nullable=False),
    Column("satisfaction_count", BigInteger, nullable=False),
    Column("satisfaction_sum", Float, nullable=False),
    Column("prompt_token_count", BigInteger, nullable=False),
    Column("prompt_token_sum", BigInteger, nullable=False),
    Column("completion_token_count", BigInteger, nullable=False),
    Column("completion_token_sum", BigInteger, nullable=False),
    Column("latency_histogram", LargeBinary, nullable=False),
)
"""What merges exactly, per level × bucket × model × complexity × team. Every `_count` is a coverage.

A level is one of models.period.Level, or HOUR_TOTAL: the hours once more, with model, complexity and team UNKNOWN.
`latency_histogram` is little-endian pairs of int32 bin and uint32 count, by rising bin (models.ddsketch).
`_sum_sq` are sums of squares, for intervals."""

SELECTION_CHANGE = Table(
    "selection_change",
    METADATA,
    identity_column(),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "at"),
)
"""A time whose selections were changed after they were written: triggers note it, the fold takes it away."""

ROLLUP_CHECKPOINT = Table(
    "rollup_checkpoint",
    METADATA,
    Column("id", Integer, primary_key=True, default=1),
    Column("last_id", BigInteger, nullable=False),
    Column("zone", Text, nullable=False),
    Column("target_ms", Float, nullable=False),
    Column("last_selection_at", UtcDateTime),
    Column("rollups_updated_at", UtcDateTime),
    Column("minutes_from", UtcDateTime),
    Column("raw_from", UtcDateTime),
    Column("change_batches_processed", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row: how far the fold has come, and on what basis the rollups were built.

`minutes_from` is the instant from which minute rollups are kept; before `raw_from`, retention has removed raw rows.
NULL is "from the beginning". `change_batches_processed` counts how often notes of changed selections were taken: what
was read of raw rows before may be out of date."""

CONFIG = Table(
    "config",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", Text, nullable=False),
)
"""The router's settings. The version rises by one with every change: the handle for compare-and-set."""

CONFIG_CHANGE = Table(
    "config_change",
    METADATA,
    identity_column(),
    Column("key", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("from_value", JSON(none_as_null=True)),
    Column("to_value", JSON, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("optimization_id", BigInteger, ForeignKey("optimization.id"), index=True),
    Column("reverted_by", BigInteger, ForeignKey("config_change.id")),
    UniqueConstraint("key", "version"),
)
"""The audit trail of `config`. `from_value` is NULL for a key's first value."""


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


OPTIMIZATION = Table(
    "optimization",
    METADATA,
    identity_column(),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("recommendation", JSON, nullable=False),
    Column("period_start", UtcDateTime, nullable=False),
    Column("period_end", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("applied_at", UtcDateTime),
    Column("verdict", JSON(none_as_null=True)),
    Index(
        "uq_optimization_open",
        "type",
        "subject",
        unique=True,
        sqlite_where=text("state IN ('proposed', 'approved')"),
        postgresql_where=text("state IN ('proposed', 'approved')"),
    ),
)
"""A recommendation through its life. `subject` names what it would change, so that one is open at a time.

`verdict` is the newest of its observation (models.documents.Verdict)."""

OPTIMIZATION_TRANSITION = Table(
    "optimization_transition",
    METADATA,
    identity_column(),
    Column("optimization_id", BigInteger, ForeignKey("optimization.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON(none_as_null=True)),
)
"""One step of an optimization's life: when, by whom, why, and the numbers it was decided on."""

ALERT = Table(
    "alert",
    METADATA,
    identity_column(),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("value", Float),
    Column("threshold", Float),
    Column("sample", BigInteger),
    Column("learned", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("detail", Text, nullable=False, default="", server_default=text("''")),
    Column("started_at", UtcDateTime, nullable=False),
    Column("fired_at", UtcDateTime),
    Column("recovering_since", UtcDateTime),
    Column("no_data_since", UtcDateTime),
    Column("resolved_at", UtcDateTime),
    Column("pending_event", Text),
    Column("pending_since", UtcDateTime),
    Column("notified_at", UtcDateTime),
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
"""One life of one alert; per (rule, subject) at most one is unresolved.

`subject` is a model's id, a flow's name, or empty: over all. `pending_event` is what is still to be notified of it,
since `pending_since`. A resolved one stays for the record."""

ALERT_CHECKPOINT = Table(
    "alert_checkpoint",
    METADATA,
    Column("id", Integer, primary_key=True, default=1),
    Column("evaluated_until", UtcDateTime),
    Column("notified_at", UtcDateTime),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row: up to where windows have been judged, and when notifications were sent last. Its lock is the judge's."""

ALERT_SILENCE = Table(
    "alert_silence",
    METADATA,
    identity_column(),
    Column("rule", Text),
    Column("subject", Text),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Alerts that nobody is told of for a while. NULL rule or subject: every one."""

MESSAGE = Table(
    "message",
    METADATA,
    identity_column(),
    Column("key", Text, nullable=False, unique=True),
    Column("content", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""What is sent beside reports (models.notifications), once per `key`."""

REPORT = Table(
    "report",
    METADATA,
    identity_column(),
    Column("kind", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("period_start", UtcDateTime, nullable=False),
    Column("period_end", UtcDateTime, nullable=False),
    Column("parameters_hash", Text, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("document", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("kind", "period_start", "period_end", "parameters_hash"),
)
"""A report, once per (kind, period, parameters). `document` is the whole of it: every format is made from it."""


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    COMMITTING = "committing"
    """Being sent, and at the point from which on it cannot be known without an answer whether it arrived."""
    SENT = "sent"
    UNCERTAIN = "uncertain"
    """All of it was handed over, but the answer was lost: sending again could deliver it twice."""
    DEAD = "dead"
    """Given up: refused for good, or tried often enough."""


DELIVERY = Table(
    "delivery",
    METADATA,
    identity_column(),
    Column("report_id", BigInteger, ForeignKey("report.id")),
    Column("message_id", BigInteger, ForeignKey("message.id")),
    Column("channel", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("state", Text, nullable=False, default=DeliveryState.QUEUED.value),
    Column("attempts", Integer, nullable=False, default=0),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("sent_at", UtcDateTime),
    Column("dead_letter_notified", Boolean, nullable=False, default=False, server_default=text("false")),
    UniqueConstraint("report_id", "channel", "recipient"),
    UniqueConstraint("message_id", "channel", "recipient"),
    CheckConstraint("(report_id IS NULL) <> (message_id IS NULL)", name="one_content"),
    Index(None, "state", "next_attempt_at"),
)
"""One report or message on its way to one recipient. `lease_until` frees a row whose sender died.

`recipient` holds no secret: of an address that has one it is the reference (models.recipient). `dead_letter_notified`
is whether somebody was told that it was given up."""

DELIVERY_ATTEMPT = Table(
    "delivery_attempt",
    METADATA,
    identity_column(),
    Column("delivery_id", BigInteger, ForeignKey("delivery.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("answer", Text, nullable=False),
)
"""One attempt to send: what was answered, word for word but for secrets, and what it meant."""
