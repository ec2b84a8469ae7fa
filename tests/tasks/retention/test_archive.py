"""Rows that retention moved to the archive can be rolled up again, once, and never to less than was known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import ColumnElement, Engine, delete, func, select

from models.database import reading, writing
from models.errors import UnreadableArchive
from models.period import Level, Period
from models.tables import ArmRollup, Rollup, Selection, table_of
from tasks.retention import archive as archive_module
from tasks.retention import purge as retain_module
from tasks.retention.archive import ArchiveRebuilt, archived_days, read_archived, rebuild_from_archive
from tasks.retention.purge import retain
from tasks.rollups.aggregate import ROLLUP_KEYS, roll_up
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.update import rebuild, update_rollups
from tests.support.factories import MONDAY, insert_selections
from tests.support.rollups import NOW, UTC_SETTINGS, stored, stored_arms, traffic

SELECTION, ROLLUP, ARM_ROLLUP = table_of(Selection), table_of(Rollup), table_of(ArmRollup)
DAY = timedelta(days=1)
LATER = MONDAY + 12 * DAY + timedelta(hours=5)
RAW_FROM = MONDAY + 5 * DAY
LEVELS = (Level.HOUR, Level.DAY, Level.WEEK)
RAW = traffic(2_000)
ARCHIVED = RAW.filter(pl.col("timestamp") < RAW_FROM).height


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def retained(engine: Engine, folder: Path, rollup_settings: RollupSettings = UTC_SETTINGS) -> dict[Level, pl.DataFrame]:
    """Nearly ten days, rolled up, of which the first five are archived; returns what is known then."""
    insert_selections(engine, RAW)
    update_rollups(engine, rollup_settings, now=NOW)
    retain(engine, raw_kept=7 * DAY, now=LATER, archive=folder)
    return known(engine)


def known(engine: Engine) -> dict[Level, pl.DataFrame]:
    return {level: stored(engine, level) for level in LEVELS}


def lose(engine: Engine, *where: ColumnElement[bool]) -> None:
    with writing(engine) as connection:
        connection.execute(delete(ROLLUP).where(*where))


def assert_same(found: dict[Level, pl.DataFrame], expected: dict[Level, pl.DataFrame]) -> None:
    for level in LEVELS:
        assert_frame_equal(found[level], expected[level].sort(ROLLUP_KEYS), check_exact=False, rel_tol=1e-9)


def files_of(folder: Path, day: date) -> list[Path]:
    return sorted((folder / f"day={day}").iterdir())


def archived_twice(folder: Path, days: Iterable[date]) -> int:
    """Return how many rows occur in more than one file."""
    ids = pl.concat([pl.read_parquet(path)["id"] for day in days for path in files_of(folder, day)])
    return len(ids) - ids.n_unique()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_lost_rollups_come_back_exactly_from_the_archive_and_the_table(
    engine: Engine, folder: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retain_module, "CHUNK_ROWS", 300)
    rollup_settings = RollupSettings(zone, 2000.0)
    before = retained(engine, folder, rollup_settings)
    arms = stored_arms(engine)
    lose(engine)
    with writing(engine) as connection:
        connection.execute(delete(ARM_ROLLUP))
    rebuild(engine, rollup_settings, period=None, now=NOW)
    result = rebuild_from_archive(engine, folder)
    assert arms.height
    assert_frame_equal(stored_arms(engine), arms, check_exact=False, rel_tol=1e-9)
    assert result.left_days == 0
    assert result.days == len(archived_days(folder))
    assert_same(known(engine), before)


def test_existing_rollups_stay_unchanged(engine: Engine, folder: Path) -> None:
    before = retained(engine, folder)
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(5, ARCHIVED, 0)
    assert_same(known(engine), before)


def test_files_of_before_there_were_arms_are_read(engine: Engine, folder: Path) -> None:
    before, arms = retained(engine, folder), stored_arms(engine)
    day = MONDAY + DAY
    for path in files_of(folder, day.date()):
        pl.read_parquet(path).drop("experiment", "arm", "unit_bucket").write_parquet(path)
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(5, ARCHIVED, 0)
    assert_same(known(engine), before)
    assert_frame_equal(
        stored_arms(engine),
        arms.filter(~pl.col("bucket").is_between(day, day + DAY, closed="left")),
        check_exact=False,
        rel_tol=1e-9,
    )


def test_days_are_those_of_a_zone_that_changed_after_archiving(engine: Engine, folder: Path) -> None:
    """The folders' names are of the old zone, and one day of the new one is partly in the table."""
    retained(engine, folder)
    kolkata = RollupSettings("Asia/Kolkata", 500.0)
    lose(engine)
    update_rollups(engine, kolkata, now=NOW)
    assert rebuild_from_archive(engine, folder).left_days == 0
    assert_same(known(engine), roll_up(RAW, kolkata.zone, kolkata.target_ms))


def test_a_day_with_a_missing_file_is_skipped_and_reported(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retain_module, "CHUNK_ROWS", 100)
    before = retained(engine, folder)
    files_of(folder, date(2026, 9, 9))[0].unlink()
    result = rebuild_from_archive(engine, folder)
    assert (result.days, result.left_days) == (4, 1)
    assert_same(known(engine), before)


def test_a_day_whose_only_file_is_gone_is_skipped_and_reported(engine: Engine, folder: Path) -> None:
    before = retained(engine, folder)
    for path in files_of(folder, date(2026, 9, 9)):
        path.unlink()
    result = rebuild_from_archive(engine, folder)
    assert (result.days, result.left_days) == (4, 1)
    assert_same(known(engine), before)


