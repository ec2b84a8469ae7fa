"""What the command line says: results to stdout, complaints and progress to stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

UNCUT = 400
"""Characters in a line of a table that no person reads on a terminal."""

_TAKEN_FOR_A_TERMINAL = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables by which a pipe may be drawn on like a terminal."""


def write_by_line() -> None:
    """Have each line leave this process as soon as it is written, whatever stdout and stderr are.

    Python keeps back eight kilobytes where stdout is a file or a pipe: under systemd, nohup or a supervisor, what a
    command says in the middle of long work would come when it ends.
    """
    for stream in (sys.stdout, sys.stderr):
        # Whoever has put something else in its place decides by itself.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def say(text: str) -> None:
    """One line of result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """One line beside the result."""
    sys.stderr.write(text + "\n")


def complain(text: str) -> None:
    """One line that says what is wrong; what would break it into several is folded."""
    note("routewatch: " + " ".join(text.split()))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """A table on stdout, or the sentence `empty` where there are no rows."""
    if not rows:
        say(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rendered = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        # As Text, a value from data is never read as markup.
        rendered.add_row(*(Text(value) for value in row))
    # Cut to a terminal's width, but whole where a program reads it.
    Console(width=None if sys.stdout.isatty() else UNCUT).print(rendered)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr while work lasts, where that is a terminal; the function takes done and total."""
    if not (sys.stderr.isatty() or _TAKEN_FOR_A_TERMINAL & os.environ.keys()):
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(job, completed=done, total=of)
