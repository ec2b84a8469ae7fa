"""Store a batch of a source after validation and imputation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl
from sqlalchemy import Connection

from models.clock import true_now
from models.database import insert_into
from models.schema import OVERHEAD as OVERHEAD_TABLE
from models.settings import DEFAULT_INGESTION, ComplexityRule, Ingestion
from routewatch.gate import (
    AHEAD,
    EARLIEST,
    LARGEST_AMOUNT,
    LATEST,
    OUTSIDE_YEARS,
    latest_instant,
    read_identifier,
    read_name,
)
from routewatch.quarantine import IntakeCounts, IntakeOutcome, set_aside
from tasks.ingestion.column_mapping import SELECTION_COLUMNS, ColumnSource
from tasks.ingestion.complexity_rule import derive_complexity
from tasks.ingestion.pricing import price_missing
from tasks.ingestion.pull_stats import PullStats
from tasks.ingestion.retract import retract
from tasks.ingestion.source import AMENDMENTS, OVERHEAD, PRICING, Batch, UnknownField
from tasks.ingestion.upsert import STORED, amend, upsert
from tasks.ingestion.validation import check


class _Rejection(NamedTuple):
    """Rejected rows of a reason, with the time of a row beside them."""

    reason: str
    at: datetime
    rows: int
    errors: int


@dataclass(frozen=True)
class Prepared:
    """A batch ready to be stored: selections of STORED, overhead of the table's columns, amendments of AMENDMENTS.

    `retracted` are ids of stored rows to delete first. `aside` are rows for the quarantine: STORED and `reason`.
    `source` is the entrance. `placed` are those of the rejected rows that stand among others with a time;
    `rejected_errors` counts by reason the failed calls among the remaining ones.
    """

    selections: pl.DataFrame
    overhead: pl.DataFrame
    amendments: pl.DataFrame
    stats: PullStats
    source: str
    retracted: Sequence[str] = ()
    aside: pl.DataFrame = field(default_factory=pl.DataFrame)
    unknown: Sequence[UnknownField] = ()
    rejected_errors: Counter[str] = field(default_factory=Counter)
    placed: Sequence[_Rejection] = ()


def prepare(
    batch: Batch,
    source: str,
    rule: ComplexityRule | None,
    *,
    ingestion: Ingestion = DEFAULT_INGESTION,
    now: datetime | None = None,
) -> Prepared:
    """Sort a batch's rows by the gate, impute missing costs and complexities, and count the outcome.

    `now` is the clock that rows must not be ahead of: by default the true one.
    """
    now = now or datetime.now(UTC)
    stats = PullStats(rejected=Counter(batch.rejected), skipped=Counter(batch.skipped))
    stats.read = batch.selections.height + batch.overhead.height + stats.rejected.total() + stats.skipped.total()
    latest = latest_instant(now, ingestion.clock_skew)
    sorted_rows = _selections(batch.selections, rule, stats, latest)
    unknown = [*batch.unknown, *sorted_rows.unknown]
    stats.unknown = Counter(f"{it.column} {it.reason}" for it in unknown)
    overhead = _overhead(batch.overhead, source, stats, latest)
    return Prepared(
        sorted_rows.selections,
        overhead,
        _amendments(batch.amendments, stats),
        stats,
        source,
        batch.retracted,
        sorted_rows.aside,
        unknown,
        sorted_rows.rejected_errors + Counter(batch.rejected_errors),
        sorted_rows.placed,
    )


def store(
    connection: Connection,
    prepared: Prepared,
    newest: datetime | None = None,
    *,
    ingestion: Ingestion = DEFAULT_INGESTION,
    now: datetime | None = None,
    kept_before: int = 0,
) -> PullStats:
    """Store a prepared batch within the caller's transaction; return its completed counts.

    `newest` is the position reached in the source before, or None. `kept_before` rows of the pull were set aside.
    """
    stats, rows, now = prepared.stats, prepared.selections, now or datetime.now(UTC)
    retract(connection, prepared.retracted)
    aside = [(row, row.pop("reason")) for row in prepared.aside.to_dicts()]
    most_rows = ingestion.maximum_quarantined_rows
    away = set_aside(connection, aside, prepared.source, now, most_rows=most_rows, kept_before=kept_before)
    stats.set_aside, stats.dropped = len(aside) - away.dropped, away.dropped
    _count(connection, prepared, newest, now)
    done = upsert(connection, rows, newest)
    stats.added, stats.changed = done.added, done.changed
    # Repeated rows were counted as unchanged during preparation.
    stats.unchanged += rows.height - done.added - done.changed
    stats.late, stats.latest_by = done.late, done.latest_by
    stats.amended = amend(connection, prepared.amendments, AMENDMENTS[1:])
    _store_overhead(connection, prepared.overhead)
    return stats


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PreparedSelections:
    """A batch's selections as the gate sorted them; `placed` and `rejected_errors` are those of Prepared."""

    selections: pl.DataFrame
    aside: pl.DataFrame
    unknown: Sequence[UnknownField]
    rejected_errors: Counter[str]
    placed: Sequence[_Rejection] = ()


