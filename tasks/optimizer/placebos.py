"""Placebos: what a change that does nothing looks like in the router's own past. Pure.

Traffic drifts, so that before and after differ where nothing was changed. How much is not assumed but looked up: at
every hour of the past under one config a change is pretended, and lives the life of a real one: the same statistic at
the same hourly looks. What a real change shows is chance unless it is beyond what nearly all pretended ones reach at
any look of their whole lives, by rank (a randomization test over time). Lives that overlap show the same chance more
than once; so the rank counts as many placebos as fit beside each other without overlap.

A statistic is the difference between the hours after a start and the same hours of the week before it. All sums over
a life are differences of cumulative sums: half a year of hourly starts with hourly looks takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.documents import ERROR_BUDGET
from tasks.optimizer.judged_metric import JudgedMetric

Array = np.ndarray[Any, Any]

FALSE_VERDICT_RATE = ERROR_BUDGET
"""How many changes that do nothing may get a firm verdict for them, and how many against, over their whole lives."""

MINIMUM_SPANS = 20
"""With fewer placebos that do not overlap, no rank has a chance as small as FALSE_VERDICT_RATE."""

WEEK_HOURS = 168

MATCHED_MINIMUM_HOURS = 12
"""Minimum matched hours for an assessment: fewer do not show the spread."""

HOURS_TO_JUDGE = WEEK_HOURS + MINIMUM_SPANS * MATCHED_MINIMUM_HOURS
"""Hours of the past under one config with which the shortest life can be judged."""

LARGEST_STARTS = 4_400
"""More starts, half a year of hours, are thinned evenly."""

LEAST_QUANTILE = 1.645
"""Bounds are at least as far from the estimate as the normal one-sided 5 % quantile, however calm the past was."""

LEAST_GAIN = 0.03
"""A way of reading, or a control, is taken where it makes the placebos' spread smaller by this share."""

INCIDENT_SHARE = 0.25
"""If incidents fill more of a life's hours, all count: the change may cause them."""

PAST_WEEKS = (1, 2, 4)
"""Over how many weeks the same hours of the week before may be pooled; the placebos decide."""

STARTS_SKIPPED, EVALUATIONS_SKIPPED = 5, 6

SPANS_KEPT = 0.85
"""Pooling more weeks leaves fewer placebos: at least this share must be left."""


@dataclass(frozen=True)
class HourlySums:
    """Numerator and denominator of a ratio per hour, in order without gaps; an hour without known rows has zeros.

    Arrays of two dimensions have a row for each stratum: hours are then matched stratum by stratum.
    """

    above: Array
    below: Array


@dataclass(frozen=True)
class Control:
    """What else happens, and is not the change's doing: a ratio whose change may be subtracted from that of a metric.

    With `relative` its change is the logarithm of the ratio of its values; it counts as worse if it rises, unless
    `lower_is_better` is false.
    """

    sums: HourlySums
    relative: bool
    lower_is_better: bool = True


