"""`routewatch worker`: a Prefect worker whose runs find the flows, wherever Routewatch is installed."""

from __future__ import annotations

import os
import sys

from models.errors import UsageError


def check_server_is_named(otherwise: str) -> None:
    """Raise UsageError if PREFECT_API_URL is not set; `otherwise` names the alternative that needs no server."""
    if "PREFECT_API_URL" not in os.environ:
        raise UsageError(f"no Prefect server is configured: set PREFECT_API_URL=http://host:4200/api ({otherwise})")


def start_worker(pool: str, limit: int | None) -> None:
    """Become the worker: its own process, so that signals reach it. Raises UsageError if no server is configured."""
    check_server_is_named("`routewatch serve` works without a worker")
    limited = [] if limit is None else ["--limit", str(limit)]
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, *limited]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell in it
