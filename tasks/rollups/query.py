"""Query the rollups of a period, models and teams, ready to be summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import ColumnElement, Connection, Engine, and_, func, or_, select

from models.database import reading
from models.documents import Filters
from models.period import Level, Period, floor_to, next_start
from models.schema import ROLLUP, ROLLUP_CHECKPOINT, UNKNOWN
from tasks.rollups.aggregate import empty as no_rollups
from tasks.rollups.aggregate import hour_of, limit_names, merge, rename_others
from tasks.rollups.overhead import NO_IMPUTATION, Imputation, OverheadCost, find_imputation, overhead_costs
from tasks.rollups.store import aggregate_rollups, crowded_names, hour_totals, read_rollups

UNCLASSIFIED = "unclassified"
"""The name that users give for the complexity class of selections without one."""


@dataclass(frozen=True)
class RollupSlice:
    """The rollups of a period, with COLUMNS of tasks.rollups.aggregate.

    `parts` are by model, complexity and team, in days and the hours around them; the smallest ones beyond MOST_NAMES
    of tasks.rollups.aggregate are merged into models.schema.OTHERS. `hours` are by hour of the zone's
    clock, over all models, complexities and teams if the query has no filter. At an edge that is not a whole hour, both
    hold only the minutes inside the period (their team is unknown). `minutes` is filled for periods of up to two hours.
    `period` is the covered period: the requested one, rounded outward where no finer rollups are kept.
    `overhead_costs` are empty if the query has a filter.
    """

    requested_period: Period
    period: Period
    filters: Filters
    parts: pl.DataFrame
    hours: pl.DataFrame
    minutes: pl.DataFrame
    last_selection_at: datetime | None
    rollups_updated_at: datetime | None
    overhead_costs: tuple[OverheadCost, ...] = ()
    imputation: Imputation = NO_IMPUTATION


MINUTE_TIMELINE_HOURS = 2.0
"""Up to this length a period's timeline is by the minute."""


def query_rollups(engine: Engine, requested: Period, filters: Filters) -> RollupSlice:
    """Query the rollups of a period from one snapshot."""
    with reading(engine) as connection:
        return query_rollups_in(connection, requested, filters)


def query_rollups_in(connection: Connection, requested: Period, filters: Filters) -> RollupSlice:
    """Query within a transaction, so that several periods share one snapshot."""
    state = connection.execute(select(ROLLUP_CHECKPOINT)).one_or_none()
    period = _coverable(connection, requested, filters)
    edges = _edges(connection, period, filters)
    by_day = state is not None and state.zone == period.zone
    return RollupSlice(
        requested_period=requested,
        period=period,
        filters=filters,
        # Each bucket has few names, but each may have others.
        parts=limit_names(pl.concat([_parts(connection, period, filters, by_day=by_day), edges]), over=()),
        hours=pl.concat([_hours(connection, period, filters), edges]),
        minutes=_minutes(connection, period, filters),
        last_selection_at=state.last_selection_at if state else None,
        rollups_updated_at=state.rollups_updated_at if state else None,
        # The model and team for which the router made them are unknown.
        overhead_costs=() if filters.leaves_out else overhead_costs(connection, period),
        imputation=find_imputation(connection, period),
    )


