"""The command line, called as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.environment import clean_environment

ROUTEWATCH = Path(sys.executable).with_name("routewatch")


def call(
    home: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROUTEWATCH), *arguments],
        env=clean_environment(ROUTEWATCH_HOME=str(home)) | (env or {}),
        cwd=cwd or home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fault(home: Path, *arguments: str, status: int, env: dict[str, str] | None = None) -> str:
    """The one line on stderr of a call that must fail with `status` and say nothing on stdout."""
    done = call(home, *arguments, env=env)
    assert (done.returncode, done.stdout) == (status, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("routewatch: ")
    return line
