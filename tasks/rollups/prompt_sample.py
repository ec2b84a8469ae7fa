"""Read single prompts' lengths: a bounded sample of the newest raw selections of a period.

Rollups hold only the sums of lengths, of which nobody can tell how the single ones were spread over the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    case,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from models.documents import Filters
from models.schema import UNKNOWN
from routewatch.selection import SELECTION, instant_text
from tasks.rollups.query import UNCLASSIFIED, RollupSlice
from tasks.rollups.selection_reader import one_form
from tasks.rollups.set_aside import taking_any_text

PROMPTS_PER_CLASS = 50_000
"""Prompts that are read of a complexity class; of more, a part is drawn by a hash of the id."""

SCANNED_ROWS = 500_000
"""Selections among which prompts are looked for: the newest of the period."""

_SCHEMA = {"hour": pl.String, "model_id": pl.String, "complexity": pl.String, "prompt_tokens": pl.Int64}

# Lehmer's generator: consecutive ids get numbers that do not follow one another, unlike their remainders, by which a
# router that takes turns would be seen with one model only. Both databases compute it within 64 bits.
_PRIME, _FACTOR = 2_147_483_647, 742_938_285


def read_prompts(
    connection: Connection, rollup_slice: RollupSlice, hours: pl.DataFrame, *, per_class: int = PROMPTS_PER_CLASS
) -> pl.DataFrame:
    """Known prompt lengths by hour, model and complexity class (UNKNOWN without one), in no order.

    Args:
        connection: To the database with the raw rows.
        rollup_slice: Whose period and filters the rows are in.
        hours: The slice by hour with `complexity` and `count`, which say how much there is to read.
        per_class: About how many prompts to read at most of a class.
    """
    if hours.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    start = _newest_hours(hours)
    counts = dict(hours.filter(pl.col("bucket") >= start).group_by("complexity").agg(pl.col("count").sum()).iter_rows())
    period = rollup_slice.period
    found = _read(connection, max(start, period.start), period.end, rollup_slice.filters, _drawn(counts, per_class))
    names = found.with_columns(one_form(found["model_id"]), one_form(found["complexity"]))
    return names.with_columns(pl.col("complexity").fill_null(UNKNOWN))


# ----------------------------------------------------------------------------------------------------------------------


def _newest_hours(hours: pl.DataFrame) -> datetime:
    """Start of the oldest of the newest hours that together have at most SCANNED_ROWS; at least one hour."""
    newest = hours.group_by("bucket").agg(pl.col("count").sum()).sort("bucket", descending=True)
    kept = newest.filter((pl.col("count").cum_sum() <= SCANNED_ROWS) | (pl.int_range(pl.len()) == 0))
    start: datetime = kept["bucket"][-1]
    return start


def _drawn(counts: Mapping[str, int], per_class: int) -> ColumnElement[bool] | None:
    """Whether a row is drawn; None if all are, because no class has more than `per_class`."""
    large = {name: per_class / count for name, count in counts.items() if count > per_class}
    if not large:
        return None
    thresholds = {name: int(share * _PRIME) for name, share in large.items()}
    number = (SELECTION.c.id % _PRIME) * literal_column(str(_FACTOR), BigInteger) % _PRIME
    unclassified = thresholds.pop(UNKNOWN, _PRIME)
    named = case(thresholds, value=SELECTION.c.complexity, else_=_PRIME) if thresholds else _PRIME
    return number < case((SELECTION.c.complexity.is_(None), unclassified), else_=named)


def _read(
    connection: Connection, start: datetime, end: datetime, filters: Filters, drawn: ColumnElement[bool] | None
) -> pl.DataFrame:
    table, on_sqlite = SELECTION.c, connection.dialect.name == "sqlite"
    if on_sqlite:
        # As text: a stored time that nobody can read must not end the query.
        stored = type_coerce(table.timestamp, Text)
        hour = func.substr(stored, 1, 13)
        within = [stored >= instant_text(start), stored < instant_text(end)]
        is_number = func.typeof(table.prompt_tokens) == "integer"
    else:
        hour = func.to_char(func.timezone("UTC", table.timestamp), "YYYY-MM-DD HH24")
        within = [table.timestamp >= start, table.timestamp < end]
        is_number = table.prompt_tokens.is_not(None)
    query = select(
        cast(hour, Text), type_coerce(table.model_id, Text), type_coerce(table.complexity, Text), table.prompt_tokens
    ).where(*within, is_number, *_of_names(filters))
    if drawn is not None:
        query = query.where(drawn)
    if not on_sqlite:
        return _frame(connection.execute(query).fetchall())
    with taking_any_text(connection.connection):
        return _frame(connection.execute(query).fetchall())


def _of_names(filters: Filters) -> list[ColumnElement[bool]]:
    table = SELECTION.c
    by_column = ((table.model_id, filters.models), (table.team, filters.teams))
    conditions: list[ColumnElement[bool]] = [column.in_(names) for column, names in by_column if names]
    if filters.complexities:
        is_named = table.complexity.in_(filters.complexities)
        none = table.complexity.is_(None) if UNCLASSIFIED in filters.complexities else false()
        conditions.append(or_(is_named, none))
    return conditions


def _frame(rows: Sequence[Row[Any]]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in rows], schema=_SCHEMA, orient="row", strict=False)
