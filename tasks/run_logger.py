"""Where a task's words go: to the run's log in Prefect, or to the logger `routewatch` where there is no run."""

from __future__ import annotations

import logging
import sys
from threading import RLock
from typing import Any

PREFECT_IMPORTS = RLock()
"""Held by whoever imports parts of Prefect in a function: they import one another in circles, so that two threads
which begin at different ends would get parts that are not made yet.
"""


def logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The logger of the run that this is called in, if any."""
    if "prefect" not in sys.modules:
        # There is no run where nobody has imported Prefect, which takes a second and more.
        return logging.getLogger("routewatch")
    with PREFECT_IMPORTS:
        from prefect import get_run_logger  # noqa: PLC0415
        from prefect.exceptions import MissingContextError  # noqa: PLC0415

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("routewatch")
