"""Apply: carry out the recommendations that Routewatch may apply automatically, within bounds and on record.

A recommendation becomes an optimization row: one open row per type and subject, updated while it is proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, Engine, func, or_, select, update

from models.bounded_key import bounded_key
from models.database import reading, writing
from models.documents import AppliedOptimization, Recommendation, Verdict
from models.errors import ConfigConflict
from models.period import EARLIEST, Period
from models.schema import CONFIG_CHANGE, OPTIMIZATION, OPTIMIZATION_TRANSITION, OptimizationState
from models.settings import Optimizer, Settings
from tasks.optimizer.lifecycle import (
    ACTOR,
    Step,
    advance,
    blocking_reason,
    lock_optimizer,
    propose,
    recommendation_of,
    same_selections,
    stop_reason,
    unchanged_since,
    unjudgeable_reason,
)
from tasks.optimizer.queries import list_by_state, without_flips
from tasks.optimizer.router_config import conflict, read_key
from tasks.optimizer.run_rate import touched_keys, without_run_rate
from tasks.optimizer.trials import method_of, needs_history, start_trial

State = OptimizationState
Status = Literal["applied", "waiting", "deferred"]

STALE_AFTER = timedelta(hours=24)
"""A period that ended this long before the newest selection is history: its evidence changes no config."""

REJECTED_FOR = timedelta(days=30)
"""How long the same change is not proposed again after a decision on it."""


@dataclass(frozen=True)
class DecisionContext:
    """Context of a decision: the evaluated period, the newest known selection, and the time of the decision."""

    period: Period
    last_selection_at: datetime | None
    now: datetime

    @property
    def is_stale(self) -> bool:
        """Return whether much newer selections than the period's are known."""
        return self.last_selection_at is not None and self.last_selection_at - self.period.end > STALE_AFTER

    def step(self, reason: str, by: str = ACTOR) -> Step:
        return Step(by, reason, self.now, {"start": self.period.start.isoformat(), "end": self.period.end.isoformat()})


def apply(
    engine: Engine,
    recommendations: Sequence[Recommendation],
    settings: Settings,
    context: DecisionContext,
    *,
    dry_run: bool = False,
) -> tuple[Recommendation, ...]:
    """Record every possible recommendation, apply the permitted ones, and return each with its status, in order.

    Approved optimizations go first. All of it is one transaction, so that a change is never without its audit
    row; with `dry_run` it is rolled back at the end, and the result shows what would happen to each. A key that the
    router or a person changed since it was read keeps its value.
    """
    with writing(engine) as connection:
        lock_optimizer(connection)
        stop = stop_reason(connection, settings.optimizer)
        if stop is not None:
            return tuple(_noted(item, item.status, stop) for item in recommendations)
        _expire(connection, settings.optimizer, context)
        _apply_approved(connection, settings, context.now)
        decided = tuple(_decide(connection, item, settings, context) for item in recommendations)
        decided = tuple(_of_unchanged(connection, item, context.now) for item in decided)
        if dry_run:
            connection.rollback()
        return decided


def applied_in(engine: Engine, start: datetime, end: datetime) -> tuple[AppliedOptimization, ...]:
    """Return the config changes of optimizations applied or assessed in [start, end], oldest first."""
    query = (
        select(
            OPTIMIZATION.c.type,
            OPTIMIZATION.c.state,
            OPTIMIZATION.c.verdict,
            OPTIMIZATION.c.recommendation,
            CONFIG_CHANGE,
        )
        .join(CONFIG_CHANGE, CONFIG_CHANGE.c.optimization_id == OPTIMIZATION.c.id)
        .where(
            or_(
                CONFIG_CHANGE.c.changed_at.between(start, end),
                OPTIMIZATION.c.applied_at.is_not(None) & OPTIMIZATION.c.updated_at.between(start, end),
            )
        )
        .order_by(CONFIG_CHANGE.c.changed_at, CONFIG_CHANGE.c.id)
    )
    with reading(engine) as connection:
        rows = without_flips(connection, connection.execute(query).fetchall())
    return tuple(
        AppliedOptimization(
            type=row.type,
            key=row.key,
            from_value=row.from_value,
            to_value=row.to_value,
            applied_at=row.changed_at,
            reason=row.reason,
            state=row.state,
            optimization_id=row.optimization_id,
            by=row.changed_by,
            verdict=Verdict.model_validate(row.verdict) if row.verdict else None,
            estimated_savings_usd=item.savings_usd,
            estimate_evidence=item.evidence or ("observational" if item.observational else None),
            is_revert=row.reverted_by == row.id,
        )
        for row, item in ((row, recommendation_of(row)) for row in rows)
    )


