"""The supervisor restarts what dies, stops restarting what dies repeatedly, and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deployments.service.supervisor import Part, Patience, supervise

QUICK = Patience(pauses_s=(0.01, 0.02), steady_s=60.0, stop_s=30.0)

NOTE = "import os, signal, sys, time\nopen(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
WAIT = NOTE + "time.sleep(600)"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAIT
FAIL = NOTE + "sys.exit(3)"
FAIL_ONCE = NOTE + "sys.exit(3) if len(open(sys.argv[1]).readlines()) == 1 else time.sleep(600)"
WITH_CHILD = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {WAIT!r}, sys.argv[1]])\n" + WAIT


def part(name: str, script: str, log: Path) -> Part:
    return Part(name, (sys.executable, "-c", script, str(log)), dict(os.environ))


def lives(log: Path) -> list[int]:
    """The process of each life so far."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" if Path("/proc").exists() else True


def once(condition: Callable[[], object], *acts: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """What is done when the condition holds."""

    async def act() -> None:
        while not condition():
            await asyncio.sleep(0.01)
        for each in acts:
            each()

    return act


def ask_to_end(number: int = signal.SIGTERM) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_a_part_that_dies_is_restarted_and_logged(tmp_path: Path) -> None:
    log, lines = tmp_path / "log", list[str]()
    wait = once(lambda: len(lives(log)) == 2, ask_to_end())
    assert supervise([part("the page", FAIL_ONCE, log)], wait, lines.append, QUICK) == 0
    assert lines == ["the page ended with status 3; restarting in 0.01 s"]
    assert not any(is_alive(pid) for pid in lives(log))


def test_a_killed_part_is_logged_with_its_signal(tmp_path: Path) -> None:
    log, lines = tmp_path / "log", list[str]()

    async def act() -> None:
        await once(lambda: len(lives(log)) == 1)()
        os.kill(lives(log)[0], signal.SIGKILL)
        await once(lambda: len(lives(log)) == 2, ask_to_end())()

    assert supervise([part("the page", WAIT, log)], act, lines.append, QUICK) == 0
    assert lines == ["the page was ended by SIGKILL; restarting in 0.01 s"]


def test_a_part_that_dies_again_and_again_ends_all_with_status_1(tmp_path: Path) -> None:
    other, log, lines = tmp_path / "other", tmp_path / "log", list[str]()
    parts = [part("the server", WAIT, other), part("the page", FAIL, log)]
    assert supervise(parts, once(lambda: False), lines.append, QUICK) == 1
    assert lines[-1] == "the page ended with status 3 for the 3rd time in a row: stopping everything"
    assert len(lives(log)) == 3
    assert not any(is_alive(pid) for pid in lives(other))


def test_a_part_that_lived_long_enough_has_not_died_in_a_row(tmp_path: Path) -> None:
    log, lines = tmp_path / "log", list[str]()
    steady = Patience(pauses_s=(0.01, 0.02), steady_s=0.0, stop_s=30.0)
    assert (
        supervise([part("the page", FAIL, log)], once(lambda: len(lines) >= 5, ask_to_end()), lines.append, steady) == 0
    )
    assert set(lines) == {"the page ended with status 3; restarting in 0.01 s"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_parts_end_the_last_first_and_so_does_what_they_started(tmp_path: Path, number: int) -> None:
    logs = [tmp_path / "first", tmp_path / "last"]
    parts = [part("first", WITH_CHILD, logs[0]), part("last", WITH_CHILD, logs[1])]
    seen = once(lambda: all(len(lives(log)) == 2 for log in logs), ask_to_end(number))
    assert supervise(parts, seen, print, QUICK) == 0
    assert not any(is_alive(pid) for log in logs for pid in lives(log))


def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    hasty = Patience(stop_s=0.2)
    assert supervise([part("stubborn", STUBBORN, log)], once(lambda: lives(log), ask_to_end()), print, hasty) == 0
    assert not is_alive(lives(log)[0])


def test_a_second_signal_waits_for_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen = once(lambda: lives(log), ask_to_end(), ask_to_end())
    assert supervise([part("stubborn", STUBBORN, log)], seen, print, Patience(stop_s=3_600.0)) == 0
    assert not is_alive(lives(log)[0])


def test_what_fails_beside_the_parts_ends_them(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def fails() -> None:
        await once(lambda: lives(log))()
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        supervise([part("the page", WAIT, log)], fails, print, QUICK)
    assert not is_alive(lives(log)[0])
