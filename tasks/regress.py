"""Regress: models that do worse than before, each by itself.

A model is compared with itself over the complexity classes that it served in both periods, the earlier one weighted to
the later one's mix of them: a model that is given harder requests than before has not become worse. The unit of chance
is the hour (the minute in short periods), as for tasks.trend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from models.document import Interval, ModelRegression
from models.kpi import LOWER_IS_BETTER, KpiName, KpiState, judge
from models.settings import PerformanceMetrics
from models.tables import UNKNOWN
from tasks.interval import Z_95
from tasks.trend import METRICS, MINIMUM_BUCKETS, ratio_error

REGRESSING = ("count", "error_count", "response_time_count", "response_time_sum_ms", "accuracy_count", "accuracy_sum")
"""The columns of rollups that are looked at here."""

JUDGED = frozenset({KpiName.RESPONSE_TIME, KpiName.ERROR_RATE, KpiName.SELECTION_ACCURACY})
"""What is a model's own doing: the cache and the price are not."""

MINIMUM_SAMPLE = 100
"""Selections with a known value on each side: the optimizer asks for as many before it changes anything."""
CLASS_MINIMUM_SAMPLE = 30
"""The same of a complexity class, so that a handful of requests is not given the weight of many."""

MINIMUM_SLOWDOWN = 0.10
"""As a part of the response time before: providers are faster or slower by some percent from day to day."""
MINIMUM_RATE_CHANGE = 0.01
"""Of an error rate or accuracy, 1 percentage point: a third or less of what lies between the default limits."""

CHANCE = 0.05
"""How often anything at all is reported where nothing changed for any model, by Holm's correction (Holm 1979)."""

LARGEST_REGRESSIONS = 3


@dataclass(frozen=True)
class _Change:
    """`size` is how much worse it became, as a multiple of the smallest change that is worth telling."""

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
    """Up to three changes for the worse, the worst first, that are beyond chance and large enough to matter.

    All frames are sums by bucket, model and complexity. `earlier` are the periods that may be compared with, the one to
    be preferred first: each model and metric is compared with the first in which it has enough buckets.
    """
    changes = list(_changes(now, earlier))
    worse = [change for change in _beyond_chance(changes) if change.size > 1]
    found = [(change.size, _regression(change, limits)) for change in worse]
    order = ("high", "medium", "low")
    found.sort(key=lambda item: (order.index(item[1].severity), -item[0]))
    return [regression for _, regression in found[:LARGEST_REGRESSIONS]]


# ----------------------------------------------------------------------------------------------------------------------


def _changes(now: pl.DataFrame, earlier: Sequence[pl.DataFrame]) -> Iterator[_Change]:
    """Every comparison that can be made, for the better too: the correction is for all of them."""
    metrics = [metric for metric in METRICS if metric.name in JUDGED]
    for model_id in sorted(set(now["model_id"]) - {UNKNOWN}):
        mine = now.filter(pl.col("model_id") == model_id)
        theirs = [frame.filter(pl.col("model_id") == model_id) for frame in earlier]
        for metric in metrics:
            columns = metric.numerator, metric.denominator or ""
            pairs = (_alike(_of(mine, *columns), _of(frame, *columns)) for frame in theirs)
            if pair := next((pair for pair in pairs if all(map(_is_enough, pair))), None):
                yield _change(model_id, KpiName(metric.name), *pair)


def _of(rollups: pl.DataFrame, numerator: str, denominator: str) -> pl.DataFrame:
    """`above` and `below` the line by bucket and complexity, where anything is known."""
    sums = rollups.group_by("bucket", "complexity").agg(
        above=pl.col(numerator).sum().cast(pl.Float64), below=pl.col(denominator).sum().cast(pl.Float64)
    )
    return sums.filter(pl.col("below") > 0)


def _alike(now: pl.DataFrame, then: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both by bucket, over the classes that both have, `then` weighted to the mix of `now`."""
    sums = (frame.group_by("complexity").agg(pl.col("below").sum()) for frame in (now, then))
    enough = pl.min_horizontal("below", "below_then") >= CLASS_MINIMUM_SAMPLE
    classes = next(sums).join(next(sums), on="complexity", suffix="_then").filter(enough)
    weight = (pl.col("below") / pl.col("below").sum()) / (pl.col("below_then") / pl.col("below_then").sum())
    weights = classes.select("complexity", weight=weight)
    weighted = then.join(weights, on="complexity").with_columns(pl.col("above", "below") * pl.col("weight"))
    return _by_bucket(now.join(weights, on="complexity", how="semi")), _by_bucket(weighted)


def _by_bucket(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("bucket").agg(pl.col("above", "below").sum()).sort("bucket")


def _is_enough(buckets: pl.DataFrame) -> bool:
    return buckets.height >= MINIMUM_BUCKETS and float(buckets["below"].sum()) >= MINIMUM_SAMPLE


def _change(model_id: str, metric: KpiName, now: pl.DataFrame, then: pl.DataFrame) -> _Change:
    after, before = (float(side["above"].sum()) / float(side["below"].sum()) for side in (now, then))
    worse = (after - before) * (1 if metric in LOWER_IS_BETTER else -1)
    least = MINIMUM_SLOWDOWN * before if metric is KpiName.RESPONSE_TIME else MINIMUM_RATE_CHANGE
    error = math.hypot(ratio_error(now), ratio_error(then))
    return _Change(
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


def _beyond_chance(changes: Sequence[_Change]) -> Iterator[_Change]:
    """Holm's: the least likely is held against CHANCE over all, the next against CHANCE over the rest, and so on."""
    for tested, change in enumerate(sorted(changes, key=lambda change: change.chance)):
        if change.chance > CHANCE / (len(changes) - tested):
            return
        yield change


def _regression(change: _Change, limits: PerformanceMetrics) -> ModelRegression:
    state = judge(change.metric, change.after, limits.of(change.metric))
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
