"""Supervisor: runs the parts of a service as separate processes, restarts each that dies, and stops all together.

Own code, as supervisor and circus need a configuration file and a control socket, honcho stops everything when
one process ends, and none of them reports when all is up. Across machines use systemd, compose or Kubernetes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

SWEEPS, SWEEP_S = 50, 0.02

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Part:
    """A process that runs as long as the service does."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_quiet: bool = False
    """Whether its stdout is discarded."""


@dataclass(frozen=True)
class Patience:
    """The supervisor's waiting times in seconds.

    After each consecutive death it waits the next of `pauses_s`; a death after the last ends the service. A part that
    ran for `steady_s` starts again at the first pause. A part has `stop_s` to stop before it is killed.
    """

    pauses_s: tuple[float, ...] = (1.0, 2.0, 5.0, 15.0, 30.0)
    steady_s: float = 120.0
    stop_s: float = 30.0


LogLine = Callable[[str], None]


def supervise(
    parts: Sequence[Part], when_started: Callable[[], Awaitable[None]], log: LogLine, patience: Patience | None = None
) -> int:
    """Run the parts until SIGINT, SIGTERM or SIGHUP, or until one keeps dying; return the exit status, 0 or 1.

    `when_started` runs beside them from the first start on; its exceptions end the service and are re-raised.
    `log` gets a line for each death. Parts stop in reverse order, and none of their processes is left. A second
    signal while they stop kills the rest immediately.
    """
    return asyncio.run(_Supervisor(log, patience or Patience()).run(parts, when_started))


# ----------------------------------------------------------------------------------------------------------------------


class _Supervisor:
    def __init__(self, log: LogLine, patience: Patience) -> None:
        self._log = log
        self._patience = patience
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stop_requested = asyncio.Event()
        self._hurried = asyncio.Event()

    async def run(self, parts: Sequence[Part], when_started: Callable[[], Awaitable[None]]) -> int:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        keepers = [asyncio.create_task(self._keep(part), name=part.name) for part in parts]
        greeting = asyncio.ensure_future(when_started())
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        try:
            waited = {stop_requested, greeting, *keepers}
            while True:
                done, waited = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if greeting in done:
                    greeting.result()
                if done - {greeting}:
                    break
        finally:
            for task in (stop_requested, greeting, *keepers):
                task.cancel()
            await asyncio.gather(stop_requested, greeting, *keepers, return_exceptions=True)
            for part in reversed(parts):
                await self._end(part)
        return 0 if self._stop_requested.is_set() else 1

    def _on_signal(self) -> None:
        (self._hurried if self._stop_requested.is_set() else self._stop_requested).set()

    async def _keep(self, part: Part) -> None:
        """Run a part again and again; return when it has died too often."""
        loop = asyncio.get_running_loop()
        exits = 0
        while True:
            began = loop.time()
            ended = await self._live(part)
            exits = 1 if loop.time() - began >= self._patience.steady_s else exits + 1
            if exits > len(self._patience.pauses_s):
                self._log(f"{part.name} {ended} for the {_nth(exits)} time in a row: stopping everything")
                return
            pause = self._patience.pauses_s[exits - 1]
            self._log(f"{part.name} {ended}; restarting in {pause:g} s")
            await asyncio.sleep(pause)

    async def _live(self, part: Part) -> str:
        """Run a part once and return how it ended."""
        process = await asyncio.create_subprocess_exec(
            *part.command,
            env=part.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL if part.is_quiet else None,
            # Ctrl-C in a terminal reaches only the supervisor, which stops the parts in order.
            start_new_session=True,
        )
        self._running[part.name] = process
        status = await process.wait()
        return f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"

    async def _end(self, part: Part) -> None:
        process = self._running.get(part.name)
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            await self._wait(process)
        await self._sweep(process.pid)
        await process.wait()

    async def _sweep(self, group: int) -> None:
        """Kill the processes that a part left behind; dead ones remain in its group until they are reaped."""
        with suppress(ProcessLookupError, PermissionError):
            for _ in range(SWEEPS):
                os.killpg(group, signal.SIGKILL)
                await asyncio.sleep(SWEEP_S)

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        waits = (asyncio.create_task(process.wait()), asyncio.create_task(self._hurried.wait()))
        await asyncio.wait(waits, timeout=self._patience.stop_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()


def _nth(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"
