"""What recommendations are worth from now on: savings at the rate since the same requests were last changed.

What a period's requests would have saved is known of all of it. What the next ones would save is not: a change of the
router's config amid the period, such as a larger cache, alters how many requests reach a model and what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection

from models.documents import Recommendation
from models.period import Level, Period, next_start
from models.schema import UNKNOWN
from models.settings import Optimizer
from routewatch.rollout import ROUTING_PREFIX
from tasks.kpis.cost_efficiency import Candidate, shown_class, uncached
from tasks.optimizer.lifecycle import unchanged_since
from tasks.rollups.query import RollupSlice, query_rollups_in
from tasks.rollups.totals import total, totals_by

SHORTEST_SPAN = timedelta(days=1)
"""Time after a change from which a rate may be extrapolated: all hours of the day are in it."""


@dataclass(frozen=True)
class SinceChange:
    """The part of a period after the last change of a class's requests: `rollups` from the first whole hour on."""

    changed_at: datetime
    span: timedelta
    rollups: pl.DataFrame


def read_since_changes(
    connection: Connection, current: RollupSlice, classes: Sequence[str], now: datetime
) -> dict[str, SinceChange]:
    """Read, for each class whose requests were changed after the period's start and until `now`, what came after."""
    period, found = current.period, dict[str, SinceChange]()
    read: dict[datetime, SinceChange] = {}
    for complexity in classes:
        changed_at = unchanged_since(connection, [ROUTING_PREFIX + complexity], now)
        if changed_at <= period.start:
            continue
        if changed_at not in read:
            start = next_start(Level.HOUR, changed_at, period.zone)
            rollups = current.parts.clear()
            if start < period.end:
                after = Period(start, period.end, period.zone)
                rollups = query_rollups_in(connection, after, current.filters).parts
            read[changed_at] = SinceChange(changed_at, max(timedelta(0), period.end - start), rollups)
        found[complexity] = read[changed_at]
    return found


def with_run_rates(
    recommendations: Sequence[Recommendation],
    current: RollupSlice,
    cheapest: Mapping[str, Candidate],
    changes: Mapping[str, SinceChange],
    optimizer: Optimizer,
) -> tuple[Recommendation, ...]:
    """Return the recommendations, those with savings with what they are worth a day, or why that cannot be told."""
    return tuple(
        item
        if item.savings_usd is None
        else item.model_copy(update=_run_rate(item, current, cheapest, changes, optimizer))
        for item in recommendations
    )


def touched_keys(item: Recommendation) -> list[str]:
    """The keys whose change alters the requests that a recommendation is about."""
    if item.moves or item.complexity is None:
        return [move.key for move in item.moves]
    return [ROUTING_PREFIX + _stored_class(item.complexity)]


def without_run_rate(item: Recommendation, reason: str) -> Recommendation:
    """The recommendation without what it is worth a day, and with the reason for that."""
    return item.model_copy(update={"run_rate_usd_per_day": None, "run_rate_reason": reason})


# ----------------------------------------------------------------------------------------------------------------------


def _run_rate(
    item: Recommendation,
    current: RollupSlice,
    cheapest: Mapping[str, Candidate],
    changes: Mapping[str, SinceChange],
    optimizer: Optimizer,
) -> dict[str, object]:
    complexity = _stored_class(item.complexity or "")
    days = (current.period.end - current.period.start) / timedelta(days=1)
    change = changes.get(complexity)
    if change is None:
        return {"run_rate_usd_per_day": item.savings_usd.estimate / days if item.savings_usd else None}
    changed = {"run_rate_since": change.changed_at}
    after = _of_class(change.rollups, complexity)
    sample = total(after).known("cost_count")
    if change.span < SHORTEST_SPAN or sample < optimizer.minimum_sample or complexity not in cheapest:
        at = current.period.local(change.changed_at).isoformat(sep=" ", timespec="minutes")
        return {
            **changed,
            "run_rate_reason": f"too little of the period is after the last change of the same requests, {at}",
        }
    cells = totals_by(after.filter(pl.col("model_id") == (item.from_model or "")), "model_id")
    count, cost_usd, _ = uncached(next(iter(cells.values()))) if cells else (0, 0.0, 0.0)
    saved_usd = cost_usd - count * cheapest[complexity].cost_usd
    # Hours and days differ in how much is asked, which no change of the config alters: that is of the whole period.
    requests = total(_of_class(current.parts, complexity)).known("cost_count")
    return {**changed, "run_rate_usd_per_day": saved_usd / sample * requests / days}


def _of_class(rollups: pl.DataFrame, complexity: str) -> pl.DataFrame:
    return rollups.filter(pl.col("complexity") == complexity)


def _stored_class(shown: str) -> str:
    return UNKNOWN if shown == shown_class(UNKNOWN) else shown
