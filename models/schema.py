"""The tables of the database. Constraints hold in SQLite and PostgreSQL alike; instants are UTC.

This module does without the classes of models.tables, which take longer to import than most commands to run.
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

from routewatch.gate import LARGEST_AMOUNT
from routewatch.selection import METADATA, UtcDateTime, identity_column, within

UNKNOWN = ""
"""A rollup's model, complexity or team where the selections' is NULL: a key column cannot be NULL."""

OTHER_TEAMS = "(other)"
OTHER_MODELS = "(other models)"
OTHER_COMPLEXITIES = "(other complexities)"

OTHER_EXPERIMENTS = "(other experiments)"
OTHER_ARMS = "(other arms)"
"""Under what the smallest experiments of an hour, and the smallest arms of an experiment, are counted together."""

OTHERS = {"model_id": OTHER_MODELS, "complexity": OTHER_COMPLEXITIES, "team": OTHER_TEAMS}
"""By rollup column, the name under which the smallest models, complexities or teams of a crowded bucket are counted."""

COLLECTIVE = frozenset({UNKNOWN, *OTHERS.values()})
"""Values of rollup columns that name no single model, complexity or team: none of them is compared or recommended."""

HOUR_TOTAL = "hour_total"
"""The level of hourly rollups over all models, complexities and teams, used for time series."""


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
"""A call that the router made for itself, such as a classification: not a selection, but a cost.

`kind` is its purpose; `source` is the source that it was pulled from."""

PULL_STATE = Table(
    "pull_state",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("cursor", Text),
    Column("pulled_at", UtcDateTime),
    Column("last", JSON(none_as_null=True)),
)
"""The pull state of a source. `cursor` has the source's own format; `last` holds the counts of the last pull."""

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
"""Exactly mergeable sums per level × bucket × model × complexity × team. Every `_count` counts known values.

A level is one of models.period.Level, or HOUR_TOTAL: the hours again, with model, complexity and team UNKNOWN.
`latency_histogram` is little-endian pairs of int32 bin and uint32 count, by ascending bin (models.ddsketch).
`_sum_sq` are sums of squares, for intervals."""

UNKNOWN_BUCKET = -1
"""The unit bucket of an arm's rollup where the selections' is NULL: a key column cannot be NULL."""

ARM_ROLLUP = Table(
    "arm_rollup",
    METADATA,
    Column("bucket", UtcDateTime, primary_key=True),
    Column("experiment", Text, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("complexity", Text, primary_key=True),
    Column("unit_bucket", Integer, primary_key=True, autoincrement=False),
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
    Column("accuracy_count", BigInteger, nullable=False),
    Column("accuracy_sum", Float, nullable=False),
    Column("accuracy_sum_sq", Float, nullable=False),
    Column("prompt_token_count", BigInteger, nullable=False),
    Column("prompt_token_sum", BigInteger, nullable=False),
    Column("prompt_token_sum_sq", Float, nullable=False),
    Column("response_time_prompt_count", BigInteger, nullable=False),
    Column("response_time_prompt_sum_tokens", Float, nullable=False),
    Column("response_time_prompt_sum_sq", Float, nullable=False),
    Column("response_time_prompt_product", Float, nullable=False),
    Column("cost_prompt_count", BigInteger, nullable=False),
    Column("cost_prompt_sum_tokens", Float, nullable=False),
    Column("cost_prompt_sum_sq", Float, nullable=False),
    Column("cost_prompt_product", Float, nullable=False),
)
"""Exactly mergeable sums per hour x experiment x arm x complexity x unit bucket, of selections with both of the former.

The `_prompt_` columns are of selections of which both the value and the prompt tokens are known: their number, the sum
and the sum of squares of the tokens, and the sum of value x tokens. They tell how a value depends on the prompt."""

SELECTION_CHANGE = Table(
    "selection_change",
    METADATA,
    identity_column(),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "at"),
)
"""A time whose selections were changed after they were written: triggers insert it, the rollup update deletes it."""

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
    Column("progressed_at", UtcDateTime),
    Column("counted_id", BigInteger),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row: the rollup checkpoint and the rollup settings.

