"""A process that forks steps of rollouts on request, because importing everything again takes a second.

It reads lines of JSON: an address, a command with its arguments, and after how many writing statements the process of
that step kills itself (0: never). It writes the result of each: "killed", "done" or "failed", with the error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, event

import tasks.optimizer.verify  # noqa: F401 - imported once, before the forks
from models.attribution import Attribution
from models.database import open_database
from tasks.optimizer import rollout_decisions
from tasks.optimizer.decisions import approve, revert
from tasks.optimizer.verify import verify
from tests.support.rollouts import settings_of

WRITES = ("INSERT", "UPDATE", "DELETE")


def main() -> None:
    for line in sys.stdin:
        wish = json.loads(line)
        child = os.fork()
        if child == 0:
            _step(wish)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            _say("killed")


def _step(wish: dict[str, Any]) -> None:
    writes = 0

    @event.listens_for(Engine, "after_cursor_execute")
    def _count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal writes
        is_write = statement.lstrip().startswith(WRITES)
        writes += is_write
        if is_write and writes == wish["killed_after"]:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        _carry_out(wish)
    except Exception as error:  # noqa: BLE001 - the test is told
        _say(f"failed {error!r}")
    else:
        _say("done")
    os._exit(0)


def _carry_out(wish: dict[str, Any]) -> None:
    engine, now = open_database(wish["address"]), datetime.fromisoformat(wish["now"])
    settings, anna = settings_of(), Attribution("anna", "", now)
    command, number = wish["command"], wish["optimization_id"]
    if command == "approve":
        approve(engine, number, settings, anna)
    elif command == "look":
        verify(engine, settings, now, early=True)
    elif command == "jump":
        rollout_decisions.jump(engine, number, wish["percent"], settings, anna)
    elif command == "abort":
        rollout_decisions.abort(engine, number, anna)
    elif command == "revert":
        revert(engine, number, anna)
    else:
        raise ValueError(command)


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main()
