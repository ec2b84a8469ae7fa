"""Split: judge a candidate that gets a random share of the requests, beside the baseline, at the same time. Pure.

Effects are differences within the hour, so that whatever both arms share (drift, seasons, incidents) cancels. Chance
is over requests, which were assigned one by one; where users were assigned, it is over the unit buckets of users.
Bounds are confidence sequences: they hold at every look. What each error may cost is in models.documents.ERROR_BUDGET.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import polars as pl

from models.documents import ERROR_BUDGET, Interval, MetricChange
from tasks.optimizer.change_metrics import UNEVEN_ALPHA, UNEVEN_SHARE
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.metric_text import before_after_text, label_of, value_text
from tasks.rollups.arms import ARM_SUMS, BASELINE, CANDIDATE, UNKNOWN_BUCKET
from tasks.statistics.confidence_sequences import mixture_radius, widened
from tasks.statistics.sample_ratio import UNCHECKED, SampleRatio, sample_ratios, sample_ratios_by_cluster

HOUR = timedelta(hours=1)

HARM_TUNED_AT, BETTER_TUNED_AT, NO_WORSE_TUNED_AT = 1_000.0, 2_000.0, 8_000.0
"""Effective requests, n1·n0/(n1 + n0) summed over hours, at which a sequence is sharpest: harm is to be found early,
and "no worse" needs narrow bounds, which come late. Chosen beforehand, never from the data. For a step to a share p,
harm weighs p times as much, so p² of the requests do; every step is a claim of its own, with a sequence of its own."""

LEAST_TUNED_AT = 300.0

LAST_LOOK = ERROR_BUDGET / 2
"""Part of the error of "no worse" at a share of 1 that is kept for one look, at the deadline: what is fixed beforehand
needs no sequence, and is much narrower. The sequence has the rest."""

MINIMUM_OF_SHARE, MINIMUM_OF_AMOUNT = 20, 100
"""Known values that each arm needs before a metric is judged: means of amounts have heavy tails, and are asymptotic."""

MINIMUM_CLUSTERS = 4
"""Unit buckets with requests that each arm needs where users were assigned: fewer do not show their spread."""

PSEUDO_VALUES = 2.0
"""Of each 0 and 1, added to the spread of a share in each arm: 0 errors of n is no certainty that there are none."""

NEARLY_ALL = 0.9
"""Known share from which a guard that is not clear lacks requests, not ratings."""

POWER = 0.8

Judgement = Literal["better", "same", "worse", "unclear", "unknown"]
Action = Literal["wait", "step", "promote", "rollBack", "ask"]
Conclusion = Literal["better", "noWorse", "worse", "unproven", "cannotBeTold", "invalid"]


@dataclass(frozen=True)
class SplitPlan:
    """What a router was asked to do: from when on the candidate got which share (0..1) of the requests, ascending.

    `has_common_tokenizer`: both arms' prompt tokens are counted by one tokenizer, so that they are something that the
    request brought. Only then are costs and times adjusted for them: a tokenizer that counts more would otherwise hide
    what it costs. `by`: what was assigned. Users that were assigned but are not known by their unit buckets allow no
    judgement, as their requests are no independent draws.
    """

    experiment: str
    steps: tuple[tuple[datetime, float], ...]
    has_common_tokenizer: bool = False
    by: Literal["request", "user"] = "request"

    def __post_init__(self) -> None:
        starts = [start for start, _share in self.steps]
        if sorted(starts) != starts or not all(0 <= share <= 1 for _start, share in self.steps):
            raise ValueError(f"the steps of {self.experiment} must ascend in time, with shares from 0 to 1")

    @property
    def share(self) -> float:
        """Return the share that was asked last."""
        return self.steps[-1][1] if self.steps else 0.0


@dataclass(frozen=True)
class MetricReading:
    """One metric of both arms at one look. Estimates and bounds are candidate - baseline, in the metric's unit.

    `low` and `high` are one-sided sequences, at ERROR_BUDGET on the better side, and on the worse side at what the last
    look leaves of it; `worse_by`, `harm_bound` and `worse_end` are turned
    so that more is worse: the estimate, the least harm at this metric's part of the error budget, and the most that it
    may be worse. `margin` is in the metric's unit, `room` how much worse is still on the metric's good side. `known_*`
    are the shares of requests with a known value. `variance` is the estimate's, of so many `effective` requests and
    degrees of `freedom`; `spread` is a value's variance, None if more values would not help, and `share` the
    candidate's of the requests so far.
    """

    metric: JudgedMetric
    judgement: Judgement
    sample_before: int
    sample_after: int
    known_before: float | None = None
    known_after: float | None = None
    before: float | None = None
    after: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    worse_by: float | None = None
    harm_bound: float | None = None
    worse_end: float | None = None
    room: float = -math.inf
    variance: float = math.inf
    effective: float = 0.0
    freedom: float = math.inf
    is_adjusted: bool = False
    spread: float | None = None
    share: float = 0.5
    reason: str | None = None

    @property
    def missing_sample(self) -> int | None:
        """Return about how many more known values make it "no worse", if nothing got worse; None if more do not help.

        So many leave four of five rollouts within the margin at the deadline, at the share of the requests so far.
        """
        if self.judgement not in ("unclear", "unknown") or self.spread is None or not self.margin:
            return None
        quantiles = NormalDist().inv_cdf(1 - LAST_LOOK) + NormalDist().inv_cdf(POWER)
        needed = quantiles**2 * self.spread / self.margin**2 / (self.share * (1 - self.share))
        return max(1, math.ceil(needed) - self.sample_before - self.sample_after)

    @property
    def is_known(self) -> bool:
        return self.judgement != "unknown"

    @property
    def lacks_ratings(self) -> bool:
        """Return whether it is not clear for want of known values, although requests came."""
        if self.judgement == "unknown":
            return True
        known = min(self.known_before or 0.0, self.known_after or 0.0)
        beyond = (self.worse_by or 0.0) > (self.margin or 0.0)
        return self.judgement == "unclear" and known < NEARLY_ALL and not beyond

    def allows(self, share: float, *, is_last: bool = False) -> bool:
        """Return whether harm beyond the margin is excluded if the candidate gets this share of all requests."""
        end = self.worse_end_at(share, is_last=is_last)
        if end is None or self.margin is None or self.judgement == "worse":
            return False
        return end * share <= self.margin or end <= self.room

    def worse_end_at(self, share: float, *, is_last: bool = False) -> float | None:
        """Return the most that it may be worse, for a step to this share; None if it is not known.

        A step short of 1 is a claim of its own, at the whole error; that to 1 has a sequence and the last look.
        """
        if self.worse_by is None:
            return None
        if self.variance == 0:
            return self.worse_by
        information = 1 / self.variance
        if is_last and share >= 1:
            radius = NormalDist().inv_cdf(1 - LAST_LOOK) / math.sqrt(information)
        else:
            tuned = information * max(LEAST_TUNED_AT, NO_WORSE_TUNED_AT * share**2) / self.effective
            alpha = ERROR_BUDGET if share < 1 else ERROR_BUDGET - LAST_LOOK
            radius = mixture_radius(information, alpha, tuned_at=tuned)
        return self.worse_by + float(widened(radius, information, self.freedom))

    def as_change(self, *, is_last: bool = False) -> MetricChange:
        """Return the reading as documents tell it; at the last look with the bound that this look has."""
        estimate, low, high, judgement = self.estimate, self.low, self.high, self.judgement
        end = self.worse_end_at(1, is_last=is_last)
        if is_last and estimate is not None and end is not None and self.worse_by is not None:
            radius = end - self.worse_by
            low, high = (low, estimate + radius) if self.metric.lower_is_better else (estimate - radius, high)
            if judgement == "unclear" and self.allows(1, is_last=True):
                judgement = "same"
        change = None if estimate is None else Interval(estimate=estimate, low=low, high=high)
        return MetricChange(
            metric=self.metric.name,
            before=self.before,
            after=self.after,
            change=change,
            margin=self.metric.margin if self.margin is None else self.margin,
            sample_before=self.sample_before,
            sample_after=self.sample_after,
            judgement=judgement,
            reason=self.reason,
            missing_sample=None if judgement == "same" else self.missing_sample,
        )

    @property
    def as_text(self) -> str:
        """Return the metric with its means of both arms, such as: error rate 2.0% → 4.5%."""
        return before_after_text(self.metric.name, self.before, self.after)


@dataclass(frozen=True)
class SplitReading:
    """What a split shows at one look: the goal first, then the guards.

    `hours` are those that were compared, from `observed_from` to `observed_to`, `left_out_hours` those in which a step
    was taken; `requests` are of the candidate and the baseline, `requests_in_step` of the candidate since the last
    step. `by_unit`: users were assigned, not requests. `series` has a row for each hour and metric: bucket, metric,
    estimate, low, high, all up to that hour.
    """

    plan: SplitPlan
    metrics: tuple[MetricReading, ...]
    sample_ratio: SampleRatio
    hours: int
    left_out_hours: int
    requests: tuple[int, int]
    requests_in_step: int
    by_unit: bool
    observed_from: datetime | None
    observed_to: datetime | None
    series: pl.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def goal(self) -> MetricReading:
        return self.metrics[0]

    @property
    def guards(self) -> tuple[MetricReading, ...]:
        return self.metrics[1:]

    @property
    def harm(self) -> tuple[MetricReading, ...]:
        """Return the metrics that are surely worse, by more than their margin."""
        return tuple(it for it in self.metrics if it.judgement == "worse")

    def blocked_by(self, next_share: float, minimum_requests: int = 0, *, is_last: bool = False) -> tuple[str, ...]:
        """Return why the candidate may not get this share of the requests yet, in plain English; empty if it may.

        `is_last`: this is the one look at the deadline, which is never repeated.
        """
        reasons = []
        if self.sample_ratio.is_off:
            reasons.append(_off_text(self.sample_ratio))
        if self.requests_in_step < minimum_requests:
            reasons.append(f"{self.requests_in_step} requests since the last step, {minimum_requests} are needed")
        for it in self.metrics:
            if not it.allows(next_share, is_last=is_last):
                reasons.append(_blocked_text(it, next_share, is_last=is_last))
        return tuple(reasons)

    def may_step_to(self, next_share: float, minimum_requests: int = 0) -> bool:
        """Return whether the candidate may get this share: harm is weighed by the share that it would reach."""
        return not self.blocked_by(next_share, minimum_requests)

    def saved_usd(self) -> Interval | None:
        """Return what the candidate's requests cost less than at the baseline; a loss is negative. None if unknown."""
        cost = next((it for it in self.metrics if it.metric.name == "averageCost" and it.estimate is not None), None)
        if cost is None or cost.estimate is None or cost.low is None or cost.high is None:
            return None
        times = self.requests[0]
        return Interval(estimate=-cost.estimate * times, low=-cost.high * times, high=-cost.low * times)


