"""Evidence: what a period's bottlenecks are told by, beside its own rollups."""

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
from tasks.rollups.aggregate import SUMS
from tasks.rollups.query import Gathered, hours_before, hours_by, these_hours

KEYS = ("model_id", "complexity")
COLUMNS = (*REGRESSING, *COSTING)
"""By what the models are told apart, and what is added up of them."""


@dataclass(frozen=True)
class Evidence:
    """Frames of sums by bucket, without histograms.

    `models` are the period by model and complexity, and `models_earlier` the periods it may be compared with, the one
    to be preferred first; their buckets are hours, or minutes where it is up to two hours long. `history` are the hours
    of four weeks before the period. `apart` are single hours by model, complexity and team: those that stand out, and
    those that they are compared with.
    """

    models: pl.DataFrame
    models_earlier: Sequence[pl.DataFrame]
    history: pl.DataFrame
    apart: pl.DataFrame


def read_evidence(
    connection: Connection, current: Gathered, earlier: Sequence[Gathered], limits: PerformanceMetrics
) -> Evidence:
    """The evidence for a period.

    `earlier` are the same period a week before, which has the same weekdays, and then the one just before it; one that
    overlaps the period is left out.
    """
    history = hours_before(connection, current, HISTORY, SPENDING)
    spikes = find_spikes(current.hours, history, current.period.zone)
    standing_out = set(burst_hours(current.hours, limits))
    for spike in spikes:
        standing_out |= {*spike.earlier, *spike.hours}
    apart_from = [period for period in earlier if period.asked.end <= current.asked.start]
    return Evidence(
        models=_by_model(connection, current),
        models_earlier=[_by_model(connection, period) for period in apart_from],
        history=history,
        apart=these_hours(connection, current, sorted(standing_out), SUMS),
    )


# ----------------------------------------------------------------------------------------------------------------------


def _by_model(connection: Connection, gathered: Gathered) -> pl.DataFrame:
    if not gathered.minutes.is_empty():
        return gathered.minutes.select("bucket", *KEYS, *COLUMNS)
    return hours_by(connection, gathered, KEYS, COLUMNS)
