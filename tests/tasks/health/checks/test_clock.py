"""A wrong clock, and old or wrong zone data, are reported with what to do."""

from __future__ import annotations

import shutil
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from models.database import writing
from models.schema import ALERT_CHECKPOINT
from tasks.health.check import CheckState
from tasks.rollups.update import update_rollups
from tests.support.contexts import context_of
from tests.support.health import check_context_of, found, of
from tests.support.rollups import UTC_SETTINGS


@pytest.fixture
def zone_data(tmp_path: Path) -> Iterator[Path]:
    """A folder of zone data that alone is read."""
    before = zoneinfo.TZPATH
    folder = tmp_path / "zoneinfo"
    (folder / "Europe").mkdir(parents=True)
    zoneinfo.reset_tzpath(to=[str(folder)])
    zoneinfo.ZoneInfo.clear_cache()
    yield folder
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()


def _source_of(name: str) -> Path:
    return Path(str(files("tzdata") / "zoneinfo" / name))


def test_stored_times_ahead_of_the_clock_are_reported(engine: Engine, tmp_path: Path) -> None:
    """The doctor changes nothing: they are still there when it looks again."""
    now = datetime.now(UTC).replace(microsecond=0)
    context = check_context_of(context_of(engine, tmp_path), now)
    assert found("stored times", context).state is CheckState.OK
    with writing(engine) as connection:
        connection.execute(insert(ALERT_CHECKPOINT).values(id=1, evaluated_until=now + timedelta(days=365)))
    for _ in range(2):
        result = found("stored times", context)
        assert result.state is CheckState.WARNING
        assert f"alert_checkpoint.evaluated_until was {now + timedelta(days=365):%Y-%m-%d %H:%M} UTC" in result.found


@pytest.mark.parametrize("column", ["last_selection_at", "minutes_from", "progressed_at", "rollups_updated_at"])
def test_stored_times_that_cannot_be_read_are_reported(sqlite_engine: Engine, tmp_path: Path, column: str) -> None:
    now = datetime.now(UTC)
    update_rollups(sqlite_engine, UTC_SETTINGS, now=now)
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql(f"UPDATE rollup_checkpoint SET {column} = 'soon'")  # noqa: S608 - of this test
    result = found("stored times", check_context_of(context_of(sqlite_engine, tmp_path), now))
    assert (result.state, result.found) == (
        CheckState.WARNING, f"cannot be read as times: rollup_checkpoint.{column}"
    )  # fmt: skip


def test_zone_data_without_clock_changes_are_reported(zone_data: Path, tmp_path: Path) -> None:
    shutil.copy(_source_of("UTC"), zone_data / "Europe" / "Berlin")
    result = found("time zone", of(tmp_path))
    assert result.state is CheckState.FAILED
    assert "know of no change of the clocks in Europe/Berlin" in result.found
    assert "PYTHONTZPATH" in result.remedy


def test_old_zone_data_are_reported(zone_data: Path, tmp_path: Path) -> None:
    shutil.copy(_source_of("Europe/Berlin"), zone_data / "Europe" / "Berlin")
    (zone_data / "tzdata.zi").write_text("# version 2019a\n")
    result = found("time zone", of(tmp_path, {"timezone": "Europe/Berlin"}))
    assert (result.state, "2019a" in result.found) == (CheckState.WARNING, True)
    (zone_data / "tzdata.zi").write_text("# version 2026b\n")
    good = found("time zone", of(tmp_path, {"timezone": "Europe/Berlin"}))
    assert good.state is CheckState.OK
    assert "next changes on 2026-10-25" in good.found


def test_a_wrong_clock_is_reported(postgres_engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(postgres_engine, tmp_path)
    assert found("clock", check_context_of(ctx, datetime.now(UTC))).state is CheckState.OK
    off = found("clock", check_context_of(ctx, datetime.now(UTC) - timedelta(seconds=20)))
    assert (off.state, "behind the database server's" in off.found) == (CheckState.WARNING, True)
    assert "timedatectl" in off.remedy
    assert found("clock", check_context_of(ctx, datetime.now(UTC) + timedelta(hours=1))).state is CheckState.FAILED
