"""Detect model regressions: models that are worse than before, each compared with itself.

A model is compared over the complexity classes that it served in both periods, the earlier one weighted to the later
one's mix of them: a model that gets harder requests than before has not become worse. The sampling unit is the hour
(the minute in short periods), as for tasks.comparison.trends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import polars as pl

from models.documents import Interval, ModelRegression
from models.kpis import LOWER_IS_BETTER, KpiName, KpiState, assess
from models.metrics import METRICS, Metric, Unit, ratio_sums
from models.schema import COLLECTIVE
from models.settings import PerformanceMetrics
from tasks.comparison.trends import MINIMUM_BUCKETS, ratio_error
from tasks.statistics.intervals import Z_95

REGRESSING = ("count", "error_count", "response_time_count", "response_time_sum_ms", "accuracy_count", "accuracy_sum")
"""The columns of rollups that are used here."""

JUDGED = (KpiName.RESPONSE_TIME, KpiName.SELECTION_ACCURACY, KpiName.ERROR_RATE)
"""Metrics that depend on the model itself, unlike cache and price."""

BOTTLENECK_MINIMUM_SAMPLE = 100
"""Minimum number of selections with a known value on each side, the same as the optimizer requires."""
CLASS_MINIMUM_SAMPLE = 30
"""The same per complexity class, so that a handful of requests does not get the weight of many."""

MINIMUM_SLOWDOWN = 0.10
"""As a share of the earlier response time: providers vary by some percent from day to day."""
MINIMUM_RATE_CHANGE = 0.01
"""For an error rate or accuracy, 1 percentage point: at most a third of the distance between default limits."""

FALSE_ALARM_RATE = 0.05
"""Family-wise false positive rate over all models and metrics, by Holm's correction (Holm 1979)."""

LARGEST_REGRESSIONS = 3


@dataclass(frozen=True)
class _ModelChange:
    """`size` is how much worse it became, as a multiple of the smallest change that is reported."""

    model_id: str
    metric: KpiName
    before: float
    after: float
    error: float
    chance: float
    size: float
    sample: int


def regressions(
    now: pl.DataFrame, earlier: Sequence[pl.DataFrame], limits: PerformanceMetrics
) -> list[ModelRegression]:
    """Up to three changes for the worse, the worst first, that are statistically significant and large enough.

    All frames are sums by bucket, model and complexity. `earlier` are the periods that may be compared with, in order
    of preference: each model and metric is compared with the first in which it has enough buckets.
    """
    changes = list(_changes(now, earlier))
    worse = [change for change in _significant(changes) if change.size > 1]
    found = [(change.size, _regression(change, limits)) for change in worse]
    order = ("high", "medium", "low")
    found.sort(key=lambda item: (order.index(item[1].severity), -item[0]))
    return [regression for _, regression in found[:LARGEST_REGRESSIONS]]


# ----------------------------------------------------------------------------------------------------------------------


def _changes(now: pl.DataFrame, earlier: Sequence[pl.DataFrame]) -> Iterator[_ModelChange]:
    """Every possible comparison, improvements too: the correction covers all of them."""
    for name in JUDGED:
        sides = [_of(frame, METRICS[name]) for frame in (now, *earlier)]
        pairs = [_comparable_hours(sides[0], side) for side in sides[1:]]
        for model_id in sorted(set(now["model_id"]) - COLLECTIVE):
            of_model = ((after.get(model_id), before.get(model_id)) for after, before in pairs)
            enough = ((after, before) for after, before in of_model if _is_enough(after) and _is_enough(before))
            if pair := next(enough, None):
                yield _change(model_id, name, *pair)


def _of(rollups: pl.DataFrame, metric: Metric) -> pl.DataFrame:
    """Numerator `above` and denominator `below` by bucket, model and complexity, where known."""
    above, below = ratio_sums(metric)
    sums = rollups.group_by("bucket", "model_id", "complexity").agg(
        above=pl.col(above).sum().cast(pl.Float64), below=pl.col(below).sum().cast(pl.Float64)
    )
    return sums.filter(pl.col("below") > 0)


_ByModel = dict[str, pl.DataFrame]


def _comparable_hours(now: pl.DataFrame, then: pl.DataFrame) -> tuple[_ByModel, _ByModel]:
    """Both by bucket, over the classes that a model has in both, `then` weighted to the mix of `now`."""
    keys = ("model_id", "complexity")
    sums = (frame.group_by(keys).agg(pl.col("below").sum()) for frame in (now, then))
    enough = pl.min_horizontal("below", "below_then") >= CLASS_MINIMUM_SAMPLE
    classes = next(sums).join(next(sums), on=keys, suffix="_then").filter(enough)
    share, share_then = (pl.col(name) / pl.col(name).sum().over("model_id") for name in ("below", "below_then"))
    weights = classes.select(*keys, weight=share / share_then)
    weighted = then.join(weights, on=keys).with_columns(pl.col("above", "below") * pl.col("weight"))
    return _by_model(now.join(weights, on=keys, how="semi")), _by_model(weighted)


def _by_model(rows: pl.DataFrame) -> _ByModel:
    sums = rows.group_by("model_id", "bucket").agg(pl.col("above", "below").sum()).sort("bucket")
    return {str(key[0]): frame for key, frame in sums.partition_by("model_id", as_dict=True).items()}


def _is_enough(buckets: pl.DataFrame | None) -> TypeGuard[pl.DataFrame]:
    if buckets is None or buckets.height < MINIMUM_BUCKETS:
        return False
    return float(buckets["below"].sum()) >= BOTTLENECK_MINIMUM_SAMPLE


def _change(model_id: str, metric: KpiName, now: pl.DataFrame, then: pl.DataFrame) -> _ModelChange:
    after, before = (float(side["above"].sum()) / float(side["below"].sum()) for side in (now, then))
    worse = (after - before) * (1 if metric in LOWER_IS_BETTER else -1)
    least = MINIMUM_SLOWDOWN * before if METRICS[metric].unit is Unit.MILLISECONDS else MINIMUM_RATE_CHANGE
    error = math.hypot(ratio_error(now), ratio_error(then))
    return _ModelChange(
        model_id=model_id,
        metric=metric,
        before=before,
        after=after,
        error=error,
        chance=_chance(after - before, error, min(now.height, then.height) - 1),
        size=worse / least if least else 0.0,
        sample=round(float(now["below"].sum())),
    )


def _chance(change: float, error: float, freedom: int) -> float:
    """The two-sided probability of Student's t, through Wallace's normal approximation (Wallace 1959)."""
    if not error:
        return 0.0 if change else 1.0
    deviate = math.sqrt(freedom * math.log1p((change / error) ** 2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return math.erfc(deviate / math.sqrt(2))


def _significant(changes: Sequence[_ModelChange]) -> Iterator[_ModelChange]:
    """Holm's: the least likely is compared with CHANCE over all, the next with CHANCE over the remaining, and so on."""
    for tested, change in enumerate(sorted(changes, key=lambda change: change.chance)):
        if change.chance > FALSE_ALARM_RATE / (len(changes) - tested):
            return
        yield change


def _regression(change: _ModelChange, limits: PerformanceMetrics) -> ModelRegression:
    state = assess(change.after, limits.of(change.metric))
    difference, margin = change.after - change.before, Z_95 * change.error
    return ModelRegression(
        severity="high" if state is KpiState.CRITICAL else "medium" if state is KpiState.WARNING else "low",
        sample=change.sample,
        model_id=change.model_id,
        metric=change.metric,
        before=change.before,
        after=change.after,
        change=Interval(estimate=difference, low=difference - margin, high=difference + margin),
    )