SERIES_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "bucket": pl.Datetime("us", "UTC"), "metric": pl.String, "estimate": pl.Float64, "low": pl.Float64,
    "high": pl.Float64,
}  # fmt: skip

_NO_SERIES = pl.DataFrame(schema=SERIES_SCHEMA)


def read_split(hours: pl.DataFrame, plan: SplitPlan, metrics: Sequence[JudgedMetric]) -> SplitReading:
    """Compare the arms over all hours: columns bucket, arm, unit_bucket and ARM_SUMS of one class and experiment.

    The first metric is the goal. Columns of cross-moments may be null or absent: then nothing is adjusted for.
    Hours before the first step, in which a step was taken, or with a share of 0 or 1 are left out.
    """
    evaluations = _SplitEvaluations(hours, plan, metrics)
    return evaluations.at(len(evaluations) - 1, series=True)


def read_every_look(hours: pl.DataFrame, plan: SplitPlan, metrics: Sequence[JudgedMetric]) -> tuple[SplitReading, ...]:
    """Return what read_split would have returned after each hour that is compared, oldest first, without series."""
    evaluations = _SplitEvaluations(hours, plan, metrics)
    return tuple(evaluations.at(hour) for hour in range(len(evaluations)))


def conclude_split(  # noqa: PLR0911 - one return for each outcome
    reading: SplitReading,
    *,
    next_share: float,
    over: bool,
    minimum_requests: int = 0,
    hours_left: float | None = None,
) -> tuple[Action, Conclusion | None, str]:
    """Return what to do, the conclusion (None while it goes on), and the reason in plain English. Pure.

    `next_share` is that of the next step, 1 for promotion. `over`: this is the look at the deadline, which was fixed
    beforehand; it is taken once. With `hours_left`, a person is asked as soon as ratings come too slowly for the
    deadline; without it, at the deadline.
    """
    if reading.sample_ratio.is_off:
        return "rollBack", "invalid", _off_text(reading.sample_ratio)
    if reading.harm:
        return "rollBack", "worse", f"clearly worse: {', '.join(it.as_text for it in reading.harm)}"
    blocked = reading.blocked_by(next_share, minimum_requests, is_last=over)
    if not blocked and next_share < 1 and not over:
        return "step", None, f"nothing is worse beyond its margin at a share of {next_share:.0%}"
    if not blocked and next_share >= 1:
        if reading.goal.judgement == "better":
            return "promote", "better", f"better: {reading.goal.as_text}; every guard is within its margin"
        return "promote", "noWorse", f"no worse: {reading.goal.as_text}; every guard is within its margin"
    # At the deadline it is all or nothing: what stands in the way is what does so for every request.
    short = _lacking(reading, 1.0 if over else next_share, is_last=over)
    if short and (over or _too_slow(reading, short, hours_left)):
        return "ask", "unproven", f"better: {reading.goal.as_text}; but {', '.join(_lack_text(it) for it in short)}"
    if not over:
        return "wait", None, f"not clear yet: {blocked[0]}"
    unknown = [it for it in reading.metrics if not it.is_known]
    if unknown:
        return "rollBack", "unproven", f"not proven by the deadline: {', '.join(_lack_text(it) for it in unknown)}"
    first = blocked[0] if blocked else f"there was no time left for a share of {next_share:.0%}"
    return "rollBack", "cannotBeTold", f"cannot be told by the deadline: {first}"


