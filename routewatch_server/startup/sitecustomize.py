"""Run by Python at the start of each process that a command of Routewatch starts: it too finds our packages first."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

from routewatch_server import use_own_folders


def run_next() -> None:
    """Run the environment's own module of this name, which this one hides."""
    here = Path(__file__).parent
    spec = PathFinder.find_spec(__name__, [place for place in sys.path if Path(place) != here])
    if spec is not None and spec.loader is not None:
        module = sys.modules[__name__] = module_from_spec(spec)
        spec.loader.exec_module(module)


use_own_folders()
run_next()
