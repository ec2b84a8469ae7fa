"""A home that is not writable, or full, is reported with what to do."""

from __future__ import annotations

from pathlib import Path

from tasks.health.check import CheckState
from tests.support.health import found, of


def test_a_home_that_is_not_writable_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert found("home", of(tmp_path)).state is CheckState.OK
    assert found("home", of(tmp_path / "new")).remedy == "`routewatch init` makes it"
    assert "is a file" in found("home", of(tmp_path / "file" / "home")).found
    # Not even root can write there.
    barred = found("home", of(Path("/proc/routewatch")))
    assert (barred.state, "the right to write there" in barred.remedy) == (CheckState.FAILED, True)


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    full = found("disk space", of(Path("/proc/routewatch")))
    assert (full.state, full.remedy.startswith("make room")) == (CheckState.FAILED, True)
    assert found("disk space", of(tmp_path)).state in (CheckState.OK, CheckState.WARNING)
