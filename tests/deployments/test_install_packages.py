"""What `make setup` and similar targets install: locks that agree, and an installer that shows errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from deployments import install_packages
from tests.support.paths import ROOT

LOCKS = sorted(ROOT.glob("requirements*.lock"))
INSTALLER = ROOT / "deployments" / "install_packages.py"


def pins(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_no_two_locks_want_different_versions() -> None:
    running = pins(ROOT / "requirements.lock")
    assert len(LOCKS) == 5
    for lock in LOCKS:
        other = {name for name, versions in pins(lock).items() if versions != running.get(name, versions)}
        assert other == set(), lock.name


def test_every_pin_has_a_hash_and_no_lock_names_an_index() -> None:
    for lock in LOCKS:
        for pin in re.split(r"\n(?=\S)", lock.read_text().strip()):
            assert "--hash=sha256:" in pin
            assert "://" not in pin


def test_every_dependency_is_in_the_lock_of_those_who_need_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {"requirements.lock": [*project["project"]["dependencies"], *project["dependency-groups"].pop("build")]}
    needed |= {f"requirements-{group}.lock": asked for group, asked in project["dependency-groups"].items()}
    assert set(needed) == {lock.name for lock in LOCKS} == set(install_packages.ABOUT)
    for lock, asked in needed.items():
        names = {re.split(r"[^a-z0-9-]", one.lower())[0] for one in asked if isinstance(one, str)}
        assert names <= pins(ROOT / lock).keys()


def test_running_needs_no_tests() -> None:
    assert not {"pytest", "mypy", "ruff", "duckdb", "zensical", "uv"} & pins(ROOT / "requirements.lock").keys()


def test_prefects_own_deploy_names_the_version_that_is_locked() -> None:
    lines = yaml.safe_load((ROOT / "prefect.yaml").read_text())["prefect-version"]
    assert pins(ROOT / "requirements.lock")["prefect"] == {lines}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment of its own, with pip and nothing else."""
    ctx = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", ctx], check=True)
    return ctx / "bin" / "python"


def wheel(folder: Path, name: str) -> str:
    """An empty package, 1.0; its hash."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return sha256(path.read_bytes()).hexdigest()


def said(python: Path, lock: Path, wheels: Path) -> tuple[int, str]:
    lines = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{wheels} {wheels}/nothing-here", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [python, INSTALLER, lock], env=os.environ | lines, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.slow
def test_it_says_how_many_it_installs_and_that_they_are_there(python: Path, tmp_path: Path) -> None:
    digest = wheel(tmp_path / "wheels", "tiny")
    lock = tmp_path / "tiny.lock"
    lock.write_text(
        f"tiny==1.0 \\\n    --hash=sha256:{digest}\n"
        f"never==1.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:{digest}\n"
    )
    status, lines = said(python, lock, tmp_path / "wheels")
    assert (status, lines.splitlines()[0]) == (0, "Installing 1 package for tiny.lock ...")
    assert re.fullmatch(r"1 package installed in \d+ s[.]", lines.splitlines()[-1])
    assert "is ignored" not in lines
    assert said(python, lock, tmp_path / "wheels") == (0, "Already installed for tiny.lock: 1 package.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pin", "complaint"),
    [("changed==1.0", "DO NOT MATCH THE HASHES"), ("gone==1.0", "No matching distribution")],
    ids=["another-hash", "not-to-be-had"],
)
def test_what_goes_wrong_is_shown(python: Path, tmp_path: Path, pin: str, complaint: str) -> None:
    wheel(tmp_path / "wheels", "changed")
    lock = tmp_path / "wrong.lock"
    lock.write_text(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n")
    status, lines = said(python, lock, tmp_path / "wheels")
    assert status == 1
    assert complaint in lines
    assert "is ignored" not in lines
