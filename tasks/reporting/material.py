"""The report material: everything that a report document is built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from models.documents import (
    AppliedOptimization,
    Bottleneck,
    ConfigHistoryEntry,
    FiredAlert,
    IntakePart,
    Recommendation,
)
from tasks.comparison.spend_drivers import Spending
from tasks.kpis.cost_efficiency import Candidate
from tasks.rollups.query import RollupSlice
from tasks.statistics.randomization import OBSERVATIONAL, Split


@dataclass(frozen=True)
class ReportMaterial:
    """Everything that a document is built from.

    `spent` are hours with tasks.forecasting.budget.SPENT over its basis at
    tasks.comparison.periods.known_end, and `own` is what the template's own module read (tasks.reporting.documents).
    """

    current: RollupSlice
    previous: RollupSlice
    last_week: RollupSlice
    spent: pl.DataFrame
    bottlenecks: Sequence[Bottleneck] = ()
    recommendations: Sequence[Recommendation] = ()
    applied: Sequence[AppliedOptimization] = ()
    split: Split = OBSERVATIONAL
    cheapest: Mapping[str, Candidate] | None = None
    config_history: Sequence[ConfigHistoryEntry] = ()
    spending: Spending | None = None
    fired_alerts: Sequence[FiredAlert] = ()
    intake: IntakePart | None = None
    own: object = None
