"""Before and after: hold the hours after a config change against the same hours before it, and against placebos. Pure.

Every hour after is compared with the same hour of the week before. What that shows is judged by what it shows at other
times, when nothing was changed (tasks.optimizer.placebos). Where untouched traffic shares the drift, or prompts got
longer, that is subtracted, as far as it makes the placebos' differences smaller. With too few placebos a change is
described, and not judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import polars as pl

from models.documents import Interval, MetricChange
from models.settings import PerformanceMetrics
from tasks.bottlenecks.error_bursts import burst_hours
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.placebos import (
    FALSE_VERDICT_RATE,
    MATCHED_MINIMUM_HOURS,
    MINIMUM_SPANS,
    Array,
    Design,
    HourlySums,
    Lives,
    Past,
    Placebos,
    compare,
    learn,
    margin_of,
    match,
)
from tasks.statistics.intervals import share_interval

MATCHED_SUMS = (
    "count", "error_count", "response_time_count", "response_time_sum_ms", "over_target_count", "cost_count",
    "cost_sum_usd", "cache_count", "cache_hit_count", "accuracy_count", "accuracy_sum", "prompt_token_count",
    "prompt_token_sum",
)  # fmt: skip
"""Rollup columns of the metrics, and of what requests brought."""

PROMPT_LENGTH = "prompt_token_sum", "prompt_token_count"

MATCHED_SHARE = 0.8
"""Minimum share of the hours after with a match before for matching by hour of the week."""

DESCRIBED_WEEKS = timedelta(weeks=4)
"""How far back the hours go that a change is described by if it cannot be judged."""

KNOWN_SHARE_RATIO = 1.5
"""If the share of rows in which a metric is known changes by more than this factor, other rows are known than before."""

HOUR = timedelta(hours=1)

MatchedBy = Literal["hour of the week", "hour of the day"]


@dataclass(frozen=True)
class Hours:
    """The hours around a change: `bucket` and MATCHED_SUMS, one row per hour with selections.

    `before` is under the config that was replaced, from `before_from` on; `after` from `after_from` to `after_to`.
    `untouched_before` and `untouched_after` are the selections that the change does not affect, if there are any.
    """

    before: pl.DataFrame
    after: pl.DataFrame
    untouched_before: pl.DataFrame
    untouched_after: pl.DataFrame
    after_from: datetime
    after_to: datetime


@dataclass(frozen=True)
class Limits:
    """What a reading goes by: `longest` and `keep_from` in hours of observation; `minimum_sample` per side."""

    longest: int
    keep_from: int
    minimum_sample: int
    prompts_comparable: bool
    """Whether prompts are counted alike before and after: another model may count other tokens."""


@dataclass(frozen=True)
class BeforeAfterReading:
    """What the hours after a change show. `goal` and `guards` are judged by the placebos, unclear without enough.

    `may_keep` says whether enough hours are observed for a verdict for the change.
    """

    goal: MetricChange
    guards: tuple[MetricChange, ...]
    matched_by: MatchedBy | None
    hours: int
    incident_hours: int
    placebos: Placebos
    may_keep: bool
    savings_usd: Interval | None

    @property
    def changes(self) -> tuple[MetricChange, ...]:
        return (self.goal, *self.guards)


def read_before_after(
    hours: Hours, metrics: Sequence[JudgedMetric], limits: Limits, kpis: PerformanceMetrics, zone: str
) -> BeforeAfterReading:
    """Judge a change by its hours: `metrics` are the goal, then the guards."""
    grid = _Grid.of(hours, kpis, zone)
    cost = JudgedMetric("averageCost", margin=0.0, relative=True)
    past = grid.past((*metrics, cost), prompts=limits.prompts_comparable)
    judged = Past(past.metrics[:-1], past.sums[:-1], past.controls[:-1], past.incident, past.end)
    placebos = learn(judged, longest=limits.longest, keep_from=limits.keep_from)
    if not placebos.are_enough:
        return _described(hours, metrics, limits, placebos, grid, zone)
    ...


def will_match(start: datetime, now: datetime, end: datetime, zone: str) -> bool:
    """Return whether the hours from `now` to `end` will have calendar matches in those from `start` to `now`."""
    hours = [
        pl.DataFrame({"bucket": pl.datetime_range(*span, "1h", closed="left", eager=True)})
        .select(_hour_of_day(zone))
        .to_series()
        for span in ((max(start, now - timedelta(weeks=1)), now), (now, end))
    ]
    comparable = int(hours[1].is_in(hours[0].implode()).sum())
    return comparable >= max(MATCHED_MINIMUM_HOURS, len(hours[1]) / 2)
