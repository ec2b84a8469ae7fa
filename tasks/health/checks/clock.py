"""Check that the reporting zone and its changes are known, that clocks agree, and that nothing stored is ahead."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import text

from models.database import reaching, reading
from models.errors import DatabaseUnavailable
from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext
from tasks.marks import find_marks_ahead, find_unreadable
from tasks.rollups.checkpoint_bounds import find_checkpoint_ahead

WITNESS = "Europe/Berlin"
"""A zone that changes its clocks."""

OFF_S, FAR_OFF_S = 2.0, 60.0
"""Seconds between two clocks: never reached if synchronised, and enough to put rows into other minutes."""

OLDEST = 2
"""Years after which zone data lack later changes."""


def checks(context: CheckContext) -> list[Check]:
    """Return the checks of the reporting zone with its data, of this machine's clock, and of what is stored by it."""
    return [
        Check("time zone", partial(_zone, context)),
        Check("clock", partial(_clock, context)),
        Check("stored times", partial(_stored_times, context)),
    ]


# ----------------------------------------------------------------------------------------------------------------------


_SET_BACK = "`routewatch serve`, or the next run, sets them back"


def _stored_times(context: CheckContext) -> CheckResult:
    with context.tables() as engine, reading(engine) as connection:
        now = context.clock()
        if unreadable := find_unreadable(connection):
            # No query can compare it with the clock.
            return warning(f"cannot be read as times: {', '.join(unreadable)}", _SET_BACK)
        found = (*find_marks_ahead(connection, now), *find_checkpoint_ahead(connection, now))
    if not found:
        return ok("none that work waits for is ahead of the clock")
    remedy = f"see that this machine's clock is right; {_SET_BACK}"
    return warning(f"ahead of the clock: {'; '.join(map(str, found))}", remedy)


def _zone(context: CheckContext) -> CheckResult:
    zone, now = ZoneInfo(context.settings.timezone), context.clock()
    data, year = _source()
    remedy = (
        "upgrade the system's zone data (Debian: apt-get install tzdata), or set PYTHONTZPATH=\"\" to use the package's"
    )
    winter, summer = (datetime(now.year, month, 15, tzinfo=ZoneInfo(WITNESS)).utcoffset() for month in (1, 7))
    if winter == summer:
        return failed(f"{data} know of no change of the clocks in {WITNESS} in {now.year}", remedy)
    local = now.astimezone(zone)
    change = _next_change(zone, now)
    changes = "does not change within a year" if change is None else f"next changes on {change:%Y-%m-%d}"
    found = f"{context.settings.timezone}, now {local:%H:%M} ({local:%z}), {changes}; {data}"
    if year is not None and year + OLDEST < now.year:
        return warning(f"{found}, which are old", remedy)
    return ok(found)


def _source() -> tuple[str, int | None]:
    """Return the zone data that Python reads, the system's before the package's, and their year, if known."""
    for folder in map(Path, zoneinfo.TZPATH):
        if (folder / WITNESS).exists():
            release = _release(folder)
            year = int(release[:4]) if release[:4].isdigit() else None
            return f"zone data {release or 'of an unknown release'} in {folder}", year
    try:
        package = version("tzdata")
    except PackageNotFoundError:
        return "zone data that cannot be found", None
    return f"zone data of the package tzdata {package}", int(package[:4])


def _release(folder: Path) -> str:
    """Return the release, for example 2026b; empty if the folder does not say."""
    for name in ("tzdata.zi", "+VERSION"):
        path = folder / name
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                return file.readline().replace("# version", "").strip()
    return ""


def _next_change(zone: ZoneInfo, now: datetime) -> datetime | None:
    days = (now + timedelta(days=number) for number in range(1, 367))
    before = now.astimezone(zone).utcoffset()
    return next((day for day in days if day.astimezone(zone).utcoffset() != before), None)


def _clock(context: CheckContext) -> CheckResult:
    try:
        with context.database() as engine:
            if engine.dialect.name == "sqlite":
                raise CheckSkipped("a SQLite file has no clock of its own to compare with")
            with reaching(engine.url), engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                before = context.clock()
                there: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
                after = context.clock()
    except DatabaseUnavailable:
        raise CheckSkipped("the database cannot be used") from None
    # Between query and response.
    ahead_s = (before + (after - before) / 2 - there.astimezone(UTC)).total_seconds()
    found = f"this machine's is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the database server's"
    remedy = "synchronise both machines' clocks (`timedatectl set-ntp true`, or chrony)"
    if abs(ahead_s) >= FAR_OFF_S:
        return failed(found, remedy)
    if abs(ahead_s) >= OFF_S:
        return warning(found, remedy)
    return ok(found)
