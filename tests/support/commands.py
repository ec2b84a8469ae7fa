"""The command line as users call it: within this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from deployments.cli.app import main
from models.context import close_engines
from tests.support.environment import clean_environment

ROUTEWATCH = Path(sys.executable).with_name("routewatch")

Done = subprocess.CompletedProcess[str]


def call(home: Path, *arguments: str, env: dict[str, str] | None = None) -> Done:
    """Return the result of a call, in the home's folder and within this process: an interpreter takes seconds to start.

    What only a process of its own shows is for `call_process`: its imports, its signals, its terminal, its runs on
    a Prefect server.
    """
    with (
        mock.patch.dict(os.environ, clean_environment(ROUTEWATCH_HOME=str(home)) | (env or {}), clear=True),
        mock.patch.object(sys, "argv", [str(ROUTEWATCH), *arguments]),
        chdir(home),
        CliRunner().isolation() as (out, err, _),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            close_engines()
        sys.stdout.flush()
        sys.stderr.flush()
        reported, complained = (stream.getvalue().decode() for stream in (out, err))
    assert isinstance(status, int)
    return Done(arguments, status, reported, complained)


def call_process(home: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Do the same in a process of its own, in `cwd` or in the home's folder."""
    return subprocess.run(
        [str(ROUTEWATCH), *arguments],
        env=clean_environment(ROUTEWATCH_HOME=str(home)) | (env or {}),
        cwd=cwd or home,
        capture_output=True,
        text=True,
        check=False,
    )


def fault(home: Path, *arguments: str, status: int, env: dict[str, str] | None = None) -> str:
    """Return the one line on stderr of a call that must fail with `status` and print nothing on stdout."""
    return the_fault_of(call(home, *arguments, env=env), status)


def the_fault_of(done: Done, status: int) -> str:
    """Return the one line on stderr of a call that must have failed with `status` and printed nothing on stdout."""
    assert (done.returncode, done.stdout) == (status, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("routewatch: ")
    return line
