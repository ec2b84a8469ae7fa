"""Add what is pulled from sources: how far, the router's own calls, and which values were derived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("selection", sa.Column("cost_priced_on", sa.Date(), nullable=True))
    op.add_column("selection", sa.Column("complexity_derived", sa.Boolean(), nullable=True))
    op.create_index(
        "ix_selection_priced",
        "selection",
        ["timestamp"],
        sqlite_where=sa.text("cost_priced_on IS NOT NULL"),
        postgresql_where=sa.text("cost_priced_on IS NOT NULL"),
    )
    op.create_table(
        "overhead",
        sa.Column("request_id", sa.Text(), primary_key=True),
        sa.Column("timestamp", UtcDateTime(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("cost_priced_on", sa.Date(), nullable=True),
        sa.CheckConstraint("cost_usd BETWEEN 0 AND 1e+12", name=op.f("ck_overhead_cost_usd")),
    )
    op.create_index(op.f("ix_overhead_timestamp"), "overhead", ["timestamp"])
    op.create_table(
        "pull_state",
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("pulled_at", UtcDateTime(), nullable=True),
        sa.Column("last", sa.JSON(), nullable=True),
    )
