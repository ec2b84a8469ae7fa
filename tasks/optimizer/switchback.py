"""Switchback: judge a setting that all requests share by blocks of time, old and new value in random order. Pure.

Two neighbouring blocks are a pair; a coin decides which comes first. What is compared is the difference of a pair's
blocks, each a ratio of sums, so that days, weeks and slow drift cancel: they are shared, or as often for as against.
The coin makes each difference symmetric around the effect (tasks.statistics.sign_flips): nothing is assumed about how
the traffic varies, and every look is allowed. What does not cancel is what a block leaves to the next one: a wash-out
at the start of each block is left out of its sums.

"No worse" asks more: rare events of few requests are not symmetric around an effect, so there the bound is at least as
wide as that of two shares of so many requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np

from models.documents import ERROR_BUDGET, Conclusion, Interval, MetricChange, TrialPoint
from tasks.optimizer.change_metrics import UNEVEN_ALPHA, UNEVEN_SHARE
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.metric_text import before_after_text
from tasks.statistics.confidence_sequences import mixture_radius
from tasks.statistics.sign_flips import centres, log_capital, lower_bounds, sign_flip_p_value, upper_bounds

Sums = Mapping[str, float]

MINIMUM_OF_SHARE, MINIMUM_OF_AMOUNT = 20, 100
"""Known values that each side needs, all blocks together, before a metric is judged."""

PSEUDO_VALUES = 2.0
"""Of each 0 and 1, added to the spread of a share on each side: 0 errors of n is no certainty that there are none."""

SHARE_TUNED_AT = 2_000.0
"""Effective requests, n1·n0/(n1 + n0), at which the bound of a share is sharpest. Chosen beforehand."""

LARGEST_LOGARITHM = 100.0
"""Of a ratio; what is beyond is not bounded."""

MOST_MISSING = 1_000.0
"""Factor by which a bound is too wide from which it is not said how many values are missing."""

DRIFT_PART = 0.5
"""Part of a usual pair's variance that does not shrink with its requests: a busy pair counts more, but not by far."""


@dataclass(frozen=True)
class BlockPair:
    """A pair of blocks without their wash-outs, as rollup sums; `number` from 0, `ended_at` of the later block."""

    number: int
    ended_at: datetime
    candidate: Sums
    baseline: Sums


@dataclass(frozen=True)
class SwitchbackReading:
    """What the pairs show at one look: the goal first, then the guards.

    Changes are candidate - baseline; each end of their intervals is a one-sided sequence at ERROR_BUDGET. `requests`
    are the candidate's and the baseline's, `goal_differences` those of the goal by pair, turned so that more is worse.
    """

    metrics: tuple[MetricChange, ...]
    pairs: int
    requests: tuple[int, int]
    goal_differences: tuple[float, ...]
    series: tuple[TrialPoint, ...] = ()

    @property
    def goal(self) -> MetricChange:
        return self.metrics[0]

    @property
    def guards(self) -> tuple[MetricChange, ...]:
        return self.metrics[1:]

    @property
    def p_value(self) -> float:
        """Return the p-value of a better goal by flipping signs, for this one look: for people, it decides nothing."""
        return sign_flip_p_value([-it for it in self.goal_differences if math.isfinite(it)], seed=self.pairs)

    @property
    def harm(self) -> tuple[MetricChange, ...]:
        """Return the metrics that are surely worse, by more than their margin."""
        return tuple(it for it in self.metrics if it.judgement == "worse")

    def saved_usd(self) -> Interval | None:
        """Return what the candidate's requests cost less than at the baseline; a loss is negative. None if unknown."""
        cost = next((it for it in self.metrics if it.metric == "averageCost"), None)
        if cost is None or cost.change is None or cost.change.low is None or cost.change.high is None:
            return None
        times = cost.sample_after
        return Interval(
            estimate=-cost.change.estimate * times, low=-cost.change.high * times, high=-cost.change.low * times
        )


def read_switchback(
    pairs: Sequence[BlockPair], metrics: Sequence[JudgedMetric], *, minimum_pairs: int, series: bool = True
) -> SwitchbackReading:
    """Compare the blocks of all pairs, oldest first. The first metric is the goal."""
    evaluations = _Evaluations(pairs, metrics, minimum_pairs, every=series)
    return evaluations.at(len(pairs), series=series)


