"""Where a task's words go: to the run's log in Prefect, or to the logger `routewatch` where there is no run."""

from __future__ import annotations

import logging
import sys
from typing import Any


def logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The logger of the run that this is called in, if any."""
    if "prefect" not in sys.modules:
        # There is no run where nobody has imported Prefect, which takes a second and more.
        return logging.getLogger("routewatch")
    from prefect import get_run_logger  # noqa: PLC0415
    from prefect.exceptions import MissingContextError  # noqa: PLC0415

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("routewatch")
