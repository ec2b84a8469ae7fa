"""Compare the time of a rollup update with the time of only reading the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sqlalchemy import Engine

from benchmarks.databases import forget
from benchmarks.line import Goal, Line, in_turns, seconds_of
from benchmarks.scene import NOW, ROLLUP_SETTINGS, Scene, address_of, in_own_process
from tasks.rollups.update import update_rollups

GOAL = Goal(0.8)


def lines(scene: Scene) -> Iterator[Line]:
    for kind in scene.kinds:
        engine = scene.filled(kind)
        scene.say(f"fold, {kind}")
        values = in_turns(scene.rounds, partial(_fold, engine, scene.rows), partial(_read, engine, scene.rows))
        yield Line("fold to four levels, against only reading to Arrow", kind, scene.rows, values, goal=GOAL)


def _fold(engine: Engine, rows: int) -> float:
    forget(engine)
    counted: list[int] = []
    seconds = seconds_of(lambda: counted.append(update_rollups(engine, ROLLUP_SETTINGS, now=NOW).rows))
    _expect(counted[0], rows)
    return seconds


def _read(engine: Engine, rows: int) -> float:
    read = in_own_process("only_read", address_of(engine))
    _expect(read["rows"], rows)
    return float(read["seconds"])


def _expect(found: int, rows: int) -> None:
    if found != rows:
        raise RuntimeError(f"{found:,} rows instead of {rows:,}")
