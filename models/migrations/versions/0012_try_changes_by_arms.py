"""Keep to which arm of a rollout a selection was assigned, sums by arm, and how each change is tried."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0012"
down_revision = "0011"

_SQLITE_TEXT = (
    "{name} IS NULL OR (typeof({name}) = 'text' AND length({name}) BETWEEN 0 AND 200 AND instr({name}, char(0)) = 0"
    " AND {name} NOT GLOB '*[' || char(1, 45, 31, 127) || ']*')"
)
_POSTGRESQL_TEXT = (
    "{name} IS NULL OR (length({name}) BETWEEN 0 AND 200"
    " AND {name} !~ ('[' || chr(1) || '-' || chr(31) || chr(127) || ']'))"
)
_SQLITE = {
    **{name: _SQLITE_TEXT.format(name=name) for name in ("experiment", "arm")},
    "unit_bucket": "unit_bucket IS NULL OR (typeof(unit_bucket) = 'integer' AND unit_bucket BETWEEN 0 AND 63)",
}
_POSTGRESQL = {
    **{name: _POSTGRESQL_TEXT.format(name=name) for name in ("experiment", "arm")},
    "unit_bucket": "unit_bucket IS NULL OR (unit_bucket BETWEEN 0 AND 63)",
}
_TYPES = {"experiment": "TEXT", "arm": "TEXT", "unit_bucket": "INTEGER"}

_WHOLE = (
    "count", "error_count", "response_time_count", "over_target_count", "cost_count", "cache_count", "cache_hit_count",
    "accuracy_count", "prompt_token_count", "prompt_token_sum", "response_time_prompt_count", "cost_prompt_count",
)  # fmt: skip
_REAL = (
    "response_time_sum_ms", "response_time_sum_sq", "cost_sum_usd", "cost_sum_sq", "accuracy_sum", "accuracy_sum_sq",
    "prompt_token_sum_sq", "response_time_prompt_sum_tokens", "response_time_prompt_sum_sq",
    "response_time_prompt_product", "cost_prompt_sum_tokens", "cost_prompt_sum_sq", "cost_prompt_product",
)  # fmt: skip


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, condition in (_SQLITE if is_sqlite else _POSTGRESQL).items():
        # Of a new column all values are NULL, which the condition holds of: no table scan keeps the writers waiting.
        check = f"CONSTRAINT ck_selection_{name} CHECK ({condition})"
        if is_sqlite:
            op.get_bind().exec_driver_sql(f"ALTER TABLE selection ADD COLUMN {name} {_TYPES[name]} {check}")
        else:
            op.get_bind().exec_driver_sql(f"ALTER TABLE selection ADD COLUMN {name} {_TYPES[name]}")
            op.get_bind().exec_driver_sql(f"ALTER TABLE selection ADD {check} NOT VALID")
    op.create_table(
        "arm_rollup",
        sa.Column("bucket", UtcDateTime(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("experiment", "arm", "complexity")),
        sa.Column("unit_bucket", sa.Integer(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _WHOLE),
        *(sa.Column(name, sa.Float(), nullable=False) for name in _REAL),
        sa.PrimaryKeyConstraint("bucket", "experiment", "arm", "complexity", "unit_bucket", name=op.f("pk_arm_rollup")),
    )
    identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "trial",
        sa.Column("id", identity, sa.Identity(always=False), nullable=False),
        sa.Column("optimization_id", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("step_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("deadline", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
        sa.ForeignKeyConstraint(["optimization_id"], ["optimization.id"], name=op.f("fk_trial_optimization_id")),
        sa.UniqueConstraint("optimization_id", name=op.f("uq_trial_optimization_id")),
    )
    op.create_index(op.f("ix_trial_state"), "trial", ["state"])
    op.create_table(
        "trial_step",
        sa.Column("id", identity, sa.Identity(always=False), nullable=False),
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("percent", sa.Float(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial_step")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_trial_step_trial_id")),
    )
    op.create_index(op.f("ix_trial_step_trial_id"), "trial_step", ["trial_id"])
    op.create_table(
        "trial_block",
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("is_candidate", sa.Boolean(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("sums", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("trial_id", "number", name=op.f("pk_trial_block")),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_trial_block_trial_id")),
    )
    op.create_index(op.f("ix_trial_block_state_starts_at"), "trial_block", ["state", "starts_at"])
