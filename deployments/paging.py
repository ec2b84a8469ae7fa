"""Serving the live page, by itself or beside the timetable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from deployments.ports import is_free
from deployments.tell import note, say
from models.errors import RoutewatchError
from models.workplace import Workplace

if TYPE_CHECKING:
    from uvicorn import Server

HOST = "127.0.0.1"
DEFAULT_PORT = 4280

STOP_TIMEOUT_S = 15.0


def serve_page(place: Workplace, host: str, port: int) -> None:
    """Run the live page's server until stopped. Raises RoutewatchError where the port is taken."""
    server = _server(place, host, port)
    say(f"Live page: http://{host}:{port}")
    note("Ctrl-C ends it")
    server.run()


@contextmanager
def page_beside(place: Workplace, port: int) -> Iterator[None]:
    """The live page as long as something else is served, where the settings enable it."""
    if not place.settings.monitoring.dashboard.enabled:
        yield
        return
    server = _server(place, HOST, port)
    thread = Thread(target=server.run, name="live page", daemon=True)
    thread.start()
    say(f"Live page: http://{HOST}:{port}")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_TIMEOUT_S)


def _server(place: Workplace, host: str, port: int) -> Server:
    import uvicorn

    from dashboard.app import create_app
    from dashboard.connections import config_of

    if not is_free(host, port):
        raise RoutewatchError(f"port {port} is taken; choose another with --page-port or, of `routewatch page`, --port")
    return uvicorn.Server(config_of(create_app(place, host=host), host, port))
