"""Prefect settings for a run in this process, without a separate server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def use_embedded_prefect(home: Path) -> None:
    """Set the variables that the user has not set, before Prefect is first imported.

    Where the user has a Prefect of their own (an address, a home or profiles), runs are recorded there.
    """
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # The command itself prints the outcome; a failure as one line.
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    has_own = {"PREFECT_API_URL", "PREFECT_HOME"} & os.environ.keys() or Path(
        "~/.prefect/profiles.toml"
    ).expanduser().exists()
    if not has_own:
        defaults |= {
            "PREFECT_HOME": str((home / "prefect").absolute()),
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


@contextmanager
def without_heartbeat() -> Iterator[None]:
    """Turn off heartbeats for unmonitored runs: each would wait a second for its heartbeat to end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
