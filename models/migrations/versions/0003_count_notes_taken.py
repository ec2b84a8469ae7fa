"""Count how often notes of changed selections were taken, so that work on older rows is noticed; find notes by time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("fold_state", sa.Column("notes_taken", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_selection_change_at", "selection_change", ["at"])
