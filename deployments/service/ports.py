"""Ports and addresses: defaults, and whether a port is free. A light import, for the command line."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to

UI_PORT = 4200
"""Default port of the Prefect server and its UI, unless a flag or PREFECT_SERVER_API_PORT sets another."""
PAGE_PORT = 4280
"""Default port of the live page."""


def is_free(host: str, port: int) -> bool:
    """Return whether no process listens on the port yet."""
    bare = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in bare and bare not in ANYWHERE else socket.AF_INET) as probe:
        return probe.connect_ex((reached_at(bare), port)) != 0


def reached_at(host: str) -> str:
    """Return the host under which this machine reaches a server that listens on `host`."""
    return LOOPBACK if host in ANYWHERE else host


def as_url(host: str, port: int) -> str:
    """Return the http URL of a port; a bare IPv6 address gets brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
