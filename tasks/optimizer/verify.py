"""Verify: assess whether a config change helped. What is harmful is reverted, and by default what is not proven."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Engine, Row, false, func, select, true

from models.database import reading, writing
from models.documents import Conclusion, MetricChange, Recommendation, Verdict
from models.period import Level, floor_to, next_start
from models.schema import COLLECTIVE, CONFIG_CHANGE, OPTIMIZATION, ROLLUP, TRIAL, OptimizationState
from models.settings import Settings
from routewatch.rollout import ROLLOUT_PREFIX, ROUTING_PREFIX
from tasks.optimizer.before_after import BeforeAfter, BeforeAfterReading, ReadingLimits
from tasks.optimizer.change_metrics import metrics_of
from tasks.optimizer.hour_grid import MATCHED_SUMS, ObservedHours
from tasks.optimizer.lifecycle import (
    ACTOR,
    OBSERVED,
    Step,
    conflict_of,
    lock_optimizer,
    only_class_of,
    recommendation_of,
    revert_config,
    stop_reason,
    unchanged_since,
)
from tasks.optimizer.metric_text import before_after_text, label_of
from tasks.optimizer.placebos import MINIMUM_SPANS
from tasks.optimizer.queries import list_by_state
from tasks.optimizer.trials import advance_trials
from tasks.optimizer.verdict_rows import (
    LATE_ARRIVAL_GRACE,
    booked_saving,
    record_conclusion,
    record_observation,
    report_revert,
    state_of,
    superseded_reason,
)
from tasks.rollups.aggregate import rollup_schema
from tasks.run_logger import logger

State = OptimizationState

LONGEST_PAST = timedelta(weeks=53)
"""How far back changes are pretended at most."""

_SAFE = ("better", "same")
_CLASS_PREFIXES = (ROUTING_PREFIX, ROLLOUT_PREFIX)


@dataclass(frozen=True)
class ObservationWindow:
    """One optimization under observation, with the hours before and after it."""

    row: Row[Any]
    item: Recommendation
    hours: ObservedHours


def verify(engine: Engine, settings: Settings, now: datetime, *, early: bool = False) -> tuple[Verdict, ...]:
    """Assess every change under observation on its final hours, and act on it: one verdict each.

    Those with a trial of their own come first: every look at them is allowed. For the others, with `early`, only
    certain harm is acted on, even before the end of the observation. Nothing is assessed while the optimizer is off or
    stopped. An error at one change does not stop the others: the first is raised at the end.
    """
    with reading(engine) as connection:
        if stop_reason(connection, settings.optimizer) is not None:
            return ()
        tried = set(connection.scalars(select(TRIAL.c.optimization_id)))
        rows = [row for row in list_by_state(connection, OBSERVED) if row.id not in tried]
    verdicts: list[Verdict] = []
    errors: list[Exception] = []
    try:
        verdicts += advance_trials(engine, settings, now)
    except Exception as error:  # noqa: BLE001 - raised below, after the others
        errors.append(error)
    for row in rows:
        try:
            with reading(engine) as connection:
                window = _observation_window(connection, row, settings, now)
            if (verdict := assess(window, settings, now, early=early)) is not None:
                verdicts.append(_act(engine, window, verdict, now))
        except Exception as error:  # noqa: BLE001 - raised below, after the others
            errors.append(error)
            logger().error("optimization #%s could not be assessed: %s", row.id, error)
    if errors:
        raise errors[0]
    return tuple(verdicts)


def assess(window: ObservationWindow, settings: Settings, now: datetime, *, early: bool = False) -> Verdict | None:
    """Return the verdict on one change; None if an early assessment finds no certain harm. Pure."""
    optimizer, kpis, hours = settings.optimizer, settings.performance_metrics, window.hours
    limits = ReadingLimits(
        longest=math.ceil(optimizer.observe_max_hours),
        keep_from=math.ceil(optimizer.observe_hours),
        minimum_sample=optimizer.minimum_sample,
        prompts_comparable=window.item.type != "model_selection",
    )
    primary, guardrails = metrics_of(window.item, kpis)
    reading = BeforeAfter(hours, (primary, *guardrails), limits, kpis, settings.timezone).read()
    if early and not reading.judged("worse"):
        return None
    over = now - window.row.applied_at >= timedelta(hours=optimizer.observe_max_hours)
    conclusion, reason = conclude(reading, may_keep=reading.judged_hours >= limits.keep_from, over=over)
    savings = booked_saving(conclusion, reading.savings_usd)
    return Verdict(
        state=state_of(conclusion, optimizer.undecided),
        reason=reason,
        judged_at=now,
        observed_from=hours.after_from,
        observed_to=hours.after_to,
        matched_by=reading.matched_by,
        hours=reading.hours,
        incident_hours=reading.incident_hours,
        goal=reading.goal,
        guards=reading.guards,
        savings_usd=savings,
        savings_basis=None if savings is None else "observed",
        method="beforeAfter",
        conclusion=conclusion,
        placebo_spans=reading.placebos.spans,
        false_verdicts_of_100=reading.placebos.false_verdicts_of_100,
    )


def conclude(reading: BeforeAfterReading, *, may_keep: bool, over: bool) -> tuple[Conclusion | None, str]:
    """Return what the reading says of a change, and why; the conclusion is None while it is observed further."""
    goal = reading.goal
    if worse := reading.judged("worse"):
        return "worse", f"clearly worse: {_texts(worse)}"
    if may_keep and all(change.judgement in _SAFE for change in reading.changes):
        if goal.judgement == "better":
            return "better", f"better: {_text(goal)}"
        return "noWorse", f"no worse: {_text(goal)}"
    return _open(reading) if over else (None, _awaited(reading, may_keep=may_keep))


# ----------------------------------------------------------------------------------------------------------------------


def _awaited(reading: BeforeAfterReading, *, may_keep: bool) -> str:
    """Return why a change is observed further."""
    if not may_keep and reading.placebos.are_enough:
        return "the time of observation is not over"
    unknown = _unknown_text(reading)
    return f"not known yet: {unknown}" if unknown else f"not clear yet: {_text(reading.goal)}"


def _open(reading: BeforeAfterReading) -> tuple[Conclusion, str]:
    """Return what is said of a change that is not decided in the longest time of observation."""
    unknown = _unknown_text(reading)
    if not reading.placebos.are_enough:
        few = f"{reading.placebos.spans} pretended changes fit into the past under the same config"
        why = f"cannot be told: {few}, {MINIMUM_SPANS} are needed"
        return "cannotBeTold", f"{why}; {unknown}" if unknown else why
    if unknown:
        return "unproven", f"unproven: {unknown}"
    unclear = [change for change in reading.changes if change.judgement not in _SAFE] or [reading.goal]
    return "cannotBeTold", f"cannot be told from chance in the longest time of observation: {_texts(unclear)}"


def _unknown_text(reading: BeforeAfterReading) -> str:
    return "; ".join(f"{label_of(it.metric)} is {it.reason}" for it in reading.judged("unknown"))


def _texts(changes: Sequence[MetricChange]) -> str:
    return ", ".join(map(_text, changes))


def _text(change: MetricChange) -> str:
    return before_after_text(change.metric, change.before, change.after)


def _observation_window(connection: Connection, row: Row[Any], settings: Settings, now: datetime) -> ObservationWindow:
    """Return the hours after that of the config change, and those before it under the previous config."""
    zone, item = settings.timezone, recommendation_of(row)
    keys = [move.key for move in item.moves]
    start = next_start(Level.HOUR, row.applied_at, zone)
    longest = start + timedelta(hours=settings.optimizer.observe_max_hours)
    end = max(start, min(floor_to(Level.HOUR, now - LATE_ARRIVAL_GRACE, zone), longest))
    unchanged = unchanged_since(connection, keys, row.applied_at, own_id=row.id)
    before_from = max(row.applied_at - LONGEST_PAST, next_start(Level.HOUR, unchanged, zone))
    before_to = floor_to(Level.HOUR, row.applied_at, zone)
    touched, untouched = _affected(connection, keys, before_from, end)
    return ObservationWindow(
        row=row,
        item=item,
        hours=ObservedHours(
            before=_hours(connection, before_from, before_to, touched),
            after=_hours(connection, start, end, touched),
            untouched=_hours(connection, before_from, end, untouched),
            before_to=before_to,
            after_from=start,
            after_to=end,
        ),
    )


def _affected(
    connection: Connection, keys: Sequence[str], start: datetime, end: datetime
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return which rollups some keys affect, and which neither they nor any other change from `start` to `end` does."""
    complexity = only_class_of(keys)
    if complexity is None:
        return true(), false()
    times = CONFIG_CHANGE.c.changed_at >= start, CONFIG_CHANGE.c.changed_at <= end
    changed = connection.scalars(
        select(CONFIG_CHANGE.c.key).where(*times, CONFIG_CHANGE.c.from_value.is_not(None)).distinct()
    )
    theirs = {key.partition(".")[2] for key in changed if key.startswith(_CLASS_PREFIXES)}
    others = ROLLUP.c.complexity.not_in(sorted({complexity, *theirs, *COLLECTIVE}))
    return ROLLUP.c.complexity == complexity, others


