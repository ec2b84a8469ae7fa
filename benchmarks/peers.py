"""What peers do with the same rows: only read them, or compute the numbers of a 30-day report from them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
from sqlalchemy import Connection, Engine, text
from sqlmodel import Session, select

from models.database import reading
from models.documents import Filters
from models.period import Level, Period
from models.tables import Selection
from routewatch.selection import SELECTION
from tasks.kpis.measures import heatmap, model_breakdown, timeline
from tasks.rollups.aggregate import SELECTION_SCHEMA
from tasks.rollups.query import query_rollups
from tasks.rollups.totals import percentiles_by, total

SHARES = (0.5, 0.95, 0.99)
_SUMS = (
    "count(*) AS n, avg(response_time_ms) AS mean_ms, sum(cost_usd) AS cost_usd, "
    "avg(CASE WHEN error THEN 1.0 ELSE 0.0 END) AS error_rate, "
    "avg(CASE WHEN cache_hit THEN 1.0 WHEN NOT cache_hit THEN 0.0 END) AS hit_rate"
)


@dataclass(frozen=True)
class Numbers:
    """The computed numbers, enough to check that two ways agree."""

    count: int
    p95_by_model: dict[str, float]
    hours: int
    cells: int

    def agrees_with(self, other: Numbers, within: float) -> bool:
        """Return whether counts are equal, and percentiles within a share of each other."""
        return (
            (self.count, self.hours, self.cells) == (other.count, other.hours, other.cells)
            and self.p95_by_model.keys() == other.p95_by_model.keys()
            and all(abs(self.p95_by_model[m] / p95 - 1) <= within for m, p95 in other.p95_by_model.items())
        )


def read_to_arrow(engine: Engine) -> int:
    """Only read, through ADBC, what a rollup update reads; returns the number of rows."""
    with _adbc(engine) as connection, connection.cursor() as cursor:
        if engine.dialect.name == "sqlite":
            # The size that is fastest.
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "65536"})
        cursor.execute(f"SELECT {', '.join(('id', *SELECTION_SCHEMA))} FROM selection")  # noqa: S608 - names of our own
        # Batch by batch, as the full table of 50 million rows would not fit into memory.
        return sum(batch.num_rows for batch in cursor.fetch_record_batch())


def from_rollups(engine: Engine, period: Period) -> Numbers:
    """Compute the numbers as tasks.reporting.compose does."""
    rollup_slice = query_rollups(engine, period, Filters())
    parts, hours = rollup_slice.parts, rollup_slice.hours
    whole, models = total(parts), model_breakdown(parts, {})
    percentiles_by(parts)
    series, cells = timeline(hours, period, Level.HOUR), heatmap(hours, period.zone)
    p95s = {model.model_id: model.p95_response_time or 0.0 for model in models}
    return Numbers(whole.count, p95s, len(series), len(cells))


def by_duckdb(parquet: Path) -> Numbers:
    with duckdb.connect() as connection:
        source = f"read_parquet('{parquet}')"
        three, p95 = f"quantile_cont(response_time_ms, {list(SHARES)})", "quantile_cont(response_time_ms, 0.95)"
        weekly = "isodow(timestamp), hour(timestamp)"

        def rows(query: str) -> list[Any]:
            found: list[Any] = connection.execute(query).fetchall()
            return found

        return _numbers(
            rows(f"SELECT {_SUMS}, {p95} FROM {source}"),  # noqa: S608
            rows(f"SELECT model_id, {_SUMS}, {three} AS p FROM {source} GROUP BY model_id"),  # noqa: S608
            rows(f"SELECT date_trunc('hour', timestamp) AS h, {p95} FROM {source} GROUP BY h ORDER BY h"),  # noqa: S608
            rows(f"SELECT {weekly}, count(*), {p95} FROM {source} GROUP BY {weekly}"),  # noqa: S608
        )


def by_sql(engine: Engine) -> Numbers:
    """Compute them in PostgreSQL, from the raw rows, with memory enough to sort in."""
    p95 = "percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms)"
    three = f"percentile_cont(ARRAY{list(SHARES)}) WITHIN GROUP (ORDER BY response_time_ms)"
    weekly = "extract(isodow FROM timestamp AT TIME ZONE 'UTC'), extract(hour FROM timestamp AT TIME ZONE 'UTC')"
    hour = "date_trunc('hour', timestamp, 'UTC')"
    with reading(engine) as connection:
        connection.execute(text("SET LOCAL work_mem = '512MB'"))
        return _numbers(
            _rows(connection, f"SELECT {_SUMS}, {p95} FROM selection"),  # noqa: S608
            _rows(connection, f"SELECT model_id, {_SUMS}, {three} FROM selection GROUP BY model_id"),  # noqa: S608
            _rows(connection, f"SELECT {hour}, {p95} FROM selection GROUP BY 1 ORDER BY 1"),  # noqa: S608
            _rows(connection, f"SELECT {weekly}, count(*), {p95} FROM selection GROUP BY 1, 2"),  # noqa: S608
        )


def by_pandas(parquet: Path) -> Numbers:
    columns = ["timestamp", "model_id", "response_time_ms", "cost_usd", "cache_hit", "error"]
    frame = pd.read_parquet(parquet, columns=columns)
    frame["hour"], at = frame["timestamp"].dt.floor("h"), frame["timestamp"].dt
    models = frame.groupby("model_id")
    models.agg({"response_time_ms": ["size", "mean"], "cost_usd": "sum", "error": "mean", "cache_hit": "mean"})
    quantiles = models["response_time_ms"].quantile(list(SHARES)).unstack()
    hours = frame.groupby("hour")["response_time_ms"].quantile(0.95)
    cells = frame.groupby([at.weekday, at.hour])["response_time_ms"].agg(["size", lambda times: times.quantile(0.95)])
    frame[["response_time_ms", "error", "cache_hit"]].mean()
    frame["response_time_ms"].quantile(0.95), frame["cost_usd"].sum()
    return Numbers(len(frame), dict(quantiles[0.95]), len(hours), len(cells))


def naively(engine: Engine, rows: int) -> Numbers:
    """Compute them from the first `rows` rows, as objects, into dictionaries of lists, in Python alone."""
    models: dict[str, list[Any]] = defaultdict(list)
    hours: dict[datetime, list[float]] = defaultdict(list)
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    with Session(engine) as session:
        stored: Any = session.exec(select(Selection).order_by(SELECTION.c.id).limit(rows))
        for row in stored:
            models[row.model_id].append(row)
            if row.response_time_ms is not None:
                hours[row.timestamp.replace(minute=0, second=0, microsecond=0)].append(row.response_time_ms)
                cells[row.timestamp.weekday(), row.timestamp.hour].append(row.response_time_ms)
        p95s = {model: _of_model(selections) for model, selections in models.items()}
        for times in (*hours.values(), *cells.values()):
            _at(sorted(times), 0.95)
        _of_model([row for selections in models.values() for row in selections])
        return Numbers(sum(map(len, models.values())), p95s, len(hours), len(cells))


# ----------------------------------------------------------------------------------------------------------------------


def _adbc(engine: Engine) -> Any:
    if engine.dialect.name == "sqlite":
        from adbc_driver_sqlite.dbapi import connect as connect_sqlite  # noqa: PLC0415 - each where it is measured

        return connect_sqlite(f"file:{engine.url.database}?mode=ro")
    from adbc_driver_postgresql.dbapi import connect as connect_postgresql  # noqa: PLC0415

    return connect_postgresql(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))


def _rows(connection: Connection, query: str) -> list[Any]:
    return list(connection.execute(text(query)).fetchall())


def _numbers(whole: list[Any], models: list[Any], hours: list[Any], cells: list[Any]) -> Numbers:
    return Numbers(int(whole[0][0]), {row[0]: row[-1][1] for row in models}, len(hours), len(cells))


def _of_model(selections: list[Any]) -> float:
    """Return all numbers of some selections, given their p95."""
    times = sorted(row.response_time_ms for row in selections if row.response_time_ms is not None)
    hits = [row.cache_hit for row in selections if row.cache_hit is not None]
    _at(times, 0.5), _at(times, 0.99), sum(times) / len(times), sum(hits) / len(hits)
    sum(row.cost_usd or 0.0 for row in selections), sum(row.error for row in selections) / len(selections)
    return _at(times, 0.95)


def _at(ordered: list[float], share: float) -> float:
    rank = share * (len(ordered) - 1)
    low = int(rank)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (rank - low)


def exact_percentiles(parquet: Path) -> dict[str, tuple[float, ...]]:
    """Return p50, p95 and p99 by model, from all rows."""
    time = pl.col("response_time_ms")
    found = (
        pl.scan_parquet(parquet)
        .group_by("model_id")
        .agg(time.quantile(share, "linear").alias(str(share)) for share in SHARES)
        .collect()
    )
    return {row[0]: tuple(row[1:]) for row in found.rows()}
