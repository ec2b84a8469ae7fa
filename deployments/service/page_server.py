"""Serve the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.console import note, say
from deployments.log_config import use_logs
from deployments.service.ports import ANYWHERE, as_url, is_free
from models.context import AppContext
from models.errors import RoutewatchError

if TYPE_CHECKING:
    from uvicorn import Server


def serve_page(ctx: AppContext, host: str, port: int, *, is_proxied: bool = False) -> None:
    """Run the live page's server until stopped. Raises RoutewatchError if the port is in use."""
    use_logs("INFO")
    server = page_server(ctx, host, port, is_proxied=is_proxied)
    say(f"Live page: {as_url(host, port)}")
    note("Press Ctrl-C to stop")
    server.run()


def page_server(ctx: AppContext, host: str, port: int, *, is_proxied: bool = False) -> Server:
    """Return the live page's server, not yet running.

    Behind a proxy, other machines reach it under another name, whatever it listens on: it then requires tokens.
    Raises RoutewatchError if the port is in use.
    """
    import uvicorn

    from dashboard.app import create_app
    from dashboard.server_config import config_of

    if not is_free(host, port):
        raise RoutewatchError(f"port {port} is in use; choose another with --page-port (`routewatch page`: --port)")
    app = create_app(ctx, host=ANYWHERE[0] if is_proxied else host)
    return uvicorn.Server(config_of(app, host, port))
