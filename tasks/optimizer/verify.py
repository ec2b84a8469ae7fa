"""Verify: assess whether a config change helped. Harmful or unproven changes are reverted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl
from sqlalchemy import Connection, Engine, Row, func, select, update

from models.database import reading, writing
from models.documents import CONFIDENCE, MetricChange, Recommendation, Verdict
from models.errors import ConfigConflict
from models.metrics import METRICS, Better
from models.notifications import AlertRule
from models.period import Level, floor_to, next_start
from models.schema import HOUR_TOTAL, OPTIMIZATION, ROLLUP, TRIAL, OptimizationState
from models.settings import PerformanceMetrics, Settings
from reports.text.formatting import Formats
from reports.text.labels import metric_label, metric_value
from tasks.alerts.registry import record_event
from tasks.bottlenecks.error_bursts import burst_hours
from tasks.bottlenecks.hotspots import merge_intervals
from tasks.optimizer.change_metrics import metrics_of
from tasks.optimizer.lifecycle import (
    ACTOR,
    OBSERVED,
    Step,
    advance,
    conflict_of,
    lock_optimizer,
    recommendation_of,
    revert_config,
    stop_reason,
    unchanged_since,
)
from tasks.optimizer.matched_hours import MATCHED_SUMS, compare, match, saved
from tasks.optimizer.queries import list_by_state
from tasks.optimizer.recommend import ROUTING_PREFIX
from tasks.optimizer.trials import advance_trials
from tasks.rollups.aggregate import rollup_schema
from tasks.run_logger import logger

State = OptimizationState

OBSERVED_BEFORE = timedelta(weeks=4)

LATE_ARRIVAL_GRACE = timedelta(minutes=5)
"""An hour is assessed this long after its end: late rows have arrived by then."""

EARLY_CONFIDENCE = 0.999
"""Confidence of a revert before the end of the observation: higher, as the change is assessed every hour."""

INCIDENT_SHARE = 0.25


@dataclass(frozen=True)
class ObservationWindow:
    """One optimization under observation, with the hours (`bucket` and SUMS) before and after it."""

    row: Row[Any]
    item: Recommendation
    before: pl.DataFrame
    after: pl.DataFrame
    observed_from: datetime
    observed_to: datetime


def verify(engine: Engine, settings: Settings, now: datetime, *, early: bool = False) -> tuple[Verdict, ...]:
    """Assess every change under observation on its final hours, and act on it: one verdict each.

    Those with a trial of their own come first: every look at them is allowed. For the others, with `early`, only
    certain harm is acted on, even before the end of the observation. Nothing is assessed while the optimizer is off or
    stopped.
    """
    with reading(engine) as connection:
        if stop_reason(connection, settings.optimizer) is not None:
            return ()
        tried = set(connection.scalars(select(TRIAL.c.optimization_id)))
        rows = [row for row in list_by_state(connection, OBSERVED) if row.id not in tried]
        windows = [_observation_window(connection, row, settings, now) for row in rows]
    verdicts = [(window, assess(window, settings, now, early=early)) for window in windows]
    return (
        *advance_trials(engine, settings, now),
        *(_act(engine, window, verdict, now) for window, verdict in verdicts if verdict is not None),
    )


def assess(window: ObservationWindow, settings: Settings, now: datetime, *, early: bool = False) -> Verdict | None:
    """Return the verdict on one change; None if an early assessment finds no certain harm. Pure."""
    optimizer, limits = settings.optimizer, settings.performance_metrics
    observed = window.observed_to - window.observed_from
    over = now - window.row.applied_at >= timedelta(hours=optimizer.observe_max_hours)
    soon = observed < timedelta(hours=optimizer.observe_hours)
    before, after = (without_incidents(hours, limits) for hours in (window.before, window.after))
    matched = match(before, after, settings.timezone)
    level = EARLY_CONFIDENCE if early else CONFIDENCE
    primary, guardrails = metrics_of(window.item, limits)
    changes = [compare(matched, metric, seed=window.row.id, level=level) for metric in (primary, *guardrails)]
    short = min(changes[0].sample_before, changes[0].sample_after) < optimizer.minimum_sample
    worse = [] if short else [change for change in changes if change.judgement == "worse"]
    if early and not worse:
        return None
    state, reason = _decision(changes, worse, wait=soon and not worse, short=short, over=over)
    return Verdict(
        state=state,
        reason=reason,
        judged_at=now,
        observed_from=window.observed_from,
        observed_to=window.observed_to,
        matched_by=matched.by,
        hours=matched.hours,
        incident_hours=window.before.height + window.after.height - before.height - after.height,
        goal=changes[0],
        guards=tuple(changes[1:]),
        savings_usd=saved(matched, seed=window.row.id),
    )


def without_incidents(hours: pl.DataFrame, limits: PerformanceMetrics) -> pl.DataFrame:
    """Return the hours without passing bursts of errors: the config does not cause a provider's incident.

    A burst that lasts until the end stays, and so do all if they fill more than INCIDENT_SHARE of the hours: the
    change may cause them.
    """
    if hours.is_empty():
        return hours
    last: datetime = hours["bucket"].sort()[-1]
    bursts = burst_hours(hours, limits)
    over = [(start, end) for start, end in merge_intervals(bursts) if end <= last]
    passing = [bucket for bucket in bursts if any(start <= bucket < end for start, end in over)]
    if len(passing) > INCIDENT_SHARE * hours.height:
        return hours
    return hours.filter(pl.col("bucket").is_in(passing).not_())


# ----------------------------------------------------------------------------------------------------------------------


def _decision(
    changes: Sequence[MetricChange], worse: Sequence[MetricChange], *, wait: bool, short: bool, over: bool
) -> tuple[Literal["observing", "kept", "reverted", "expired"], str]:
    if worse:
        return "reverted", f"clearly worse: {', '.join(_text(change) for change in worse)}"
    if short or changes[0].change is None:
        if over:
            return "expired", "too few selections in matched hours to judge it; it stays, unproven"
        return "observing", "too few selections in matched hours so far"
    if wait:
        return "observing", "the time of observation is not over"
    return _proof(changes, over=over)


def _proof(changes: Sequence[MetricChange], *, over: bool) -> tuple[Literal["observing", "kept", "reverted"], str]:
    """Return state and reason of a change that is not clearly worse."""
    primary, guardrails = changes[0], changes[1:]
    within = all(_worse_by(guardrail) <= guardrail.margin for guardrail in guardrails)
    if primary.judgement == "better" and within:
        return "kept", f"better: {_text(primary)}"
    if all(change.judgement in ("better", "same", "unknown") for change in changes):
        return "kept", f"no worse: {_text(primary)}"
    if not over:
        return "observing", f"not clear yet: {_text(primary)}"
    if _worse_by(primary) <= primary.margin and within:
        return "kept", f"no clear difference in the longest time of observation: {_text(primary)}"
    return "reverted", f"not proven in the longest time of observation: {_text(primary)}"


def _worse_by(change: MetricChange) -> float:
    """Return by how much a metric got worse; negative if it got better."""
    estimate = change.change.estimate if change.change else 0.0
    return -estimate if METRICS[change.metric].better is Better.HIGHER else estimate


def _text(change: MetricChange) -> str:
    if change.before is None or change.after is None:
        return f"{metric_label(change.metric).lower()} unknown"
    show = Formats("en_US", "UTC")
    before, after = (metric_value(change.metric, value, show) for value in (change.before, change.after))
    return f"{metric_label(change.metric).lower()} {before} → {after}"


def _observation_window(connection: Connection, row: Row[Any], settings: Settings, now: datetime) -> ObservationWindow:
    """Return the hours after that of the config change, and those before it under the previous config."""
    zone, item = settings.timezone, recommendation_of(row)
    keys = [move.key for move in item.moves]
    start = next_start(Level.HOUR, row.applied_at, zone)
    longest = start + timedelta(hours=settings.optimizer.observe_max_hours)
    end = max(start, min(floor_to(Level.HOUR, now - LATE_ARRIVAL_GRACE, zone), longest))
    unchanged = unchanged_since(connection, keys, row.applied_at, own_id=row.id)
    before_from = max(row.applied_at - OBSERVED_BEFORE, next_start(Level.HOUR, unchanged, zone))
    complexity = _complexity_of(keys)
    return ObservationWindow(
        row=row,
        item=item,
        before=_hours(connection, before_from, floor_to(Level.HOUR, row.applied_at, zone), complexity),
        after=_hours(connection, start, end, complexity),
        observed_from=start,
        observed_to=end,
    )


def _complexity_of(keys: Sequence[str]) -> str | None:
    """Return the only complexity class that the keys affect; None for all."""
    classes = {key.removeprefix(ROUTING_PREFIX) for key in keys if key.startswith(ROUTING_PREFIX)}
    return classes.pop() if len(classes) == 1 and all(key.startswith(ROUTING_PREFIX) for key in keys) else None


def _hours(connection: Connection, start: datetime, end: datetime, complexity: str | None) -> pl.DataFrame:
    sums = [func.sum(ROLLUP.c[name]).label(name) for name in MATCHED_SUMS]
    conditions = [ROLLUP.c.bucket >= start, ROLLUP.c.bucket < end]
    conditions.append(ROLLUP.c.level == (HOUR_TOTAL if complexity is None else Level.HOUR.value))
    if complexity is not None:
        conditions.append(ROLLUP.c.complexity == complexity)
    query = select(ROLLUP.c.bucket, *sums).where(*conditions).group_by(ROLLUP.c.bucket).order_by(ROLLUP.c.bucket)
    rows = [tuple(row) for row in connection.execute(query)]
    schema = {name: rollup_schema()[name] for name in ("bucket", *MATCHED_SUMS)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _act(engine: Engine, window: ObservationWindow, verdict: Verdict, now: datetime) -> Verdict:
    """Record a verdict and carry it out; a key changed by someone else since keeps its value."""
    with writing(engine) as connection:
        lock_optimizer(connection)
        state = connection.scalar(select(OPTIMIZATION.c.state).where(OPTIMIZATION.c.id == window.row.id))
        if state not in OBSERVED:
            return verdict
        if (conflict := conflict_of(connection, window.row.id)) is not None:
            return _close(connection, window, _superseded(verdict, conflict), State.EXPIRED)
        if verdict.state == "reverted":
            step = Step(ACTOR, verdict.reason, now, verdict.model_dump(mode="json", by_alias=True))
            revert_config(connection, window.row.id, step, verdict=step.evidence)
            subject = f"#{window.row.id} {', '.join(move.key for move in window.item.moves)}"
            logger().warning("optimization %s was reverted: %s", subject, verdict.reason)
            record_event(
                connection,
                AlertRule.OPTIMIZATION_REVERTED,
                subject,
                verdict.reason,
                sample=verdict.goal.sample_after if verdict.goal else None,
                started_at=verdict.observed_from,
                at=now,
            )
            return verdict
        if verdict.state != "observing":
            return _close(connection, window, verdict, State(verdict.state))
        if state == State.APPLIED:
            return _close(connection, window, verdict, State.OBSERVING)
        dumped = verdict.model_dump(mode="json", by_alias=True)
        connection.execute(update(OPTIMIZATION).where(OPTIMIZATION.c.id == window.row.id).values(verdict=dumped))
        return verdict


def _close(connection: Connection, window: ObservationWindow, verdict: Verdict, to: State) -> Verdict:
    dumped = verdict.model_dump(mode="json", by_alias=True)
    advance(connection, window.row.id, to, Step(ACTOR, verdict.reason, verdict.judged_at, dumped), verdict=dumped)
    return verdict


def _superseded(verdict: Verdict, conflict: ConfigConflict) -> Verdict:
    reason = f"the router or a person has changed {conflict.key} since: it is theirs now"
    return verdict.model_copy(update={"state": "expired", "reason": reason})
