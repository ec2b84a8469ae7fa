"""The hours around a config change as arrays by the local clock. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.placebos import Array, Control, HourlySums, Subject

METRIC_SUMS = (
    "count", "error_count", "response_time_count", "response_time_sum_ms", "over_target_count", "cost_count",
    "cost_sum_usd", "cache_count", "cache_hit_count", "accuracy_count", "accuracy_sum",
)  # fmt: skip
"""Rollup columns of the metrics."""

MATCHED_SUMS = (*METRIC_SUMS, "prompt_token_count", "prompt_token_sum")
"""Rollup columns of the metrics, and of what requests brought."""

LARGEST_CLASSES = 12
"""With more classes, hours are not matched class by class."""

PROMPT_LENGTH = "prompt_token_sum", "prompt_token_count"


@dataclass(frozen=True)
class ObservedHours:
    """The hours around a change: `bucket`, `complexity` and MATCHED_SUMS, one row per hour and class with selections.

    `before` is under the config that was replaced, up to `before_to`; `after` from `after_from` to `after_to`.
    `untouched` are hours on both sides of selections that neither this change nor another one affects, or empty.
    """

    before: pl.DataFrame
    after: pl.DataFrame
    untouched: pl.DataFrame
    before_to: datetime
    after_from: datetime
    after_to: datetime


class HourGrid:
    """The hours of a change by the local clock: a week earlier is 168 hours back, also over a change of the clocks.

    `end` is the position after the last hour before the change, `start` that of the first one after it, and `length`
    the number of all hours from the first one with selections on.
    """

    def __init__(self, hours: ObservedHours, zone: str) -> None:
        self._zone = zone
        buckets = [*hours.before["bucket"].to_list(), hours.before_to]
        self._first = self._local(min(buckets))
        self.end, self.start = self.position(hours.before_to), self.position(hours.after_from)
        self.length = max(self.start, self.position(hours.after_to))
        self._touched = self._placed(pl.concat([hours.before, hours.after]))
        self._untouched = self._placed(hours.untouched)
        self.count = self._summed(self._touched, "count")

    def position(self, bucket: datetime) -> int:
        """Return how many hours of the local clock after the first one a bucket starts."""
        return int((self._local(bucket) - self._first) / timedelta(hours=1))

    def marked(self, buckets: Sequence[datetime]) -> Array:
        """Return which hours are among some buckets."""
        marks = np.zeros(self.length, bool)
        marks[[index for index in map(self.position, buckets) if 0 <= index < self.length]] = True
        return marks

    def subject(self, metric: JudgedMetric, *, with_prompts: bool) -> Subject:
        """Return a metric's sums, over all classes and class by class, with what else may explain its changes."""
        variants = [self._ratio(self._touched, metric.sums)]
        classes = self._touched["complexity"].unique().sort().to_list()
        if 1 < len(classes) <= LARGEST_CLASSES:
            parts = [self._ratio(self._touched.filter(pl.col("complexity") == name), metric.sums) for name in classes]
            variants.append(
                HourlySums(np.stack([part.above for part in parts]), np.stack([part.below for part in parts]))
            )
        controls = []
        if not self._untouched.is_empty():
            controls.append(Control(self._ratio(self._untouched, metric.sums), metric.relative, metric.lower_is_better))
        if with_prompts:
            controls.append(Control(self._ratio(self._touched, PROMPT_LENGTH), relative=True, lower_is_better=True))
        return Subject(metric, tuple(variants), tuple(controls))

    # ------------------------------------------------------------------------------------------------------------------

    def _local(self, bucket: datetime) -> datetime:
        local: datetime = pl.Series([bucket]).dt.convert_time_zone(self._zone).dt.replace_time_zone(None)[0]
        return local

    def _placed(self, frame: pl.DataFrame) -> pl.DataFrame:
        local = pl.col("bucket").dt.convert_time_zone(self._zone).dt.replace_time_zone(None)
        placed = frame.with_columns(position=(local - self._first).dt.total_hours())
        return placed.filter(pl.col("position").is_between(0, self.length, closed="left"))

    def _ratio(self, frame: pl.DataFrame, names: tuple[str, str]) -> HourlySums:
        above, below = (self._summed(frame, name) for name in names)
        return HourlySums(above, below)

    def _summed(self, frame: pl.DataFrame, name: str) -> Array:
        summed = np.zeros(self.length)
        np.add.at(summed, frame["position"].to_numpy(), frame[name].cast(pl.Float64).to_numpy())
        return summed
