"""The page's server in a process of its own, and clients that send requests at a fixed rate, however slow it is."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
PATIENCE_S = 60.0

LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
"""Connections are closed before the server closes them, which a request under way would report as a failure."""


@dataclass
class Server:
    """A running `routewatch page`."""

    address: str
    pid: int

    @property
    def resident_mb(self) -> float:
        """Return the memory of the process."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@dataclass
class Answers:
    """Response times, counted from when each request was due, and the failed requests."""

    took_ms: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    def at(self, share: float) -> float:
        """Return the time within which a share of the answers came."""
        ordered = sorted(self.took_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def failed(self, how: str) -> None:
        self.failures[how] = self.failures.get(how, 0) + 1


@contextmanager
def page_server(database_url: str, home: Path) -> Iterator[Server]:
    """Start the server on a free port of the loopback, with its monitor. Raises RuntimeError if it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROUTEWATCH_")}
    environment = kept | {"ROUTEWATCH_DATABASE_URL": database_url, "ROUTEWATCH_HOME": str(home)}
    command = [str(Path(sys.executable).parent / "routewatch"), "page", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        try:
            _wait_for(address, process)
            yield Server(address, process.pid)
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)


async def ask_at(
    per_second: float, seconds: float, ask: Callable[[int], Awaitable[httpx.Response]], answers: Answers
) -> None:
    """Send requests at this rate for this long, the next one whether or not the last has been answered.

    Times count from when a request was due, so that a server that blocks everybody is not measured by the few requests
    that it lets through.
    """
    began = time.perf_counter()
    async with asyncio.TaskGroup() as asked:
        for number in range(round(per_second * seconds)):
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.create_task(_ask(ask, number, due, answers))


def client_of(server: Server) -> httpx.AsyncClient:
    """A client that opens as many connections as it needs."""
    return httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_S, limits=LIMITS)


# ----------------------------------------------------------------------------------------------------------------------


async def _ask(ask: Callable[[int], Awaitable[httpx.Response]], number: int, due: float, answers: Answers) -> None:
    try:
        answer = await ask(number)
    except httpx.HTTPError as error:
        answers.failed(type(error).__name__)
        return
    if answer.status_code == httpx.codes.OK:
        answers.took_ms.append((time.perf_counter() - due) * 1_000)
    else:
        answers.failed(str(answer.status_code))


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the page's server did not start within {START_TIMEOUT_S:g} s")
