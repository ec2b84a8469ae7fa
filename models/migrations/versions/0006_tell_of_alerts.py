"""Add the remaining alert lifecycle, silences, and messages that are delivered like reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.recipient import parse_recipient
from routewatch.selection import UtcDateTime

revision = "0006"
down_revision = "0005"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("well_since", "unknown_since", "news_since", "told_at"):
        op.add_column("alert", sa.Column(name, UtcDateTime(), nullable=True))
    op.add_column("alert", sa.Column("news", sa.Text(), nullable=True))
    op.add_column("alert", sa.Column("learned", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.add_column("alert", sa.Column("detail", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.create_index(op.f("ix_alert_resolved_at"), "alert", ["resolved_at"])
    op.create_table(
        "alert_watch",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("judged_until", UtcDateTime(), nullable=True),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_alert_watch_one_row")),
    )
    op.create_table(
        "alert_silence",
        sa.Column("id", ID, sa.Identity(), primary_key=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "message",
        sa.Column("id", ID, sa.Identity(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("key", name=op.f("uq_message_key")),
    )
    with op.batch_alter_table("delivery") as delivery:
        delivery.alter_column("report_id", existing_type=sa.BigInteger(), nullable=True)
        delivery.add_column(sa.Column("message_id", sa.BigInteger(), nullable=True))
        delivery.add_column(sa.Column("death_told", sa.Boolean(), nullable=False, server_default=sa.text("false")))
        delivery.create_foreign_key(op.f("fk_delivery_message_id"), "message", ["message_id"], ["id"])
        delivery.create_unique_constraint(
            op.f("uq_delivery_message_id_channel_recipient"), ["message_id", "channel", "recipient"]
        )
        delivery.create_check_constraint(op.f("ck_delivery_one_content"), "(report_id IS NULL) <> (message_id IS NULL)")
    _take_secrets_out()
    # What died before was on the list of deliveries for anyone to see: it is no news.
    op.execute("UPDATE delivery SET death_told = true WHERE state = 'dead'")


def _take_secrets_out() -> None:
    """Addresses of webhooks stood in full in the table."""
    connection = op.get_bind()
    delivery = sa.table("delivery", sa.column("id"), sa.column("channel"), sa.column("recipient"))
    webhooks = sa.select(delivery.c.id, delivery.c.recipient).where(delivery.c.channel == "webhook")
    for row in connection.execute(webhooks).all():
        try:
            known_as = parse_recipient(row.recipient)
        except ValueError:
            continue
        values = {"channel": known_as.channel, "recipient": known_as.reference}
        connection.execute(sa.update(delivery).where(delivery.c.id == row.id).values(values))
