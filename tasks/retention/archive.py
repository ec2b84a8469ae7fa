"""Archive raw rows that retention removed as Parquet files, and rebuild rollups from them.

A row is in ARCHIVE/day=YYYY-MM-DD/selections-*.parquet; the day is that of the zone at the time of archiving. Only its
timestamp determines a row's day: the zone may have changed since.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Connection, Engine, Select, func, select

from models.database import reading, writing
from models.errors import UnreadableArchive
from models.period import Level, Period, floor_to, next_start
from models.schema import ROLLUP
from routewatch.selection import SELECTION
from tasks.atomic_files import write_atomically
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up
from tasks.rollups.arm_store import replace_arms
from tasks.rollups.arms import roll_up_arms
from tasks.rollups.checkpoint import Checkpoint, lock_checkpoint, read_known_checkpoint
from tasks.rollups.rebuild import derive
from tasks.rollups.selection_reader import in_one_form
from tasks.rollups.store import between, replace

ARCHIVE_SCHEMA = {
    "id": pl.Int64(), **SELECTION_SCHEMA, "request_id": pl.String(), "error_type": pl.String(),
    "cost_priced_on": pl.Date(), "complexity_derived": pl.Boolean(),
}  # fmt: skip

ROWS_AT_ONCE = 10_000
"""Rows of the table held as Python objects at a time."""


@dataclass(frozen=True)
class ArchiveRebuilt:
    """Days with rebuilt rollups, their rows, and days left unchanged because the archive lacks rows."""

    days: int
    rows: int
    left_days: int


def read_rows(engine: Engine, query: Select[Any]) -> pl.DataFrame:
    """Read selections from the table, with the columns of ARCHIVE_SCHEMA that the query names."""
    schema = {str(column.key): ARCHIVE_SCHEMA[str(column.key)] for column in query.selected_columns}
    with reading(engine) as connection:
        found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
        parts = [pl.DataFrame(rows, schema=schema, orient="row") for rows in found.partitions()]
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def write_archive(folder: Path, rows: pl.DataFrame, zone: str) -> None:
    """Add rows of ARCHIVE_SCHEMA, each to the folder of its day in `zone`."""
    days = rows["timestamp"].dt.convert_time_zone(zone).dt.date()
    for (day,), part in rows.with_columns(_day=days).partition_by("_day", as_dict=True, include_key=False).items():
        content = io.BytesIO()
        part.write_parquet(content, compression="zstd")
        # Named by its content: after a crash the same rows overwrite their own file and never another.
        name = f"selections-{part['id'][0]}-{hashlib.sha256(content.getvalue()).hexdigest()[:12]}.parquet"
        write_atomically(folder / f"day={day}" / name, content.getvalue())


def archived_days(folder: Path) -> list[date]:
    """The days that have a folder, in order; each is of the zone at the time of archiving."""
    return sorted(day for path in folder.glob("day=*") if (day := _day_of(path)) is not None)


def read_archived(folder: Path, start: datetime, end: datetime) -> pl.DataFrame:
    """The id and SELECTION_SCHEMA of the archived rows with start <= timestamp < end, each id once.

    Raises UnreadableArchive.
    """
    within = (pl.col("timestamp") >= start) & (pl.col("timestamp") < end)
    parts = [_read(path, within) for path in _files_near(folder, start, end)]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *parts]).unique("id", keep="last", maintain_order=True)


def rebuild_from_archive(engine: Engine, folder: Path, period: Period | None = None) -> ArchiveRebuilt:
    """Rebuild the rollups of the archived days before `raw_from`, or of those that the period touches.

    A day stays unchanged if archive and table have fewer rows than its rollups count: an archive that was begun later,
    or lost a file, must not reduce a number. Raises UnreadableArchive.
    """
    state, named = _state(engine), set(archived_days(folder))
    if state is None:
        return ArchiveRebuilt(0, 0, 0)
    days = [_rebuild_day(engine, folder, span, state.zone, named) for span in _days(named, state, period)]
    rebuilt = [rows for rows in days if rows]
    return ArchiveRebuilt(len(rebuilt), sum(rebuilt), days.count(None))


# ----------------------------------------------------------------------------------------------------------------------

_ARCHIVE_COLUMNS_READ = ("id", *SELECTION_SCHEMA)
_SCHEMA = pl.Schema({name: ARCHIVE_SCHEMA[name] for name in _ARCHIVE_COLUMNS_READ})
_LATER_COLUMNS = ("experiment", "arm", "unit_bucket")
"""Columns that files of earlier versions do not have: nothing was said in them."""

_Span = tuple[datetime, datetime]


def _day_of(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.name.removeprefix("day="))
    except ValueError:
        return None


def _files_near(folder: Path, start: datetime, end: datetime) -> list[Path]:
    """Files that may hold rows of [start, end), the last written last."""
    # No zone's date differs from UTC's by more than a day.
    first, last = start.astimezone(UTC).date() - timedelta(days=1), end.astimezone(UTC).date() + timedelta(days=1)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    files = [path for day in days for path in (folder / f"day={day}").glob("selections-*.parquet")]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _read(path: Path, within: pl.Expr) -> pl.DataFrame:
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False).filter(within)
        later = [name for name in _LATER_COLUMNS if name not in rows.collect_schema()]
        known = rows.with_columns(pl.lit(None).alias(name) for name in later).select(_ARCHIVE_COLUMNS_READ)
        return known.collect().cast(_SCHEMA)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnreadableArchive(str(path), str(error).strip().partition("\n")[0]) from error


def _state(engine: Engine) -> Checkpoint | None:
    with reading(engine) as connection:
        return read_known_checkpoint(connection)


def _days(named: Iterable[date], state: Checkpoint, period: Period | None) -> Iterator[_Span]:
    """The days of the state's zone that may have archived rows, oldest first."""
    # The dates of two zones differ by at most two days.
    for day in sorted({day + timedelta(days=days_off) for day in named for days_off in range(-2, 3)}):
        start = floor_to(Level.DAY, datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(state.zone)), state.zone)
        end = next_start(Level.DAY, start + timedelta(seconds=1), state.zone)
        is_meant = period is None or (start < period.end and end > period.start)
        if is_meant and state.raw_from is not None and start < state.raw_from:
            yield start, end