`minutes_from` is the instant from which minute rollups are kept; before `raw_from`, retention has removed raw rows.
NULL is "from the beginning". `change_batches_processed` counts the processed batches of the change log: raw rows read
before the latest batch may be out of date. `progressed_at` is when, by the true clock, the last row was counted or
none was left to count. `counted_id` is `last_id` as counting wrote it: one that differs was written by hand, and does
not hold."""

CONFIG = Table(
    "config",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", Text, nullable=False),
)
"""The router's settings. Every change increments the version: the handle for compare-and-set."""

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
    """Decided by Routewatch itself instead of a person."""
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
"""A recommendation through its lifecycle. `subject` names what it would change; one per subject is open at a time.

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
"""One step of an optimization's lifecycle: when, by whom, why, and the numbers behind the decision."""


class TrialState(StrEnum):
    RUNNING = "running"
    HELD = "held"
    """Stays at its step until a person lets it go on."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolledBack"
    UNDECIDED = "undecided"
    """The time was over, and it could not be told."""
    INVALID = "invalid"
    """The requests were not split as asked, so the arms cannot be compared."""
    ABORTED = "aborted"


UNDER_WAY = (TrialState.RUNNING, TrialState.HELD)
"""The states of a trial that is not over."""

TRIAL = Table(
    "trial",
    METADATA,
    identity_column(),
    Column("optimization_id", BigInteger, ForeignKey("optimization.id"), nullable=False, unique=True),
    Column("method", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("plan", JSON, nullable=False),
    Column("step", Integer, nullable=False),
    Column("step_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("deadline", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Index(None, "state"),
)
"""How an optimization is tried: a rollout (`split`) or a switchback. `plan` is models.trials.RolloutPlan or
SwitchbackPlan; `step` counts from 0, and is in force since `step_at`."""

TRIAL_STEP = Table(
    "trial_step",
    METADATA,
    identity_column(),
    Column("trial_id", BigInteger, ForeignKey("trial.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("action", Text, nullable=False),
    Column("percent", Float),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON(none_as_null=True)),
)
"""One step of a trial: what was done, by whom, why, and the candidate's share of the requests from then on."""

TRIAL_BLOCK = Table(
    "trial_block",
    METADATA,
    Column("trial_id", BigInteger, ForeignKey("trial.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("is_candidate", Boolean, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("sums", JSON(none_as_null=True)),
    Column("note", Text),
    Index(None, "state", "starts_at"),
)
"""One block of a switchback's timetable: blocks 2n and 2n + 1 are a pair. `state` is planned, running, done or missed.

`starts_at` and `ends_at` are as planned, `started_at` and `ended_at` as done; `sums` are the rollup sums of the block
without its wash-out, once they are final."""

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
"""One lifecycle of one alert; per (rule, subject) at most one is unresolved.

`subject` is a model's id, a flow's name, or empty for all. `pending_event` is the event still to be notified, since
`pending_since`. A resolved alert stays on record."""

ALERT_CHECKPOINT = Table(
    "alert_checkpoint",
    METADATA,
    Column("id", Integer, primary_key=True, default=1),
    Column("evaluated_until", UtcDateTime),
    Column("notified_at", UtcDateTime),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row: the end of the evaluated windows, and when notifications were sent last. The evaluator locks it."""

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
"""Alerts without notifications for a while. A NULL rule or subject matches every one."""

MESSAGE = Table(
    "message",
    METADATA,
    identity_column(),
    Column("key", Text, nullable=False, unique=True),
    Column("content", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""Messages beside reports (models.notifications), once per `key`."""

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
"""A report, once per (kind, period, parameters). `document` holds all of it: every format is rendered from it."""


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    COMMITTING = "committing"
    """Being sent, past the point from which only a response shows whether it arrived."""
    SENT = "sent"
    UNCERTAIN = "uncertain"
    """All of it was transmitted, but the response was lost: sending again could deliver it twice."""
    DEAD = "dead"
    """Dead-lettered: permanently refused, or out of attempts."""


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
"""One report or message for one recipient. `lease_until` frees a row whose sender died.

`recipient` holds no secret: for an address with one it is the reference (models.recipient). `dead_letter_notified` is
whether its dead-lettering was notified."""

DELIVERY_ATTEMPT = Table(
    "delivery_attempt",
    METADATA,
    identity_column(),
    Column("delivery_id", BigInteger, ForeignKey("delivery.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("answer", Text, nullable=False),
)
"""One attempt to send: the response verbatim, with secrets redacted, and its result."""