def test_a_day_that_is_lost_but_for_its_hours_does_not_shrink_either(engine: Engine, folder: Path) -> None:
    before = retained(engine, folder)
    files_of(folder, date(2026, 9, 9))[0].unlink()
    lose(engine, ROLLUP.c.level == Level.DAY.value)
    assert rebuild_from_archive(engine, folder).left_days == 1
    assert_frame_equal(stored(engine, Level.HOUR), before[Level.HOUR])


def test_a_week_is_not_made_of_fewer_rows_than_it_counts(engine: Engine, folder: Path) -> None:
    before = retained(engine, folder)
    for path in files_of(folder, date(2026, 9, 9)):
        path.unlink()
    lose(engine, ROLLUP.c.level.in_([Level.HOUR.value, Level.DAY.value]))
    assert rebuild_from_archive(engine, folder).days == 4
    assert_frame_equal(stored(engine, Level.WEEK), before[Level.WEEK])


def test_a_day_archived_in_part_before_a_crash_counts_once(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_selections(engine, RAW)
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    before, whole_delete = known(engine), retain_module.delete_rows

    def dying(engine: Engine, gone: ColumnElement[bool], ids: list[int]) -> int:
        whole_delete(engine, gone, ids[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(retain_module, "delete_rows", dying)
    with pytest.raises(KeyboardInterrupt):
        retain(engine, raw_kept=7 * DAY, now=LATER, archive=folder)
    monkeypatch.undo()
    # Rows both archived and still in the table count once, too.
    lose(engine, ROLLUP.c.bucket < RAW_FROM)
    rebuild_from_archive(engine, folder)
    assert_same(known(engine), before)
    retain(engine, raw_kept=7 * DAY, now=LATER, archive=folder)
    assert archived_twice(folder, archived_days(folder)) == RAW.filter(pl.col("timestamp") < MONDAY + DAY).height - 10
    lose(engine, ROLLUP.c.bucket < RAW_FROM)
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(5, ARCHIVED, 0)
    rebuild(engine, UTC_SETTINGS, period=None, now=NOW)
    assert_same(known(engine), before)


def test_archiving_again_what_a_crash_left_takes_nothing_out_of_the_archive(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late rows have ids of no file, also where they are the oldest."""
    retained(engine, folder)
    late = traffic(20, start=MONDAY, step=timedelta(minutes=1))
    for rows in (late.head(10), late.tail(10)):
        insert_selections(engine, rows)
        update_rollups(engine, UTC_SETTINGS, now=LATER)
        retain(engine, raw_kept=7 * DAY, now=LATER, archive=folder)
    assert read_archived(folder, MONDAY, RAW_FROM).height == ARCHIVED + 20


def test_late_rows_in_the_table_count_once_they_are_rolled_up(engine: Engine, folder: Path) -> None:
    retained(engine, folder)
    insert_selections(engine, traffic(20))
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(5, ARCHIVED, 0)
    update_rollups(engine, UTC_SETTINGS, now=LATER)
    before = known(engine)
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(5, ARCHIVED + 20, 0)
    assert_same(known(engine), before)
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).where(SELECTION.c.timestamp < RAW_FROM)) == 20


def test_rows_rolled_up_while_a_day_is_read_count_too(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retained(engine, folder)
    read = archive_module.read_archived

    def beside_a_fold(folder: Path, start: datetime, end: datetime) -> pl.DataFrame:
        monkeypatch.undo()
        insert_selections(engine, traffic(20))
        update_rollups(engine, UTC_SETTINGS, now=LATER)
        return read(folder, start, end)

    lose(engine, ROLLUP.c.bucket < RAW_FROM)
    monkeypatch.setattr(archive_module, "read_archived", beside_a_fold)
    assert rebuild_from_archive(engine, folder).rows == ARCHIVED + 20
    assert_same(known(engine), roll_up(pl.concat([RAW, traffic(20)]), "UTC", UTC_SETTINGS.target_ms))


def test_only_the_days_that_the_period_touches_are_rebuilt(engine: Engine, folder: Path) -> None:
    retained(engine, folder)
    lose(engine, ROLLUP.c.level == Level.HOUR.value)
    noon = MONDAY + DAY + timedelta(hours=12)
    assert rebuild_from_archive(engine, folder, Period(noon, noon + timedelta(hours=1))).days == 1
    hours = stored(engine, Level.HOUR)["bucket"]
    assert (hours.min(), hours.max()) == (MONDAY + DAY, MONDAY + DAY + timedelta(hours=23))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99], ids=["empty", "half", "without its end"])
def test_a_file_that_cannot_be_read_is_named(sqlite_engine: Engine, folder: Path, share: float) -> None:
    before = retained(sqlite_engine, folder)
    broken = files_of(folder, date(2026, 9, 7))[0]
    broken.write_bytes(broken.read_bytes()[: int(broken.stat().st_size * share)])
    with pytest.raises(UnreadableArchive, match="Replace it with a copy") as caught:
        rebuild_from_archive(sqlite_engine, folder)
    assert caught.value.path == str(broken)
    assert_same(known(sqlite_engine), before)


def test_a_file_without_the_columns_of_a_selection_is_named(sqlite_engine: Engine, folder: Path) -> None:
    retained(sqlite_engine, folder)
    strange = folder / "day=2026-09-07" / "selections-of-another.parquet"
    pl.DataFrame({"timestamp": ["yesterday"]}).write_parquet(strange)
    with pytest.raises(UnreadableArchive) as caught:
        rebuild_from_archive(sqlite_engine, folder)
    assert caught.value.path == str(strange)


def test_nothing_is_made_where_nothing_was_archived(engine: Engine, folder: Path) -> None:
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(0, 0, 0)
    insert_selections(engine, traffic(10))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    assert rebuild_from_archive(engine, folder) == ArchiveRebuilt(0, 0, 0)
    assert archived_days(folder) == []
