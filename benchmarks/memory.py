"""Measure the memory of a full rollup update at two sizes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.databases import Kind, forget
from benchmarks.line import Goal, Line, shown
from benchmarks.scene import Scene, address_of, in_own_process

GOAL = Goal(1000.0, at_least=False)
SMALLER = 5


def lines(scene: Scene) -> Iterator[Line]:
    for kind in scene.kinds:
        small = _peak_mb(scene, kind, scene.rows // SMALLER)
        values = tuple(_peak_mb(scene, kind, scene.rows) for _ in range(scene.rounds))
        note = f"with {scene.rows // SMALLER:,} rows: {shown(small)} MB"
        yield Line("peak memory of a whole fold", kind, scene.rows, values, unit="MB", goal=GOAL, note=note)


def _peak_mb(scene: Scene, kind: Kind, rows: int) -> float:
    engine = scene.filled(kind, rows)
    scene.say(f"memory, {kind}, {rows:,} rows")
    forget(engine)
    done = in_own_process("fold_once", address_of(engine))
    if done["rows"] != rows:
        raise RuntimeError(f"folded {done['rows']:,} of {rows:,} rows")
    return float(done["peak_mb"])
