"""Prefect's temporary server, which a command starts without `serve`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from routewatch_server import COMMAND_PID, FOLDER, STARTUP
from tests.support.commands import ROUTEWATCH, call
from tests.support.environment import clean_environment
from tests.support.waiting import until

PARENT = """
import os, subprocess, sys
os.environ[sys.argv[1]] = str(os.getpid())
print(subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]).pid, flush=True)
sys.stdin.read()
"""


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").parent.parent
    return [int(child) for task in found.glob("*/children") for child in task.read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _ends(pid: int) -> None:
    """Wait until a process has ended; a failed test leaves none behind."""
    try:
        until(lambda: not _is_running(pid))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_temporary_server_ends_with_the_command_that_was_killed(signal_number: int) -> None:
    """Also when the signal leaves the command no time to stop it."""
    variables = {
        "PREFECT__SERVER_EPHEMERAL": "1", "PYTHONPATH": os.pathsep.join((str(STARTUP), str(FOLDER))),
    }  # fmt: skip
    command = (sys.executable, "-c", PARENT, COMMAND_PID)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment(**variables), text=True
    ) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert parent.stdout.readline() == "up\n"
        assert _is_running(server)
        parent.send_signal(signal_number)
        _ends(server)


@pytest.mark.slow
def test_a_killed_run_of_a_flow_leaves_no_prefect_server(tmp_path: Path) -> None:
    call(tmp_path, "init")
    environment = clean_environment(ROUTEWATCH_HOME=str(tmp_path), HOME=str(tmp_path))
    with subprocess.Popen(
        [str(ROUTEWATCH), "run", "hourly"], env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:  # fmt: skip

        def servers() -> list[int]:
            return [it for it in _children(command.pid) if b"uvicorn" in Path(f"/proc/{it}/cmdline").read_bytes()]

        (server,) = until(servers)
        command.kill()
        _ends(server)
