"""Read recorded optimizations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from models.database import reading
from models.errors import UnknownOptimization
from models.schema import OPTIMIZATION, OPTIMIZATION_TRANSITION, TRIAL, UNDER_WAY, OptimizationState


def get_optimization(connection: Connection, optimization_id: int) -> Row[Any]:
    """Return one optimization. Raises UnknownOptimization."""
    row = connection.execute(select(OPTIMIZATION).where(OPTIMIZATION.c.id == optimization_id)).one_or_none()
    if row is None:
        raise UnknownOptimization(optimization_id, "does not exist")
    return row


def list_by_state(connection: Connection, states: Iterable[OptimizationState]) -> Sequence[Row[Any]]:
    """Return the optimizations in any of some states, oldest first."""
    in_states = OPTIMIZATION.c.state.in_(list(states))
    return connection.execute(select(OPTIMIZATION).where(in_states).order_by(OPTIMIZATION.c.id)).fetchall()


def without_flips(connection: Connection, changes: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return changes of the config without the flips of switchbacks, which are one change each, not dozens.

    Of each key of a switchback the first change to the new value stays, and once it is over the last one, if that
    brought the old value back. `changes` are rows with the columns of CONFIG_CHANGE, oldest first.
    """
    switched = select(TRIAL.c.optimization_id, TRIAL.c.ended_at).where(TRIAL.c.method == "switchback")
    ended_at = {row.optimization_id: row.ended_at for row in connection.execute(switched)}
    by_key: dict[tuple[int, str], list[Row[Any]]] = {}
    for change in changes:
        if change.optimization_id in ended_at:
            by_key.setdefault((change.optimization_id, change.key), []).append(change)
    kept = set()
    for (optimization_id, _key), flips in by_key.items():
        kept.add(flips[0].id)
        # What brings the old value back takes itself back, too.
        if ended_at[optimization_id] is not None and flips[-1].reverted_by == flips[-1].id:
            kept.add(flips[-1].id)
    return [change for change in changes if change.optimization_id not in ended_at or change.id in kept]


def list_optimizations(engine: Engine) -> Sequence[Row[Any]]:
    """Return every optimization, newest first: rows of models.schema.OPTIMIZATION."""
    with reading(engine) as connection:
        return connection.execute(select(OPTIMIZATION).order_by(OPTIMIZATION.c.id.desc())).fetchall()


def pending(engine: Engine) -> tuple[tuple[int, str], ...]:
    """Return the proposals that await a decision: id and label, oldest first."""
    with reading(engine) as connection:
        rows = list_by_state(connection, [OptimizationState.PROPOSED])
    return tuple((row.id, label(row)) for row in rows)


def decidable(engine: Engine) -> tuple[tuple[int, str], ...]:
    """Return what a person can decide on: the pending proposals, then the trials under way; id and label."""
    with reading(engine) as connection:
        rows = [
            *list_by_state(connection, [OptimizationState.PROPOSED]),
            *connection.execute(
                select(OPTIMIZATION)
                .join(TRIAL, TRIAL.c.optimization_id == OPTIMIZATION.c.id)
                .where(TRIAL.c.state.in_(UNDER_WAY))
                .order_by(OPTIMIZATION.c.id)
            ),
        ]
    return tuple((row.id, label(row)) for row in rows)


def label(row: Row[Any]) -> str:
    """Return an optimization's label: "#12 model_selection simple: atlas-large → swift-mini"."""
    # Read the stored JSON: importing its class would import all document models, which takes long.
    item = row.recommendation
    if item.get("fromModel") and item.get("toModel"):
        return f"#{row.id} {row.type} {row.subject}: {item['fromModel']} → {item['toModel']}"
    moves = ", ".join(f"{move['key']} {move['fromValue']} → {move['toValue']}" for move in item["moves"])
    return f"#{row.id} {row.type}: {moves or row.subject}"


def history_of(engine: Engine, optimization_id: int) -> tuple[Row[Any], Sequence[Row[Any]]]:
    """Return an optimization and all its steps, oldest first. Raises UnknownOptimization."""
    with reading(engine) as connection:
        row = get_optimization(connection, optimization_id)
        steps = (
            select(OPTIMIZATION_TRANSITION)
            .where(OPTIMIZATION_TRANSITION.c.optimization_id == optimization_id)
            .order_by(OPTIMIZATION_TRANSITION.c.id)
        )
        return row, connection.execute(steps).fetchall()
