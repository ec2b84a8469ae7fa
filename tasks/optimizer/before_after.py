"""Before and after: hold the hours after a config change against the same hours before it, and against placebos. Pure.

Every hour after is compared with the same hour of the week before. What that shows is judged by what it shows at other
times, when nothing was changed (tasks.optimizer.placebos). Where untouched traffic shares the drift, or requests
brought longer prompts or were of other classes, that is subtracted, as far as it makes the placebos differ less. With
too few placebos a change is described, and not judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from models.documents import ERROR_BUDGET, Interval, MetricChange
from models.settings import PerformanceMetrics
from tasks.bottlenecks.error_bursts import burst_hours
from tasks.bottlenecks.hotspots import merge_intervals
from tasks.optimizer.hour_grid import MATCHED_SUMS, HourGrid, ObservedHours
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.placebos import (
    INCIDENT_SHARE,
    MATCHED_MINIMUM_HOURS,
    MINIMUM_SPANS,
    Courses,
    Design,
    Placebos,
    PreparedMetric,
    Subject,
    differences,
    learn,
    prepare,
)
from tasks.statistics.intervals import share_interval

MATCHED_SHARE = 0.8
"""Minimum share of the hours after with a match before for matching by hour of the week."""

DESCRIBED_BEFORE = timedelta(weeks=4)
"""How far back the hours go by which a change is described that cannot be judged."""

COMPARABLE_KNOWN_SHARE = 2 / 3
"""If a metric is known in a share of the rows that differs by more than this factor, other rows are known."""

MatchedBy = Literal["hour of the week", "hour of the day"]


@dataclass(frozen=True)
class ReadingLimits:
    """How long a change is observed at most, and at least before it is kept, in hours; the minimum sample per side.

    `prompts_comparable` says whether tokens are counted alike before and after: another model may count others.
    """

    longest: int
    keep_from: int
    minimum_sample: int
    prompts_comparable: bool


@dataclass(frozen=True)
class BeforeAfterReading:
    """What the hours after a change show; without enough placebos, no metric is judged.

    `judged_hours` is the number of hours after that were judged by placebos: 0 if none.
    """

    goal: MetricChange
    guards: tuple[MetricChange, ...]
    matched_by: MatchedBy | None
    hours: int
    incident_hours: int
    judged_hours: int
    placebos: Placebos
    savings_usd: Interval | None = None

    @property
    def changes(self) -> tuple[MetricChange, ...]:
        return (self.goal, *self.guards)

    def judged(self, judgement: Literal["worse", "unknown"]) -> tuple[MetricChange, ...]:
        """Return the metrics with a judgement."""
        return tuple(change for change in self.changes if change.judgement == judgement)


class BeforeAfter:
    """A change with its hours, and what placebos in the hours before it say; read at one look or another."""

    def __init__(
        self,
        hours: ObservedHours,
        metrics: Sequence[JudgedMetric],
        limits: ReadingLimits,
        kpis: PerformanceMetrics,
        zone: str,
    ) -> None:
        self._hours, self._metrics, self._limits, self._kpis, self._zone = hours, metrics, limits, kpis, zone
        self._grid = grid = HourGrid(hours, zone)
        self._incident = grid.marked(burst_hours(pl.concat([hours.before, hours.after]), kpis))
        # Savings are no metric that is judged, and have no part in the error rate.
        spending = JudgedMetric("averageCost", margin=0.0, relative=True)
        self._subjects = [grid.subject(it, with_prompts=limits.prompts_comparable) for it in (*metrics, spending)]
        self.placebos = self._learn(self._subjects[:-1])
        designs = self.placebos.designs and (*self.placebos.designs, *self._learn(self._subjects[-1:]).designs)
        self._prepared = [
            (design, prepare(subject, design).since(grid.start))
            for subject, design in zip(self._subjects, designs, strict=False)
        ]

    @property
    def judgeable_hours(self) -> int:
        """Return how many of the hours after can be judged."""
        return max(0, min(self._grid.length - self._grid.start, self.placebos.horizon))

    def read(self, hours: int | None = None) -> BeforeAfterReading:
        """Compare the first `hours` after the change, by default all that can be judged, and judge them by placebos."""
        observed = self.judgeable_hours if hours is None else min(hours, self.judgeable_hours)
        if not self.placebos.are_enough or observed < MATCHED_MINIMUM_HOURS:
            matched = _CalendarMatched(self._hours, self._kpis, self._zone)
            return _described(matched, self._metrics, self._limits.minimum_sample, self.placebos)
        course = Courses(np.array([0]), np.array([observed]), self._incident[self._grid.start :])
        seen = [
            _Seen(
                course,
                design,
                prepared,
                _known_shares(course, self._grid, subject, design),
                self._limits.minimum_sample,
            )
            for (design, prepared), subject in zip(self._prepared, self._subjects, strict=True)
        ]
        judged = [_judged(metric, self.placebos.harm_quantile) for metric in seen[:-1]]
        return BeforeAfterReading(
            goal=judged[0],
            guards=tuple(judged[1:]),
            matched_by="hour of the week",
            hours=int(course.sums(self._prepared[0][1].matched.known)[0, 0]),
            incident_hours=int(course.incident_hours()[0, 0]),
            judged_hours=observed,
            placebos=self.placebos,
            savings_usd=_saved(seen[-1]),
        )

    def _learn(self, subjects: Sequence[Subject]) -> Placebos:
        limits = self._limits
        return learn(subjects, self._grid.end, self._incident, longest=limits.longest, keep_from=limits.keep_from)


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


def without_incidents(hours: pl.DataFrame, kpis: PerformanceMetrics) -> pl.DataFrame:
    """Return the hours without passing bursts of errors: the config does not cause a provider's incident.

    A burst that lasts until the end stays, and so do all if they fill more than INCIDENT_SHARE of the hours: the
    change may cause them.
    """
    if hours.is_empty():
        return hours
    last: datetime = hours["bucket"].sort()[-1]
    bursts = burst_hours(hours, kpis)
    over = [(start, end) for start, end in merge_intervals(bursts) if end <= last]
    passing = [bucket for bucket in bursts if any(start <= bucket < end for start, end in over)]
    if len(passing) > INCIDENT_SHARE * hours["bucket"].n_unique():
        return hours
    return hours.filter(pl.col("bucket").is_in(passing).not_())


# --- judged by placebos -----------------------------------------------------------------------------------------------


class _Seen:
    """What the life of the real change shows of one metric, as its design reads it.

    `worse_by` is on the scale of Differences, `spread` that of the placebos at the same look. `unknown` says why
    the metric is not known well enough, None if it is; `missing` is how many more known values it takes at least.
    """

    def __init__(
        self,
        course: Courses,
        design: Design,
        prepared: PreparedMetric,
        known_shares: tuple[float, float],
        minimum_sample: int,
    ) -> None:
        self.metric, self.design, matched = prepared.metric, design, prepared.matched
        self.sign = 1.0 if self.metric.lower_is_better else -1.0
        found = differences(course, prepared)
        self.worse_by, self.harmless = float(found.worse_by[0, 0]), bool(found.harmless[0, 0])
        self.spread = float(design.spread[course.evaluations[0] - MATCHED_MINIMUM_HOURS])
        above, below, expected, before, hours = (
            float(course.sums(sums)[0, 0])
            for sums in (matched.above, matched.below, matched.expected, matched.below_before, matched.known)
        )
        self.total, self.sample, self.sample_before = above, int(below), int(before)
        self.after = above / below if below else math.nan
        self.matched_before = expected / below if below else math.nan
        self.missing = max(0, minimum_sample - min(self.sample, self.sample_before)) or None
        self.unknown = self._why_unknown(int(hours), known_shares, minimum_sample)

    def change_of(self, worse_by: float) -> float:
        """Return a change in the metric's unit from one on the scale of Differences."""
        return self.before * math.expm1(self.sign * worse_by) if self.metric.relative else self.sign * worse_by

    @property
    def before(self) -> float:
        """Return what would have been expected after, had nothing been changed."""
        if self.metric.relative:
            return self.after * math.exp(-self.sign * self.worse_by)
        return self.after - self.sign * self.worse_by

    def _why_unknown(self, hours: int, shares: tuple[float, float], minimum_sample: int) -> str | None:
        if hours < MATCHED_MINIMUM_HOURS:
            return f"known in {hours} matched hours, {MATCHED_MINIMUM_HOURS} are needed"
        if self.missing:
            return f"known of {min(self.sample, self.sample_before)} selections, {minimum_sample} are needed"
        if min(shares) < COMPARABLE_KNOWN_SHARE * max(shares):
            return f"known of {shares[1]:.0%} of the selections, of {shares[0]:.0%} before: of others, maybe"
        if self.design.spans < MINIMUM_SPANS:
            return f"known in {self.design.spans} pretended changes of the past, {MINIMUM_SPANS} are needed"
        if not (math.isfinite(self.worse_by) and math.isfinite(self.spread)):
            return "its expected value is not known"
        return None


