"""Compare computing the numbers of a 30-day report from rollups with computing them from raw rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.databases import Kind
from benchmarks.line import Goal, Line, in_turns, seconds_of
from benchmarks.peers import Numbers, by_duckdb, by_pandas, by_sql, from_rollups, naively
from benchmarks.scene import Scene
from benchmarks.traffic import PERIOD

WITHIN = 0.01
NAIVE_ROWS = 200_000
"""More would take too long: beyond this the naive way is measured on so many rows, and scaled linearly."""

_5M, _50M = 5_000_000, 50_000_000


@dataclass(frozen=True)
class _Peer:
    """A peer measured on `rows` rows, the database that it runs in or beside, and the goal at each size."""

    name: str
    kind: Kind
    rows: int
    numbers: Callable[[], Numbers]
    goals: dict[int, float]


def lines(scene: Scene) -> Iterator[Line]:
    for peer in _peers(scene):
        if peer.kind not in scene.kinds:
            continue
        engine = scene.folded(peer.kind)
        _agree(scene, peer)
        scene.say(f"report, {peer.kind}, against {peer.name}")
        values = in_turns(
            scene.rounds,
            partial(seconds_of, partial(from_rollups, engine, PERIOD)),
            partial(_scaled, peer.numbers, scene.rows / peer.rows),
        )
        goal = max((size for size in peer.goals if size <= scene.rows), default=None)
        yield Line(
            f"30-day report from rollups, against {peer.name}", peer.kind, scene.rows, values,
            goal=Goal(peer.goals[goal]) if goal else None,
            note=f"peer on {peer.rows:,} rows, scaled" if peer.rows != scene.rows else "",
        )  # fmt: skip


def _peers(scene: Scene) -> Iterator[_Peer]:
    rows, few = scene.rows, min(scene.rows, NAIVE_ROWS)
    duckdb_goals, sql_goals = {_5M: 10.0, _50M: 100.0}, {_5M: 50.0, _50M: 500.0}
    yield _Peer("DuckDB on raw Parquet", "sqlite", rows, lambda: by_duckdb(scene.parquet()), duckdb_goals)
    yield _Peer("pandas on raw Parquet", "sqlite", rows, lambda: by_pandas(scene.parquet()), {})
    yield _Peer("ORM rows into dicts", "sqlite", few, lambda: naively(scene.filled("sqlite", few), few), {})
    yield _Peer("DuckDB on raw Parquet", "postgresql", rows, lambda: by_duckdb(scene.parquet()), duckdb_goals)
    yield _Peer("SQL on raw rows", "postgresql", rows, lambda: by_sql(scene.filled("postgresql")), sql_goals)


def _scaled(work: Callable[[], object], factor: float) -> float:
    return factor * seconds_of(work)


def _agree(scene: Scene, peer: _Peer) -> None:
    """Also warm both up. Raises RuntimeError if the peer's numbers differ from ours on the same rows."""
    scene.say(f"comparing the numbers with those by {peer.name}")
    ours, theirs = from_rollups(scene.folded(peer.kind, peer.rows), PERIOD), peer.numbers()
    if not ours.agrees_with(theirs, WITHIN):
        raise RuntimeError(f"numbers differ from {peer.name}: ours are {ours}, theirs {theirs}")
