"""The peer: fixed 95 % intervals over matched hours (bootstrap-t), looked at daily, without any correction.

Routewatch judged like this before: an hour of the week after is held against the same hours of up to four weeks
before, matched hours are drawn again with replacement, and a guardrail is safe if its estimate is within its margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from models.documents import CONFIDENCE, Interval, MetricChange
from models.metrics import METRICS, Better
from tasks.optimizer.hour_grid import MATCHED_SUMS
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.statistics.intervals import share_interval

RESAMPLES = 2_000

MATCHED_MINIMUM_HOURS = 12
"""Minimum matched hours for an assessment: fewer do not show the spread."""

MATCHED_SHARE = 0.8
"""Minimum share of the hours after with a match before for matching by hour of the week."""

MINIMUM_SAMPLE = 100

MatchedBy = Literal["hour of the week", "hour of the day"]


@dataclass(frozen=True)
class Matched:
    """Hours after a change, matched with hours before by hour of the week or day.

    Row for row, `after` and `before` hold SUMS of the same hour; those of `before` may cover several weeks.
    """

    by: MatchedBy | None
    hours: int
    after: pl.DataFrame
    before: pl.DataFrame


def match(before: pl.DataFrame, after: pl.DataFrame, zone: str) -> Matched:
    """Match hours (`bucket` and SUMS, one row per hour) before and after; `by` is None if none match."""
    for by, hour_of in (("hour of the week", _hour_of_week), ("hour of the day", _hour_of_day)):
        aligned = [frame.with_columns(hour_key=hour_of(zone)) for frame in (before, after)]
        known = aligned[0]["hour_key"].unique()
        comparable = aligned[1].filter(pl.col("hour_key").is_in(known.implode()))
        enough = comparable.height >= max(MATCHED_MINIMUM_HOURS, MATCHED_SHARE * after.height)
        if enough or (by == "hour of the day" and comparable.height >= MATCHED_MINIMUM_HOURS):
            sides = [frame.group_by("hour_key").agg(pl.col(MATCHED_SUMS).sum()) for frame in (aligned[0], comparable)]
            both = sides[1].join(sides[0], on="hour_key", suffix="_before").sort("hour_key")
            names = [f"{name}_before" for name in MATCHED_SUMS]
            as_before = both.select(pl.col(name).alias(name.removesuffix("_before")) for name in names)
            return Matched(by, comparable.height, both.select(MATCHED_SUMS), as_before)  # type: ignore[arg-type]
    return Matched(None, 0, after.select(MATCHED_SUMS).clear(), before.select(MATCHED_SUMS).clear())


def compare(matched: Matched, metric: JudgedMetric, *, seed: int, level: float = CONFIDENCE) -> MetricChange:
    """Compare a metric after with its matched hours before; return the change with interval at `level` and assessment.

    Hours before get the weights of the hours after, so that a shift of traffic is no change. The same seed gives the
    same interval.
    """
    above, below = _sums(matched.after, metric)
    above_before, below_before = _sums(matched.before, metric)
    known = (below > 0) & (below_before > 0)
    samples = int(below_before.sum()), int(below.sum())
    if known.sum() < MATCHED_MINIMUM_HOURS:
        return _unknown(metric, samples, int(known.sum()))
    expected = (below * np.divide(above_before, below_before, out=np.zeros_like(above), where=known))[known]
    above, below = above[known], below[known]
    before, after = expected.sum() / below.sum(), above.sum() / below.sum()
    low, high = _bounds(above - expected, below, seed, level)
    if metric.is_share:
        rare = _rare(before, below_before[known].sum(), after, below.sum(), level)
        low, high = min(low, rare[0]), max(high, rare[1])
    change = Interval(estimate=after - before, low=min(low, after - before), high=max(high, after - before))
    return MetricChange(
        metric=metric.name,
        before=before,
        after=after,
        change=change,
        margin=metric.margin_of(before),
        sample_before=samples[0],
        sample_after=samples[1],
        judgement=_judgement_of(metric, change, before, after),
    )


def conclusion(
    before: pl.DataFrame, after: pl.DataFrame, metrics: Sequence[JudgedMetric], zone: str, *, seed: int, over: bool
) -> str:
    """Return what a daily look says: better, noWorse, worse, "" for nothing yet, or undecided at the end."""
    matched = match(before, after, zone)
    changes = [compare(matched, metric, seed=seed) for metric in metrics]
    if min(changes[0].sample_before, changes[0].sample_after) < MINIMUM_SAMPLE:
        return "undecided" if over else ""
    if any(change.judgement == "worse" for change in changes):
        return "worse"
    within = all(_worse_by(change) <= change.margin for change in changes[1:])
    if changes[0].judgement == "better" and within:
        return "better"
    if all(change.judgement in ("better", "same", "unknown") for change in changes):
        return "noWorse"
    return "undecided" if over else ""


# ----------------------------------------------------------------------------------------------------------------------


def _worse_by(change: MetricChange) -> float:
    estimate = change.change.estimate if change.change else 0.0
    return estimate if METRICS[change.metric].better is Better.LOWER else -estimate


def _hour_of_week(zone: str) -> pl.Expr:
    local = pl.col("bucket").dt.convert_time_zone(zone)
    return local.dt.weekday().cast(pl.Int64) * 24 + local.dt.hour()


def _hour_of_day(zone: str) -> pl.Expr:
    local = pl.col("bucket").dt.convert_time_zone(zone)
    weekend = (local.dt.weekday() > 5).cast(pl.Int64)  # noqa: PLR2004 - Saturday and Sunday
    return weekend * 24 + local.dt.hour()


def _sums(frame: pl.DataFrame, metric: JudgedMetric) -> tuple[Any, Any]:
    above, below = metric.sums
    return frame[above].cast(pl.Float64).to_numpy(), frame[below].cast(pl.Float64).to_numpy()


def _bounds(difference: Any, below: Any, seed: int, level: float) -> tuple[float, float]:
    """Return the bootstrap-t interval of the pooled difference over resampled hours.

    Plain percentiles are too narrow for the few hours of a day; dividing each draw by its own standard error is not
    (Efron and Tibshirani, An Introduction to the Bootstrap, ch. 12.5).
    """
    estimate, error = _pooled(difference[None, :], below[None, :])
    draws = np.random.default_rng(seed).integers(0, len(below), size=(RESAMPLES, len(below)))
    changes, errors = _pooled(difference[draws], below[draws])
    if error[0] == 0 or not (errors > 0).any():
        return float(estimate[0]), float(estimate[0])
    pivots = (changes - estimate[0])[errors > 0] / errors[errors > 0]
    low, high = np.quantile(pivots, [(1 - level) / 2, (1 + level) / 2])
    return float(estimate[0] - high * error[0]), float(estimate[0] - low * error[0])


def _rare(before: float, known_before: float, after: float, known: float, level: float) -> tuple[float, float]:
    """Return the bounds of the difference of two shares (Newcombe 1998, method 10).

    If an event is rare, hours without it say nothing about its frequency: resampling them cannot bound it,
    counting selections can.
    """
    then, now = (share_interval(share * of, of, level) for share, of in ((before, known_before), (after, known)))
    low = after - before - math.hypot(after - (now.low or 0.0), (then.high or 1.0) - before)
    return low, after - before + math.hypot((now.high or 1.0) - after, before - (then.low or 0.0))


def _pooled(difference: Any, below: Any) -> tuple[Any, Any]:
    """Return per row the pooled difference, Σ difference ÷ Σ below, and its ratio-estimator standard error."""
    whole = below.sum(axis=1)
    estimate = difference.sum(axis=1) / whole
    residual = difference - estimate[:, None] * below
    return estimate, np.sqrt((residual**2).sum(axis=1)) / whole


def _judgement_of(
    metric: JudgedMetric, change: Interval, before: float, after: float
) -> Literal["better", "same", "worse", "unclear"]:
    sign = 1.0 if metric.lower_is_better else -1.0
    bounds = sorted(sign * bound for bound in (change.low or 0.0, change.high or 0.0))
    worse_by = sign * change.estimate
    harmless = metric.limit is not None and sign * after <= sign * metric.limit
    if bounds[0] > 0 and worse_by > metric.margin_of(before) and not harmless:
        return "worse"
    if bounds[1] < 0:
        return "better"
    return "same" if bounds[1] <= metric.margin_of(before) or harmless else "unclear"


def _unknown(metric: JudgedMetric, samples: tuple[int, int], hours: int) -> MetricChange:
    return MetricChange(
        metric=metric.name, before=None, after=None, change=None, margin=metric.margin, sample_before=samples[0],
        sample_after=samples[1], judgement="unknown",
        reason=f"known in {hours} matched hours, {MATCHED_MINIMUM_HOURS} are needed",
    )  # fmt: skip
