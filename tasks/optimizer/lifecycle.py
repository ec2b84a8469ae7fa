"""Optimization lifecycle: states, recorded steps, and when keys may be changed.

    proposed → approved | rejected | autoApplied | expired
    approved, autoApplied → applied → observing → kept | reverted | expired

A step is one row with its time, author, reason, and the numbers behind the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, text, update

from models.documents import Recommendation
from models.errors import ConfigConflict, OptimizerStopped, UnknownOptimization
from models.period import EARLIEST
from models.schema import (
    CONFIG_CHANGE,
    HOUR_TOTAL,
    OPTIMIZATION,
    OPTIMIZATION_TRANSITION,
    ROLLUP,
    OptimizationState,
)
from models.settings import Optimizer, Settings
from routewatch.rollout import ROLLOUT_PREFIX, ROUTING_PREFIX
from tasks.optimizer.before_after import will_match
from tasks.optimizer.placebos import HOURS_TO_JUDGE, horizon_of
from tasks.optimizer.queries import get_optimization, list_by_state
from tasks.optimizer.router_config import ChangeOrigin, conflict, read_key, set_value
from tasks.optimizer.router_values import Setting, UnreadableSetting

State = OptimizationState

ACTOR = "routewatch"

STOPPED_KEY = "optimizer.stopped"
"""If this key of the router's config is true, Routewatch changes nothing."""

OBSERVED = (State.APPLIED, State.OBSERVING)

_NEXT: dict[State | None, frozenset[State]] = {
    None: frozenset({State.PROPOSED}),
    State.PROPOSED: frozenset({State.APPROVED, State.REJECTED, State.AUTO_APPLIED, State.EXPIRED}),
    State.APPROVED: frozenset({State.APPLIED, State.REJECTED, State.EXPIRED}),
    State.AUTO_APPLIED: frozenset({State.APPLIED}),
    State.APPLIED: frozenset({State.OBSERVING, State.KEPT, State.REVERTED, State.EXPIRED}),
    State.OBSERVING: frozenset({State.KEPT, State.REVERTED, State.EXPIRED}),
    State.KEPT: frozenset({State.REVERTED}),
}

LONGEST_COOL_DOWN = timedelta(days=90)


@dataclass(frozen=True)
class Step:
    """Author, reason, time and numbers of a step of an optimization."""

    by: str
    reason: str
    at: datetime
    evidence: dict[str, Any] | None = None