# ----------------------------------------------------------------------------------------------------------------------


def _lacking(reading: SplitReading, next_share: float, *, is_last: bool) -> tuple[MetricReading, ...]:
    """Return the guards that lack ratings, if the goal is better and no other guard seems worse than its margin."""
    if reading.goal.judgement != "better":
        return ()
    blocking = [it for it in reading.guards if not it.allows(next_share, is_last=is_last)]
    if any(it.is_known and (it.worse_by or 0.0) > (it.margin or 0.0) for it in blocking):
        return ()
    return tuple(it for it in blocking if it.lacks_ratings)


def _too_slow(reading: SplitReading, short: Sequence[MetricReading], hours_left: float | None) -> bool:
    if hours_left is None or not reading.hours:
        return False
    for it in short:
        per_hour = (it.sample_before + it.sample_after) / reading.hours
        if it.missing_sample is not None and it.missing_sample > per_hour * hours_left:
            return True
    return False


def _lack_text(it: MetricReading) -> str:
    name = label_of(it.metric.name)
    if it.reason is not None:
        name = f"{name} is not known ({it.reason})"
    missing = f"about {it.missing_sample:,} more known values are needed" if it.missing_sample else "it is not clear"
    return f"{name}: {missing}"


def _blocked_text(it: MetricReading, share: float, *, is_last: bool) -> str:
    name, end = label_of(it.metric.name), it.worse_end_at(share, is_last=is_last)
    if end is None or it.margin is None:
        return f"{name} is not known: {it.reason}"
    worse, margin = (value_text(it.metric.name, value) for value in (end * share, it.margin))
    weighed = "" if share == 1 else f" at a share of {share:.0%}"
    return f"{name} may be worse by {worse}{weighed}, {margin} is its margin"


