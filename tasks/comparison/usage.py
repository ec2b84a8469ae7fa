"""Compute usage: volume by group, the models that answer, and statistically significant changes.

Everything is compared with the same weekdays before. The random variation of a group's volume is estimated from the
scatter of its days around their weekdays' means in the four weeks before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from models.documents import (
    Direction,
    GroupUsage,
    Interval,
    Mover,
    NewModel,
    PeakHour,
    PeriodPart,
    Trend,
    UsageSummary,
    VanishedModel,
    VolumeChange,
)
from models.schema import COLLECTIVE, OTHER_MODELS, OTHERS, UNKNOWN
from tasks.comparison.volume import DIMENSIONS, VOLUME_MINIMUM_SAMPLE, Before, Dimension, Key, Noise, noise_of
from tasks.kpis.measures import group_name
from tasks.rollups.query import RollupSlice
from tasks.rollups.totals import NOTHING, Totals, total, totals_by

LEAST_DAYS_BEFORE = 7
"""Minimum number of known whole days before the period to call a model new."""

LARGEST_MOVERS = 8


@dataclass(frozen=True)
class Groups:
    """The values of each dimension that have selections in the period, by volume, and those that changed most."""

    models: tuple[GroupUsage, ...]
    complexities: tuple[GroupUsage, ...]
    teams: tuple[GroupUsage, ...]
    movers: tuple[Mover, ...]
    new: tuple[NewModel, ...]
    vanished: tuple[VanishedModel, ...]


def usage_summary(current: RollupSlice, period: PeriodPart) -> UsageSummary:
    """The headline numbers; a part of a day has no daily number."""
    totals, days = total(current.parts), current.period.length / timedelta(days=1)
    return UsageSummary(
        period=period,
        total_selections=totals.count,
        selections_per_day=totals.count / days if days >= 1 else None,
        total_cost=totals.cost_usd,
        models=len(set(current.parts["model_id"]) - COLLECTIVE),
        teams=len(set(current.parts["team"]) - COLLECTIVE) or None,
        prompt_tokens=totals.prompt_tokens,
        completion_tokens=totals.completion_tokens,
        tokens_per_selection=totals.tokens_per_selection,
        user_satisfaction=totals.user_satisfaction,
        peak_hour=_peak(current.hours),
    )


def volume_trend(current: RollupSlice, before: Before) -> Trend:
    """All selections compared with the same weekdays before."""
    count, earlier = total(current.parts).count, total(before.same_weekdays.parts).count
    change, reason = noise_of(current, before, []).change(None, count, earlier, comparisons=1)
    return Trend(
        metric="totalSelections",
        compared_with="sameWeekdaysBefore",
        current=count,
        before=earlier or None,
        change=change,
        change_share=change.estimate / earlier if change and earlier else None,
        direction=_direction(change),
        reason=reason,
    )


def group_usage(current: RollupSlice, before: Before) -> Groups:
    """Every model, complexity class and team, compared with the same weekdays before."""
    groups = _groups(current, before)
    noise = noise_of(current, before, list(groups))
    overall = (total(current.parts).count, total(before.same_weekdays.parts).count)
    comparisons = max(1, sum(group.together >= VOLUME_MINIMUM_SAMPLE for group in groups.values()))
    # What is counted with others on one side may be named on the other.
    unnamed = {dimension: _unnamed(groups, dimension) for dimension in DIMENSIONS}
    changes = {
        key: _group_usage(key, group, overall, noise, comparisons, unnamed[key[0]]) for key, group in groups.items()
    }
    shown = sorted((item for item in changes.items() if item[1].count), key=lambda item: (-item[1].count, item[1].name))
    models, complexities, teams = (tuple(it for key, it in shown if key[0] == name) for name in DIMENSIONS)
    return Groups(
        models=models,
        complexities=complexities,
        teams=() if all(key[1] == UNKNOWN for key in changes if key[0] == "team") else teams,
        movers=_movers(changes),
        new=_new(changes, current, before),
        vanished=_vanished(changes, before),
    )


# --- groups -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """One value of a dimension now and on the same weekdays before."""

    now: Totals
    before: int

    @property
    def together(self) -> int:
        return self.now.count + self.before


def _groups(current: RollupSlice, before: Before) -> dict[Key, _Group]:
    """All values with selections on either side."""
    found: dict[Key, _Group] = {}
    for dimension, column in DIMENSIONS.items():
        now = {key[0]: totals for key, totals in totals_by(current.parts, column).items()}
        counts = before.same_weekdays.parts.group_by(column).agg(pl.col("count").sum())
        earlier: dict[str, int] = dict(counts.iter_rows())
        for name in sorted({*now, *earlier}):
            found[dimension, name] = _Group(now.get(name, NOTHING), earlier.get(name, 0))
    return found


def _unnamed(groups: Mapping[Key, _Group], dimension: Dimension) -> int:
    """The larger number of selections, of both sides, that are counted together under OTHERS."""
    others = groups.get((dimension, OTHERS[DIMENSIONS[dimension]]))
    return 0 if others is None else max(others.now.count, others.before)


def _group_usage(  # noqa: PLR0917 - two sides, and what they are judged by
    key: Key, group: _Group, overall: tuple[int, int], noise: Noise, comparisons: int, unnamed: int
) -> GroupUsage:
    count, earlier = group.now.count, group.before
    change, reason = noise.change(key, count, earlier, comparisons=comparisons)
    if abs(count - earlier) <= unnamed:
        change, reason = None, "as many selections or more are counted together with others'"
    return GroupUsage(
        name=group_name(*key),
        count=count,
        share=count / overall[0] if overall[0] else None,
        before=earlier,
        share_before=earlier / overall[1] if overall[1] else None,
        change=change,
        change_share=change.estimate / earlier if change and earlier else None,
        direction=_direction(change),
        reason=reason,
        prompt_tokens=group.now.prompt_tokens,
        completion_tokens=group.now.completion_tokens,
        tokens_per_selection=group.now.tokens_per_selection,
        user_satisfaction=group.now.user_satisfaction,
        satisfaction_coverage=group.now.coverage_of("satisfaction_count"),
        error_rate=group.now.error_rate,
    )


def _direction(change: Interval | None) -> Direction:
    if change is None or change.low is None or change.high is None:
        return Direction.UNKNOWN
    if change.low <= 0 <= change.high:
        return Direction.SAME
    return Direction.MORE if change.estimate > 0 else Direction.LESS


# --- what changed most ------------------------------------------------------------------------------------------------


_GroupChanges = Mapping[Key, GroupUsage]


def _movers(changes: _GroupChanges) -> tuple[Mover, ...]:
    """The largest significant changes, in dimensions with more than one value: a single one changes like the total."""
    values = Counter(dimension for dimension, _ in changes)
    moved = [
        Mover(dimension=dimension, **{name: getattr(group, name) for name in VolumeChange.model_fields})
        for (dimension, value), group in changes.items()
        if group.direction in (Direction.MORE, Direction.LESS) and value not in COLLECTIVE and values[dimension] > 1
    ]
    moved.sort(key=lambda mover: (-abs(mover.count - mover.before), mover.dimension, mover.name))
    return tuple(moved[:LARGEST_MOVERS])


def _new(changes: _GroupChanges, current: RollupSlice, before: Before) -> tuple[NewModel, ...]:
    """Models that served nothing on any known day before."""
    if before.known_days < LEAST_DAYS_BEFORE:
        return ()
    seen = {*before.weeks.parts["model_id"], *before.same_weekdays.parts["model_id"]}
    if OTHER_MODELS in seen:
        # Each model may be among those that were counted together.
        return ()
    first = dict(current.parts.group_by("model_id").agg(pl.col("bucket").min()).iter_rows())
    return tuple(
        NewModel(
            model_id=value,
            count=group.count,
            share=group.share or 0.0,
            since=max(first[value], current.period.start),
        )
        for (dimension, value), group in changes.items()
        if dimension == "model" and value not in seen | COLLECTIVE and group.count >= VOLUME_MINIMUM_SAMPLE
    )


def _vanished(changes: _GroupChanges, before: Before) -> tuple[VanishedModel, ...]:
    """Models that served nothing, if that is statistically significant."""
    others = changes.get(("model", OTHER_MODELS))
    if others is not None and others.count:
        # Each model may be among those that are counted together.
        return ()
    sides = pl.concat([before.weeks.parts, before.same_weekdays.parts])
    last = dict(sides.group_by("model_id").agg(pl.col("bucket").max()).iter_rows())
    return tuple(
        VanishedModel(model_id=value, before=group.before, share_before=group.share_before or 0.0, last=last[value])
        for (dimension, value), group in changes.items()
        if dimension == "model" and value not in COLLECTIVE and not group.count and group.direction is Direction.LESS
    )


def _peak(hours: pl.DataFrame) -> PeakHour | None:
    """The first of the busiest hours."""
    summed = hours.group_by("bucket").agg(pl.col("count").sum()).sort("count", "bucket", descending=[True, False])
    if summed.is_empty():
        return None
    start, count = summed.row(0)
    return PeakHour(start=start, count=count)
