"""Measure how long a writer waits while retention removes four fifths of the raw rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from benchmarks.line import Goal, Line, shown
from benchmarks.scene import NOW, ROOT, Scene, address_of
from tasks.retention.purge import Retained, retain

GOAL = Goal(200.0, at_least=False)
GOAL_ROWS = 5_000_000
DAYS_KEPT = 6
ALONE_S = 20.0


def lines(scene: Scene) -> Iterator[Line]:
    """Run one round, which deletes the rows."""
    engine = scene.folded("postgresql")
    try:
        yield _line(scene, engine)
    finally:
        scene.let_go("postgresql", scene.rows)


def _line(scene: Scene, engine: Engine) -> Line:
    scene.say("a writer alone")
    alone = _while_writing(engine, lambda: time.sleep(ALONE_S))
    scene.say("retention beside a writer")
    done: list[tuple[Retained, float]] = []
    beside = _while_writing(engine, lambda: done.append(_retain(engine)))
    retained, seconds = done[0]
    note = (
        f"without retention {shown(alone['longest_ms'])} ms in {ALONE_S:g} s ({alone['rows']:,} inserts); "
        f"{retained.selections:,} rows went in {shown(seconds)} s ({beside['rows']:,} inserts)"
    )
    name, goal = "longest pause of a writer during retention", GOAL if scene.rows >= GOAL_ROWS else None
    return Line(name, "postgresql", scene.rows, (beside["longest_ms"],), unit="ms", goal=goal, note=note)


def _retain(engine: Engine) -> tuple[Retained, float]:
    started = time.perf_counter()
    retained = retain(engine, raw_kept=timedelta(days=DAYS_KEPT), now=NOW)
    return retained, time.perf_counter() - started


def _while_writing(engine: Engine, work: Callable[[], object]) -> Any:
    """Do the work while another process inserts; return what that process measured."""
    command = [sys.executable, "-m", "benchmarks.write_on", address_of(engine)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as writer:  # noqa: S603 - our own
        try:
            if writer.stdout is None or not writer.stdout.readline():
                raise RuntimeError("the writer did not begin")
            work()
            reported, _ = writer.communicate()
        finally:
            writer.kill()
    return json.loads(reported)