def _selections(
    selections: pl.DataFrame, rule: ComplexityRule | None, stats: PullStats, latest: datetime
) -> _PreparedSelections:
    if selections.is_empty():
        return _PreparedSelections(pl.DataFrame(schema=dict.fromkeys(STORED, pl.String)), pl.DataFrame(), (), Counter())
    selections = _with(selections, ("timestamp", "model_id", "request_id"))
    sources = {name: ColumnSource(column=name) for name in SELECTION_COLUMNS if name in selections.columns}
    checked = check(selections, list(range(selections.height)), sources, "UTC", latest)
    placed, rejected_errors = _rejections(checked.bad, stats)
    has_id = checked.good["request_id"].is_not_null()
    good = checked.good.filter(has_id)
    if good.height < checked.good.height:
        # Without an id it would be a new selection at each pull.
        stats.rejected[_NO_ID] += checked.good.height - good.height
        rejected_errors[_NO_ID] += int(checked.good.filter(~has_id)["error"].sum())
    has_id = checked.aside["request_id"].is_not_null()
    aside = checked.aside.filter(has_id).drop("line")
    stats.rejected[_NO_ID] += checked.aside.height - aside.height
    rejected_errors[_NO_ID] += int(checked.aside.filter(~has_id)["error"].sum())
    stats.rejected = +stats.rejected
    stats.set_aside = aside.height
    unknown = checked.unknown.filter(pl.col("line").is_in(good["line"].implode()))
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
    fields = [UnknownField(*row) for row in unknown.select(UnknownField._fields).iter_rows()]
    return _PreparedSelections(derived.select(STORED), aside, fields, rejected_errors, placed)


def _count(connection: Connection, prepared: Prepared, newest: datetime | None, now: datetime) -> None:
    """Count what was rejected, and what became unknown in rows that were not read before."""
    counts = IntakeCounts(prepared.source)
    remaining = Counter(prepared.stats.rejected)
    for reason, at, rows, errors in prepared.placed:
        remaining[reason] -= rows
        counts.add(IntakeOutcome.REJECTED, reason, min(at, now), rows=rows, errors=errors)
    came_with = min(prepared.stats.newest or now, now)
    for reason, rows in (+remaining).items():
        # Of a score that is not one, the call is counted.
        outcome = IntakeOutcome.UNKNOWN_FIELD if reason.startswith(_SCORES) else IntakeOutcome.REJECTED
        counts.add(outcome, reason, came_with, rows=rows, errors=prepared.rejected_errors[reason])
    for it in prepared.unknown:
        if newest is None or it.at > newest:
            counts.add(IntakeOutcome.UNKNOWN_FIELD, f"{it.column} {it.reason}", it.at, errors=int(it.is_error))
    counts.write(connection)


_NO_ID = "request_id is missing"
_SCORES = ("score ", "a score ")


def _with(rows: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    missing = [name for name in names if name not in rows.columns]
    return rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)


def _with_pricing(good: pl.DataFrame, selections: pl.DataFrame) -> pl.DataFrame:
    """The other inputs of a price beside the selection's columns, taken from the raw rows by position."""
    kinds = {"provider": pl.String, "cache_read_tokens": pl.Int64, "cache_write_tokens": pl.Int64}
    facts = _with(selections, PRICING).select(pl.col(name).cast(kinds[name], strict=False) for name in PRICING)
    return pl.concat([good, facts[good["line"].to_list()]], how="horizontal")


