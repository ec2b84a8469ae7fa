"""Add when an optimization was applied, and what was found of it since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("optimization", sa.Column("applied_at", UtcDateTime(), nullable=True))
    op.add_column("optimization", sa.Column("verdict", sa.JSON(none_as_null=True), nullable=True))
    op.execute(
        "UPDATE optimization SET applied_at = (SELECT max(at) FROM optimization_transition "
        "WHERE optimization_id = optimization.id AND to_state = 'applied') WHERE state = 'applied'"
    )
