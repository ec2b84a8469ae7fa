"""Note when counting last went on, so that one that stands still is told from a router that is quiet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("rollup_checkpoint", sa.Column("progressed_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE rollup_checkpoint SET progressed_at = rollups_updated_at")
