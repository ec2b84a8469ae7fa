"""The processes of `routewatch serve`: `python -m deployments.service.processes server|timetable|page …`.

Each ends when its supervisor dies, even if the supervisor was killed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def command_of(part: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that starts a part."""
    return (sys.executable, "-m", "deployments.service.processes", part, *arguments)


def main() -> None:
    """Run the part that the command line names; a RoutewatchError is one line and exit status 1."""
    from deployments.console import complain, write_by_line
    from models.errors import RoutewatchError

    _end_with_parent()
    write_by_line()
    parts: dict[str, Callable[..., None]] = {"server": _server, "timetable": _scheduler, "page": _page}
    _, part, *arguments = sys.argv
    try:
        parts[part](*arguments)
    except RoutewatchError as error:
        complain(str(error))
        sys.exit(error.exit_status)


def _server(host: str, port: str) -> None:
    arguments = ("-m", "prefect", "server", "start", "--host", host, "--port", port)
    os.execv(sys.executable, (sys.executable, *arguments))  # noqa: S606 - no shell in it


def _scheduler() -> None:
    from deployments.service.scheduler import run_scheduler
    from models.context import load_context

    run_scheduler(load_context())


def _page(host: str, port: str, reach: str) -> None:
    from deployments.service.page_server import page_server
    from models.context import load_context

    page_server(load_context(), host, int(port), is_proxied=reach == "proxied").run()


def _end_with_parent() -> None:
    """Linux only: elsewhere a part whose supervisor was killed must be stopped by hand."""
    import ctypes
    import signal
    from contextlib import suppress

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
