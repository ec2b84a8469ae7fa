"""Console output of the command line: results on stdout, errors and progress on stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from models.redaction import hide
from models.text_direction import kept_to_itself, without_controls

UNCUT = 400
"""Characters in a table's line when stdout is not a terminal."""

_TAKEN_FOR_A_TERMINAL = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables that request terminal output in a pipe."""


def write_by_line() -> None:
    """Flush each line as soon as it is written, whatever stdout and stderr are.

    Python buffers eight kilobytes if stdout is a file or a pipe: under systemd, nohup or a supervisor, the output of a
    long command would only appear when it ends.
    """
    for stream in (sys.stdout, sys.stderr):
        # A replaced stream keeps its own buffering.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def say(text: str) -> None:
    """Print one line of result, without secrets."""
    sys.stdout.write(without_controls(hide(text)) + "\n")


def note(text: str) -> None:
    """Print one line on stderr, beside the result, without secrets."""
    sys.stderr.write(without_controls(hide(text)) + "\n")


def complain(text: str) -> None:
    """Print an error as one line on stderr; line breaks become spaces."""
    note("routewatch: " + " ".join(text.split()))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print a table on stdout, or the sentence `empty` if there are no rows."""
    if not rows:
        say(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rendered = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        # As Text, a value from data is never read as markup.
        rendered.add_row(*(Text(kept_to_itself(hide(value))) for value in row))
    # Cut to a terminal's width, but complete for programs.
    Console(width=None if sys.stdout.isatty() else UNCUT).print(rendered)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr during work, if it is a terminal; the yielded function takes done and total."""
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