def read_every_look(
    pairs: Sequence[BlockPair], metrics: Sequence[JudgedMetric], *, minimum_pairs: int
) -> tuple[SwitchbackReading, ...]:
    """Return what read_switchback would have returned after each pair, oldest first, without series."""
    evaluations = _Evaluations(pairs, metrics, minimum_pairs, every=True)
    return tuple(evaluations.at(number) for number in range(1, len(pairs) + 1))


def conclude_switchback(reading: SwitchbackReading, *, over: bool, minimum_pairs: int) -> tuple[Conclusion | None, str]:
    """Return the conclusion, None while it goes on, and the reason in plain English.

    `over`: no more pairs will come.
    """
    compared = f"{reading.pairs} pairs of blocks"
    if reading.pairs < minimum_pairs:
        short = f"{reading.pairs} of at least {minimum_pairs} pairs of blocks compared"
        return ("cannotBeTold", f"cannot be told: only {short}") if over else (None, f"{short} so far")
    if reading.harm:
        return "worse", f"clearly worse over {compared}: {', '.join(map(change_text, reading.harm))}"
    unknown, unclear = ([it for it in reading.metrics if it.judgement == name] for name in ("unknown", "unclear"))
    if not unknown and not unclear:
        return _not_worse(reading, compared)
    if not over:
        return None, f"not clear yet after {compared}: {', '.join(map(change_text, unknown or unclear))}"
    if unknown:
        names = ", ".join(f"{change_text(it)} ({it.reason})" for it in unknown)
        return "unproven", f"not proven: {names}; {change_text(reading.goal)}"
    return "cannotBeTold", f"cannot be told after {compared}: {', '.join(map(change_text, unclear))}"


def change_text(change: MetricChange) -> str:
    """Return a metric with its means on both sides, such as: cache hit rate 30.0% → 42.0%."""
    return before_after_text(change.metric, change.before, change.after)


# ----------------------------------------------------------------------------------------------------------------------


def _not_worse(reading: SwitchbackReading, compared: str) -> tuple[Conclusion, str]:
    if reading.goal.judgement != "better":
        return "noWorse", f"no worse over {compared}: {change_text(reading.goal)}; all is within its margin"
    chance = f"{compared}, p {reading.p_value:.2g} by flips of their signs"
    return "better", f"better: {change_text(reading.goal)} ({chance}); every guard is within its margin"


class _Evaluations:
    """Every look at a switchback: all bounds after each pair, worked out together."""

    def __init__(
        self, pairs: Sequence[BlockPair], metrics: Sequence[JudgedMetric], minimum_pairs: int, *, every: bool
    ) -> None:
        if not metrics:
            raise ValueError("a switchback is judged by at least one metric, its goal")
        self.pairs = pairs
        self.judged = [_PairedMetric(pairs, metric, len(metrics), minimum_pairs, every=every) for metric in metrics]

    def at(self, looked_at: int, *, series: bool = False) -> SwitchbackReading:
        """Return the reading after the first so many pairs."""
        sides = [sum(side.get("count", 0) for side in one) for one in _sides(self.pairs[:looked_at])]
        goal = self.judged[0]
        known = goal.values[: goal.known_at(looked_at)]
        return SwitchbackReading(
            metrics=tuple(judged.at(looked_at) for judged in self.judged),
            pairs=looked_at,
            requests=(round(sides[0]), round(sides[1])),
            goal_differences=tuple(known.tolist()),
            series=tuple(point for judged in self.judged for point in judged.series()) if series else (),
        )


SERIES_FROM = 6
"""The pairs from which on a picture shows an effect; a verdict needs more."""


