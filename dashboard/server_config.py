"""Server configuration: how the page's server listens, and how long it waits for a request's head."""

from __future__ import annotations

import asyncio

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5
"""How long current responses may take after the server is asked to stop."""


def config_of(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """Return the configuration of a server of the app."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=ImpatientProtocol,
        # It uses our log configuration instead of its own.
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose next request's head does not arrive in time.

    uvicorn closes a connection that is idle between requests, but waits forever for the first request, or for the rest
    of a head: a client that sends a byte now and then could hold all connections.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    _awaiting_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel()
        elif self._awaiting_head is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._awaiting_head = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _cancel(self) -> None:
        if self._awaiting_head is not None:
            self._awaiting_head.cancel()
            self._awaiting_head = None