def _rebuild_day(engine: Engine, folder: Path, day: _Span, zone: str, named: set[date]) -> int | None:
    """Rebuild a day's rollups; return the number of rows, or None if the day was left unchanged.

    Reading and aggregating hold no lock; if the rollups were updated meanwhile, both are repeated under the lock.
    """
    state = _state(engine)
    if state is None or state.zone != zone:
        return None
    raw, is_archived = _rows_of(engine, folder, day, state.last_id)
    if not is_archived and day[0].astimezone(ZoneInfo(zone)).date() not in named:
        return 0
    fresh = roll_up(raw, state.zone, state.target_ms, minutes_from=state.minutes_from)
    arms = roll_up_arms(raw, state.zone, state.target_ms)
    with writing(engine) as connection:
        locked = lock_checkpoint(connection)
        if locked.zone != zone:
            return None
        if _counted_on(locked) != _counted_on(state):
            raw, _ = _rows_of(engine, folder, day, locked.last_id)
            fresh = roll_up(raw, locked.zone, locked.target_ms, minutes_from=locked.minutes_from)
            arms = roll_up_arms(raw, locked.zone, locked.target_ms)
        if raw.height < max(_counted(connection, level, day) for level in (Level.HOUR, Level.DAY)):
            return None
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            replace(connection, level, day, fresh[level])
        replace_arms(connection, day, arms)
        _derive_week(connection, day, zone)
    return raw.height


def _counted_on(state: Checkpoint) -> tuple[object, ...]:
    return state.last_id, state.settings, state.minutes_from, state.change_batches_processed


def _rows_of(engine: Engine, folder: Path, day: _Span, last_id: int) -> tuple[pl.DataFrame, bool]:
    """The aggregated rows of a day from table and archive, and whether any are in the archive."""
    # The table first: rows that retention moves meanwhile are then found twice instead of not at all.
    in_table = _in_table(engine, day, last_id)
    archived = read_archived(folder, *day)
    # Rows in the table are newer, because they can still be changed.
    both = pl.concat([archived, in_table]).unique("id", keep="last", maintain_order=True)
    return in_one_form(both.drop("id")), not archived.is_empty()


def _in_table(engine: Engine, day: _Span, last_id: int) -> pl.DataFrame:
    at = SELECTION.c.timestamp
    return read_rows(
        engine, select(*SELECTION.c[_ARCHIVE_COLUMNS_READ]).where(at >= day[0], at < day[1], SELECTION.c.id <= last_id)
    )


def _derive_week(connection: Connection, day: _Span, zone: str) -> None:
    """Rebuild the day's week, unless days are missing and the others count fewer rows than it does."""
    start = floor_to(Level.WEEK, day[0], zone)
    week = (start, next_start(Level.WEEK, start + timedelta(seconds=1), zone))
    if _counted(connection, Level.DAY, week) >= _counted(connection, Level.WEEK, week):
        derive(connection, Level.WEEK, [start], zone)


def _counted(connection: Connection, level: Level, span: _Span) -> int:
    query = select(func.coalesce(func.sum(ROLLUP.c["count"]), 0)).where(between(level, *span))
    return int(connection.execute(query).scalar_one())
