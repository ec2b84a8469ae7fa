"""Apply: the recommendations that Routewatch may carry out by itself, within bounds and on record.

A recommendation becomes an optimization row: one open row per type and subject, updated as long as it is proposed.
Verifying and approving come after; their states are those of models.tables.OptimizationState.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from models.database import reading, writing
from models.document import AppliedOptimization, Recommendation
from models.errors import ConfigConflict
from models.period import EARLIEST, Period
from models.settings import Optimizer
from models.tables import ConfigChange, Optimization, OptimizationState, OptimizationTransition, table_of
from models.workplace import Workplace
from tasks.compose import Material
from tasks.configure import Change, set_value

OPTIMIZATION, TRANSITION = table_of(Optimization), table_of(OptimizationTransition)
CHANGE = table_of(ConfigChange)

Status = Literal["applied", "waiting", "deferred"]

ACTOR = "routewatch"

STALE_AFTER = timedelta(hours=24)
"""A period that ended this long before the newest selection is history: its evidence does not move today's config."""


@dataclass(frozen=True)
class Evidence:
    """What a decision rests on: the period looked at, the newest selection known, and the time of deciding."""

    period: Period
    last_selection_at: datetime | None
    now: datetime

    @property
    def is_stale(self) -> bool:
        """Whether much newer selections than the period's are known."""
        return self.last_selection_at is not None and self.last_selection_at - self.period.end > STALE_AFTER


def apply(
    engine: Engine, recommendations: Sequence[Recommendation], optimizer: Optimizer, evidence: Evidence
) -> tuple[Recommendation, ...]:
    """Record every possible recommendation, carry out those that may be, and say what became of each, in order.

    A change and its audit row are one transaction per recommendation. A key that the router or a person changed since
    it was read keeps their value.
    """
    if optimizer.mode == "off":
        return tuple(_noted(item, item.status, "the optimizer is off") for item in recommendations)
    return tuple(_settle(engine, item, optimizer, evidence) for item in recommendations)


def applied_in(engine: Engine, start: datetime, end: datetime) -> tuple[AppliedOptimization, ...]:
    """The changes of the config made by optimizations in [start, end], oldest first."""
    query = (
        select(OPTIMIZATION.c.type, OPTIMIZATION.c.state, CHANGE)
        .join(CHANGE, CHANGE.c.optimization_id == OPTIMIZATION.c.id)
        .where(CHANGE.c.changed_at.between(start, end))
        .order_by(CHANGE.c.changed_at, CHANGE.c.id)
    )
    with reading(engine) as connection:
        rows = connection.execute(query).fetchall()
    return tuple(
        AppliedOptimization(
            type=row.type,
            key=row.key,
            from_value=row.from_value,
            to_value=row.to_value,
            applied_at=row.changed_at,
            reason=row.reason,
            state=row.state,
        )
        for row in rows
    )


def list_optimizations(engine: Engine) -> Sequence[Row[Any]]:
    """Every optimization, the newest first: rows of models.tables.Optimization."""
    with reading(engine) as connection:
        return connection.execute(select(OPTIMIZATION).order_by(OPTIMIZATION.c.id.desc())).fetchall()


# ----------------------------------------------------------------------------------------------------------------------


def _settle(engine: Engine, item: Recommendation, optimizer: Optimizer, evidence: Evidence) -> Recommendation:
    if item.status == "impossible":
        return item
    try:
        with writing(engine) as connection:
            optimization_id = _record(connection, item, evidence)
            why_not = _why_not(connection, item, optimizer, evidence)
            if why_not is not None:
                return _noted(item, *why_not)
            _carry_out(connection, item, optimization_id, evidence)
    except ConfigConflict as conflict:
        return _noted(item, "deferred", f"left alone: {conflict}")
    return _noted(item, "applied", item.note)


def _why_not(
    connection: Connection, item: Recommendation, optimizer: Optimizer, evidence: Evidence
) -> tuple[Status, str | None] | None:
    """Why a recommendation is not carried out now, with its status; None where it is."""
    if item.status in ("waiting", "deferred"):
        return item.status, item.note
    if not item.auto_apply or optimizer.mode == "propose":
        why = ": the optimizer only proposes" if item.auto_apply else ""
        return "waiting", f"waits for a person to decide{why}"
    if evidence.is_stale:
        return "deferred", "not applied: much newer selections than this period's are known"
    early = _why_too_early(_last_change(connection, item), optimizer, evidence)
    return None if early is None else ("deferred", early)


