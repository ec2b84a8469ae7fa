"""Optimizations on record, read for whoever shows them or decides on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from models.database import reading
from models.errors import UnknownOptimization
from models.schema import OPTIMIZATION, OPTIMIZATION_TRANSITION, OptimizationState


def get_optimization(connection: Connection, optimization_id: int) -> Row[Any]:
    """One optimization. Raises UnknownOptimization."""
    row = connection.execute(select(OPTIMIZATION).where(OPTIMIZATION.c.id == optimization_id)).one_or_none()
    if row is None:
        raise UnknownOptimization(optimization_id, "is not there")
    return row


def list_by_state(connection: Connection, states: Iterable[OptimizationState]) -> Sequence[Row[Any]]:
    """The optimizations that are in one of some states, the oldest first."""
    wanted = OPTIMIZATION.c.state.in_(list(states))
    return connection.execute(select(OPTIMIZATION).where(wanted).order_by(OPTIMIZATION.c.id)).fetchall()


def list_optimizations(engine: Engine) -> Sequence[Row[Any]]:
    """Every optimization, the newest first: rows of models.schema.OPTIMIZATION."""
    with reading(engine) as connection:
        return connection.execute(select(OPTIMIZATION).order_by(OPTIMIZATION.c.id.desc())).fetchall()


def pending(engine: Engine) -> tuple[tuple[int, str], ...]:
    """The proposals that wait for a person: id and what it is about, the oldest first."""
    with reading(engine) as connection:
        rows = list_by_state(connection, [OptimizationState.PROPOSED])
    return tuple((row.id, label(row)) for row in rows)


def label(row: Row[Any]) -> str:
    """An optimization in a few words: "#12 model_selection simple: atlas-large → swift-mini"."""
    # Read as it is stored: the class that it is an object of stands among all of a report's, which take long to import.
    item = row.recommendation
    if item.get("fromModel") and item.get("toModel"):
        return f"#{row.id} {row.type} {row.subject}: {item['fromModel']} → {item['toModel']}"
    moves = ", ".join(f"{move['key']} {move['fromValue']} → {move['toValue']}" for move in item["moves"])
    return f"#{row.id} {row.type}: {moves or row.subject}"


def history_of(engine: Engine, optimization_id: int) -> tuple[Row[Any], Sequence[Row[Any]]]:
    """An optimization and every step of its life, the first first. Raises UnknownOptimization."""
    with reading(engine) as connection:
        row = get_optimization(connection, optimization_id)
        steps = (
            select(OPTIMIZATION_TRANSITION)
            .where(OPTIMIZATION_TRANSITION.c.optimization_id == optimization_id)
            .order_by(OPTIMIZATION_TRANSITION.c.id)
        )
        return row, connection.execute(steps).fetchall()
