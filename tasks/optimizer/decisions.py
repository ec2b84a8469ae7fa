"""Decisions: approve, reject or revert an optimization, recorded under a name."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Engine

from models.attribution import Attribution
from models.database import writing
from models.errors import ConfigConflict, UsageError
from models.settings import Settings
from tasks.optimizer.lifecycle import (
    STOPPED_KEY,
    State,
    Step,
    advance,
    blocking_reason,
    lock_optimizer,
    recommendation_of,
    refuse_if_stopped,
    revert_config,
)
from tasks.optimizer.queries import get_optimization
from tasks.optimizer.rollout_decisions import abort, approve_step, end_trial_by_hand, hold, is_tried, jump
from tasks.optimizer.rollout_decisions import resume as resume_rollout
from tasks.optimizer.router_config import set_by_hand
from tasks.optimizer.switchback_timetable import abort_switchback
from tasks.optimizer.trials import method_of, needs_history, start_trial

Decision = Literal["approve", "reject", "revert", "hold", "resume", "jump", "abort"]
"""What a person can decide."""


def decide(  # noqa: PLR0911 - one return for each decision
    engine: Engine,
    optimization_id: int,
    decision: Decision,
    settings: Settings,
    attribution: Attribution,
    *,
    percent: float | None = None,
) -> str:
    """Carry out a decision on a proposal, on a trial under way or on an applied optimization; return the result.

    `approve` takes the step of a trial that waits for approval, if there is a trial. Raises UsageError for a jump
    without `percent`, and what the decision's own function raises.
    """
    if decision == "jump" and percent is None:
        raise UsageError("a jump needs the candidate's share in percent, above 0 and up to 100")
    match decision:
        case "approve" if is_tried(engine, optimization_id):
            return approve_step(engine, optimization_id, settings, attribution)
        case "approve":
            return approve(engine, optimization_id, settings, attribution)
        case "reject":
            return reject(engine, optimization_id, attribution)
        case "revert":
            return revert(engine, optimization_id, attribution)
        case "hold":
            return hold(engine, optimization_id, attribution)
        case "resume":
            return resume_rollout(engine, optimization_id, attribution)
        case "jump":
            return jump(engine, optimization_id, percent or 0.0, settings, attribution)
        case "abort":
            return abort(engine, optimization_id, attribution)


def approve(engine: Engine, optimization_id: int, settings: Settings, attribution: Attribution) -> str:
    """Approve a proposal, apply it if possible now, and return the result as a sentence.

    Raises UnknownOptimization if it is not proposed, and OptimizerStopped. A key that changed since the proposal
    keeps its value: the optimization expires.
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
            return f"Recorded #{optimization_id} as approved; {reason}"
        keys, method = [move.key for move in item.moves], method_of(connection, item, settings)
        compares = needs_history(method)
        blocked = blocking_reason(connection, keys, settings, attribution.at, needs_history=compares)
        if blocked is not None:
            return f"Approved #{optimization_id}; it will be applied automatically: it {blocked}"
        try:
            start_trial(connection, optimization_id, item, settings, step)
        except ConfigConflict as conflict:
            advance(
                connection, optimization_id, State.EXPIRED, Step(step.by, f"left alone: {conflict}", attribution.at)
            )
            return f"Approved #{optimization_id} but did not apply it: {conflict}"
    if method == "split":
        share = f"{settings.optimizer.rollout.steps[0]:g} % of the requests of {item.moves[0].key}"
        return f"Started #{optimization_id}: {item.moves[0].to_value} gets {share}; its effect is measured from now on"
    moves = ", ".join(f"{move.key} = {move.to_value}" for move in item.moves)
    if method == "switchback":
        blocks = f"blocks of {settings.optimizer.switchback.block_minutes:g} minutes in random order"
        return f"Started #{optimization_id}: {moves} takes turns with the old value, in {blocks}, from the next hour on"
    return f"Applied #{optimization_id} ({moves}); its effect is monitored from now on"


def reject(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """Reject a proposal; the same change is not proposed again for a while. Raises UnknownOptimization."""
    with writing(engine) as connection:
        lock_optimizer(connection)
        advance(connection, optimization_id, State.REJECTED, _step(attribution, "rejected"))
    return f"Rejected #{optimization_id}"


def revert(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """Revert an applied optimization; one that is still tried is aborted.

    Raises UnknownOptimization if it is not applied, and ConfigConflict if a key changed since.
    """
    with writing(engine) as connection:
        lock_optimizer(connection)
        step = _step(attribution, "taken back by hand")
        if not end_trial_by_hand(connection, optimization_id, step):
            abort_switchback(connection, optimization_id, step)
            revert_config(connection, optimization_id, step)
    return f"Reverted #{optimization_id}; the previous values are restored"


def stop(engine: Engine, attribution: Attribution) -> str:
    """Activate the kill switch: Routewatch changes nothing until resumed."""
    set_by_hand(engine, STOPPED_KEY, True, by=attribution.by, reason=attribution.note or "stopped", now=attribution.at)
    return "Stopped: no changes are applied or reverted until `routewatch optimizations resume`"


def resume(engine: Engine, attribution: Attribution) -> str:
    """Deactivate the kill switch."""
    set_by_hand(engine, STOPPED_KEY, False, by=attribution.by, reason=attribution.note or "resumed", now=attribution.at)
    return "Resumed: the next run may apply changes again"


# ----------------------------------------------------------------------------------------------------------------------


def _step(attribution: Attribution, otherwise: str) -> Step:
    return Step(attribution.by.strip(), attribution.note.strip() or otherwise, attribution.at)
