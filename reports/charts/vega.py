"""Drawing: Vega-Lite specifications as SVG, in this process or, where others must not wait for it, in one of its own.

The renderer holds Python's lock while it works, so that a server that draws answers nobody meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import IO

import vl_convert

from reports.assets.fonts import register_for_charts


def svg_of(specification: str) -> str:
    """The SVG of a specification, without asking any network for what it may name."""
    with _lock:
        apart = _apart
    if apart is not None:
        try:
            return apart.draw(specification)
        except (OSError, ValueError):
            # Whatever became of the other process, the chart is drawn.
            apart.end()
    return _drawn(specification)


@contextmanager
def own_process() -> Iterator[None]:
    """Have everything drawn in a process of its own meanwhile; it starts when there is something to draw."""
    global _apart, _users  # noqa: PLW0603 - there is one such process, however many servers run in this one
    with _lock:
        _users += 1
        _apart = _apart or _Process()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            over, _apart = (None, _apart) if _users else (_apart, None)
        if over is not None:
            over.end()


# ----------------------------------------------------------------------------------------------------------------------


class _Process:
    """Draws one specification after the other: a line of JSON each, there and back. It ends with its input."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def draw(self, specification: str) -> str:
        """Raises OSError or ValueError where the process did not answer."""
        with self._lock:
            stdin, stdout = self._pipes()
            stdin.write(json.dumps(specification) + "\n")
            stdin.flush()
            return str(json.loads(stdout.readline()))

    def end(self) -> None:
        """Another one is started when there is something to draw."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process is None:
            command, pipe = [sys.executable, "-m", "reports.charts.vega"], subprocess.PIPE
            # In its own session: Ctrl-C is for its parent, and its input ends with the parent.
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)  # noqa: S603 - our own
        assert self._process.stdin is not None  # noqa: S101 - they are pipes
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdin, self._process.stdout


_lock = Lock()
_apart: _Process | None = None
_users = 0


def _drawn(specification: str) -> str:
    register_for_charts()
    return str(vl_convert.vegalite_to_svg(specification, allowed_base_urls=[]))


def _serve() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_drawn(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
