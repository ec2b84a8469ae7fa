"""Each line is a ratio of two medians, measured in turns on the same rows in this run.

The machine may be shared and slow; a ratio of things measured side by side still means something, a time would not.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import delete, insert, select

from models.database import migrate, open_database, reading, writing
from models.document import Filters
from models.period import Period
from models.tables import FoldState, Rollup, Selection, table_of
from tasks.fold import fold
from tasks.gather import gather
from tasks.progress import Basis
from tasks.rollup import SELECTION_SCHEMA
from tasks.totals import percentiles_by, total

ROWS, ROUNDS = 200_000, 3
START = datetime(2026, 9, 7, tzinfo=UTC)
BASIS = Basis("UTC", 2000.0)


def traffic() -> pl.DataFrame:
    """Two weeks of random selections."""
    random = np.random.default_rng(7)
    seconds = np.sort(random.uniform(0, 14 * 86_400, ROWS))
    return pl.DataFrame(
        {
            "timestamp": pl.Series(
                [START + timedelta(seconds=s) for s in seconds], dtype=SELECTION_SCHEMA["timestamp"]
            ),
            "model_id": random.choice(["a", "b", "c", "d"], ROWS),
            "complexity": random.choice(["simple", "moderate", "complex"], ROWS),
            "team": random.choice([f"team {i}" for i in range(8)], ROWS),
            "response_time_ms": random.lognormal(7, 0.8, ROWS),
            "cost_usd": random.lognormal(-4, 1, ROWS),
            "cache_hit": random.random(ROWS) < 0.4,  # noqa: PLR2004
            "error": random.random(ROWS) < 0.02,  # noqa: PLR2004
        }
    )


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(name: str, ours: Callable[[], object], peer: Callable[[], object], before: Callable[[], None]) -> None:
    """Tells how many times as fast as the peer we are, with the spread over the rounds."""
    ratios = []
    for _ in range(ROUNDS):
        before()
        ours_s = seconds_of(ours)
        ratios.append(seconds_of(peer) / ours_s)
    sys.stdout.write(f"{name:<60} {statistics.median(ratios):7.2f} ×  ({min(ratios):.2f} … {max(ratios):.2f})\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"sqlite:///{Path(folder) / 'bench.db'}"
        migrate(address)
        engine, frame = open_database(address), traffic()
        selection = table_of(Selection)
        with writing(engine) as connection:
            connection.execute(insert(selection), frame.to_dicts())

        def read_raw() -> pl.DataFrame:
            with reading(engine) as connection:
                rows = connection.execute(select(*selection.c[tuple(SELECTION_SCHEMA)])).fetchall()
            return pl.DataFrame(rows, schema=SELECTION_SCHEMA, orient="row")

        def forget() -> None:
            with writing(engine) as connection:
                connection.execute(delete(table_of(Rollup)))
                connection.execute(delete(table_of(FoldState)))

        def measure_rollups() -> None:
            hours = gather(engine, Period(START, START + timedelta(days=14)), Filters()).hours
            total(hours)
            percentiles_by(hours, "model_id")

        def measure_raw() -> None:
            raw = read_raw()
            raw.select(pl.len(), pl.col("cost_usd").sum(), pl.col("response_time_ms").mean())
            raw.group_by("model_id").agg(
                pl.col("response_time_ms").quantile(q).alias(str(q)) for q in (0.5, 0.95, 0.99)
            )

        sys.stdout.write(f"{ROWS:,} selections, SQLite, {ROUNDS} rounds; how many times as fast as the peer\n")
        ratio(
            "fold into four levels, against only reading the rows",
            lambda: fold(engine, BASIS, now=START),
            read_raw,
            forget,
        )
        ratio("numbers of 14 days from rollups, against from raw rows", measure_rollups, measure_raw, lambda: None)


main()