def _off_text(ratio: SampleRatio) -> str:
    observed, asked = (f"{share:.1%}" if share is not None else "none" for share in (ratio.observed, ratio.asked))
    return (
        f"invalid: the candidate got {observed} of {ratio.requests:,} requests, asked was {asked}: the router does not "
        "do as told, requests are pinned, or rows are missing"
    )


@dataclass(frozen=True)
class _Cube:
    """Sums by hour × arm (baseline, candidate) × unit bucket; a column is None if it is not there."""

    buckets: list[datetime]
    shares: Any
    sums: Mapping[str, Any]
    by_unit: bool
    left_out: int

    def of(self, name: str) -> Any:
        return self.sums.get(name)


def _cube(hours: pl.DataFrame, plan: SplitPlan) -> _Cube:
    known = hours.filter(pl.col("arm").is_in([BASELINE, CANDIDATE]))
    asked, left_out = {}, 0
    for bucket in known["bucket"].unique().sort():
        share = _share_in(bucket, plan)
        if share is None:
            left_out += 1
        elif 0 < share < 1:
            asked[bucket] = share
    buckets = list(asked)
    kept = known.filter(pl.col("bucket").is_in(pl.Series(buckets, dtype=known.schema["bucket"]).implode()))
    units = (
        kept["unit_bucket"].cast(pl.Int64).fill_null(UNKNOWN_BUCKET).to_numpy()
        if "unit_bucket" in kept.columns
        else np.full(kept.height, UNKNOWN_BUCKET)
    )
    by_unit = plan.by == "user" or bool((units != UNKNOWN_BUCKET).any())
    clusters, unit = np.unique(units, return_inverse=True)
    hour = np.searchsorted(np.array([it.timestamp() for it in buckets]), kept["bucket"].dt.epoch("us").to_numpy() / 1e6)
    arm = (kept["arm"] == CANDIDATE).to_numpy().astype(np.intp)
    sums = {}
    for name in ARM_SUMS:
        if name not in kept.columns:
            continue
        out = np.zeros((len(buckets), 2, max(1, len(clusters))))
        # A missing value leaves its hour NaN, which no complete hour has.
        values = kept[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        np.add.at(out, (hour, arm, unit), values)
        sums[name] = out
    return _Cube(buckets, np.array([asked[it] for it in buckets]), sums, by_unit, left_out)


def _share_in(bucket: datetime, plan: SplitPlan) -> float | None:
    """Return the share asked in the hour; 0 before the first step, None if a step was taken within the hour."""
    share = 0.0
    for start, asked in plan.steps:
        if bucket < start < bucket + HOUR:
            return None
        if start <= bucket:
            share = asked
    return share


@dataclass(frozen=True)
class _Moments:
    """Sums of one quantity by hour × arm × unit bucket: known values, sum, squares, and those with prompt tokens."""

    count: Any
    total: Any
    squares: Any
    is_share: bool
    tokens: tuple[Any, Any, Any, Any] | None = None


@dataclass(frozen=True)
class _Effect:
    """Candidate - baseline after every hour, with its variance (infinite if it cannot be told)."""

    estimate: Any
    before: Any
    variance: Any
    effective: Any
    freedom: Any
    samples: Any
    is_adjusted: Any
    tokens_differ: Any

    def radius(self, alpha: float, tuned_at: float) -> Any:
        """Return the one-sided radius of a sequence that is sharpest at that many effective requests."""
        with np.errstate(divide="ignore", invalid="ignore"):
            information = np.where(self.variance > 0, 1 / self.variance, 0.0)
            tuned = np.where(self.effective > 0, information * tuned_at / self.effective, 0.0)
            radius = widened(mixture_radius(information, alpha, tuned_at=tuned), information, self.freedom)
        # Amounts that never vary, such as a price per request, leave nothing to chance.
        return np.where(self.variance == 0, 0.0, radius)


def _effect(of: _Moments, *, by_unit: bool) -> _Effect:
    """Weigh differences within hours by n1·n0/(n1 + n0), and take their variance from within the hours and arms.

    The variance is quadratic in the slope on prompt tokens, whose optimum is taken (Lin, Annals of Applied Statistics
    2013, for regression adjustment without a model; Deng et al. 2013 call it CUPED).
    """
    count, total = of.count.sum(axis=2), of.total.sum(axis=2)
    mean = _over(total, count)
    weight = np.where((count > 0).all(axis=1), _over(count[:, 0] * count[:, 1], count.sum(axis=1)), 0.0)
    effective = np.cumsum(weight)
    used = np.where(weight[:, None] > 0, count, 0.0)
    x_mean, complete = _token_means(of, count)
    shift = np.cumsum(np.where(complete, weight * (x_mean[:, 1] - x_mean[:, 0]), 0.0))
    parts = {"count": count, "mean": mean, "weight": weight, "x_mean": x_mean, "complete": complete}
    terms = [_by_requests(of, total=total, **parts)]
    freedom = np.full(len(effective), np.inf)
    if by_unit:
        clustered, freedom = _by_units(of, **parts)
        terms.append(clustered)
    slopes = terms[-1]
    differ = np.zeros(len(effective), dtype=bool)
    slope = np.zeros(len(effective))
    if of.tokens is not None:
        spread = np.maximum.reduce([it[2] for it in terms])
        with np.errstate(divide="ignore", invalid="ignore"):
            information = np.where(spread > 0, effective**2 / spread, 0.0)
            tuned = np.where(effective > 0, information * HARM_TUNED_AT / effective, 0.0)
            radius = widened(mixture_radius(information, UNEVEN_ALPHA / 2, tuned_at=tuned), information, freedom)
        differ = np.logical_or.accumulate(np.abs(_over(shift, effective)) > radius)
        slope = np.where(differ, 0.0, _over(slopes[1], slopes[2]))
    # Requests of one user are alike, never less alike than those of many: the larger of both variances holds.
    variance = np.maximum.reduce([it[0] - 2 * slope * it[1] + slope**2 * it[2] for it in terms])
    variance = _over(np.maximum(variance, 0.0), effective**2)
    return _Effect(
        estimate=_over(np.cumsum(weight * (mean[:, 1] - mean[:, 0])) - slope * shift, effective),
        before=_over(np.cumsum(weight * mean[:, 0]), effective),
        variance=np.where(effective > 0, variance, np.inf),
        effective=effective,
        freedom=freedom,
        samples=np.cumsum(used, axis=0),
        is_adjusted=slope != 0,
        tokens_differ=differ,
    )


def _token_means(of: _Moments, count: Any) -> tuple[Any, Any]:
    """Return the mean prompt tokens by hour × arm, and which hours know them of every value."""
    if of.tokens is None:
        return np.zeros_like(count), np.zeros(len(count), dtype=bool)
    known, tokens, squares, product = (part.sum(axis=2) for part in of.tokens)
    whole = np.isfinite(tokens + squares + product).all(axis=1)
    complete = whole & (known == count).all(axis=1) & (count > 0).all(axis=1)
    return np.where(complete[:, None], _over(tokens, known), 0.0), complete


def _by_requests(
    of: _Moments, *, count: Any, total: Any, mean: Any, weight: Any, x_mean: Any, complete: Any
) -> tuple[Any, Any, Any]:
    """Return the variance of the weighted sum as coefficients of the slope: constant, linear (halved) and square."""
    squares = of.squares.sum(axis=2) if of.squares is not None else total
    spread = np.maximum(squares - mean * total, 0.0)
    coefficient = np.where(count > 1, _over(weight[:, None] ** 2, count * (count - 1)), 0.0)
    constant = np.cumsum((coefficient * spread).sum(axis=1))
    # A single request of an arm in an hour has no spread of its own, and gets that of its arm's other hours.
    pooled = _over(np.cumsum(spread, axis=0), np.cumsum(np.maximum(count - 1, 0), axis=0))
    single = np.cumsum(np.where(count == 1, weight[:, None] ** 2, 0.0), axis=0)
    known = np.cumsum(np.maximum(count - 1, 0), axis=0) > 0
    pooled = np.where(known, pooled, np.where(single > 0, pooled.max(axis=1, keepdims=True), 0.0))
    constant = constant + (single * pooled).sum(axis=1)
    constant = np.where(((single > 0) & ~known).all(axis=1), np.inf, constant)
    if of.is_share:
        so_far = _over(np.cumsum(total, axis=0), np.cumsum(count, axis=0))
        added = _over(PSEUDO_VALUES * (so_far**2 + (1 - so_far) ** 2), np.cumsum(count, axis=0))
        per_value = np.cumsum(_over(weight[:, None] ** 2, count), axis=0)
        constant = constant + (added * per_value).sum(axis=1)
    if of.tokens is None:
        return constant, np.zeros_like(constant), np.zeros_like(constant)
    tokens, x_squares, product = (part.sum(axis=2) for part in of.tokens[1:])
    with np.errstate(invalid="ignore"):
        crossed = np.where(complete[:, None], product - x_mean * total, 0.0)
        spread_x = np.where(complete[:, None], np.maximum(x_squares - x_mean * tokens, 0.0), 0.0)
    linear, square = (np.cumsum((coefficient * it).sum(axis=1)) for it in (crossed, spread_x))
    return constant, linear, square


def _by_units(
    of: _Moments, *, count: Any, mean: Any, weight: Any, x_mean: Any, complete: Any
) -> tuple[tuple[Any, Any, Any], Any]:
    """Return the same as _by_requests from the spread between unit buckets, and its degrees of freedom.

    A bucket's residuals are added up over hours, as its users come again. Freedom is Satterthwaite's (1946): a user
    that dominates leaves next to none.
    """
    per_value = _over(weight[:, None], count)[:, :, None]
    own = np.cumsum(per_value * (of.total - of.count * mean[:, :, None]), axis=0)
    seen = np.cumsum(of.count, axis=0) > 0
    groups = seen.sum(axis=2)
    unbiased = np.where(groups > 1, groups / np.maximum(groups - 1, 1), 1.0)[:, :, None]
    squares = (unbiased * own**2).sum(axis=(1, 2))
    freedom = _over(2 * squares**2, (own**4).sum(axis=(1, 2)))
    squares = np.where((groups >= MINIMUM_CLUSTERS).all(axis=1), squares, np.inf)
    if of.tokens is None:
        return (squares, np.zeros_like(squares), np.zeros_like(squares)), freedom
    known, tokens = of.tokens[0], of.tokens[1]
    residual = np.where(complete[:, None, None], np.nan_to_num(tokens) - known * x_mean[:, :, None], 0.0)
    own_x = np.cumsum(per_value * residual, axis=0)
    linear, square = ((unbiased * own_x * it).sum(axis=(1, 2)) for it in (own, own_x))
    return (squares, linear, square), freedom


def _over(above: Any, below: Any) -> Any:
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)


