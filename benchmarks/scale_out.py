"""Measure the gain of a second Dask worker when the rollups of all days are rebuilt."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, select

from benchmarks.line import Goal, Line, in_turns, seconds_of
from benchmarks.scene import NOW, ROLLUP_SETTINGS, Scene, address_of
from benchmarks.traffic import PERIOD
from models.database import open_database, reading
from models.tables import Rollup, table_of
from tasks.rollups.aggregate import ROLLUP_COLUMNS
from tasks.rollups.backfill import days_of, rebuild_day, rebuild_weeks
from tasks.rollups.checkpoint import Checkpoint, read_checkpoint

GOAL = Goal(1.7)
NAME = "backfill on Dask, 2 workers against 1"
SUM_TOLERANCE = 1e-9
"""Relative: the order of adding floats up may change a sum by this much."""


def lines(scene: Scene) -> Iterator[Line]:
    if missing := [name for name in ("distributed", "prefect_dask") if find_spec(name) is None]:
        yield Line(NAME, "postgresql", scene.rows, note=f"left out: {' and '.join(missing)} not installed")
        return
    engine = scene.folded("postgresql")
    before = _rollups(engine)
    scene.say("backfill on Dask")
    with _one_thread_each(), _cluster(1) as one, _cluster(2) as two:
        values = in_turns(scene.rounds, lambda: _backfill(engine, two), lambda: _backfill(engine, one))
    _expect_unchanged(before, _rollups(engine))
    yield Line(NAME, "postgresql", scene.rows, values, goal=GOAL, note=f"{os.cpu_count()} cores, PostgreSQL's included")


def rebuild_in_worker(day: datetime, address: str, state: Checkpoint) -> int:
    engine = open_database(address)
    try:
        return rebuild_day(engine, day, state)
    finally:
        engine.dispose()


# ----------------------------------------------------------------------------------------------------------------------


def _backfill(engine: Engine, client: Any) -> float:
    state, days = read_checkpoint(engine, ROLLUP_SETTINGS, NOW), days_of(engine, PERIOD)
    counted: list[int] = []

    def work() -> None:
        # Not pure: Dask would give the last round's results instead of working.
        found = client.map(rebuild_in_worker, days, address=address_of(engine), state=state, pure=False)
        counted.extend(client.gather(found))
        rebuild_weeks(engine, days)

    seconds = seconds_of(work)
    if sum(counted) != state.last_id:
        raise RuntimeError(f"{sum(counted):,} of {state.last_id:,} rows were counted")
    return seconds


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    """Run a client of workers that have imported what they need."""
    distributed = import_module("distributed")
    # Prefect's set-up of logging lets through what Dask logs about every connection.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    cluster = distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    )
    with cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(workers)
        client.run(_warm_up)
        yield client


def _warm_up() -> None:
    """Imports happen when a worker looks this up; a first bit of work does the rest."""
    pl.DataFrame({"a": [1]}).group_by("a").agg(pl.len())


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Start workers whose Polars keeps to one core, so that a second worker is a second core."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["POLARS_MAX_THREADS"]
        if before is not None:
            os.environ["POLARS_MAX_THREADS"] = before


def _rollups(engine: Engine) -> pl.DataFrame:
    columns = table_of(Rollup).c["level", *ROLLUP_COLUMNS]
    with reading(engine) as connection:
        rows = connection.execute(select(*columns)).fetchall()
    frame = pl.DataFrame(rows, schema=[column.name for column in columns], orient="row", infer_schema_length=None)
    return frame.sort("level", "bucket", "model_id", "complexity", "team")


def _expect_unchanged(before: pl.DataFrame, after: pl.DataFrame) -> None:
    try:
        assert_frame_equal(before, after, rel_tol=SUM_TOLERANCE)
    except AssertionError as error:
        raise RuntimeError(f"the backfill changed rollups: {str(error).splitlines()[0]}") from None
