"""Ports: whether one is free to listen on."""

from __future__ import annotations

import socket

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens on the port yet."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1" if host in ANYWHERE else host, port)) != 0