def _known_shares(course: Courses, grid: HourGrid, subject: Subject, design: Design) -> tuple[float, float]:
    """Return in what share of the selections a metric is known, in the matched hours before and after."""
    start, end = grid.start, grid.start + int(course.evaluations[0])
    known = subject.variants[0].below
    spans = [slice(start - lag, end - lag) for lag in design.lags]
    before = [sum(float(sums[span].sum()) for span in spans) for sums in (known, grid.count)]
    after = [float(sums[start:end].sum()) for sums in (known, grid.count)]
    shares = [part / of if of else 0.0 for part, of in (before, after)]
    return shares[0], shares[1]


def _judged(seen: _Seen, harm_quantile: float) -> MetricChange:
    """Judge one metric: its bounds are where the placebos' extremes put them.

    The bound on its better side holds for all metrics and looks of a life together, that on its worse side for all
    looks of this metric. A share's bounds are at least as far apart as counting so many selections leaves them.
    """
    metric, design = seen.metric, seen.design
    if seen.unknown is not None:
        return _unknown(metric, (seen.sample_before, seen.sample), seen.unknown, seen.missing)
    bounds = [
        seen.change_of(seen.worse_by - harm_quantile * seen.spread),
        seen.change_of(seen.worse_by + design.better_quantile * seen.spread),
    ]
    estimate, margin = seen.change_of(seen.worse_by), metric.margin_of(seen.before)
    low, high = min(bounds), max(bounds)
    counted = _counted(seen) if metric.is_share else (0.0, 0.0)
    low, high = min(low, estimate - counted[0]), max(high, estimate + counted[1])
    best, worst = sorted((seen.sign * low, seen.sign * high))
    within = metric.limit is not None and seen.sign * seen.before + worst <= seen.sign * metric.limit
    judgement: Literal["better", "same", "worse", "unclear"] = "unclear"
    if best > 0 and seen.sign * estimate > margin and not seen.harmless:
        judgement = "worse"
    elif worst < 0:
        judgement = "better"
    elif worst <= margin or within:
        judgement = "same"
    return MetricChange(
        metric=metric.name,
        before=seen.before,
        after=seen.after,
        change=Interval(estimate=estimate, low=low, high=high),
        margin=margin,
        sample_before=seen.sample_before,
        sample_after=seen.sample,
        judgement=judgement,
        missing_sample=_missing(seen, counted, margin) if judgement == "unclear" else None,
    )


