"""Give tables, columns and a delivery's state the terms of the glossary: checkpoint, notified, pending, committing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0008"
down_revision = "0007"

COLUMNS = {
    "alert": {
        "well_since": "recovering_since",
        "unknown_since": "no_data_since",
        "news": "pending_event",
        "news_since": "pending_since",
        "told_at": "notified_at",
    },
    "delivery": {"death_told": "dead_letter_notified"},
}


def upgrade() -> None:
    for table, names in COLUMNS.items():
        for before, after in names.items():
            op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")
    op.execute("UPDATE delivery SET state = 'committing' WHERE state = 'handing over'")
    # These have one row each. A new table takes its constraints' names along, which SQLite cannot change.
    op.create_table(
        "rollup_checkpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("target_ms", sa.Float(), nullable=False),
        sa.Column("last_selection_at", UtcDateTime(), nullable=True),
        sa.Column("rollups_updated_at", UtcDateTime(), nullable=True),
        sa.Column("minutes_from", UtcDateTime(), nullable=True),
        sa.Column("raw_from", UtcDateTime(), nullable=True),
        sa.Column("change_batches_processed", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.CheckConstraint("id = 1", name=op.f("ck_rollup_checkpoint_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollup_checkpoint")),
    )
    op.execute(
        "INSERT INTO rollup_checkpoint (id, last_id, zone, target_ms, last_selection_at, rollups_updated_at,"
        " minutes_from, raw_from, change_batches_processed)"
        " SELECT id, last_id, zone, target_ms, last_selection_at, folded_at, minutes_from, raw_from, notes_taken"
        " FROM fold_state"
    )
    op.drop_table("fold_state")
    op.create_table(
        "alert_checkpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("evaluated_until", UtcDateTime(), nullable=True),
        sa.Column("notified_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_alert_checkpoint_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_checkpoint")),
    )
    op.execute(
        "INSERT INTO alert_checkpoint (id, evaluated_until, notified_at) SELECT id, judged_until, told_at"
        " FROM alert_watch"
    )
    op.drop_table("alert_watch")
