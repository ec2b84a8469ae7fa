"""A command's output is written at once, whatever stdout is: under systemd, nohup or a supervisor it is a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROUTEWATCH
from tests.support.databases import migrated_sqlite
from tests.support.environment import clean_environment
from tests.support.waiting import a_free_port


def lines_while_it_runs(*command: str | Path, count: int, home: Path) -> list[str]:
    """Return the first lines on stdout of a process that does not end on its own."""
    process = subprocess.Popen(
        command, env=clean_environment(ROUTEWATCH_HOME=str(home)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            return [process.stdout.readline() for _ in range(count)]
        finally:
            process.kill()


def test_a_command_that_runs_on_has_said_what_it_said(tmp_path: Path) -> None:
    port = str(a_free_port())
    migrated_sqlite(tmp_path)
    assert lines_while_it_runs(ROUTEWATCH, "page", "--port", port, count=1, home=tmp_path) == [
        f"Live page: http://127.0.0.1:{port}\n"
    ]


def test_each_line_leaves_as_it_is_written(tmp_path: Path) -> None:
    code = "from deployments.console import *; write_by_line(); say('one'); say('two'); input()"
    held = subprocess.Popen(
        [sys.executable, "-c", code], env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with held:
        assert held.stdout is not None
        assert [held.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
        assert held.poll() is None
        held.kill()


def test_a_replacement_of_stdout_is_left_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    from deployments.console import say, write_by_line  # noqa: PLC0415

    write_by_line()
    say("kept")
    assert capsys.readouterr().out == "kept\n"
