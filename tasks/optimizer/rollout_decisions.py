"""A person's decisions on a rollout that is under way: approve its step, hold, resume, jump or abort it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row

from models.attribution import Attribution
from models.database import reading, writing
from models.documents import Conclusion, TrialMethod, Verdict
from models.errors import UnknownOptimization, UsageError
from models.schema import UNDER_WAY, TrialState
from models.settings import Settings
from models.trials import ALL_PERCENT
from tasks.optimizer.lifecycle import Step, lock_optimizer, refuse_if_stopped
from tasks.optimizer.queries import get_optimization
from tasks.optimizer.rollout import RolloutLook, is_as_read, look_at, promote, record_end, roll_back, set_percent
from tasks.optimizer.split import conclude_split
from tasks.optimizer.trial_rows import (
    Action,
    add_step,
    change_trial,
    held_by,
    percent_now,
    proposed_percent,
    steps_of,
    trial_of,
    trial_under_way,
)
from tasks.optimizer.verdict_rows import store_verdict


def approve_step(engine: Engine, optimization_id: int, settings: Settings, attribution: Attribution) -> str:
    """Take the step that waits for approval, and return the result as a sentence.

    Raises UnknownOptimization if none waits, ConfigConflict, and OptimizerStopped.
    """
    return _take(engine, optimization_id, settings, attribution, percent=None)


def jump(engine: Engine, optimization_id: int, percent: float, settings: Settings, attribution: Attribution) -> str:
    """Give the candidate any share, whatever the numbers say; with all of it, it becomes the model of its class.

    Raises UsageError for a share that is none, UnknownOptimization, ConfigConflict, and OptimizerStopped.
    """
    if not 0 < percent <= ALL_PERCENT:
        raise UsageError(
            f"a share of {percent:g} % is none; expected one above 0 and up to 100 (`abort` takes it back)"
        )
    return _take(engine, optimization_id, settings, attribution, percent=percent)


def hold(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """Keep a rollout at its step until it is resumed; harm still takes it back.

    Raises UnknownOptimization if none is under way.
    """
    with writing(engine) as connection:
        lock_optimizer(connection)
        trial = _rollout_under_way(connection, optimization_id)
        add_step(connection, trial.id, "hold", _step(attribution, "held by hand"))
        change_trial(connection, trial.id, state=TrialState.HELD)
        percent = percent_now(steps_of(connection, trial.id))
    return f"Held #{optimization_id} at {percent:g} %; harm still takes it back, and so does its deadline"


def resume(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """Let a held rollout go on. Raises UnknownOptimization if it is not held."""
    with writing(engine) as connection:
        lock_optimizer(connection)
        trial = _rollout_under_way(connection, optimization_id)
        if held_by(trial, steps_of(connection, trial.id)) is None:
            raise UnknownOptimization(optimization_id, "is not held")
        add_step(connection, trial.id, "resume", _step(attribution, "resumed by hand"))
        change_trial(connection, trial.id, state=TrialState.RUNNING)
    return f"Resumed #{optimization_id}; the next look takes the step that the numbers allow"


def abort(engine: Engine, optimization_id: int, attribution: Attribution) -> str:
    """End a rollout and take the candidate's share away.

    Raises UnknownOptimization if none is under way, and ConfigConflict if its key was changed since.
    """
    with writing(engine) as connection:
        lock_optimizer(connection)
        _rollout_under_way(connection, optimization_id)
        end_trial_by_hand(connection, optimization_id, _step(attribution, "aborted by hand"))
    return f"Aborted #{optimization_id}; all requests go to the old model again"


def is_tried(engine: Engine, optimization_id: int, method: TrialMethod = "split") -> bool:
    """Return whether an optimization has a trial under way, by this method."""
    with reading(engine) as connection:
        trial = trial_of(connection, optimization_id)
        return trial is not None and trial.method == method and trial.state in UNDER_WAY


def end_trial_by_hand(connection: Connection, optimization_id: int, step: Step) -> bool:
    """End a rollout that is under way, in the caller's transaction; return whether one was. Raises ConfigConflict."""
    trial = trial_of(connection, optimization_id)
    if trial is None or trial.method != "split" or trial.state not in UNDER_WAY:
        return False
    roll_back(connection, trial, TrialState.ABORTED, "abort", step)
    stored = get_optimization(connection, optimization_id).verdict
    if stored:
        ended = Verdict.model_validate(stored).model_copy(
            update={"state": "reverted", "reason": f"aborted by {step.by}: {step.reason}", "judged_at": step.at}
        )
        store_verdict(connection, optimization_id, ended)
    return True


# ----------------------------------------------------------------------------------------------------------------------


def _take(
    engine: Engine, optimization_id: int, settings: Settings, attribution: Attribution, *, percent: float | None
) -> str:
    """Give the candidate a share, or the proposed one, and return the result as a sentence."""
    look = look_at(engine, optimization_id, settings, attribution.at)
    with writing(engine) as connection:
        lock_optimizer(connection)
        refuse_if_stopped(connection, settings.optimizer)
        trial = _rollout_under_way(connection, optimization_id)
        if look is None or not is_as_read(connection, look):
            raise UnknownOptimization(optimization_id, "has taken a step meanwhile; look at it again")
        action: Action = "jump"
        if percent is None:
            action, percent = "step", proposed_percent(trial, look.steps)
        if percent is None:
            found = (
                f"has no step that waits for approval; `routewatch rollouts jump {optimization_id} PERCENT` takes one"
            )
            raise UnknownOptimization(optimization_id, found)
        step = _step(attribution, f"{'approved' if action == 'step' else 'jumped to'} {percent:g} %")
        if percent < ALL_PERCENT:
            set_percent(connection, trial, percent, action, step)
            return f"#{optimization_id}: {look.plan.candidate} gets {percent:g} % of the requests from now on"
        promote(connection, trial, step)
        record_end(connection, look, step, state="kept", conclusion=_conclusion_of(look))
    return f"Promoted #{optimization_id}: {look.plan.routing_key} = {look.plan.candidate}"


def _conclusion_of(look: RolloutLook) -> Conclusion:
    """Return what the numbers say of a candidate that a person promotes."""
    is_last = look.at_deadline is not None
    _action, conclusion, _reason = conclude_split(look.at_deadline or look.reading, next_share=1.0, over=is_last)
    if conclusion is not None:
        return conclusion
    return "cannotBeTold" if all(it.is_known for it in look.reading.metrics) else "unproven"


def _rollout_under_way(connection: Connection, optimization_id: int) -> Row[Any]:
    get_optimization(connection, optimization_id)
    trial = trial_under_way(connection, optimization_id)
    if trial.method != "split":
        raise UnknownOptimization(optimization_id, "is not tried by a rollout")
    return trial


def _step(attribution: Attribution, otherwise: str) -> Step:
    return Step(attribution.by.strip(), attribution.note.strip() or otherwise, attribution.at)
