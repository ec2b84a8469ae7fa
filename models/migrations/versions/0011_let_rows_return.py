"""Say of rows in the quarantine that are ahead of the clock when they are due to return."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0011"
down_revision = "0010"

_AHEAD = "timestamp is ahead of the clock"


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("due_at", UtcDateTime(), nullable=True))
    op.create_index(op.f("ix_quarantine_due_at"), "quarantine", ["due_at"])
    connection = op.get_bind()
    query = sa.text("SELECT id, content FROM quarantine WHERE reason = :reason")
    rows = connection.execute(query, {"reason": _AHEAD}).all()
    due = [{"number": number, "at": at} for number, content in rows if (at := _instant(content)) is not None]
    if due:
        moment = sa.bindparam("at", type_=UtcDateTime())
        connection.execute(sa.text("UPDATE quarantine SET due_at = :at WHERE id = :number").bindparams(moment), due)


def _instant(content: Any) -> datetime | None:
    try:
        found = json.loads(content) if isinstance(content, str) else content
        at = datetime.fromisoformat(found["timestamp"]) if isinstance(found, Mapping) else None
        if at is None:
            return None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
    return at if 2000 <= at.year < 2100 else None  # noqa: PLR2004 - the accepted years
