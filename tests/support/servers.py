"""Real servers on the loopback for the tests of delivery: SMTP and HTTP, with configured answers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

HOST = "127.0.0.1"


def _knows(_server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
    return AuthResult(handled=False, success=(login.login, login.password) == (b"ops", b"right"))


LOGIN: dict[str, Any] = {"auth_required": True, "auth_require_tls": False, "authenticator": _knows}
"""Makes a `mailbox` require a login: user ops with the right password."""


@dataclass
class Mailbox:
    """Answers each message with the next of `answers`, the last one again and again.

    `says` has the answers to the commands before it: MAIL and RCPT.
    """

    port: int = 0
    says: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=lambda: ["250 kept"])
    refuses: set[str] = field(default_factory=set)
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802 - the server's name
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.mail_from, envelope.mail_options = address, options
        return self.says.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address in self.refuses:
            return "550 no such mailbox"
        if "RCPT" in self.says:
            return self.says["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang up":
            self.messages.append((envelope.rcpt_tos[0], envelope.content))
            server.transport.close()
            return "250 never heard"
        if answer.startswith("250"):
            self.messages.append((envelope.rcpt_tos[0], envelope.content))
        return answer


@dataclass
class Hook:
    """Answers each POST with the next of `answers` (status, headers), the last one again and again."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    holds_until: Event | None = None
    """The event that it waits for before it answers anything."""
    signals: tuple[int, Event] | None = None
    """After how many requests it sets which event."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"


@contextmanager
def mailbox(**options: Any) -> Iterator[Mailbox]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
    box = Mailbox(port)
    controller = Controller(box, hostname=HOST, port=port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@contextmanager
def hook() -> Iterator[Hook]:
    target = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            target.requests.append((dict(self.headers.items()), body))
            if target.signals is not None and len(target.requests) >= target.signals[0]:
                target.signals[1].set()
            if target.holds_until is not None:
                target.holds_until.wait()
            status, headers = target.answers.pop(0) if len(target.answers) > 1 else target.answers[0]
            self.send_response(status)
            for name, value in ({"content-length": "0"} | headers).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    target.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield target
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(serve: Callable[[socket.socket, Event], object]) -> Iterator[int]:
    """Run a server that handles each connection with the given function; return its port."""
    over = Event()

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            Thread(target=handle, args=(line,), daemon=True).start()

    def handle(line: socket.socket) -> None:
        with line:
            try:
                serve(line, over)
            except OSError:
                return

    with socket.create_server((HOST, 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