def with_optimization_ids(engine: Engine, recommendations: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Return the recommendations with the ids of the open optimizations of the same type and subject."""
    with reading(engine) as connection:
        rows = list_by_state(connection, [State.PROPOSED, State.APPROVED])
    ids = {(row.type, row.subject): row.id for row in rows}
    return tuple(
        item.model_copy(update={"optimization_id": ids.get((item.type, _subject(item)))}) for item in recommendations
    )


# ----------------------------------------------------------------------------------------------------------------------


def _expire(connection: Connection, optimizer: Optimizer, context: DecisionContext) -> None:
    """Expire proposals that no run has found again for a while and that await a decision."""
    for row in list_by_state(connection, [State.PROPOSED]):
        if context.now - row.updated_at > timedelta(days=optimizer.proposal_days):
            reason = f"nobody decided on it, and no run has found it again for {optimizer.proposal_days:g} days"
            advance(connection, row.id, State.EXPIRED, Step(ACTOR, reason, context.now))


def _apply_approved(connection: Connection, settings: Settings, now: datetime) -> None:
    """Apply optimizations that were approved while they could not be applied."""
    for row in list_by_state(connection, [State.APPROVED]):
        item = recommendation_of(row)
        if _blocking_reason(connection, item, settings, now) is not None:
            continue
        approval = connection.execute(
            select(OPTIMIZATION_TRANSITION)
            .where(
                OPTIMIZATION_TRANSITION.c.optimization_id == row.id,
                OPTIMIZATION_TRANSITION.c.to_state == State.APPROVED,
            )
            .order_by(OPTIMIZATION_TRANSITION.c.id.desc())
        ).first()
        by = approval.by if approval else ACTOR
        try:
            step = Step(by, f"{item.type} because of {item.bottleneck}, approved", now)
            start_trial(connection, row.id, item, settings, step)
        except ConfigConflict as changed:
            advance(connection, row.id, State.EXPIRED, Step(ACTOR, f"left alone: {changed}", now))


def _decide(
    connection: Connection, item: Recommendation, settings: Settings, context: DecisionContext
) -> Recommendation:
    if item.status == "impossible":
        return item
    if (
        why := _rejection_reason(connection, item, context)
        or _outdated(connection, item)
        or _approved(connection, item)
    ):
        return _noted(item, "deferred", why)
    optimization_id = _record(connection, item, context)
    item = item.model_copy(update={"optimization_id": optimization_id})
    deferral = _deferral(connection, item, settings, context)
    if deferral is not None:
        return _noted(item, *deferral)
    reason = f"{item.type} because of {item.bottleneck}"
    try:
        with connection.begin_nested():
            alone_decided = context.step("may be done without a person's word")
            advance(connection, optimization_id, State.AUTO_APPLIED, alone_decided)
            start_trial(connection, optimization_id, item, settings, context.step(reason))
    except ConfigConflict as changed:
        return _noted(item, "deferred", f"left alone: {changed}")
    return _noted(item, "applied", item.note)


def _deferral(
    connection: Connection, item: Recommendation, settings: Settings, context: DecisionContext
) -> tuple[Status, str | None] | None:
    """Return the status of a recommendation that is not applied now, with the reason; None if it is."""
    if item.status in ("waiting", "deferred"):
        return item.status, item.note
    if not item.auto_apply or settings.optimizer.mode == "propose":
        why = ": the optimizer only proposes" if item.auto_apply else ""
        return "waiting", f"waits for a person to decide{why}"
    if context.is_stale:
        return "deferred", "not applied: much newer selections than this period's are known"
    keys = [key for move in item.moves for key in same_selections(move.key)]
    early = (
        _too_early_reason(connection, keys, context)
        or _blocking_reason(connection, item, settings, context.now)
        or _unjudgeable_reason(connection, item, settings, context.now)
    )
    return None if early is None else ("deferred", early)


def _of_unchanged(connection: Connection, item: Recommendation, now: datetime) -> Recommendation:
    """Return the recommendation without its worth a day if the same requests are changed in this very run."""
    if item.run_rate_usd_per_day is None or unchanged_since(connection, touched_keys(item), now) < now:
        return item
    return without_run_rate(item, "the same requests are changed with this report")


def _blocking_reason(connection: Connection, item: Recommendation, settings: Settings, now: datetime) -> str | None:
    keys = [move.key for move in item.moves]
    compares = needs_history(method_of(connection, item, settings))
    return blocking_reason(connection, keys, settings, now, needs_history=compares)


def _unjudgeable_reason(connection: Connection, item: Recommendation, settings: Settings, now: datetime) -> str | None:
    """Return why a change would be made only to be reverted; None if it can be judged, or stays when it cannot."""
    if settings.optimizer.undecided == "keep" or not needs_history(method_of(connection, item, settings)):
        return None
    return unjudgeable_reason(connection, [move.key for move in item.moves], settings, now)


def _too_early_reason(connection: Connection, keys: Sequence[str], context: DecisionContext) -> str | None:
    """Return why to wait if the keys changed after the period began, which then does not show their effect."""
    by_optimization = CONFIG_CHANGE.c.key.in_(keys), CONFIG_CHANGE.c.optimization_id.is_not(None)
    changed_at: datetime = (
        connection.scalar(select(func.max(CONFIG_CHANGE.c.changed_at)).where(*by_optimization)) or EARLIEST
    )
    if changed_at <= context.period.start:
        return None
    shown = context.period.local(changed_at).isoformat(sep=" ", timespec="minutes")
    return f"waits for a whole period after the last change of the same keys, {shown}"


def _outdated(connection: Connection, item: Recommendation) -> str | None:
    """Return in words which key changed since the recommendation was computed; None if none did."""
    for move in item.moves:
        row = read_key(connection, move.key)
        if found := conflict(row.content if row else None, move.key, move.version, move.from_value):
            return f"left alone: {found}"
    return None


def _rejection_reason(connection: Connection, item: Recommendation, context: DecisionContext) -> str | None:
    """Return in words who recently rejected the same, or approved it to carry out by hand; None if nobody did."""
    rows = connection.execute(
        select(OPTIMIZATION.c.recommendation, OPTIMIZATION_TRANSITION)
        .join(OPTIMIZATION_TRANSITION, OPTIMIZATION_TRANSITION.c.optimization_id == OPTIMIZATION.c.id)
        .where(OPTIMIZATION.c.type == item.type, OPTIMIZATION.c.subject == _subject(item))
        .where(OPTIMIZATION_TRANSITION.c.to_state.in_([State.REJECTED, State.APPROVED]))
        .where(OPTIMIZATION_TRANSITION.c.at > context.now - REJECTED_FOR)
        .order_by(OPTIMIZATION_TRANSITION.c.id.desc())
    ).fetchall()
    for row in rows:
        earlier = recommendation_of(row)
        is_decided = row.to_state == State.REJECTED or not earlier.moves
        if is_decided and _aims(earlier) == _aims(item):
            day = context.period.local(row.at)
            what = f"{row.to_state} by {row.by} on {day:%Y-%m-%d} ({row.reason})"
            return f"{what}; not proposed again for {REJECTED_FOR.days} days"
    return None


def _aims(item: Recommendation) -> object:
    return item.to_model, sorted((move.key, str(move.to_value)) for move in item.moves)


def _approved(connection: Connection, item: Recommendation) -> str | None:
    """Return in words which approved optimization is the same: it stays as it was approved."""
    for row in list_by_state(connection, [State.APPROVED]):
        if (row.type, row.subject) == (item.type, _subject(item)):
            return f"#{row.id} is approved, and is applied as soon as it can be"
    return None


def _subject(item: Recommendation) -> str:
    return bounded_key(item.complexity or ",".join(move.key for move in item.moves))


def _record(connection: Connection, item: Recommendation, context: DecisionContext) -> int:
    """Create or update the open optimization for the recommendation and return its id."""
    content = {
        "recommendation": item.model_dump(mode="json", by_alias=True),
        "period_start": context.period.start,
        "period_end": context.period.end,
    }
    is_same = OPTIMIZATION.c.type == item.type, OPTIMIZATION.c.subject == _subject(item)
    known = connection.scalar(select(OPTIMIZATION.c.id).where(*is_same, OPTIMIZATION.c.state == State.PROPOSED))
    if known is None:
        made = {"type": item.type, "subject": _subject(item), **content}
        return propose(connection, made, context.step(f"because of {item.bottleneck}"))
    renewed = {**content, "updated_at": context.now}
    connection.execute(update(OPTIMIZATION).where(OPTIMIZATION.c.id == known).values(renewed))
    return int(known)


def _noted(item: Recommendation, status: str, note: str | None) -> Recommendation:
    return item.model_copy(update={"status": status, "note": note})
