"""Serving the live page by itself."""

from __future__ import annotations

from deployments.tell import note, say
from models.workplace import Workplace

DEFAULT_PORT = 4280


def serve_page(place: Workplace, host: str, port: int) -> None:
    """Run the live page's server until stopped."""
    import uvicorn

    from dashboard.app import create_app

    say(f"Live page: http://{host}:{port}")
    note("Ctrl-C ends it")
    uvicorn.run(create_app(place, host=host), host=host, port=port, log_level="warning", server_header=False)
