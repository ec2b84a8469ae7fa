"""Waiting for processes of their own: a port for each, and until something is so."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import stamina

PATIENCE_S = 120


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found: int = listener.getsockname()[1]
        return found


class NotYet(Exception):
    pass


@stamina.retry(on=(NotYet, httpx.HTTPError), attempts=None, timeout=PATIENCE_S, wait_max=0.5)
def until(condition: Any) -> Any:
    if not (found := condition()):
        raise NotYet
    return found