def lock_optimizer(connection: Connection) -> None:
    """Lock decisions on optimizations until the end of the transaction, after waiting for other processes.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('routewatch optimizations'))"))


def stop_reason(connection: Connection, optimizer: Optimizer) -> str | None:
    """Return why the settings or the kill switch forbid all changes; None if they allow them."""
    if optimizer.mode == "off":
        return "the optimizer is off (optimizer.mode in the settings)"
    switch = read_key(connection, STOPPED_KEY)
    if switch is None or (isinstance(switch.content, Setting) and switch.content.value is False):
        return None
    resume = "`routewatch optimizations resume` lets it go on"
    if isinstance(switch.content, UnreadableSetting):
        # A person may have meant to stop it.
        found = f"{switch.content.found} {switch.content.reason}"
        return f"{STOPPED_KEY} in the router's config is unreadable: {found} ({resume})"
    return f"the optimizer was stopped by {switch.updated_by} ({resume})"


def refuse_if_stopped(connection: Connection, optimizer: Optimizer) -> None:
    """Raise OptimizerStopped if the settings or the kill switch forbid changes."""
    if why := stop_reason(connection, optimizer):
        raise OptimizerStopped(why)


def recommendation_of(row: Row[Any]) -> Recommendation:
    """Return the recommendation that an optimization was recorded with."""
    return Recommendation.model_validate(row.recommendation)


def propose(connection: Connection, values: dict[str, Any], step: Step) -> int:
    """Record a new optimization and return its id."""
    row = {**values, "state": State.PROPOSED, "created_at": step.at, "updated_at": step.at}
    made = connection.execute(insert(OPTIMIZATION).values(row).returning(OPTIMIZATION.c.id)).scalar_one()
    _record_transition(connection, made, None, State.PROPOSED, step)
    return int(made)


def advance(connection: Connection, optimization_id: int, to: State, step: Step, **values: Any) -> None:
    """Move an optimization to a state. Raises UnknownOptimization if its current state does not permit that."""
    before = State(get_optimization(connection, optimization_id).state)
    if to not in _NEXT.get(before, ()):
        raise UnknownOptimization(optimization_id, f"is {before.value} and cannot become {to.value}")
    as_read = OPTIMIZATION.c.id == optimization_id, OPTIMIZATION.c.state == before
    written = {"state": to, "updated_at": step.at, **values}
    if connection.execute(update(OPTIMIZATION).where(*as_read).values(written)).rowcount != 1:
        raise UnknownOptimization(optimization_id, f"is no longer {before.value}")
    _record_transition(connection, optimization_id, before, to, step)


def apply_config(connection: Connection, optimization_id: int, item: Recommendation, step: Step) -> None:
    """Set the config to the values of an approved optimization. Raises ConfigConflict without changing anything.

    The change, its audit rows and the new state belong to the caller's transaction.
    """
    change = ChangeOrigin(step.by, step.reason, step.at, optimization_id)
    with connection.begin_nested():
        for move in item.moves:
            set_value(connection, move.key, move.to_value, move.version, change, expected_value=move.from_value)
        advance(connection, optimization_id, State.APPLIED, step, applied_at=step.at)


def revert_config(connection: Connection, optimization_id: int, step: Step, **values: Any) -> None:
    """Restore the values from before an optimization's first change. Raises ConfigConflict if a key was changed since.

    A rollout's key gets its last value with a share of 0 percent; one that has that already is left alone.
    """
    with connection.begin_nested():
        for changes in _unreverted_changes(connection, optimization_id).values():
            key, newest = changes[0].key, changes[-1]
            before = _without_share(newest.to_value) if key.startswith(ROLLOUT_PREFIX) else changes[0].from_value
            if key.startswith(ROLLOUT_PREFIX) and before == newest.to_value:
                continue
            back = ChangeOrigin(step.by, step.reason, step.at, optimization_id)
            version = set_value(connection, key, before, newest.version, back, expected_value=newest.to_value)
            same = CONFIG_CHANGE.c.key == key, CONFIG_CHANGE.c.version == version
            new_id = connection.execute(select(CONFIG_CHANGE.c.id).where(*same)).scalar_one()
            # The revert itself cannot be reverted.
            all_of_it = CONFIG_CHANGE.c.id.in_([*(change.id for change in changes), new_id])
            connection.execute(update(CONFIG_CHANGE).where(all_of_it).values(reverted_by=new_id))
        advance(connection, optimization_id, State.REVERTED, step, **values)


def conflict_of(connection: Connection, optimization_id: int) -> ConfigConflict | None:
    """Return the conflict if someone changed a key of an applied optimization since; None if unchanged."""
    for changes in _unreverted_changes(connection, optimization_id).values():
        newest = changes[-1]
        row = read_key(connection, newest.key)
        if found := conflict(row.content if row else None, newest.key, newest.version, newest.to_value):
            return found
    return None


def blocking_reason(
    connection: Connection, keys: Sequence[str], settings: Settings, now: datetime, *, needs_history: bool = True
) -> str | None:
    """Return why keys may not be changed now; None if they may.

    `needs_history`: the change is judged by the hours before it.
    """
    for row in list_by_state(connection, OBSERVED):
        theirs = [move.key for move in recommendation_of(row).moves]
        if overlap(keys, theirs):
            return f"waits until #{row.id} ({', '.join(theirs)}) is judged: two changes at once prove nothing of either"
    cooled = (_cooled_at(connection, same_selections(key), settings.optimizer) for key in keys)
    cooled_at = max((at for at in cooled if at is not None), default=None)
    if cooled_at is not None and cooled_at > now:
        return f"cools down until {cooled_at:%Y-%m-%d %H:%M} UTC after the last change of the same keys"
    if needs_history and not _can_be_assessed(connection, keys, settings, now):
        return "waits for hours under the present config that the next ones can be compared with"
    return None


def unjudgeable_reason(connection: Connection, keys: Sequence[str], settings: Settings, now: datetime) -> str | None:
    """Return why a change of some keys could not be judged by the hours before it; None if it could.

    Before and after needs enough pretended changes in the past under the present config. What cannot be told in the
    end would be reverted: a change for nothing.
    """
    known_hours = max(0, int((now - _known_since(connection, keys, now)) / timedelta(hours=1)))
    if horizon_of(known_hours, int(settings.optimizer.observe_max_hours))[0]:
        return None
    return (
        f"could not be judged: {known_hours / 24:.0f} days are known under the present config, and before and after "
        f'needs {HOURS_TO_JUDGE / 24:.0f}; a router that lists "split" and "switchback" in its key router.trials '
        "needs none"
    )


def unchanged_since(
    connection: Connection, keys: Sequence[str], until: datetime, own_id: int | None = None
) -> datetime:
    """Return when anyone last changed a key that affects the same selections as some keys, before `until`.

    Ignores a key's first value, which is what the router ran with, and the changes of the optimization `own_id`. The
    first value of a rollout's key is the start of a rollout.
    """
    earlier = select(CONFIG_CHANGE.c.key, func.max(CONFIG_CHANGE.c.changed_at).label("at")).where(
        CONFIG_CHANGE.c.changed_at <= until,
        or_(CONFIG_CHANGE.c.from_value.is_not(None), CONFIG_CHANGE.c.key.startswith(ROLLOUT_PREFIX, autoescape=True)),
        func.coalesce(CONFIG_CHANGE.c.optimization_id, -1) != (own_id or -2),
    )
    times = [
        change.at
        for change in connection.execute(earlier.group_by(CONFIG_CHANGE.c.key)).fetchall()
        if change.key != STOPPED_KEY and overlap(keys, [change.key])
    ]
    return max(times, default=EARLIEST)


def overlap(keys: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether two changes affect the same selections, so that they cannot be assessed separately.

    The model of one complexity class, and a rollout of it, affect only that class; every other key affects all
    selections.
    """
    areas, other_areas = set(map(_area, keys)), set(map(_area, others))
    return bool(areas & other_areas) or "*" in areas | other_areas