@dataclass(frozen=True)
class Subject:
    """One metric of the selections that a change affects: alternative ways to sum it up, and its controls."""

    metric: JudgedMetric
    variants: tuple[HourlySums, ...]
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True)
class Courses:
    """Lives of changes: from each of `starts` (positions of hours) on, looked at after each of `evaluations` (hours).

    Evaluations are evenly spaced.

    `incident` says which hours are part of an incident. One that has passed by a look is left out at it.
    """

    starts: Array
    evaluations: Array
    incident: Array

    def sums(self, hours: Array) -> Array:
        """Return the sum of an hourly quantity per life (row) and look (column), without passed incidents."""
        whole = _cumulated(hours)
        every: Array = self._at_evaluations(whole) - whole[self.starts][:, None]
        if not self.incident.any():
            return every
        # An incident that lasts until the look has not passed: the change may cause it.
        calm, lasting = _cumulated(np.where(self.incident, 0, hours)), self._lasting()
        without = self._at_evaluations(calm) - calm[self.starts][:, None] + self._at_evaluations(whole) - whole[lasting]
        return np.asarray(np.where(self._left_out(lasting) > INCIDENT_SHARE * self.evaluations, every, without))

    def incident_hours(self) -> Array:
        """Return how many hours are left out per life and look."""
        passed = self._left_out(self._lasting())
        return np.asarray(np.where(passed > INCIDENT_SHARE * self.evaluations, 0, passed))

    def _at_evaluations(self, values: Array) -> Array:
        """Return the values at the positions of all looks. Rows of a sliding window are far faster than an index."""
        step = int(self.evaluations[1] - self.evaluations[0]) if len(self.evaluations) > 1 else 1
        length = int(self.evaluations[-1] - self.evaluations[0]) + 1
        rows: Array = sliding_window_view(values, length)[self.starts + self.evaluations[0], ::step]
        return rows

    def _lasting(self) -> Array:
        """Return where the incident that lasts until a look has begun; the look itself if there is none."""
        positions = np.arange(1, len(self.incident) + 1)
        after_calm = np.concatenate([[0], np.maximum.accumulate(np.where(self.incident, 0, positions))])
        return np.asarray(np.maximum(self._at_evaluations(after_calm), self.starts[:, None]))

    def _left_out(self, lasting: Array) -> Array:
        count = _cumulated(self.incident)
        return np.asarray(count[lasting] - count[self.starts][:, None])


@dataclass(frozen=True)
class Matched:
    """Hours of a ratio with what was expected of each by the same hours before; zero where either is not known."""

    above: Array
    below: Array
    expected: Array
    below_before: Array
    known: Array

    def since(self, start: int) -> Matched:
        """Return the hours from a position on."""
        hours = (self.above, self.below, self.expected, self.below_before, self.known)
        return Matched(*(values[start:] for values in hours))


@dataclass(frozen=True)
class Differences:
    """How much worse a metric was than in the matched hours before, per life (row) and look (column).

    `worse_by` is in the metric's unit, or for a relative metric the logarithm of the ratio; NaN where not known.
    `harmless` says where the value after is still on the good side.
    """

    worse_by: Array
    harmless: Array


@dataclass(frozen=True)
class Design:
    """How one metric is read and judged.

    `variant` is the index of its way to be summed up, `lags` are the hours back to those that an hour is matched with,
    `shares` what part of each control's change is subtracted. `spread` is the root mean square of the placebos'
    differences per look, NaN where none is known; differences are standardised by it. `spans` counts the placebos
    without overlap in which the metric is known. `better_quantile` and `worse_quantile` are what only 5 % of the
    placebos exceed at any look, in that direction.
    """

    metric: JudgedMetric
    variant: int
    lags: tuple[int, ...]
    shares: tuple[float, ...]
    spread: Array
    spans: int
    better_quantile: float = np.inf
    worse_quantile: float = np.inf


@dataclass(frozen=True)
class Placebos:
    """What the past says about chance: `designs` per metric, the goal first.

    `horizon` is the number of hours over which a life can be judged; `spans` the number of placebos of that length that
    do not overlap. With fewer than MINIMUM_SPANS nothing is judged, and there are no designs. `harm_quantile` is what
    only 5 % of the placebos exceed in any metric beyond its margin at any look. `false_verdicts_of_100` is how many of
    100 placebos would be called better or worse, each judged by those that it does not overlap.
    """

    horizon: int
    spans: int
    evaluations: Array
    designs: tuple[Design, ...] = ()
    harm_quantile: float = np.inf
    false_verdicts_of_100: float | None = None

    @property
    def are_enough(self) -> bool:
        return bool(self.designs)


