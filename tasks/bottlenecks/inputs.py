"""Collect the inputs of a period's bottlenecks beside its own rollups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection

from models.settings import PerformanceMetrics
from tasks.bottlenecks.error_bursts import burst_hours
from tasks.bottlenecks.model_regressions import REGRESSING
from tasks.bottlenecks.spend_spikes import HISTORY, SPENDING, find_spikes
from tasks.comparison.spend_drivers import COSTING
from tasks.rollups.aggregate import ROLLUP_SUMS
from tasks.rollups.query import RollupSlice, hours_before, hours_by, these_hours

INPUT_KEYS = ("model_id", "complexity")
INPUT_COLUMNS = (*REGRESSING, *COSTING)
"""Key columns and sums of the frames by model."""


@dataclass(frozen=True)
class RuleInputs:
    """Inputs as frames of sums by bucket, without histograms.

    `models` are the period by model and complexity, and `models_earlier` the periods that it may be compared with, in
    order of preference; their buckets are hours, or minutes in periods of up to two hours. `history` are the hours of
    four weeks before the period. `by_dimension` are single hours by model, complexity and team: the deviating ones and
    those that they are compared with.
    """

    models: pl.DataFrame
    models_earlier: Sequence[pl.DataFrame]
    history: pl.DataFrame
    by_dimension: pl.DataFrame


def read_rule_inputs(
    connection: Connection, current: RollupSlice, earlier: Sequence[RollupSlice], limits: PerformanceMetrics
) -> RuleInputs:
    """Query the inputs for a period.

    `earlier` are the same period a week before, which has the same weekdays, and then the adjacent one before it; one
    that overlaps the period is omitted.
    """
    history = hours_before(connection, current, HISTORY, SPENDING)
    spikes = find_spikes(current.hours, history, current.period.zone)
    standing_out = set(burst_hours(current.hours, limits))
    for spike in spikes:
        standing_out |= {*spike.earlier, *spike.hours}
    apart_from = [period for period in earlier if period.requested_period.end <= current.requested_period.start]
    return RuleInputs(
        models=_by_model(connection, current),
        models_earlier=[_by_model(connection, period) for period in apart_from],
        history=history,
        by_dimension=these_hours(connection, current, sorted(standing_out), ROLLUP_SUMS),
    )


# ----------------------------------------------------------------------------------------------------------------------


def _by_model(connection: Connection, rollup_slice: RollupSlice) -> pl.DataFrame:
    if not rollup_slice.minutes.is_empty():
        return rollup_slice.minutes.select("bucket", *INPUT_KEYS, *INPUT_COLUMNS)
    return hours_by(connection, rollup_slice, INPUT_KEYS, INPUT_COLUMNS)