class _PairedMetric:
    """One metric at every look. `values` are the differences of the pairs where it is known, turned so that more is
    worse: of logarithms where the margin is relative, so that an effect is a factor whatever the level."""

    def __init__(
        self, pairs: Sequence[BlockPair], metric: JudgedMetric, of: int, minimum_pairs: int, *, every: bool
    ) -> None:
        self.metric, self.minimum_pairs = metric, minimum_pairs
        self.sign = 1.0 if metric.lower_is_better else -1.0
        self.pairs = [pair for pair in pairs if _difference(pair, metric) is not None]
        numbers = {pair.number for pair in self.pairs}
        self.known = np.cumsum([pair.number in numbers for pair in pairs])
        self.values = self.sign * np.array([_difference(pair, metric) for pair in self.pairs], dtype=np.float64)
        above, below = metric.sums
        candidate, baseline = _sides(self.pairs)
        self.total, self.count = (
            np.cumsum([[side[name] for side in one] for one in (baseline, candidate)], axis=1, dtype=np.float64)
            for name in (above, below)
        )
        spreads, last = _spreads(self.pairs, below), len(self.pairs)
        # Earlier looks decide nothing, but a picture shows them.
        earliest = min(minimum_pairs, SERIES_FROM)
        self.first = min(earliest - 1 if every else max(last, minimum_pairs) - 1, last)
        of_evaluations: dict[str, Any] = {"spreads": spreads, "at": range(self.first, last)}
        self.least_harm = lower_bounds(self.values, ERROR_BUDGET / of, **of_evaluations)
        self.low = lower_bounds(self.values, ERROR_BUDGET, **of_evaluations)
        self.high = upper_bounds(self.values, ERROR_BUDGET, **of_evaluations)
        self.centre = centres(self.values, **of_evaluations)
        self.is_uneven = _uneven(self.pairs, below, spreads)

    def known_at(self, looked_at: int) -> int:
        """Return how many of the first pairs are known."""
        return int(self.known[looked_at - 1]) if looked_at else 0

    def at(self, looked_at: int) -> MetricChange:
        known = self.known_at(looked_at)
        samples = self._samples(known)
        reason = self._problem(known, samples)
        if reason is not None:
            return MetricChange(
                metric=self.metric.name, before=None, after=None, change=None, margin=self.metric.margin,
                sample_before=samples[0], sample_after=samples[1], judgement="unknown", reason=reason,
            )  # fmt: skip
        at = known - 1
        before = float(self.total[0, at] / self.count[0, at])
        margin = self.metric.margin_of(before)
        worse_by, harm, low, high = (
            self._in_units(float(it[at - self.first]), before)
            for it in (self.centre, self.least_harm, self.low, self.high)
        )
        high = max(high, worse_by + self._least_radius(at))
        judgement = self._judgement(worse_by, harm, high, before, margin)
        ends = sorted((self.sign * low, self.sign * high))
        change = Interval(estimate=self.sign * worse_by, low=_finite(ends[0]), high=_finite(ends[1]))
        return MetricChange(
            metric=self.metric.name, before=before, after=before + self.sign * worse_by, change=change, margin=margin,
            sample_before=samples[0], sample_after=samples[1], judgement=judgement,
            missing_sample=_missing(samples[1], worse_by, high, margin) if judgement == "unclear" else None,
        )  # fmt: skip

    def series(self) -> list[TrialPoint]:
        """Return the effect as it was known after each pair."""
        points = []
        for at, pair in enumerate(self.pairs):
            least_pairs = min(self.minimum_pairs, SERIES_FROM)
            if at < self.first or self._problem(at + 1, self._samples(at + 1), least_pairs) is not None:
                continue
            before = float(self.total[0, at] / self.count[0, at])
            worse_by, low, high = (
                self._in_units(float(it[at - self.first]), before) for it in (self.centre, self.low, self.high)
            )
            ends = sorted((self.sign * low, self.sign * max(high, worse_by + self._least_radius(at))))
            estimate = self.sign * worse_by
            points.append(
                TrialPoint(
                    metric=self.metric.name, at=pair.ended_at, estimate=estimate, low=_finite(ends[0]),
                    high=_finite(ends[1]),
                )
            )  # fmt: skip
        return points

    def _samples(self, known: int) -> tuple[int, int]:
        """Return the known values of the baseline's and the candidate's blocks."""
        return (int(self.count[0, known - 1]), int(self.count[1, known - 1])) if known else (0, 0)

    def _problem(self, known: int, samples: tuple[int, int], least_pairs: int | None = None) -> str | None:
        """Return why the metric counts as not known; None if it is."""
        least = MINIMUM_OF_SHARE if self.metric.is_share else MINIMUM_OF_AMOUNT
        if known < (self.minimum_pairs if least_pairs is None else least_pairs):
            return f"known in {known} pairs of blocks, {self.minimum_pairs} are needed"
        if min(samples) < least:
            return (
                f"known of {samples[1]} requests with the new value and {samples[0]} with the old, {least} are needed"
            )
        if self.is_uneven[known - 1]:
            return "known of another share of the requests with the new value than with the old"
        if self.metric.relative and not self.total[:, known - 1].all():
            return "one value's sum is 0, of which nothing is a share"
        if not math.isfinite(self._in_units(float(self.centre[known - 1 - self.first]), 1.0)):
            return "too many blocks of one value are without any of it"
        return None

    def _in_units(self, effect: float, before: float) -> float:
        """Return an effect in the metric's unit, still turned so that more is worse."""
        if not self.metric.relative:
            return effect
        logarithm = self.sign * effect
        return self.sign * (math.inf if logarithm > LARGEST_LOGARITHM else before * math.expm1(logarithm))

    def _least_radius(self, at: int) -> float:
        """Return how much a share can differ by chance alone, of so many independent requests."""
        if not self.metric.is_share:
            return 0.0
        total, count = self.total[:, at], self.count[:, at]
        share = (total + PSEUDO_VALUES) / (count + 2 * PSEUDO_VALUES)
        variance = float((share * (1 - share) / count).sum())
        effective = float(count.prod() / count.sum())
        return float(mixture_radius(1 / variance, ERROR_BUDGET, tuned_at=SHARE_TUNED_AT / (variance * effective)))

    def _judgement(
        self, worse_by: float, harm: float, high: float, before: float, margin: float
    ) -> Literal["better", "same", "worse", "unclear"]:
        room = math.inf if self.metric.limit is None else self.sign * (self.metric.limit - before)
        if harm > 0 and worse_by > margin and (self.metric.limit is None or worse_by > room):
            return "worse"
        if high < 0:
            return "better"
        allowed = margin if self.metric.limit is None else max(margin, room)
        return "same" if high <= allowed else "unclear"


