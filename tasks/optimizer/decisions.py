"""Decide: what a person says of an optimization, under a name and on record."""

from __future__ import annotations

from sqlalchemy import Engine

from models.attribution import Attribution
from models.database import writing
from models.errors import ConfigConflict
from models.settings import Settings
from tasks.optimizer.lifecycle import (
    STOPPED_KEY,
    State,
    Step,
    advance,
    alone,
    carry_out,
    recommendation_of,
    refuse_if_stopped,
    take_back,
    why_not_now,
)
from tasks.optimizer.queries import found
from tasks.optimizer.router_config import set_by_hand


def approve(engine: Engine, optimization_id: int, settings: Settings, word: Attribution) -> str:
    """Approve a proposal and apply it where that can be done at once; what came of it, in a sentence.

    Raises UnknownOptimization where it is not proposed, and OptimizerStopped. A key that was changed since the proposal
    was made keeps its value: the optimization expires.
    """
    with writing(engine) as connection:
        alone(connection)
        refuse_if_stopped(connection, settings.optimizer)
        item = recommendation_of(found(connection, optimization_id))
        step = _step(word, "approved")
        advance(connection, optimization_id, State.APPROVED, step)
        if not item.moves:
            reason = "no key of the router's config carries it out: it is left to the router's own people"
            advance(connection, optimization_id, State.EXPIRED, Step(step.by, reason, word.at))
            return f"#{optimization_id} is on record as approved; {reason}"
        why_not = why_not_now(connection, [move.key for move in item.moves], settings, word.at)
        if why_not is not None:
            return f"#{optimization_id} is approved and will be applied by itself; it {why_not}"
        try:
            carry_out(connection, optimization_id, item, step)
        except ConfigConflict as conflict:
            advance(connection, optimization_id, State.EXPIRED, Step(step.by, f"left alone: {conflict}", word.at))
            return f"#{optimization_id} was approved but not applied: {conflict}"
    moves = ", ".join(f"{move.key} = {move.to_value}" for move in item.moves)
    return f"#{optimization_id} is applied ({moves}) and is observed from now on"


def reject(engine: Engine, optimization_id: int, word: Attribution) -> str:
    """Reject a proposal; the same is not proposed again for a while. Raises UnknownOptimization."""
    with writing(engine) as connection:
        alone(connection)
        advance(connection, optimization_id, State.REJECTED, _step(word, "rejected"))
    return f"#{optimization_id} is rejected"


def revert(engine: Engine, optimization_id: int, word: Attribution) -> str:
    """Take an applied optimization back.

    Raises UnknownOptimization where it is not applied, and ConfigConflict where a key was changed since.
    """
    with writing(engine) as connection:
        alone(connection)
        take_back(connection, optimization_id, _step(word, "taken back by hand"))
    return f"#{optimization_id} is taken back: its keys have the values from before"


def stop(engine: Engine, word: Attribution) -> str:
    """Pull the kill switch: Routewatch changes nothing any more until it may resume."""
    set_by_hand(engine, STOPPED_KEY, True, by=word.by, reason=word.note or "stopped", now=word.at)
    return "stopped: nothing is applied or taken back until `routewatch optimizations resume`"


def resume(engine: Engine, word: Attribution) -> str:
    """Let Routewatch go on."""
    set_by_hand(engine, STOPPED_KEY, False, by=word.by, reason=word.note or "resumed", now=word.at)
    return "resumed: the next run goes on"


# ----------------------------------------------------------------------------------------------------------------------


def _step(word: Attribution, otherwise: str) -> Step:
    return Step(word.by.strip(), word.note.strip() or otherwise, word.at)
