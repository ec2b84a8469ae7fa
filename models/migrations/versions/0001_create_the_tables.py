"""Create the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        "alert",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("sample", sa.BigInteger(), nullable=True),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("fired_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index(
            "uq_alert_unresolved",
            ["rule", "subject"],
            unique=True,
            sqlite_where=sa.text("resolved_at IS NULL"),
            postgresql_where=sa.text("resolved_at IS NULL"),
        )

    op.create_table(
        "config",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_config")),
    )
    op.create_table(
        "fold_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("target_ms", sa.Float(), nullable=False),
        sa.Column("last_selection_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("folded_at", UtcDateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_fold_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fold_state")),
    )
    op.create_table(
        "optimization",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("recommendation", sa.JSON(), nullable=False),
        sa.Column("period_start", UtcDateTime(timezone=True), nullable=False),
        sa.Column("period_end", UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_optimization")),
    )
    with op.batch_alter_table("optimization", schema=None) as batch_op:
        batch_op.create_index(
            "uq_optimization_open",
            ["type", "subject"],
            unique=True,
            sqlite_where=sa.text("state IN ('proposed', 'approved')"),
            postgresql_where=sa.text("state IN ('proposed', 'approved')"),
        )

    op.create_table(
        "report",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("period_start", UtcDateTime(timezone=True), nullable=False),
        sa.Column("period_end", UtcDateTime(timezone=True), nullable=False),
        sa.Column("parameters_hash", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint(
            "kind",
            "period_start",
            "period_end",
            "parameters_hash",
            name=op.f("uq_report_kind_period_start_period_end_parameters_hash"),
        ),
    )
    op.create_table(
        "rollup",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("bucket", UtcDateTime(timezone=True), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("complexity", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("error_count", sa.BigInteger(), nullable=False),
        sa.Column("response_time_count", sa.BigInteger(), nullable=False),
        sa.Column("response_time_sum_ms", sa.Float(), nullable=False),
        sa.Column("response_time_sum_sq", sa.Float(), nullable=False),
        sa.Column("over_target_count", sa.BigInteger(), nullable=False),
        sa.Column("cost_count", sa.BigInteger(), nullable=False),
        sa.Column("cost_sum_usd", sa.Float(), nullable=False),
        sa.Column("cost_sum_sq", sa.Float(), nullable=False),
        sa.Column("cache_count", sa.BigInteger(), nullable=False),
        sa.Column("cache_hit_count", sa.BigInteger(), nullable=False),
        sa.Column("cache_hit_cost_count", sa.BigInteger(), nullable=False),
        sa.Column("cache_hit_cost_sum_usd", sa.Float(), nullable=False),
        sa.Column("cache_hit_cost_sum_sq", sa.Float(), nullable=False),
        sa.Column("accuracy_count", sa.BigInteger(), nullable=False),
        sa.Column("accuracy_sum", sa.Float(), nullable=False),
        sa.Column("accuracy_sum_sq", sa.Float(), nullable=False),
        sa.Column("satisfaction_count", sa.BigInteger(), nullable=False),
        sa.Column("satisfaction_sum", sa.Float(), nullable=False),
        sa.Column("prompt_token_count", sa.BigInteger(), nullable=False),
        sa.Column("prompt_token_sum", sa.BigInteger(), nullable=False),
        sa.Column("completion_token_count", sa.BigInteger(), nullable=False),
        sa.Column("completion_token_sum", sa.BigInteger(), nullable=False),
        sa.Column("latency_histogram", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "bucket", "model_id", "complexity", "team", name=op.f("pk_rollup")),
    )
    op.create_table(
        "selection",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("timestamp", UtcDateTime(timezone=True), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("response_time_ms", sa.Float(), nullable=True),
        sa.Column("complexity", sa.Text(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("cache_hit", sa.Boolean(), nullable=True),
        sa.Column("accuracy", sa.Float(), nullable=True),
        sa.Column("user_satisfaction", sa.Float(), nullable=True),
        sa.Column("error", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("team", sa.Text(), nullable=True),
        sa.CheckConstraint("accuracy BETWEEN 0 AND 1", name=op.f("ck_selection_accuracy")),
        sa.CheckConstraint("completion_tokens BETWEEN 0 AND 1e+12", name=op.f("ck_selection_completion_tokens")),
        sa.CheckConstraint("cost_usd BETWEEN 0 AND 1e+12", name=op.f("ck_selection_cost_usd")),
        sa.CheckConstraint("length(model_id) BETWEEN 1 AND 200", name=op.f("ck_selection_model_id")),
        sa.CheckConstraint("prompt_tokens BETWEEN 0 AND 1e+12", name=op.f("ck_selection_prompt_tokens")),
        sa.CheckConstraint("response_time_ms BETWEEN 0 AND 1e+12", name=op.f("ck_selection_response_time_ms")),
        sa.CheckConstraint("user_satisfaction BETWEEN 0 AND 1", name=op.f("ck_selection_user_satisfaction")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selection")),
        sa.UniqueConstraint("request_id", name=op.f("uq_selection_request_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("selection", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_selection_timestamp"), ["timestamp"], unique=False)

    op.create_table(
        "config_change",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("from_value", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("to_value", sa.JSON(), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("optimization_id", sa.BigInteger(), nullable=True),
        sa.Column("reverted_by", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["optimization_id"], ["optimization.id"], name=op.f("fk_config_change_optimization_id")
        ),
        sa.ForeignKeyConstraint(["reverted_by"], ["config_change.id"], name=op.f("fk_config_change_reverted_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config_change")),
        sa.UniqueConstraint("key", "version", name=op.f("uq_config_change_key_version")),
    )
    with op.batch_alter_table("config_change", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_config_change_optimization_id"), ["optimization_id"], unique=False)

    op.create_table(
        "delivery",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("report_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("queued_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("lease_until", UtcDateTime(timezone=True), nullable=True),
        sa.Column("sent_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_delivery_report_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("report_id", "channel", "recipient", name=op.f("uq_delivery_report_id_channel_recipient")),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_delivery_state_next_attempt_at"), ["state", "next_attempt_at"], unique=False
        )

    op.create_table(
        "optimization_transition",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("optimization_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["optimization_id"], ["optimization.id"], name=op.f("fk_optimization_transition_optimization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_optimization_transition")),
    )
    with op.batch_alter_table("optimization_transition", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_optimization_transition_optimization_id"), ["optimization_id"], unique=False
        )

    op.create_table(
        "delivery_attempt",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_delivery_attempt_delivery_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempt")),
    )
    with op.batch_alter_table("delivery_attempt", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_attempt_delivery_id"), ["delivery_id"], unique=False)


def downgrade() -> None:

    with op.batch_alter_table("delivery_attempt", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_delivery_attempt_delivery_id"))

    op.drop_table("delivery_attempt")
    with op.batch_alter_table("optimization_transition", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_optimization_transition_optimization_id"))

    op.drop_table("optimization_transition")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_delivery_state_next_attempt_at"))

    op.drop_table("delivery")
    with op.batch_alter_table("config_change", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_config_change_optimization_id"))

    op.drop_table("config_change")
    with op.batch_alter_table("selection", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_selection_timestamp"))

    op.drop_table("selection")
    op.drop_table("rollup")
    op.drop_table("report")
    with op.batch_alter_table("optimization", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_optimization_open",
            sqlite_where=sa.text("state IN ('proposed', 'approved')"),
            postgresql_where=sa.text("state IN ('proposed', 'approved')"),
        )

    op.drop_table("optimization")
    op.drop_table("fold_state")
    op.drop_table("config")
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_alert_unresolved",
            sqlite_where=sa.text("resolved_at IS NULL"),
            postgresql_where=sa.text("resolved_at IS NULL"),
        )

    op.drop_table("alert")
