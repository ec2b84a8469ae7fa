"""Keep counts of what was not accepted as rollups are kept: by the hour for some time, and by the day for good."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, case, delete, func, select, true

from models.period import Level, floor_to
from routewatch.quarantine import IMPORTED_FILE, INTAKE_COUNT, Entrance, IntakeCounts, IntakeOutcome

_NOON = timedelta(hours=12)
"""Within its day in any zone, also where that begins at half past an hour of UTC."""


def condense_intake_counts(connection: Connection, hours_from: datetime, zone: str) -> int:
    """Add the counts of the hours before `hours_from` up by their day in `zone`; return how many rows that moves."""
    is_file = INTAKE_COUNT.c.entrance.startswith(IMPORTED_FILE, autoescape=True)
    has_files = func.max(case((is_file, 1), else_=0))
    query = select(INTAKE_COUNT.c.hour, has_files).where(INTAKE_COUNT.c.hour < hours_from).group_by(INTAKE_COUNT.c.hour)
    found = [(hour, _noon_of(hour, zone), files) for hour, files in connection.execute(query)]
    moved_rows = 0
    for hour, noon in ((hour, noon) for hour, noon, files in found if files or hour != noon):
        # Files of so long ago need no longer be told apart.
        moved = (INTAKE_COUNT.c.hour == hour) & (is_file if hour == noon else true())
        rows = connection.execute(select(INTAKE_COUNT).where(moved)).all()
        connection.execute(delete(INTAKE_COUNT).where(moved))
        for row in rows:
            counts = IntakeCounts(Entrance.IMPORT if row.entrance.startswith(IMPORTED_FILE) else row.entrance)
            counts.add(IntakeOutcome(row.outcome), row.reason, noon, rows=row.rows, errors=row.errors)
            counts.write(connection)
        moved_rows += len(rows)
    return moved_rows


def _noon_of(hour: datetime, zone: str) -> datetime:
    noon = floor_to(Level.DAY, hour, zone) + _NOON
    return noon.replace(minute=0, second=0, microsecond=0)
