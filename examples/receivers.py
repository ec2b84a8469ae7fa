"""The receivers of the demo's deliveries: a mail server and a webhook receiver on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

HOST = "127.0.0.1"


@dataclass
class Inbox:
    """A mail server that stores what it accepts: one .eml a message."""

    port: int
    folder: Path
    mails: list[Path] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - the server's name
        """Store a message."""
        path = self.folder / f"{len(self.mails) + 1:02d}-{envelope.rcpt_tos[0].split('@')[0]}.eml"
        path.write_bytes(envelope.content)
        self.mails.append(path)
        return f"250 stored as {path.name}"


@dataclass
class Hook:
    """A webhook receiver that checks every signature and stores the bodies whose signature is right."""

    port: int
    folder: Path
    bodies: list[Path] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: int = 0


@contextmanager
def mail_receiver(folder: Path) -> Iterator[Inbox]:
    """Run a mail server on a free port, as long as the context lasts."""
    from aiosmtpd.controller import Controller  # noqa: PLC0415 - only a demo needs it

    folder.mkdir(parents=True, exist_ok=True)
    inbox = Inbox(_free_port(), folder)
    controller = Controller(inbox, hostname=HOST, port=inbox.port)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()


@contextmanager
def webhook_receiver(folder: Path, secret: str) -> Iterator[Hook]:
    """Run a webhook receiver on a free port, while the context lasts; it answers 204, or 401 to a wrong signature."""
    folder.mkdir(parents=True, exist_ok=True)
    hook = Hook(0, folder)
    server = ThreadingHTTPServer((HOST, 0), _handler(hook, secret))
    hook.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ----------------------------------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _handler(hook: Hook, secret: str) -> type[BaseHTTPRequestHandler]:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError  # noqa: PLC0415

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                Webhook(secret).verify(body, dict(self.headers.items()))
            except WebhookVerificationError:
                hook.refused += 1
                self._answer(401)
                return
            hook.ids.append(self.headers["webhook-id"])
            path = hook.folder / f"{self.headers['webhook-id']}.json"
            path.write_bytes(body)
            hook.bodies.append(path)
            self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing: the demo prints what arrived."""

    return Handler
