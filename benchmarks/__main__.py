"""Measure ratios against peers in turns on the same rows in one run: `make bench`, or `python -m benchmarks --help`.

The machine may be shared and slow; a ratio of two things measured side by side stays meaningful, a time would not.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from benchmarks import (
    fold_speed,
    import_speed,
    limits,
    memory,
    page,
    pdf,
    percentile_error,
    pull_speed,
    report_speed,
    retention,
    scale_out,
    start_up,
    verdicts,
)
from benchmarks.databases import KINDS, Kind
from benchmarks.line import Line
from benchmarks.machine import as_markdown
from benchmarks.scene import Scene

# Retention deletes its rows, so it is measured last.
PARTS: dict[str, Callable[[Scene], Iterator[Line]]] = {
    "fold": fold_speed.lines,
    "report": report_speed.lines,
    "percentiles": percentile_error.lines,
    "memory": memory.lines,
    "dask": scale_out.lines,
    "import": import_speed.lines,
    "pull": pull_speed.lines,
    "page": page.lines,
    "limits": limits.lines,
    "pdf": pdf.lines,
    "start": start_up.lines,
    "verdicts": verdicts.lines,
    "retention": retention.lines,
}
OF_NO_ROWS = ("pdf", "start", "verdicts")
"""Measured once: these do not depend on the number of rows."""
TIMES = {"k": 1_000, "m": 1_000_000}
FEWEST_ROWS = 200_000
"""With fewer rows, some hours are empty, and peers give other numbers of buckets."""


def main(
    rows: Annotated[list[str] | None, typer.Option(help="How many raw rows, as 1M; may be repeated.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; may be repeated.")] = None,
    on: Annotated[list[str] | None, typer.Option(help="sqlite or postgresql; by default both.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    *,
    lives: Annotated[float, typer.Option(min=0.01, help="Times as many lives as usual, for verdicts.")] = 1.0,
    table: Annotated[Path | None, typer.Option(help="A file for all lines as a Markdown table.")] = None,
) -> None:
    """Measure Routewatch against peers. Exits with 1 if a measurement failed; a missed goal is not a failure."""
    sizes, parts = [_number(size) for size in rows or ("1M", "5M")], _chosen(only, list(PARTS), "--only")
    kinds = cast(tuple[Kind, ...], tuple(_chosen(on, list(KINDS), "--on")))
    lines: list[Line] = []
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        console.status("starting") as status,
        closing(Scene(Path(folder), rounds, status.update, kinds, lives=lives)) as scene,
    ):
        for line in _measured(scene, sizes, parts):
            lines.append(line)
            typer.echo(line.as_text())
            if table is not None:
                # Rewritten after each line: an interrupted long run leaves what it has measured.
                table.write_text(as_markdown(lines, rounds), encoding="utf-8")
    sys.exit(any(line.failure for line in lines))


# ----------------------------------------------------------------------------------------------------------------------


def _measured(scene: Scene, sizes: list[int], parts: list[str]) -> Iterator[Line]:
    for size in sizes:
        scene.rows = size
        for part in parts:
            if part in OF_NO_ROWS and size != sizes[0]:
                continue
            try:
                yield from PARTS[part](scene)
            except Exception as error:  # noqa: BLE001 - a failure is reported, and the others are still measured
                yield Line(part, "", size, failure=f"failed: {type(error).__name__}: {error}".splitlines()[0])
        scene.let_all_go()


def _number(text: str) -> int:
    """The number of rows in 200k or 5M."""
    factor = TIMES.get(text[-1:].lower(), 1)
    digits = text[:-1] if factor > 1 else text
    if not digits.isdecimal() or int(digits) * factor < FEWEST_ROWS:
        raise typer.BadParameter(f"{text!r} is not a number of rows of at least {FEWEST_ROWS:,}, such as 1M")
    return int(digits) * factor


def _chosen(asked: list[str] | None, known: list[str], option: str) -> list[str]:
    """Return the selected names in the order of the known ones."""
    if unknown := [name for name in asked or () if name not in known]:
        raise typer.BadParameter(f"{', '.join(unknown)}: for {option} there are {', '.join(known)}")
    return [name for name in known if not asked or name in asked]


if __name__ == "__main__":
    typer.run(main)
