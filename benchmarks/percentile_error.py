"""Measure how far the percentiles of rollups are from those of all rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.line import Goal, Line
from benchmarks.peers import exact_percentiles
from benchmarks.scene import Scene
from benchmarks.traffic import PERIOD
from models.documents import Filters
from tasks.rollups.query import query_rollups
from tasks.rollups.totals import PERCENTILES, percentiles_by

GOAL = Goal(1.0, at_least=False)


def lines(scene: Scene) -> Iterator[Line]:
    exact = exact_percentiles(scene.parquet())
    for kind in scene.kinds:
        scene.say(f"percentiles, {kind}")
        found = percentiles_by(query_rollups(scene.folded(kind), PERIOD, Filters()).parts, "model_id")
        errors = [
            abs((found[model,][name] or 0.0) / value - 1) * 100
            for model, values in exact.items()
            for name, value in zip(PERCENTILES, values, strict=True)
        ]
        name = "largest error of p50, p95 and p99 of any model"
        yield Line(name, kind, scene.rows, (max(errors),), unit="%", goal=GOAL)