class _SplitEvaluations:
    """Every look at a split: all bounds after each hour, worked out together."""

    def __init__(self, hours: pl.DataFrame, plan: SplitPlan, metrics: Sequence[JudgedMetric]) -> None:
        if not metrics:
            raise ValueError("a split is judged by at least one metric, its goal")
        self.plan, self.metrics = plan, tuple(metrics)
        self.cube = _cube(hours, plan)
        self.judged = [_Judged(self.cube, metric, plan, of=len(self.metrics)) for metric in self.metrics]
        count = self.cube.sums.get("count", np.zeros((0, 2, 1)))
        self.requests = np.cumsum(count.sum(axis=2), axis=0)
        test = sample_ratios_by_cluster if self.cube.by_unit else sample_ratios
        sides = (count[:, 1], count[:, 0]) if self.cube.by_unit else (count[:, 1].sum(axis=1), count[:, 0].sum(axis=1))
        self.ratios = test(*sides, self.cube.shares)

    def __len__(self) -> int:
        return len(self.cube.buckets)

    def at(self, hour: int, *, series: bool = False) -> SplitReading:
        """Return the reading after the hour of that number; of hour -1, that nothing is known."""
        in_step = 0.0
        if hour >= 0:
            last = self.cube.buckets[hour]
            # Requests count from the step that this hour belongs to.
            start = max((start for start, _share in self.plan.steps if start <= last), default=last)
            first = next(number for number, bucket in enumerate(self.cube.buckets) if bucket >= start)
            in_step = self.requests[hour, 1] - (self.requests[first - 1, 1] if first else 0.0)
        metrics = tuple(judged.at(hour) for judged in self.judged)
        return SplitReading(
            plan=self.plan,
            metrics=metrics,
            sample_ratio=self.ratios[hour] if hour >= 0 else UNCHECKED,
            hours=hour + 1,
            left_out_hours=self.cube.left_out,
            requests=(round(self.requests[hour, 1]), round(self.requests[hour, 0])) if hour >= 0 else (0, 0),
            requests_in_step=round(in_step),
            by_unit=self.cube.by_unit,
            observed_from=self.cube.buckets[0] if hour >= 0 else None,
            observed_to=self.cube.buckets[hour] + HOUR if hour >= 0 else None,
            series=self.series() if series else _NO_SERIES,
            notes=tuple(judged.note for judged in self.judged if judged.note),
        )

    def series(self) -> pl.DataFrame:
        parts = [judged.series() for judged in self.judged]
        return pl.concat([_NO_SERIES, *parts])


