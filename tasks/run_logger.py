"""Where a task's words go: to the run's log in Prefect, or to the logger `routewatch` where there is no run."""

from __future__ import annotations

import logging
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


def logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The logger of the run that this is called in, if any."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("routewatch")