def same_selections(key: str) -> tuple[str, ...]:
    """Return the keys that are changed for the same purpose: a class's model and its rollout; else the key alone."""
    area = _area(key)
    return (key,) if area == "*" else (area, ROLLOUT_PREFIX + area.removeprefix(ROUTING_PREFIX))


def only_class_of(keys: Iterable[str]) -> str | None:
    """Return the only complexity class whose requests some keys choose the model of; None if they affect all."""
    keys = list(keys)
    classes = {key.removeprefix(ROUTING_PREFIX) for key in keys if key.startswith(ROUTING_PREFIX)}
    return classes.pop() if len(classes) == 1 and all(key.startswith(ROUTING_PREFIX) for key in keys) else None


# ----------------------------------------------------------------------------------------------------------------------


def _area(key: str) -> str:
    if key.startswith(ROLLOUT_PREFIX):
        return ROUTING_PREFIX + key.removeprefix(ROLLOUT_PREFIX)
    return key if key.startswith(ROUTING_PREFIX) else "*"


def _unreverted_changes(connection: Connection, optimization_id: int) -> dict[str, list[Row[Any]]]:
    """Return an optimization's changes of the config that are in force, oldest first by key; the newest key first."""
    made = CONFIG_CHANGE.c.optimization_id == optimization_id, CONFIG_CHANGE.c.reverted_by.is_(None)
    by_key: dict[str, list[Row[Any]]] = {}
    for change in connection.execute(select(CONFIG_CHANGE).where(*made).order_by(CONFIG_CHANGE.c.id)).fetchall():
        by_key.setdefault(change.key, []).append(change)
    return dict(sorted(by_key.items(), key=lambda item: -item[1][-1].id))


def _without_share(value: Any) -> Any:
    return value | {"percent": 0} if isinstance(value, dict) else value


def _known_since(connection: Connection, keys: Sequence[str], now: datetime) -> datetime:
    """Return from when on hours under the current config are known."""
    first: datetime | None = connection.scalar(select(func.min(ROLLUP.c.bucket)).where(ROLLUP.c.level == HOUR_TOTAL))
    return max(unchanged_since(connection, keys, now), first or now)


def _can_be_assessed(connection: Connection, keys: Sequence[str], settings: Settings, now: datetime) -> bool:
    """Return whether the next hours can be compared with hours under the current config."""
    start = _known_since(connection, keys, now)
    end = now + timedelta(hours=settings.optimizer.observe_hours)
    return will_match(start, now, end, settings.timezone)


def _cooled_at(connection: Connection, keys: Sequence[str], optimizer: Optimizer) -> datetime | None:
    """Return when keys may be changed again; the wait doubles with each revert since one was last kept."""
    by_us = CONFIG_CHANGE.c.key.in_(keys), CONFIG_CHANGE.c.optimization_id.is_not(None)
    last: datetime | None = connection.scalar(select(func.max(CONFIG_CHANGE.c.changed_at)).where(*by_us))
    if last is None:
        return None
    states = (
        select(OPTIMIZATION.c.state)
        .where(OPTIMIZATION.c.id.in_(select(CONFIG_CHANGE.c.optimization_id).where(*by_us)))
        .order_by(OPTIMIZATION.c.id.desc())
    )
    reverts = 0
    for state in connection.scalars(states):
        if state == State.KEPT:
            break
        reverts += state == State.REVERTED
    wait = timedelta(hours=optimizer.cool_down_hours * 2.0 ** min(reverts, 16))
    return last + min(wait, max(LONGEST_COOL_DOWN, timedelta(hours=optimizer.cool_down_hours)))


def _record_transition(
    connection: Connection, optimization_id: int, before: State | None, to: State, step: Step
) -> None:
    connection.execute(
        insert(OPTIMIZATION_TRANSITION).values(
            optimization_id=optimization_id,
            at=step.at,
            from_state=before,
            to_state=to,
            by=step.by,
            reason=step.reason,
            evidence=step.evidence,
        )
    )
