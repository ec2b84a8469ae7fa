"""How far counting is, compared with the selections that are there: a count that stands still is not a quiet router."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text

from models.schema import SELECTION_CHANGE
from models.settings import Settings
from routewatch.selection import SELECTION
from tasks.rollups.checkpoint import read_known_checkpoint

STALLED_AFTER = timedelta(seconds=90)
"""Selections that wait this long while none is counted: with the time between two looks, it is seen in two minutes."""

STALLED_TURNS = 3
"""Number of the monitor's turns in which no waiting selection is counted, where turns are that rare."""

BETWEEN_RUNS = timedelta(minutes=75)
"""The same where only the hourly run counts."""

MOST_COUNTED = 10_000

LOCK_TIMEOUT_MS = 5_000


@dataclass(frozen=True)
class Backlog:
    """Selections that are not counted yet (up to MOST_COUNTED; None: unreadable), and when counting last went on.

    `since` is None if it never did. `has_changes`: selections that were counted before have changed.
    """

    rows: int | None
    since: datetime | None
    has_changes: bool = False

    def stalled_for(self, now: datetime) -> timedelta:
        """Return how long selections have waited while none was counted; zero if none waits or nothing is known."""
        if self.rows == 0 or self.since is None:
            return timedelta()
        return max(timedelta(), now - self.since)

    @property
    def shown(self) -> str:
        if self.rows is None:
            return "the selections cannot be read"
        if not self.rows and self.has_changes:
            return "changed selections wait to be counted again"
        more = "at least " if self.rows >= MOST_COUNTED else ""
        return f"{more}{self.rows:,} {'selection waits' if self.rows == 1 else 'selections wait'}"


def read_backlog(connection: Connection) -> Backlog:
    """Return what waits to be counted. On PostgreSQL, raises DatabaseUnavailable if a table stays locked."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
    state = read_known_checkpoint(connection)
    last_id = 0 if state is None else state.last_id
    waiting = select(SELECTION.c.id).where(SELECTION.c.id > last_id).limit(MOST_COUNTED).subquery()
    rows = int(connection.scalar(select(func.count()).select_from(waiting)) or 0)
    has_changes = connection.execute(select(SELECTION_CHANGE.c.id).limit(1)).first() is not None
    return Backlog(rows, None if state is None else state.progressed_at or state.rollups_updated_at, has_changes)


def stalled_after(settings: Settings) -> timedelta:
    """Return how long selections may wait, by who counts them."""
    monitoring = settings.monitoring
    if not monitoring.enabled:
        return BETWEEN_RUNS
    return max(STALLED_AFTER, STALLED_TURNS * timedelta(milliseconds=monitoring.update_interval))
