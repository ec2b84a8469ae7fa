"""Installed Routewatch, and folders whose modules have the names of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.support.paths import ROOT

OURS = ("models", "tasks", "reports", "flows", "dashboard", "deployments", "examples", "docs", "tests", "benchmarks")
"""The names of the checkout's folders, none of which an application may import by accident."""
INSIDE = ("client", "selection", "database", "errors")
"""The modules of the package that a router imports: an application may have these too."""


def build_wheel(folder: Path) -> Path:
    """A wheel of the checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, env=clean_environment(), check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Return the interpreter of a new environment that has the wheel, and that borrows its dependencies from this one.

    Only `.pth` files of an environment's own folder are read, so this one's editable Routewatch is not among it.
    """
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    command = [*pip, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, env=clean_environment(), check=True, capture_output=True)
    [installed] = folder.glob("lib/python*/site-packages")
    (installed / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def clean_environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return this process's variables without those that control how a program runs or where it finds modules."""
    own = ("ROUTEWATCH_", "PREFECT_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | (more or {})


def write_modules(folder: Path) -> None:
    """Write modules of an application, which fail if anybody but the application imports them."""
    for name in (*OURS, *INSIDE):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the application has {name} to itself')\n")


def write_packages(folder: Path) -> None:
    """Write packages of an application, which contain nothing that Routewatch needs."""
    for name in (*OURS, *INSIDE):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("class Base: ...\n")
