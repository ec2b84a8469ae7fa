"""Where Routewatch's own folders are, and the command `routewatch`, which alone puts them on the way of imports.

An installation must not put names such as `models` or `tasks` beside the modules of somebody's application. So a wheel
has these folders inside this package, and only processes of Routewatch look for modules there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).absolute().parent

FOLDER = _HERE if (_HERE / "deployments").is_dir() else _HERE.parent
"""The folder that holds `models/`, `tasks/` and the others: this package in a wheel, its parent in a checkout."""

PACKAGES = frozenset({"models", "tasks", "reports", "flows", "dashboard", "deployments", "examples"})

STARTUP = _HERE / "startup"
"""The folder of the module that Python runs at the start of each process which finds it."""

COMMAND_PID = "_ROUTEWATCH_COMMAND_PID"
"""The variable with the id of the process that started this one, or its own once `use_own_folders` has run."""


class OwnPackages(MetaPathFinder):
    """Finds our packages in our folder alone, whatever comes first in `sys.path`.

    Prefect puts the folder that a run is started in before everything else when it imports a flow.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(FOLDER)], target) if fullname in PACKAGES else None


def use_own_folders() -> None:
    """Let this process, and the Python processes that it starts, find Routewatch's modules before any of their names.

    Nor do those processes look for modules in the folder where they happen to run.
    """
    ours = [str(STARTUP), str(FOLDER)]
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place and place not in ours]
    os.environ["PYTHONPATH"] = os.pathsep.join([*ours, *others])
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ[COMMAND_PID] = str(os.getpid())
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages())


def main() -> None:
    """Be the command `routewatch`; exit status 1 where what it needs was not installed with it."""
    use_own_folders()
    try:
        from deployments.cli.app import main as run  # noqa: PLC0415 - it is found from here on
    except ModuleNotFoundError as error:
        sys.exit(
            f"routewatch: {error.name} is not installed: this environment has the router's client alone. "
            "Install Routewatch with its dependencies, best in an environment of its own"
        )
    run()
