"""Store a batch of a source after validation and imputation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection

from models.clock import true_now
from models.database import insert_into
from models.schema import OVERHEAD as OVERHEAD_TABLE
from models.settings import ComplexityRule
from routewatch.selection import LARGEST_AMOUNT, TEXT_LENGTH
from tasks.ingestion.column_mapping import REQUIRED, SELECTION_COLUMNS, ColumnSource
from tasks.ingestion.complexity_rule import derive_complexity
from tasks.ingestion.pricing import price_missing
from tasks.ingestion.pull_stats import PullStats
from tasks.ingestion.retract import retract
from tasks.ingestion.source import AMENDMENTS, OVERHEAD, PRICING, Batch
from tasks.ingestion.upsert import STORED, amend, upsert
from tasks.ingestion.validation import check


@dataclass(frozen=True)
class Prepared:
    """A batch ready to be stored: selections of STORED, overhead of the table's columns, amendments of AMENDMENTS.

    `retracted` are ids of stored rows to delete first.
    """

    selections: pl.DataFrame
    overhead: pl.DataFrame
    amendments: pl.DataFrame
    stats: PullStats
    retracted: Sequence[str] = ()


def prepare(batch: Batch, source: str, rule: ComplexityRule | None) -> Prepared:
    """Validate a batch's rows, impute missing costs and complexities, and count the outcome."""
    stats = PullStats(rejected=Counter(batch.rejected), skipped=Counter(batch.skipped))
    stats.read = batch.selections.height + batch.overhead.height + stats.rejected.total() + stats.skipped.total()
    selections = _selections(batch.selections, rule, stats)
    overhead = _overhead(batch.overhead, source, stats)
    return Prepared(selections, overhead, _amendments(batch.amendments, stats), stats, batch.retracted)


def store(connection: Connection, prepared: Prepared, newest: datetime | None = None) -> PullStats:
    """Store a prepared batch within the caller's transaction; return its completed counts.

    `newest` is the position reached in the source before, or None.
    """
    stats, rows = prepared.stats, prepared.selections
    retract(connection, prepared.retracted)
    done = upsert(connection, rows, newest)
    stats.added, stats.changed = done.added, done.changed
    # Repeated rows were counted as unchanged during preparation.
    stats.unchanged += rows.height - done.added - done.changed
    stats.late, stats.latest_by = done.late, done.latest_by
    stats.amended = amend(connection, prepared.amendments, AMENDMENTS[1:])
    _store_overhead(connection, prepared.overhead)
    return stats


# ----------------------------------------------------------------------------------------------------------------------


def _selections(selections: pl.DataFrame, rule: ComplexityRule | None, stats: PullStats) -> pl.DataFrame:
    if selections.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(STORED, pl.String))
    selections = _with(selections, (*REQUIRED, "request_id"))
    sources = {name: ColumnSource(column=name) for name in SELECTION_COLUMNS if name in selections.columns}
    checked = check(selections, list(range(selections.height)), sources, "UTC")
    _count_rejected(checked.bad, stats)
    good = checked.good.filter(pl.col("request_id").is_not_null())
    if good.height < checked.good.height:
        # Without an id it would be a new selection at each pull.
        stats.rejected["request_id is missing"] += checked.good.height - good.height
    good = _once_each(good, stats)
    stats.coverage = Counter({name: int(good[name].count()) for name in SELECTION_COLUMNS})
    priced = price_missing(_with_pricing(good, selections))
    stats.priced = int(priced.rows["cost_priced_on"].count())
    stats.unknown_models = Counter(priced.unknown_models)
    derived = derive_complexity(priced.rows, rule)
    stats.complexity_derived = int(derived["complexity_derived"].count())
    times = derived["timestamp"]
    newest = times.filter(times <= true_now()).max()
    stats.newest = newest if isinstance(newest, datetime) else None
    return derived.select(STORED)


def _with(rows: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    missing = [name for name in names if name not in rows.columns]
    return rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)


def _with_pricing(good: pl.DataFrame, selections: pl.DataFrame) -> pl.DataFrame:
    """The other inputs of a price beside the selection's columns, taken from the raw rows by position."""
    kinds = {"provider": pl.String, "cache_read_tokens": pl.Int64, "cache_write_tokens": pl.Int64}
    facts = _with(selections, PRICING).select(pl.col(name).cast(kinds[name], strict=False) for name in PRICING)
    return pl.concat([good, facts[good["line"].to_list()]], how="horizontal")


def _count_rejected(bad: pl.DataFrame, stats: PullStats) -> None:
    for reason, column in bad.select("reason", "column").iter_rows():
        stats.rejected[reason if column in reason else f"{column} {reason}"] += 1


def _once_each(rows: pl.DataFrame, stats: PullStats) -> pl.DataFrame:
    """The last of several rows with the same id: a source that rewrites a row means the new one."""
    once = rows.unique("request_id", keep="last", maintain_order=True)
    stats.unchanged += rows.height - once.height
    return once


def _overhead(rows: pl.DataFrame, source: str, stats: PullStats) -> pl.DataFrame:
    """The valid rows, with missing costs computed."""
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OVERHEAD, pl.String))
    rows = _with(rows, (*OVERHEAD, *PRICING, "cache_hit"))
    cost = pl.col("cost_usd").cast(pl.Float64, strict=False)
    rows = rows.with_columns(
        pl.col("request_id", "kind", "model_id").cast(pl.String).str.slice(0, TEXT_LENGTH),
        pl.col("timestamp").cast(pl.Datetime("us", "UTC"), strict=False),
        pl.when(cost.is_between(0, LARGEST_AMOUNT)).then(cost).alias("cost_usd"),
        pl.col("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens").cast(
            pl.Int64, strict=False
        ),
        pl.col("cache_hit").cast(pl.Boolean, strict=False),
    )
    whole = pl.col("request_id").is_not_null() & pl.col("timestamp").is_not_null()
    kept = rows.filter(whole)
    if kept.height < rows.height:
        stats.rejected["overhead without id or time"] += rows.height - kept.height
    stats.overhead = kept.height
    priced = price_missing(kept.unique("request_id", keep="last", maintain_order=True)).rows
    return priced.with_columns(source=pl.lit(source)).select(
        "request_id", "timestamp", "source", "kind", "model_id", "cost_usd", "cost_priced_on"
    )


def _store_overhead(connection: Connection, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        return
    insertion = insert_into(connection, OVERHEAD_TABLE)
    new = {name: insertion.excluded[name] for name in rows.columns if name != "request_id"}
    connection.execute(insertion.on_conflict_do_update(index_elements=["request_id"], set_=new), rows.to_dicts())


def _amendments(rows: pl.DataFrame, stats: PullStats) -> pl.DataFrame:
    """The amendments with an id and values between 0 and 1; the last of each id."""
    if rows.is_empty():
        return rows
    rows = _with(rows, AMENDMENTS).with_columns(pl.col(AMENDMENTS[1:]).cast(pl.Float64, strict=False))
    within = pl.all_horizontal(pl.col(AMENDMENTS[1:]).is_between(0, 1).fill_null(True))
    good = rows.filter(within & pl.col("request_id").is_not_null())
    if good.height < rows.height:
        stats.rejected["a score outside 0 to 1"] += rows.height - good.height
        stats.read += rows.height - good.height
    # Accuracy and satisfaction often arrive separately, each in a row of its own.
    last = good.group_by("request_id", maintain_order=True).agg(pl.col(AMENDMENTS[1:]).drop_nulls().last())
    return last.select(AMENDMENTS)