def hours_by(
    connection: Connection, rollup_slice: RollupSlice, keys: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame:
    """Query the slice again by the hour, summed by `keys` in the database: `columns` of SUMS, no histograms."""
    period, filters = rollup_slice.period, rollup_slice.filters
    named = crowded_names(rollup_slice.parts)
    where = _filtered(Level.HOUR, _between(*_whole_buckets(Level.HOUR, period)), filters)
    whole_hours = aggregate_rollups(connection, where, keys, columns, named=named)
    edges = rename_others(_edges(connection, period, filters), named)
    return pl.concat([whole_hours, edges.group_by("bucket", *keys).agg(pl.col(columns).sum())])


def hours_before(
    connection: Connection, rollup_slice: RollupSlice, length: timedelta, columns: Sequence[str]
) -> pl.DataFrame:
    """Query the hours before the slice, over the same models and teams, with `columns` of SUMS."""
    end = floor_to(Level.HOUR, rollup_slice.period.start, rollup_slice.period.zone)
    if rollup_slice.filters.leaves_out:
        conditions = _filtered(Level.HOUR, _between(end - length, end), rollup_slice.filters)
        return aggregate_rollups(connection, conditions, (), columns)
    return aggregate_rollups(connection, hour_totals(end - length, end), (), columns)


def total_hours(connection: Connection, period: Period, columns: Sequence[str]) -> pl.DataFrame:
    """Query the hours of a period over all models, complexities and teams: `columns` of SUMS, no histograms."""
    whole_hours = aggregate_rollups(connection, hour_totals(*_whole_buckets(Level.HOUR, period)), (), columns)
    edges = _edges(connection, period, Filters()).group_by("bucket").agg(pl.col(columns).sum())
    return pl.concat([whole_hours, edges])


def these_hours(
    connection: Connection, rollup_slice: RollupSlice, buckets: Sequence[datetime], columns: Sequence[str]
) -> pl.DataFrame:
    """Query single hours by model, complexity and team, before or within the slice: `columns` of SUMS.

    Edge hours hold, as in the slice, only the minutes inside the period.
    """
    keys = ("model_id", "complexity", "team")
    first, last = _whole_buckets(Level.HOUR, rollup_slice.period)
    begins = floor_to(Level.HOUR, rollup_slice.period.start, rollup_slice.period.zone)
    is_edge = (pl.col("bucket") >= begins) & ~pl.col("bucket").is_between(first, last, closed="left")
    named = crowded_names(rollup_slice.parts)
    edges = rename_others(rollup_slice.hours.filter(is_edge, pl.col("bucket").is_in(buckets)), named)
    edges = edges.group_by("bucket", *keys).agg(pl.col(columns).sum())
    others = [bucket for bucket in buckets if bucket not in set(edges["bucket"])]
    conditions = _filtered(Level.HOUR, ROLLUP.c.bucket.in_(others), rollup_slice.filters)
    return pl.concat([aggregate_rollups(connection, conditions, keys, columns, named=named), edges])


# ----------------------------------------------------------------------------------------------------------------------


def _coverable(connection: Connection, requested: Period, filters: Filters) -> Period:
    """The period rounded outward to minutes, or to hours if minutes are gone or lack the requested teams."""
    oldest = connection.scalar(select(func.min(ROLLUP.c.bucket)).where(ROLLUP.c.level == Level.MINUTE.value))
    kept_from = floor_to(Level.HOUR, oldest, requested.zone) if oldest else None

    def level_at(edge: datetime) -> Level:
        has_minutes = kept_from is not None and floor_to(Level.HOUR, edge, requested.zone) >= kept_from
        return Level.MINUTE if has_minutes and not filters.teams else Level.HOUR

    start = floor_to(level_at(requested.start), requested.start, requested.zone)
    end = next_start(level_at(requested.end), requested.end, requested.zone)
    return Period(start, end, requested.zone)


def _parts(connection: Connection, period: Period, filters: Filters, *, by_day: bool) -> pl.DataFrame:
    """Whole days, if the period has any, and whole hours around them."""
    first, last = _whole_buckets(Level.HOUR, period)
    first_day, last_day = _whole_buckets(Level.DAY, period)
    if not by_day or first_day >= last_day:
        first_day = last_day = last
    hours = or_(_between(first, first_day), _between(last_day, last))
    return pl.concat(
        [
            _read(connection, Level.DAY, _between(first_day, last_day), filters),
            _read(connection, Level.HOUR, hours, filters),
        ]
    )


def _hours(connection: Connection, period: Period, filters: Filters) -> pl.DataFrame:
    first, last = _whole_buckets(Level.HOUR, period)
    if filters.leaves_out:
        return _read(connection, Level.HOUR, _between(first, last), filters)
    return read_rollups(connection, hour_totals(first, last))


def _edges(connection: Connection, period: Period, filters: Filters) -> pl.DataFrame:
    """The minutes outside the period's whole hours, by hour."""
    first, last = _whole_buckets(Level.HOUR, period)
    edges = or_(_between(period.start, first), _between(last, period.end))
    return _by_hour(_read(connection, Level.MINUTE, edges, filters), period.zone)


def _whole_buckets(level: Level, period: Period) -> tuple[datetime, datetime]:
    """Start and end of the period's whole hours or days; its end twice if there are none."""
    first, last = next_start(level, period.start, period.zone), floor_to(level, period.end, period.zone)
    return (first, last) if first <= last else (period.end, period.end)


def _minutes(connection: Connection, period: Period, filters: Filters) -> pl.DataFrame:
    if period.hours > MINUTE_TIMELINE_HOURS or filters.teams:
        return no_rollups()
    return _read(connection, Level.MINUTE, _between(period.start, period.end), filters)


def _by_hour(minutes: pl.DataFrame, zone: str) -> pl.DataFrame:
    return merge(minutes.with_columns(bucket=hour_of("bucket", zone)))


def _between(start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(ROLLUP.c.bucket >= start, ROLLUP.c.bucket < end)


def _read(connection: Connection, level: Level, where: ColumnElement[bool], filters: Filters) -> pl.DataFrame:
    return read_rollups(connection, _filtered(level, where, filters))


def _filtered(level: Level, where: ColumnElement[bool], filters: Filters) -> ColumnElement[bool]:
    conditions = [ROLLUP.c.level == level.value, where]
    complexities = tuple(UNKNOWN if name == UNCLASSIFIED else name for name in filters.complexities)
    for column, names in (("model_id", filters.models), ("team", filters.teams), ("complexity", complexities)):
        if names:
            conditions.append(ROLLUP.c[column].in_(names))
    return and_(*conditions)
