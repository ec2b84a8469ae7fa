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
    apply_config,
    blocking_reason,
    lock_optimizer,
    recommendation_of,
    refuse_if_stopped,
    revert_config,
)
from tasks.optimizer.queries import get_optimization
from tasks.optimizer.router_config import set_by_hand


def approve(engine: Engine, optimization_id: int, settings: Settings, attribution: Attribution) -> str:
    """Approve a proposal and apply it where that can be done at once; what came of it, in a sentence.

    Raises UnknownOptimization where it is not proposed, and OptimizerStopped. A key that was changed since the proposal
    was made keeps its value: the optimization expires.
    """
    with writing(engine) as connection:
        lock_optimizer(connection)
        refuse_if_stopped(connection, settings.optimizer)
        item = recommendation_of(get_optimization(connection, optimization_id))
        step = _step(attribution, "approved")
        advance(connection, optimization_id, State.APPROVED, step)
        if not item.moves:
            reason = "no key of the router's config carries it out: it is left to the router's own people"
            advance(connection, optimization_id, State.EXPIRED, Step(step.by, reason, attribution.at))
            return f"#{optimization_id} is on record as approved; {reason}"
        blocked = blocking_reason(connection, [move.key for move in item.moves], settings, attribution.at)
        if blocked is not None:
            return f"#{optimization_id} is approved and will be applied by itself; it {blocked}"
        try:
            apply_config(connection, optimization_id, item, step)
        except ConfigConflict as conflict:
            advance(
                connection, optimization_id, State.EXPIRED, Step(step.by, f"left alone: {conflict}", attribution.at)
            )
            return f"#{optimization_id} was approved but not applied: {conflict}"
    moves = ", ".join(f"{move.key} = {move.to_value}" for move in item.moves)
    return f"#{optimization_id} is applied ({moves}) and is observed from now on"


def reject(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """Reject a proposal; the same is not proposed again for a while. Raises UnknownOptimization."""
    with writing(engine) as connection:
        lock_optimizer(connection)
        advance(connection, optimization_id, State.REJECTED, _step(attribution, "rejected"))
    return f"#{optimization_id} is rejected"


def revert(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """Take an applied optimization back.

    Raises UnknownOptimization where it is not applied, and ConfigConflict where a key was changed since.
    """
    with writing(engine) as connection:
        lock_optimizer(connection)
        revert_config(connection, optimization_id, _step(attribution, "taken back by hand"))
    return f"#{optimization_id} is taken back: its keys have the values from before"


def stop(engine: Engine, attribution: Attribution) -> str:
    """Pull the kill switch: Routewatch changes nothing any more until it may resume."""
    set_by_hand(engine, STOPPED_KEY, True, by=attribution.by, reason=attribution.note or "stopped", now=attribution.at)
    return "stopped: nothing is applied or taken back until `routewatch optimizations resume`"


def resume(engine: Engine, attribution: Attribution) -> str:
    """Let Routewatch go on."""
    set_by_hand(engine, STOPPED_KEY, False, by=attribution.by, reason=attribution.note or "resumed", now=attribution.at)
    return "resumed: the next run goes on"


# ----------------------------------------------------------------------------------------------------------------------


def _step(attribution: Attribution, otherwise: str) -> Step:
    return Step(attribution.by.strip(), attribution.note.strip() or otherwise, attribution.at)
