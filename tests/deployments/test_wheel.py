"""An installation puts two packages beside others', and its command runs in any folder."""

from __future__ import annotations

import json
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.build_hook import FOLDERS
from tests.support.installations import clean_environment, write_modules, write_packages
from tests.support.paths import ROOT


def test_a_wheel_puts_two_packages_beside_others(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"routewatch", "routewatch_server"}


def test_a_wheel_has_every_file_of_ours(wheel: Path) -> None:
    """Templates, migrations, fonts' styles, scripts of the page, schemas and examples as well as modules."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"routewatch_server/{file.relative_to(ROOT)}"
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(expected) > 300
    assert expected <= inside
    for name in ("reports/templates/report.html.j2", "models/migrations/script.py.mako", "dashboard/static/live.js",
                 "deployments/logging.yml", "docs/schemas/cost.schema.json", "examples/settings.json"):  # fmt: skip
        assert f"routewatch_server/{name}" in inside


@pytest.mark.slow
def test_the_command_runs_in_a_folder_of_names_like_ours(wheel_python: Path, tmp_path: Path) -> None:
    """And with PYTHONPATH set to another one."""
    others = tmp_path / "others"
    others.mkdir()
    write_modules(tmp_path)
    write_packages(others)
    environment = clean_environment({"PYTHONPATH": str(others)})

    def call(*words: str) -> str:
        done = subprocess.run(
            [wheel_python.with_name("routewatch"), *words], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    at = datetime.now(UTC) - timedelta(hours=3)
    lines = [{"timestamp": (at + timedelta(minutes=number)).isoformat(), "model_id": "m", "response_time_ms": 100}
             for number in range(60)]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert "Usage: routewatch" in call("--help")
    call("init")
    assert (tmp_path / "var" / "routewatch.db").is_file()
    assert "60 added" in call("import", "log.jsonl")
    assert json.loads(call("report", "performance", "--last", "24h", "--format", "json"))["template"] == "performance"


@pytest.mark.slow
def test_its_processes_find_our_modules_before_any_of_their_names(wheel_python: Path, tmp_path: Path) -> None:
    write_modules(tmp_path)
    code = """
import subprocess, sys
from routewatch_server import use_own_folders
use_own_folders()
use_own_folders()
import tasks
# As Prefect does it when it imports a flow.
first = "import os, sys; sys.path.insert(0, os.getcwd()); import models; print(models.__file__, *sys.path[1:4])"
child = [sys.executable, "-c", first]
grandchild = [sys.executable, "-m", "deployments.service.processes"]
print(subprocess.run(child, capture_output=True, text=True, check=True).stdout)
print(subprocess.run(grandchild, capture_output=True, text=True, check=False).stderr)
"""
    (tmp_path / "asks.py").write_text(code)
    done = subprocess.run(
        [wheel_python, "asks.py"], cwd=tmp_path, env=clean_environment({"PYTHONPATH": "/others"}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    [folder] = wheel_python.parents[1].glob("lib/python*/site-packages/routewatch_server")
    assert done.stdout.startswith(f"{folder}/models/__init__.py {folder}/startup {folder} /others\n")
    # No part was named, which the program reported: ours ran.
    assert "not enough values to unpack" in done.stdout


@pytest.mark.slow
def test_a_process_of_ours_runs_what_its_environment_starts_with_too(wheel_python: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.customized = True")
    code = "import sys; from routewatch_server import use_own_folders; use_own_folders()\n"
    child = "import sys, models; print(customized, sys.modules['sitecustomize'].__file__)"
    (tmp_path / "asks.py").write_text(f"{code}import subprocess; subprocess.run([sys.executable, '-c', {child!r}])")
    done = subprocess.run(
        [wheel_python, "asks.py"], cwd=tmp_path, env=clean_environment({"PYTHONPATH": str(tmp_path)}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"True {tmp_path}/sitecustomize.py\n"


@pytest.mark.slow
def test_a_command_without_its_dependencies_says_so(wheel_python: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['typer'] = None; from routewatch_server import main; main()"
    done = subprocess.run(
        [wheel_python, "-c", code], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("routewatch: typer is not installed: this environment has the router's client alone.")
    assert len(done.stderr.splitlines()) == 1
