"""Sum rollups, overall and by any of their columns, and compute means and rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from models.documents import Coverage, CoverageByColumn
from tasks.rollups.aggregate import ROLLUP_SUMS
from tasks.rollups.histogram import percentiles

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

COVERED = {
    "response_time": "response_time_count",
    "cost": "cost_count",
    "cache_hit": "cache_count",
    "accuracy": "accuracy_count",
    "user_satisfaction": "satisfaction_count",
    "prompt_tokens": "prompt_token_count",
    "completion_tokens": "completion_token_count",
}
"""The rollup column that counts the known values for each field of CoverageByColumn."""


@dataclass(frozen=True)
class Totals:
    """All sums of rollups, with their means and rates; None is unknown."""

    sums: dict[str, float]

    @property
    def count(self) -> int:
        return int(self.sums["count"])

    def known(self, column: str) -> int:
        return int(self.sums[column])

    def ratio(self, numerator: str, denominator: str) -> float | None:
        """One sum divided by another; None if the other is 0."""
        return self.sums[numerator] / self.sums[denominator] if self.sums[denominator] else None

    @property
    def average_response_time_ms(self) -> float | None:
        return self.ratio("response_time_sum_ms", "response_time_count")

    @property
    def average_cost_usd(self) -> float | None:
        return self.ratio("cost_sum_usd", "cost_count")

    @property
    def cost_usd(self) -> float | None:
        return self.sums["cost_sum_usd"] if self.sums["cost_count"] else None

    @property
    def hit_rate(self) -> float | None:
        return self.ratio("cache_hit_count", "cache_count")

    @property
    def error_rate(self) -> float | None:
        return self.ratio("error_count", "count")

    @property
    def accuracy(self) -> float | None:
        return self.ratio("accuracy_sum", "accuracy_count")

    @property
    def user_satisfaction(self) -> float | None:
        return self.ratio("satisfaction_sum", "satisfaction_count")

    @property
    def prompt_tokens(self) -> int | None:
        return self.known("prompt_token_sum") if self.known("prompt_token_count") else None

    @property
    def completion_tokens(self) -> int | None:
        return self.known("completion_token_sum") if self.known("completion_token_count") else None

    @property
    def tokens_per_selection(self) -> float | None:
        """Both kinds together, each over the selections for which it is known."""
        prompt = self.ratio("prompt_token_sum", "prompt_token_count")
        completion = self.ratio("completion_token_sum", "completion_token_count")
        return None if prompt is None or completion is None else prompt + completion

    @property
    def coverage(self) -> CoverageByColumn:
        return CoverageByColumn(**{name: self.coverage_of(column) for name, column in COVERED.items()})

    def coverage_of(self, column: str) -> Coverage:
        known = self.known(column)
        return Coverage(known=known, of=self.count, share=known / self.count if self.count else 0.0)


NOTHING = Totals(dict.fromkeys(ROLLUP_SUMS, 0))
"""The totals of no selections."""


def total(rollups: pl.DataFrame) -> Totals:
    """Sum all rows."""
    return Totals(rollups.select(pl.col(ROLLUP_SUMS).sum()).row(0, named=True))


def totals_by(rollups: pl.DataFrame, *keys: str) -> dict[tuple[Any, ...], Totals]:
    """One Totals per combination of the key columns, in the order of the keys."""
    groups = rollups.group_by(keys).agg(pl.col(ROLLUP_SUMS).sum()).sort(keys)
    return {
        tuple(row[key] for key in keys): Totals({name: row[name] for name in ROLLUP_SUMS}) for row in groups.to_dicts()
    }


def percentiles_by(rollups: pl.DataFrame, *keys: str) -> dict[tuple[Any, ...], dict[str, float | None]]:
    """p50, p95 and p99 in ms per combination of the key columns; without keys under the key ()."""
    rows = percentiles(rollups, keys, PERCENTILES).to_dicts()
    none: dict[str, float | None] = dict.fromkeys(PERCENTILES)
    found = {tuple(row[key] for key in keys): {name: row[name] for name in PERCENTILES} for row in rows}
    return found if keys else {(): found.get((), none)}