class _Judged:
    """One metric at every look."""

    def __init__(self, cube: _Cube, metric: JudgedMetric, plan: SplitPlan, *, of: int) -> None:
        self.metric, self.cube = metric, cube
        self.sign = 1.0 if metric.lower_is_better else -1.0
        self.alpha = ERROR_BUDGET / of
        self.note = ""
        self.problem: str | None = None
        moments = self._moments(plan)
        self.effect = None if moments is None else _effect(moments, by_unit=cube.by_unit)
        if moments is None or self.effect is None:
            return
        self.worse_by = self.sign * self.effect.estimate
        self.to_harm = self.effect.radius(self.alpha, HARM_TUNED_AT)
        self.to_better = self.effect.radius(ERROR_BUDGET, BETTER_TUNED_AT)
        self.to_worse = self.effect.radius(ERROR_BUDGET - LAST_LOOK, NO_WORSE_TUNED_AT)
        count = cube.sums["count"]
        # A failed call has no cost, time or rating. How often calls fail is judged by the error rate.
        answered = np.maximum(moments.count, np.nan_to_num(count) - np.nan_to_num(cube.sums["error_count"]))
        self.known = _over(np.cumsum(moments.count.sum(axis=2), axis=0), np.cumsum(answered.sum(axis=2), axis=0))
        self.is_uneven = self._uneven(moments, answered)
        sides = np.cumsum(count.sum(axis=2), axis=0)
        self.shares = _over(sides[:, 1], sides.sum(axis=1))
        if bool(self.effect.tokens_differ.any()):
            self.note = (
                f"{label_of(metric.name)} is not adjusted for prompt tokens: "
                "their mean differs between the arms, so they are not counted alike"
            )

    def at(self, hour: int) -> MetricReading:
        effect = self.effect
        if effect is None or hour < 0:
            return MetricReading(self.metric, "unknown", 0, 0, reason=self.problem or "no hours yet")
        samples = round(effect.samples[hour, 0]), round(effect.samples[hour, 1])
        known = float(self.known[hour, 0]), float(self.known[hour, 1])
        least = MINIMUM_OF_SHARE if self.metric.is_share else MINIMUM_OF_AMOUNT
        before, estimate = float(effect.before[hour]), float(effect.estimate[hour])
        margin = self.metric.margin_of(before)
        reason = None
        if self.is_uneven[hour]:
            reason = f"known of {known[1]:.1%} of the candidate's requests, but of {known[0]:.1%} of the baseline's"
        elif min(samples) < least:
            reason = (
                f"known of {samples[1]} requests of the candidate and {samples[0]} of the baseline, {least} are needed"
            )
        elif not np.isfinite(effect.variance[hour]):
            reason = "too few groups of users to tell chance from an effect"
        if reason is not None:
            spread = None if self.is_uneven[hour] else self._spread(hour)
            return MetricReading(
                self.metric, "unknown", *samples, *known, margin=margin, spread=spread, share=self._share(hour),
                reason=reason,
            )  # fmt: skip
        worse_by, harm = float(self.worse_by[hour]), float(self.to_harm[hour])
        better, worse = float(self.to_better[hour]), float(self.to_worse[hour])
        judgement = self._judgement(worse_by, (harm, better, worse), before, margin)
        low, high = (better, worse) if self.sign > 0 else (worse, better)
        return MetricReading(
            metric=self.metric,
            judgement=judgement,
            sample_before=samples[0],
            sample_after=samples[1],
            known_before=known[0],
            known_after=known[1],
            before=before,
            after=before + estimate,
            estimate=estimate,
            low=estimate - low,
            high=estimate + high,
            margin=margin,
            worse_by=worse_by,
            harm_bound=worse_by - harm,
            worse_end=worse_by + worse,
            room=-math.inf if self.metric.limit is None else self.sign * (self.metric.limit - before),
            variance=float(effect.variance[hour]),
            effective=float(effect.effective[hour]),
            freedom=float(effect.freedom[hour]),
            is_adjusted=bool(effect.is_adjusted[hour]),
            spread=self._spread(hour),
            share=self._share(hour),
        )

    def series(self) -> pl.DataFrame:
        if self.effect is None:
            return _NO_SERIES
        low, high = (self.to_better, self.to_worse) if self.sign > 0 else (self.to_worse, self.to_better)
        shown = np.isfinite(low) & np.isfinite(high)
        estimate = self.effect.estimate
        columns = {
            "bucket": self.cube.buckets, "metric": [str(self.metric.name)] * len(estimate), "estimate": estimate,
            "low": estimate - low, "high": estimate + high,
        }  # fmt: skip
        return pl.DataFrame(columns, schema=SERIES_SCHEMA).filter(pl.Series(shown))

    def _judgement(self, worse_by: float, radii: tuple[float, float, float], before: float, margin: float) -> Judgement:
        harm, better, worse = radii
        room = math.inf if self.metric.limit is None else self.sign * (self.metric.limit - before)
        if worse_by - harm > 0 and worse_by > margin and (self.metric.limit is None or worse_by > room):
            return "worse"
        if worse_by + better < 0:
            return "better"
        allowed = margin if self.metric.limit is None else max(margin, room)
        return "same" if worse_by + worse <= allowed else "unclear"

    def _spread(self, hour: int) -> float | None:
        """Return the variance of one known value; of values that nobody knows, a coin's if they are a share."""
        assert self.effect is not None  # noqa: S101
        variance = float(self.effect.variance[hour])
        if 0 < variance < math.inf and self.effect.samples[hour].min() >= MINIMUM_OF_SHARE:
            return variance * float(self.effect.effective[hour])
        return 0.25 if self.metric.is_share else None

    def _share(self, hour: int) -> float:
        share = float(self.shares[hour])
        return min(max(share, 0.01), 0.99)

    def _moments(self, plan: SplitPlan) -> _Moments | None:
        above, below = self.metric.sums
        total, count = self.cube.of(above), self.cube.of(below)
        if total is None or count is None:
            self.problem = "the rollups do not have it"
            return None
        total, count = np.nan_to_num(total), np.nan_to_num(count)
        is_event = above.endswith("_count")
        squares = None if is_event else self.cube.of(below.removesuffix("_count") + "_sum_sq")
        if squares is not None and not np.isfinite(squares).all():
            squares = None
        if squares is None and not self.metric.is_share:
            self.problem = "the rollups do not have its squares"
            return None
        tokens = None
        if plan.has_common_tokenizer and not is_event:
            prefix = below.removesuffix("_count") + "_prompt_"
            parts = [self.cube.of(prefix + name) for name in ("count", "sum_tokens", "sum_sq", "product")]
            if all(part is not None for part in parts):
                tokens = (parts[0], parts[1], parts[2], parts[3])
        return _Moments(count, total, squares, self.metric.is_share, tokens)

    def _uneven(self, moments: _Moments, whole: Any) -> Any:
        """Return, after each hour, whether the arms' known shares surely differ, and by more than UNEVEN_SHARE."""
        if np.array_equal(moments.count, whole):
            return np.zeros(len(whole), dtype=bool)
        known = _effect(_Moments(whole, moments.count, None, is_share=True), by_unit=self.cube.by_unit)
        radius = known.radius(UNEVEN_ALPHA / 2, HARM_TUNED_AT)
        larger = np.maximum(known.before, known.before + known.estimate)
        return np.abs(known.estimate) > np.maximum(radius, UNEVEN_SHARE * larger)
