"""Real servers on the loopback that misbehave at random, but the same way for the same message."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.servers import HOST

STALL_S = 2.0
"""Longer than a sender of the tests waits."""


@dataclass
class Unruly:
    """What was accepted, by id, each as often as it came; the misbehaviours, by name."""

    accepted: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _tries: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def __str__(self) -> str:
        return f"{dict(self.done)}; accepted {self.accepted.total()} of {len(self.accepted)} ids"

    def choice(self, key: str, behaviours: dict[str, int]) -> str:
        """Return one of the behaviours by their weights, another at each try."""
        with self._lock:
            self._tries[key] += 1
            rng = random.Random(f"{key}:{self._tries[key]}")  # noqa: S311 - no secret
            chosen = rng.choices(list(behaviours), list(behaviours.values()))[0]
            self.done[chosen] += 1
            return chosen

    def accept(self, key: str) -> bool:
        """Count it; return whether it is new."""
        with self._lock:
            self.accepted[key] += 1
            return self.accepted[key] == 1


_MAIL = {"250": 75, "451": 12, "552": 3, "hang up": 4, "kept, then hang up": 3, "stall": 3}
_HOOK = {
    "204": 70, "500": 6, "429": 5, "410": 2, "stall": 3, "hang up": 5, "kept, then cut off": 5, "kept, then stall": 2,
    "dribble": 2,
}  # fmt: skip


class _UnrulyMail:
    def __init__(self, unruly: Unruly) -> None:
        self.unruly = unruly

    async def handle_RCPT(  # noqa: N802 - the server's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address.startswith("gone"):
            self.unruly.done["550"] += 1
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        message_id = message_from_bytes(envelope.content)["Message-ID"]
        match self.unruly.choice(message_id, _MAIL):
            case "451":
                return "451 4.3.0 try later"
            case "552":
                return "552 5.2.2 mailbox full"
            case "hang up":
                server.transport.close()
                return "451 never heard"
            case "kept, then hang up":
                self.unruly.accept(message_id)
                server.transport.close()
                return "250 never heard"
            case "stall":
                await asyncio.sleep(STALL_S)
                return "451 4.3.0 too late to be heard"
        self.unruly.accept(message_id)
        return "250 2.0.0 kept"


@contextmanager
def unruly_mailbox() -> Iterator[Unruly]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
    unruly = Unruly(port=port)
    controller = Controller(_UnrulyMail(unruly), hostname=HOST, port=port)
    controller.start()
    try:
        yield unruly
    finally:
        controller.stop()


@contextmanager
def unruly_hook() -> Iterator[Unruly]:
    unruly, over = Unruly(), Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            key = self.headers["webhook-id"]
            if unruly.accepted[key]:
                unruly.accept(key)
                self._answer(204)
                return
            chosen = unruly.choice(key, _HOOK)
            if chosen in ("204", "kept, then cut off", "kept, then stall"):
                unruly.accept(key)
            match chosen:
                case "204" | "500" | "410":
                    self._answer(int(chosen))
                case "429":
                    self._answer(429, {"retry-after": "1"})
                case "stall" | "kept, then stall":
                    over.wait(STALL_S)
                case "hang up":
                    # A reset instead of an orderly close.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                case "kept, then cut off":
                    self.wfile.write(b"HTTP/1.1 20")
                case "dribble":
                    for letter in b"HTTP/1.1 500 In" * 3:
                        self.wfile.write(bytes([letter]))
                        over.wait(0.1)

        def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in ({"content-length": "0"} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """The test is about a sender that was killed in the middle."""

    server = Server((HOST, 0), Handler)
    unruly.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield unruly
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