def _why_too_early(changed_at: datetime, optimizer: Optimizer, evidence: Evidence) -> str | None:
    """Why the same keys are left alone after their change at `changed_at`; None where they need not be."""
    shown = evidence.period.local(changed_at).isoformat(sep=" ", timespec="minutes")
    if changed_at > evidence.period.start:
        return f"waits for a whole period after the last change of the same keys, {shown}"
    cooled_at = changed_at + timedelta(hours=optimizer.cool_down_hours)
    if cooled_at > evidence.now:
        shown = evidence.period.local(cooled_at).isoformat(sep=" ", timespec="minutes")
        return f"cools down until {shown} after the last change of the same keys"
    return None


def _last_change(connection: Connection, item: Recommendation) -> datetime:
    keys = [move.key for move in item.moves]
    by_optimization = CHANGE.c.key.in_(keys), CHANGE.c.optimization_id.is_not(None)
    latest: datetime | None = connection.scalar(select(func.max(CHANGE.c.changed_at)).where(*by_optimization))
    return latest or EARLIEST


def _record(connection: Connection, item: Recommendation, evidence: Evidence) -> int:
    """The id of the open optimization for the recommendation, made or brought up to date."""
    subject = item.complexity or ",".join(move.key for move in item.moves)
    content = {
        "recommendation": item.model_dump(mode="json", by_alias=True),
        "period_start": evidence.period.start,
        "period_end": evidence.period.end,
        "updated_at": evidence.now,
    }
    is_same = OPTIMIZATION.c.type == item.type, OPTIMIZATION.c.subject == subject
    is_open = OPTIMIZATION.c.state.in_([OptimizationState.PROPOSED, OptimizationState.APPROVED])
    known = connection.scalar(select(OPTIMIZATION.c.id).where(*is_same, is_open))
    if known is not None:
        connection.execute(update(OPTIMIZATION).where(OPTIMIZATION.c.id == known).values(content))
        return int(known)
    made = connection.execute(
        insert(OPTIMIZATION)
        .values(type=item.type, subject=subject, state=OptimizationState.PROPOSED, created_at=evidence.now, **content)
        .returning(OPTIMIZATION.c.id)
    ).scalar_one()
    _step(connection, made, (None, OptimizationState.PROPOSED), item.bottleneck, evidence)
    return int(made)


def _carry_out(connection: Connection, item: Recommendation, optimization_id: int, evidence: Evidence) -> None:
    reason = f"{item.type} because of {item.bottleneck}"
    change = Change(ACTOR, reason, evidence.now, optimization_id)
    for move in item.moves:
        set_value(connection, move.key, move.to_value, move.version, change)
    applied = {"state": OptimizationState.APPLIED, "updated_at": evidence.now}
    connection.execute(update(OPTIMIZATION).where(OPTIMIZATION.c.id == optimization_id).values(applied))
    _step(connection, optimization_id, (OptimizationState.PROPOSED, OptimizationState.APPLIED), reason, evidence)


def _step(
    connection: Connection,
    optimization_id: int,
    states: tuple[OptimizationState | None, OptimizationState],
    reason: str,
    evidence: Evidence,
) -> None:
    connection.execute(
        insert(TRANSITION).values(
            optimization_id=optimization_id,
            at=evidence.now,
            from_state=states[0],
            to_state=states[1],
            by=ACTOR,
            reason=reason,
            evidence={"start": evidence.period.start.isoformat(), "end": evidence.period.end.isoformat()},
        )
    )


def _noted(item: Recommendation, status: str, note: str | None) -> Recommendation:
    return item.model_copy(update={"status": status, "note": note})


@task(name="apply", cache_policy=NO_CACHE)
def apply_optimizations(place: Workplace, material: Material, now: datetime) -> Material:
    """Carry out what may be; the same material, saying what became of each recommendation and what was changed."""
    current = material.current
    evidence = Evidence(current.period, current.last_selection_at, now)
    settled = apply(place.engine, material.recommendations, place.settings.optimizer, evidence)
    applied = applied_in(place.engine, current.period.start, now)
    return replace(material, recommendations=settled, applied=applied)