def _counted(seen: _Seen) -> tuple[float, float]:
    """Return how far the bounds of a difference of two shares are below and above it (Newcombe 1998, method 10).

    If an event is rare, placebos without it say nothing about its frequency: counting selections does.
    """
    level = 1 - 2 * ERROR_BUDGET
    then, now = (
        share_interval(min(max(share, 0.0), 1.0) * of, of, level)
        for share, of in ((seen.matched_before, seen.sample_before), (seen.after, seen.sample))
    )
    below = math.hypot(now.estimate - (now.low or 0.0), (then.high or 1.0) - then.estimate)
    return below, math.hypot((now.high or 1.0) - now.estimate, then.estimate - (then.low or 0.0))


def _missing(seen: _Seen, counted: tuple[float, float], margin: float) -> int | None:
    """Return how many more known values a share needs if counting alone leaves its worse end beyond the margin."""
    beyond = counted[1] if seen.metric.lower_is_better else counted[0]
    if not seen.metric.is_share or beyond <= margin or margin <= 0:
        return None
    return math.ceil(seen.sample * ((beyond / margin) ** 2 - 1))


def _saved(seen: _Seen) -> Interval | None:
    """Return what the selections after cost less than expected, in USD, with the placebos' spread; None if unknown."""
    if seen.unknown is not None:
        return None
    amounts = [
        seen.total * math.expm1(-by)
        for by in (
            seen.worse_by,
            seen.worse_by + seen.design.better_quantile * seen.spread,
            seen.worse_by - seen.design.worse_quantile * seen.spread,
        )
    ]
    return Interval(estimate=amounts[0], low=min(amounts), high=max(amounts))


# --- described --------------------------------------------------------------------------------------------------------


