"""Compare an import, which checks every row, with the database's own loader on rows that are ready for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.databases import Kind, prepare, store
from benchmarks.line import Line, in_turns, seconds_of
from benchmarks.scene import Scene
from benchmarks.traffic import traffic
from tasks.ingestion.column_mapping import Mapping
from tasks.ingestion.file_import import import_file


def lines(scene: Scene) -> Iterator[Line]:
    for kind in scene.kinds:
        scene.parquet()
        scene.say(f"import, {kind}")
        values = in_turns(scene.rounds, partial(_import, scene, kind), partial(_load, scene, kind))
        loader = "executemany" if kind == "sqlite" else "COPY"
        yield Line(f"import of Parquet, against {loader} alone", kind, scene.rows, values)


def _import(scene: Scene, kind: Kind) -> float:
    engine, rejects, added = scene.databases(kind).make(), scene.folder / "rejects", list[int]()

    def work() -> None:
        result = import_file(engine, scene.parquet(), mapping=Mapping(), zone="UTC", rejects_folder=rejects)
        added.append(result.added)

    try:
        seconds = seconds_of(work)
    finally:
        scene.databases(kind).drop(engine)
    if added != [scene.rows]:
        raise RuntimeError(f"imported {added[0]:,} of {scene.rows:,} rows")
    return seconds


def _load(scene: Scene, kind: Kind) -> float:
    engine, seconds = scene.databases(kind).make(), 0.0
    try:
        for frame in traffic(scene.rows):
            prepared = prepare(kind, frame)
            seconds += seconds_of(partial(store, engine, prepared))
    finally:
        scene.databases(kind).drop(engine)
    return seconds
