"""Counts of what was not accepted are kept as long as reports can be made of their time."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select

from models.database import reading, writing
from models.documents import IntakePart
from models.period import Level, Period, floor_to
from routewatch.quarantine import INTAKE_COUNT, IntakeCounts, IntakeOutcome
from tasks.ingestion.intake import read_intake
from tasks.retention.intake_counts import condense_intake_counts
from tasks.retention.purge import HOURS_KEPT, retain
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections
from tests.support.rollups import NOW, UTC_SETTINGS, traffic

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def reject_each_hour(engine: Engine, start: datetime, hours: int) -> None:
    with writing(engine) as connection:
        for entrance in ("http", "import:abc", "import:def"):
            counts = IntakeCounts(entrance)
            for number in range(hours):
                counts.add(IntakeOutcome.REJECTED, "timestamp is missing", start + number * HOUR, rows=2, errors=1)
            counts.write(connection)


def intake(engine: Engine, period: Period) -> IntakePart:
    with reading(engine) as connection:
        return read_intake(connection, period)


def rows(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(select(func.count()).select_from(INTAKE_COUNT)) or 0)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati", "Europe/Berlin"])
def test_days_keep_their_counts_and_hours_go(sqlite_engine: Engine, zone: str) -> None:
    """Also where a day begins at half past an hour, or has 25 hours."""
    first = floor_to(Level.DAY, datetime(2026, 10, 24, 12, tzinfo=ZoneInfo(zone)), zone)
    until = floor_to(Level.DAY, first + 4 * DAY + 2 * HOUR, zone)
    reject_each_hour(sqlite_engine, first + HOUR / 2, int((until - first) / HOUR) + 24)
    days = [first]
    while days[-1] < until:
        days.append(floor_to(Level.DAY, days[-1] + 26 * HOUR, zone))
    periods = [Period(start, end, zone) for start, end in pairwise(days)]
    sums = 3 * 2 * int((until - first) / HOUR)
    for _ in range(2):
        with writing(sqlite_engine) as connection:
            condense_intake_counts(connection, until, zone)
        found = [intake(sqlite_engine, period) for period in periods]
        assert sum(it.rejected for it in found) == sums
        assert all(it.rejected == 2 * it.rejected_errors for it in found)
        assert rows(sqlite_engine) == 2 * len(periods) + 3 * 24


def test_retention_keeps_hours_as_long_as_those_of_the_rollups(engine: Engine) -> None:
    insert_selections(engine, traffic(10))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    reject_each_hour(engine, MONDAY, 48)
    before = intake(engine, Period(MONDAY, MONDAY + DAY, "UTC"))
    retain(engine, raw_kept=DAY, now=MONDAY + HOURS_KEPT)
    assert rows(engine) == 3 * 48
    retain(engine, raw_kept=DAY, now=MONDAY + DAY + HOURS_KEPT)
    assert rows(engine) == 2 + 3 * 24
    assert intake(engine, Period(MONDAY, MONDAY + DAY, "UTC")) == before
