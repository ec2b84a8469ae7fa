"""`routewatch worker`: a Prefect worker whose runs find the flows, wherever Routewatch is installed."""

from __future__ import annotations

import os
import sys

from models.errors import UsageError


def check_server_is_named(otherwise: str) -> None:
    """Raises UsageError where PREFECT_API_URL is not set; `otherwise` tells what needs no server."""
    if "PREFECT_API_URL" not in os.environ:
        raise UsageError(f"no Prefect server is named: set PREFECT_API_URL=http://host:4200/api ({otherwise})")


def start_worker(pool: str, limit: int | None) -> None:
    """Become the worker: its own process, so that signals reach it. Raises UsageError where no server is named."""
    check_server_is_named("`routewatch serve` needs no worker")
    limited = [] if limit is None else ["--limit", str(limit)]
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, *limited]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell in it
