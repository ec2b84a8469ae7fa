"""Waiting for other processes: a port for each, and until a condition holds."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

PATIENCE_S = 60.0
"""The timeout for a condition on a quiet machine."""
START_S = 0.03
"""How long an interpreter takes to start and to end there."""
POLL_S = 0.05

T = TypeVar("T")


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found: int = listener.getsockname()[1]
        return found


class NotYet(AssertionError):
    pass


def slowness() -> float:
    """Return how many times as long as on a quiet machine a process takes here and now; at least 1."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return max(1.0, (time.monotonic() - began) / START_S)


def until(condition: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return what the condition gives once that is true; a server that does not answer yet is waited for too.

    Waits `patience_s` times as long as this machine is slow just now. Raises NotYet.
    """
    began, deadline_s = time.monotonic(), None
    while True:
        try:
            if found := condition():
                return found
            reason = "it is not so"
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}"
        waited_s = time.monotonic() - began
        if deadline_s is None or waited_s >= deadline_s:
            # Measured again at the end: a machine may have become busy meanwhile.
            deadline_s = max(deadline_s or 0.0, patience_s * slowness())
            if waited_s >= deadline_s:
                raise NotYet(f"{reason} after {waited_s:.0f} s")
        time.sleep(POLL_S)


def status_of(process: subprocess.Popen[Any]) -> int:
    """Return the status that a process ends with, once it has ended. Raises NotYet."""
    until(lambda: process.poll() is not None)
    return int(process.returncode)