def _sides(pairs: Sequence[BlockPair]) -> tuple[list[Sums], list[Sums]]:
    """Return the sums of the candidate's blocks, and those of the baseline's."""
    return [pair.candidate for pair in pairs], [pair.baseline for pair in pairs]


def _difference(pair: BlockPair, metric: JudgedMetric) -> float | None:
    """Return candidate - baseline of a pair, of logarithms if the margin is relative; None where it is not known."""
    above, below = metric.sums
    counts = [side.get(below, 0) for side in (pair.candidate, pair.baseline)]
    if min(counts) <= 0 or any(side.get(above) is None for side in (pair.candidate, pair.baseline)):
        return None
    candidate, baseline = pair.candidate[above] / counts[0], pair.baseline[above] / counts[1]
    if not metric.relative:
        return candidate - baseline
    if min(candidate, baseline) < 0:
        return None
    if candidate == baseline:
        return 0.0
    if min(candidate, baseline) == 0:
        return math.inf if candidate else -math.inf
    return math.log(candidate / baseline)


def _spreads(pairs: Sequence[BlockPair], below: str) -> list[float]:
    """Return how much each pair's chance is expected to vary, by its known values, beside the pairs up to it."""
    sizes = [1 / (1 / pair.candidate[below] + 1 / pair.baseline[below]) for pair in pairs]
    usual = [float(np.median(sizes[: number + 1])) for number in range(len(sizes))]
    return [math.sqrt(DRIFT_PART + (1 - DRIFT_PART) * of / size) for of, size in zip(usual, sizes, strict=True)]


def _uneven(pairs: Sequence[BlockPair], below: str, spreads: Sequence[float]) -> Any:
    """Return, after each pair, whether it was ever sure that the sides are not known alike, and by how much."""
    if not pairs:
        return np.zeros(0, dtype=bool)
    known, count, failed = (
        np.array([[side.get(name, 0) for side in one] for one in _sides(pairs)], dtype=np.float64)
        for name in (below, "count", "error_count")
    )
    # A failed call has no cost, time or rating. How often calls fail is judged by the error rate.
    count = np.maximum(known, count - failed)
    shares = np.divide(known, count, out=np.ones_like(known), where=count > 0)
    if (shares == shares[:, :1]).all():
        return np.zeros(len(pairs), dtype=bool)
    differences = shares[0] - shares[1]
    won = np.maximum(log_capital(differences, 0.0, spreads=spreads), log_capital(-differences, 0.0, spreads=spreads))
    is_sure = np.maximum.accumulate(won) >= math.log(2 / UNEVEN_ALPHA)
    whole = np.cumsum(known, axis=1) / np.maximum(np.cumsum(count, axis=1), 1)
    return is_sure & (np.abs(whole[0] - whole[1]) > UNEVEN_SHARE * whole.max(axis=0))


def _missing(sample: int, worse_by: float, worse_end: float, margin: float) -> int | None:
    """Return about how many more known values the worse end needs to reach the margin; None if it never will."""
    room, radius = margin - max(worse_by, 0.0), worse_end - worse_by
    if room <= 0 or radius > MOST_MISSING * room:
        return None
    return max(1, math.ceil(sample * ((radius / room) ** 2 - 1)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
