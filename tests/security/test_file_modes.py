"""What Routewatch writes is for its own user alone, or for whom ROUTEWATCH_UMASK leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.database import migrate, open_database, writing
from models.file_modes import make_folder
from tasks.atomic_files import write_atomically
from tasks.health.check import CheckState
from tests.support.commands import call
from tests.support.health import found, of


@pytest.fixture(autouse=True)
def _a_usual_umask() -> Iterator[None]:
    """Of whoever starts a process, which the command changes for itself."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {str(it.relative_to(folder)): f"{it.stat().st_mode & 0o777:o}" for it in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("umask", "file", "directory"), [("", "600", "700"), ("027", "640", "750")])
def test_every_file_and_folder_of_the_command_has_the_mode_that_is_asked_for(
    tmp_path: Path, umask: str, file: str, directory: str
) -> None:
    """The database and the files beside it, imports' rejected rows, reports."""
    home = tmp_path / "new" / "home"
    rows = "timestamp,model,cost\n2026-09-07T08:00:00Z,m,0.1\nno time,m,0.1\n"
    (tmp_path / "in.csv").write_text(rows)
    environment = {"ROUTEWATCH_HOME": str(home), **({"ROUTEWATCH_UMASK": umask} if umask else {})}
    for arguments in (
        ("init",),
        ("import", str(tmp_path / "in.csv")),
        ("report", "performance", "--from", "2026-09-07", "--to", "2026-09-08", "-o", str(home / "out" / "r.html")),
    ):
        call(tmp_path, *arguments, env=environment)
    found = modes(tmp_path / "new")
    assert {"home", "home/routewatch.db", "home/out", "home/out/r.html"} <= found.keys()
    for name, mode in found.items():
        assert mode == (directory if (tmp_path / "new" / name).is_dir() else file), name


def test_the_files_beside_the_database_are_as_closed_as_it_is(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/home/routewatch.db"
    migrate(address)
    engine = open_database(address)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE rollup_checkpoint SET id = id")
        found = modes(tmp_path)
    engine.dispose()
    beside = {"home/routewatch.db-shm", "home/routewatch.db-wal", "home/routewatch.db"}
    assert (found.pop("home"), beside <= found.keys(), set(found.values())) == ("700", True, {"600"})


def test_a_file_that_is_written_anew_is_closed_and_a_folder_of_others_is_left(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "theirs" / "a").write_bytes(b"old")
    write_atomically(tmp_path / "theirs" / "a", b"new")
    make_folder(tmp_path / "theirs" / "b" / "c")
    assert modes(tmp_path) == {"theirs": "755", "theirs/a": "600", "theirs/b": "700", "theirs/b/c": "700"}


def test_a_umask_that_is_none_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    done = call(tmp_path, "init", env={"ROUTEWATCH_UMASK": "rwx"})
    assert (done.returncode, "ROUTEWATCH_UMASK" in done.stderr) == (2, True)


def test_the_doctor_tells_of_a_home_that_others_can_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    result = found("home", of(tmp_path))
    assert (result.state, "(755)" in result.found, "chmod -R go=" in result.remedy) == (CheckState.WARNING, True, True)
    monkeypatch.setenv("ROUTEWATCH_UMASK", "022")
    assert found("home", of(tmp_path)).state is CheckState.OK