class _CalendarMatched:
    """The last weeks before and the hours after by hour of the week, or else of the day, if enough of them match.

    `sums` has MATCHED_SUMS after and (`_before`) before, one row per matched hour of the calendar.
    """

    def __init__(self, hours: ObservedHours, kpis: PerformanceMetrics, zone: str) -> None:
        recent = hours.before.filter(pl.col("bucket") >= hours.before_to - DESCRIBED_BEFORE)
        before, after = without_incidents(recent, kpis), without_incidents(hours.after, kpis)
        every = recent["bucket"].n_unique() + hours.after["bucket"].n_unique()
        self.incident_hours = every - before["bucket"].n_unique() - after["bucket"].n_unique()
        self.by: MatchedBy | None = None
        self.hours, self.sums = 0, pl.DataFrame()
        ways: tuple[tuple[MatchedBy, pl.Expr, float], ...] = (
            ("hour of the week", _hour_of_week(zone), MATCHED_SHARE * after["bucket"].n_unique()),
            ("hour of the day", _hour_of_day(zone), 0.0),
        )
        for by, hour, least in ways:
            sides = [frame.with_columns(hour_key=hour) for frame in (before, after)]
            comparable = sides[1].filter(pl.col("hour_key").is_in(sides[0]["hour_key"].unique().implode()))
            if comparable["bucket"].n_unique() >= max(MATCHED_MINIMUM_HOURS, least):
                sums = [side.group_by("hour_key").agg(pl.col(MATCHED_SUMS).sum()) for side in (comparable, sides[0])]
                self.by, self.hours = by, comparable["bucket"].n_unique()
                self.sums = sums[0].join(sums[1], on="hour_key", suffix="_before").sort("hour_key")
                break


def _described(
    matched: _CalendarMatched, metrics: Sequence[JudgedMetric], minimum_sample: int, placebos: Placebos
) -> BeforeAfterReading:
    """Say by how much metrics differ over calendar matches, without a judgement."""
    few = f"{placebos.spans} pretended changes fit into the past, {MINIMUM_SPANS} are needed"
    reason = "too few hours so far" if placebos.are_enough else few
    seen = [_estimated(matched.sums, metric, minimum_sample, reason) for metric in metrics]
    return BeforeAfterReading(
        seen[0], tuple(seen[1:]), matched.by, matched.hours, matched.incident_hours, judged_hours=0, placebos=placebos
    )


def _estimated(matched: pl.DataFrame, metric: JudgedMetric, minimum_sample: int, reason: str) -> MetricChange:
    """Return how a metric differs over matched hours, with the weights of the hours after, and without bounds."""
    if matched.is_empty():
        return _unknown(metric, (0, 0), f"known in 0 matched hours, {MATCHED_MINIMUM_HOURS} are needed", minimum_sample)
    above, below, above_before, below_before = (
        matched[name].cast(pl.Float64).to_numpy()
        for name in (*metric.sums, *(f"{name}_before" for name in metric.sums))
    )
    known = (below > 0) & (below_before > 0)
    samples = int(below_before[known].sum()), int(below[known].sum())
    if known.sum() < MATCHED_MINIMUM_HOURS:
        why = f"known in {known.sum()} matched hours, {MATCHED_MINIMUM_HOURS} are needed"
        return _unknown(metric, samples, why, max(0, minimum_sample - min(samples)) or None)
    if min(samples) < minimum_sample:
        why = f"known of {min(samples)} selections, {minimum_sample} are needed"
        return _unknown(metric, samples, why, minimum_sample - min(samples))
    expected = below[known] * above_before[known] / below_before[known]
    before, after = (float(sums.sum() / below[known].sum()) for sums in (expected, above[known]))
    return MetricChange(
        metric=metric.name,
        before=before,
        after=after,
        change=Interval(estimate=after - before),
        margin=metric.margin_of(before),
        sample_before=samples[0],
        sample_after=samples[1],
        judgement="unclear",
        reason=reason,
    )


def _unknown(metric: JudgedMetric, samples: tuple[int, int], reason: str, missing: int | None) -> MetricChange:
    return MetricChange(
        metric=metric.name, before=None, after=None, change=None, margin=metric.margin, sample_before=samples[0],
        sample_after=samples[1], judgement="unknown", reason=reason, missing_sample=missing,
    )  # fmt: skip


def _hour_of_week(zone: str) -> pl.Expr:
    local = pl.col("bucket").dt.convert_time_zone(zone)
    return local.dt.weekday().cast(pl.Int64) * 24 + local.dt.hour()


def _hour_of_day(zone: str) -> pl.Expr:
    local = pl.col("bucket").dt.convert_time_zone(zone)
    weekend = (local.dt.weekday() > 5).cast(pl.Int64)  # noqa: PLR2004 - Saturday and Sunday
    return weekend * 24 + local.dt.hour()
