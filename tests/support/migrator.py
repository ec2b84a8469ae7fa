"""A process that forks migrations on request, because importing everything again takes a second.

It reads lines of an address and a number of statements, after which that migration waits to be killed (0: never), and
writes the result of each: "waits PID", "done" or "failed".
"""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import Engine, event

from models.database import migrate


def main() -> None:
    for line in sys.stdin:
        address, stops_after = line.split()
        if os.fork() == 0:
            _migrate(address, int(stops_after))
            os._exit(0)


def _migrate(address: str, stops_after: int) -> None:
    statements = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def _count(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == stops_after:
            _say(f"waits {os.getpid()}")
            signal.pause()

    try:
        migrate(address)
    except Exception as error:
        _say(f"failed {error!r}")
        raise
    _say("done")


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main()