def _hours(connection: Connection, start: datetime, end: datetime, which: ColumnElement[bool]) -> pl.DataFrame:
    sums = [func.sum(ROLLUP.c[name]).label(name) for name in MATCHED_SUMS]
    kept = ROLLUP.c.level == Level.HOUR.value, ROLLUP.c.bucket >= start, ROLLUP.c.bucket < end, which
    by = ROLLUP.c.bucket, ROLLUP.c.complexity
    rows = [tuple(row) for row in connection.execute(select(*by, *sums).where(*kept).group_by(*by).order_by(*by))]
    schema = {name: rollup_schema()[name] for name in ("bucket", "complexity", *MATCHED_SUMS)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _act(engine: Engine, window: ObservationWindow, verdict: Verdict, now: datetime) -> Verdict:
    """Record a verdict and carry it out; a key changed by someone else since keeps its value."""
    with writing(engine) as connection:
        lock_optimizer(connection)
        state = connection.scalar(select(OPTIMIZATION.c.state).where(OPTIMIZATION.c.id == window.row.id))
        if state not in OBSERVED:
            return verdict
        if (conflict := conflict_of(connection, window.row.id)) is not None:
            theirs = {"state": "expired", "reason": superseded_reason(conflict)}
            verdict = verdict.model_copy(update=theirs)
            record_conclusion(connection, window.row.id, verdict, State.EXPIRED)
            return verdict
        if verdict.state == "reverted":
            step = Step(ACTOR, verdict.reason, now, verdict.model_dump(mode="json", by_alias=True))
            revert_config(connection, window.row.id, step, verdict=step.evidence)
            report_revert(connection, window.row.id, [move.key for move in window.item.moves], verdict, now)
            return verdict
        if verdict.state == "observing":
            record_observation(connection, window.row.id, state, verdict)
        else:
            record_conclusion(connection, window.row.id, verdict, State(verdict.state))
        return verdict