def _rejections(bad: pl.DataFrame, stats: PullStats) -> tuple[list[_Rejection], Counter[str]]:
    """Count rejected rows by reason; return those with a time of a row beside them, and the failed calls of others."""
    why = pl.concat_str("column", pl.lit(" "), "reason").alias("why")
    sums = pl.len().alias("rows"), pl.col("is_error").sum().alias("errors")
    placed, errors = [], Counter[str]()
    for reason, at, rows, failed in bad.group_by(why, pl.col("at").dt.truncate("1h")).agg(*sums).iter_rows():
        stats.rejected[reason] += rows
        if at is None:
            errors[reason] += failed
        else:
            placed.append(_Rejection(reason, at, rows, failed))
    return placed, errors


def _once_each(rows: pl.DataFrame, stats: PullStats) -> pl.DataFrame:
    """The last of several rows with the same id: a source that rewrites a row means the new one."""
    once = rows.unique("request_id", keep="last", maintain_order=True)
    stats.unchanged += rows.height - once.height
    return once


def _overhead(rows: pl.DataFrame, source: str, stats: PullStats, latest: datetime) -> pl.DataFrame:
    """The valid rows, with missing costs computed."""
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OVERHEAD, pl.String))
    rows = _with(rows, (*OVERHEAD, *PRICING, "cache_hit"))
    cost = pl.col("cost_usd").cast(pl.Float64, strict=False)
    rows = rows.with_columns(
        pl.Series("request_id", [_form(read_identifier, text) for text in rows["request_id"]], dtype=pl.String),
        *(
            pl.Series(name, [_form(read_name, text) for text in rows[name]], dtype=pl.String)
            for name in ("kind", "model_id")
        ),
        pl.col("timestamp").cast(pl.Datetime("us", "UTC"), strict=False),
        pl.when(cost.is_between(0, LARGEST_AMOUNT)).then(cost).alias("cost_usd"),
        pl.col("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens").cast(
            pl.Int64, strict=False
        ),
        pl.col("cache_hit").cast(pl.Boolean, strict=False),
    )
    whole = pl.col("request_id").is_not_null() & pl.col("timestamp").is_not_null()
    kept = rows.filter(whole).with_columns(pl.col("kind").fill_null("unknown"))
    if kept.height < rows.height:
        stats.rejected["overhead without id or time"] += rows.height - kept.height
    for reason, is_outside in (
        (OUTSIDE_YEARS, (pl.col("timestamp") < EARLIEST) | (pl.col("timestamp") >= LATEST)),
        (AHEAD, pl.col("timestamp") > latest),
    ):
        within = kept.filter(~is_outside)
        if within.height < kept.height:
            stats.rejected[f"overhead {reason}"] += kept.height - within.height
        kept = within
    stats.overhead = kept.height
    priced = price_missing(kept.unique("request_id", keep="last", maintain_order=True)).rows
    return priced.with_columns(source=pl.lit(source)).select(
        "request_id", "timestamp", "source", "kind", "model_id", "cost_usd", "cost_priced_on"
    )


def _form(read: Callable[[str], tuple[str | None, str | None]], value: object) -> str | None:
    """A text of overhead in its one form; None for one that is not readable."""
    return None if value is None else read(str(value))[0]


def _store_overhead(connection: Connection, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        return
    insertion = insert_into(connection, OVERHEAD_TABLE)
    new = {name: insertion.excluded[name] for name in rows.columns if name != "request_id"}
    connection.execute(insertion.on_conflict_do_update(index_elements=["request_id"], set_=new), rows.to_dicts())


def _amendments(rows: pl.DataFrame, stats: PullStats) -> pl.DataFrame:
    """The amendments with an id and a value between 0 and 1; the last value of each id."""
    if rows.is_empty():
        return rows
    rows = _with(rows, AMENDMENTS).with_columns(pl.col(AMENDMENTS[1:]).cast(pl.Float64, strict=False))
    rows = rows.with_columns(
        pl.when(pl.col(name).is_between(0, 1)).then(pl.col(name)).alias(name) for name in AMENDMENTS[1:]
    )
    good = rows.filter(pl.any_horizontal(pl.col(AMENDMENTS[1:]).is_not_null()) & pl.col("request_id").is_not_null())
    if good.height < rows.height:
        stats.rejected["a score outside 0 to 1"] += rows.height - good.height
        stats.read += rows.height - good.height
    # Accuracy and satisfaction often arrive separately, each in a row of its own.
    last = good.group_by("request_id", maintain_order=True).agg(pl.col(AMENDMENTS[1:]).drop_nulls().last())
    return last.select(AMENDMENTS)