def horizon_of(past_hours: int, longest: int) -> tuple[int, int]:
    """Return over how many hours a life can be judged by so many hours of the past, and by how many placebos.

    The first is 0 if less than MATCHED_MINIMUM_HOURS can be judged.
    """
    # A life of more than a week is matched with hours of more weeks before, which leaves fewer for placebos.
    horizon = max(
        min(longest, WEEK_HOURS * weeks, (past_hours - WEEK_HOURS * weeks) // MINIMUM_SPANS)
        for weeks in range(1, max(2, past_hours // WEEK_HOURS))
    )
    if horizon < MATCHED_MINIMUM_HOURS:
        return 0, max(0, past_hours - WEEK_HOURS) // MATCHED_MINIMUM_HOURS
    return horizon, (past_hours - WEEK_HOURS * _weeks(horizon)) // horizon


def learn(subjects: Sequence[Subject], end: int, incident: Array, *, longest: int, keep_from: int) -> Placebos:
    """Learn from the hours before the position `end` what chance does to lives of at most `longest` hours.

    `subjects` are the goal and the guards; their arrays and `incident` may go on after `end`. Harm is looked for at
    each hour from MATCHED_MINIMUM_HOURS on, a better goal from `keep_from` hours on.
    """
    horizon, spans = horizon_of(end, longest)
    evaluations = np.arange(MATCHED_MINIMUM_HOURS, horizon + 1)
    if horizon == 0:
        return Placebos(horizon, spans, evaluations)
    first = WEEK_HOURS * _weeks(horizon)
    left = {weeks: (end - first - WEEK_HOURS * (weeks - 1)) // horizon for weeks in PAST_WEEKS}
    pools = [weeks for weeks in PAST_WEEKS if weeks == 1 or left[weeks] >= max(MINIMUM_SPANS, SPANS_KEPT * left[1])]
    spans = left[pools[-1]]
    starts = np.arange(first + WEEK_HOURS * (pools[-1] - 1), end - horizon + 1)
    courses = Courses(starts[:: -(-len(starts) // LARGEST_STARTS)], evaluations, incident)
    lags = [tuple(WEEK_HOURS * (_weeks(horizon) + week) for week in range(weeks)) for weeks in pools]
    read = [_designed(courses, subject, lags, spans) for subject in subjects]
    return _ranked(courses, read, Placebos(horizon, spans, evaluations), keep_from)


def match(hours: HourlySums, lags: Sequence[int]) -> Matched:
    """Match each hour with those that are `lags` hours earlier, and weight these by its own number of rows."""
    above_before = np.sum([_shifted(hours.above, lag) for lag in lags], axis=0)
    below_before = np.sum([_shifted(hours.below, lag) for lag in lags], axis=0)
    known = (hours.below > 0) & (below_before > 0)
    rate = np.divide(above_before, below_before, out=np.zeros(known.shape), where=known)
    above, below, before = (np.where(known, values, 0.0) for values in (hours.above, hours.below, below_before))
    expected, all_known = below * rate, known.astype(float)
    if known.ndim == 1:
        return Matched(above, below, expected, before, all_known)
    return Matched(above.sum(0), below.sum(0), expected.sum(0), before.sum(0), all_known.max(0))


def compare(courses: Courses, matched: Matched, *, relative: bool) -> Array:
    """Return by how much each life differs from its matched hours per look; NaN where not known in enough hours.

    The difference is in the ratio's unit, or the logarithm of the ratio if `relative`. Lags are at least as long as the
    longest look.
    """
    after, of, expected = (courses.sums(hours) for hours in (matched.above, matched.below, matched.expected))
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log(after / expected) if relative else (after - expected) / of
    change[(courses.sums(matched.known) < MATCHED_MINIMUM_HOURS) | ~np.isfinite(change)] = np.nan
    return np.asarray(change)


@dataclass(frozen=True)
class PreparedMetric:
    """A metric's hours matched as a design says: those of the metric itself, and of the controls that it uses."""

    metric: JudgedMetric
    matched: Matched
    controls: tuple[tuple[float, Control, Matched], ...]

    def since(self, start: int) -> PreparedMetric:
        """Return the hours from a position on."""
        controls = tuple((share, control, matched.since(start)) for share, control, matched in self.controls)
        return PreparedMetric(self.metric, self.matched.since(start), controls)


def prepare(subject: Subject, design: Design) -> PreparedMetric:
    """Match the hours of a metric and its controls as designed."""
    controls = [
        (share, control, match(control.sums, design.lags))
        for control, share in zip(subject.controls, design.shares, strict=True)
        if share
    ]
    return PreparedMetric(subject.metric, match(subject.variants[design.variant], design.lags), tuple(controls))


def differences(courses: Courses, prepared: PreparedMetric) -> Differences:
    """Return by how much worse lives were than expected."""
    metric, sign = prepared.metric, 1.0 if prepared.metric.lower_is_better else -1.0
    worse_by = sign * compare(courses, prepared.matched, relative=metric.relative)
    for share, control, matched in prepared.controls:
        worse_by = worse_by - share * _control_change(courses, control, matched)
    if metric.limit is None:
        return Differences(worse_by, np.zeros(worse_by.shape, bool))
    with np.errstate(divide="ignore", invalid="ignore"):
        level = courses.sums(prepared.matched.above) / courses.sums(prepared.matched.below)
    return Differences(worse_by, sign * level <= sign * metric.limit)


def standardised(worse_by: Array, spread: Array) -> Array:
    """Return differences in units of the placebos' spread; infinite where the placebos never differed."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(worse_by == 0, 0.0, worse_by / spread)


def margin_of(metric: JudgedMetric) -> float:
    """Return a metric's margin on the scale of Differences.worse_by."""
    if not metric.relative:
        return metric.margin
    return float(np.log1p(metric.margin) if metric.lower_is_better else -np.log1p(-metric.margin))


def allowed_share(spans: int) -> float:
    """Return what share of the placebos may exceed a change with a firm verdict.

    The change itself counts among the placebos: (exceeding + 1) / (spans + 1) is at most FALSE_VERDICT_RATE.
    """
    return max(0.0, FALSE_VERDICT_RATE * (spans + 1) - 1) / max(spans, 1)


# ----------------------------------------------------------------------------------------------------------------------


def _cumulated(hours: Array) -> Array:
    return np.concatenate([[0], np.cumsum(hours)])


def _shifted(values: Array, lag: int) -> Array:
    shifted = np.zeros(values.shape)
    if lag < values.shape[-1]:
        shifted[..., lag:] = values[..., :-lag]
    return shifted


def _weeks(hours: int) -> int:
    return -(-hours // WEEK_HOURS)


def _designed(
    courses: Courses, subject: Subject, lags: Sequence[tuple[int, ...]], spans: int
) -> tuple[Differences, Design]:
    """Return what the placebos show of one metric, read in the way that makes them differ least.

    The way is chosen by some of the lives and looks: those next to each other hardly differ.
    """
    few = replace(
        courses, starts=courses.starts[::STARTS_SKIPPED], evaluations=courses.evaluations[::EVALUATIONS_SKIPPED]
    )
    best: Design | None = None
    for variant in range(len(subject.variants)):
        for pooled in lags:
            plain = Design(subject.metric, variant, pooled, (0.0,) * len(subject.controls), np.empty(0), spans)
            design = _with_controls(few, subject, plain)
            if best is None or _size(design) < (1 - LEAST_GAIN) * _size(best):
                best = design
    if best is None:
        raise AssertionError("a metric is summed up in one way at least")
    found = differences(courses, prepare(subject, best))
    known = float(np.mean(np.isfinite(found.worse_by[:, -1])))
    return found, replace(best, spread=_spread(found.worse_by), spans=int(spans * known + 0.5))


def _with_controls(courses: Courses, subject: Subject, design: Design) -> Design:
    """Return the design with those controls whose changes make the placebos differ less, and their spread."""
    left, shares = differences(courses, prepare(subject, design)).worse_by, list(design.shares)
    for index, control in enumerate(subject.controls):
        other = _control_change(courses, control, match(control.sums, design.lags))
        share = _share(left, other)
        if _mean_square(left - share * other) < (1 - LEAST_GAIN) ** 2 * _mean_square(left):
            left, shares[index] = left - share * other, share
    return replace(design, shares=tuple(shares), spread=_spread(left))


def _control_change(courses: Courses, control: Control, matched: Matched) -> Array:
    sign = 1.0 if control.lower_is_better else -1.0
    return sign * compare(courses, matched, relative=control.relative)


def _share(own: Array, other: Array) -> float:
    """Return the share of a control's change that is best subtracted; 0 where the control is not always known."""
    known = np.isfinite(own)
    if not np.isfinite(other[known]).all() or not (squares := float((other[known] ** 2).sum())):
        return 0.0
    return float(np.clip((own[known] * other[known]).sum() / squares, -1.0, 1.0))


def _mean_square(values: Array) -> float:
    return float(np.nanmean(values**2)) if np.isfinite(values).any() else np.inf


def _spread(worse_by: Array) -> Array:
    """Return the root mean square per look; NaN where nothing is known."""
    known = np.isfinite(worse_by)
    squares, count = np.where(known, worse_by, 0.0) ** 2, known.sum(axis=0)
    return np.asarray(np.sqrt(np.divide(squares.sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)))


def _size(design: Design) -> float:
    return float(np.nanmean(design.spread)) if np.isfinite(design.spread).any() else np.inf


def _ranked(
    courses: Courses, read: Sequence[tuple[Differences, Design]], placebos: Placebos, keep_from: int
) -> Placebos:
    """Return the placebos with the quantiles of their lives' extremes, and their own false verdicts."""
    late = courses.evaluations >= keep_from
    harm = goal = np.full(len(courses.starts), -np.inf)
    ranked: list[Design] = []
    for differing, design in read:
        worse_by = differing.worse_by
        known = np.isfinite(worse_by)
        scores = np.where(known, standardised(worse_by, design.spread), 0.0)
        beyond = known & (worse_by > margin_of(design.metric)) & ~differing.harmless
        harm = np.maximum(harm, np.where(beyond, scores, -np.inf).max(axis=1))
        better = np.where(known, -scores, -np.inf)[:, late].max(axis=1, initial=-np.inf)
        goal = goal if ranked else better
        worse = np.where(known, scores, -np.inf).max(axis=1)
        ranked.append(
            replace(
                design,
                better_quantile=_quantile(better, design.spans),
                worse_quantile=_quantile(worse, design.spans),
            )
        )
    wrong = _firm(harm, courses.starts, placebos) | _firm(goal, courses.starts, placebos)
    return replace(
        placebos,
        designs=tuple(ranked),
        harm_quantile=_quantile(harm, placebos.spans),
        false_verdicts_of_100=100 * float(wrong.mean()),
    )


def _quantile(extremes: Array, spans: int) -> float:
    """Return what at most the allowed share of the placebos' extremes exceeds."""
    index = len(extremes) - 1 - int(allowed_share(spans) * len(extremes))
    return max(LEAST_QUANTILE, float(np.partition(extremes, index)[index]))


def _firm(extremes: Array, starts: Array, placebos: Placebos) -> Array:
    """Return which placebos get a firm verdict, each judged by those that do not overlap with it."""
    reaching = len(extremes) - np.searchsorted(np.sort(extremes), extremes, side="left")
    first = np.searchsorted(starts, starts - placebos.horizon, side="right")
    near = np.searchsorted(starts, starts + placebos.horizon, side="left") - first
    offsets = np.arange(int(near.max()))
    indices = np.minimum(first[:, None] + offsets, len(starts) - 1)
    overlapping = ((extremes[indices] >= extremes[:, None]) & (offsets < near[:, None])).sum(axis=1)
    share = (reaching - overlapping) / np.maximum(len(extremes) - near, 1)
    return np.asarray((extremes > LEAST_QUANTILE) & (share <= allowed_share(placebos.spans - 1)))
