"""Where Routewatch's own folders are, and the command `routewatch`, which alone puts them on the way of imports.

An installation must not put names such as `models` or `tasks` beside the modules of somebody's application. So a wheel
has these folders inside this package, and only processes of Routewatch look for modules there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HERE = Path(__file__).absolute().parent

FOLDER = _HERE if (_HERE / "deployments").is_dir() else _HERE.parent
"""The folder that holds `models/`, `tasks/` and the others: this package in a wheel, its parent in a checkout."""


def use_own_folders() -> None:
    """Let this process, and the Python processes that it starts, find Routewatch's modules before any of their names.

    The folder where a process happens to run is none of its concern, so the processes do not look for modules there.
    """
    folder = str(FOLDER)
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place and place != folder]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *others])
    os.environ["PYTHONSAFEPATH"] = "1"
    sys.path[:] = [folder, *(place for place in sys.path if place != folder)]


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
