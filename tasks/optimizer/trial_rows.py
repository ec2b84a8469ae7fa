"""The rows of trials and of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Engine, Row, insert, select, update

from models.database import reading
from models.errors import UnknownOptimization
from models.schema import TRIAL, TRIAL_STEP, UNDER_WAY, TrialState

if TYPE_CHECKING:
    from models.documents import TrialMethod
    from tasks.optimizer.lifecycle import Step

Action = Literal["start", "step", "hold", "resume", "jump", "promote", "rollBack", "abort", "invalidate", "end"]

PROPOSED = "proposedPercent"
"""In the evidence of a hold by Routewatch: the share that waits for a person's approval."""


def add_trial(  # noqa: PLR0917 - what a row holds
    connection: Connection,
    optimization_id: int,
    method: TrialMethod,
    plan: dict[str, Any],
    deadline: datetime,
    step: Step,
    *,
    percent: float | None = None,
) -> int:
    """Record a new trial with its first step, and return its id."""
    row = {
        "optimization_id": optimization_id, "method": method, "state": TrialState.RUNNING, "plan": plan, "step": 0,
        "step_at": step.at, "started_at": step.at, "deadline": deadline,
    }  # fmt: skip
    trial_id = int(connection.execute(insert(TRIAL).values(row).returning(TRIAL.c.id)).scalar_one())
    add_step(connection, trial_id, "start", step, percent)
    return trial_id


def add_step(connection: Connection, trial_id: int, action: Action, step: Step, percent: float | None = None) -> None:
    """Record a step of a trial."""
    connection.execute(
        insert(TRIAL_STEP).values(
            trial_id=trial_id,
            at=step.at,
            action=action,
            percent=percent,
            by=step.by,
            reason=step.reason,
            evidence=step.evidence,
        )
    )


def change_trial(connection: Connection, trial_id: int, **values: Any) -> None:
    """Change columns of a trial's row."""
    connection.execute(update(TRIAL).where(TRIAL.c.id == trial_id).values(values))


def trial_of(connection: Connection, optimization_id: int) -> Row[Any] | None:
    """Return an optimization's trial; None if it has none."""
    return connection.execute(select(TRIAL).where(TRIAL.c.optimization_id == optimization_id)).one_or_none()


def trial_under_way(connection: Connection, optimization_id: int) -> Row[Any]:
    """Return an optimization's trial that runs or is held. Raises UnknownOptimization."""
    trial = trial_of(connection, optimization_id)
    if trial is None:
        raise UnknownOptimization(optimization_id, "is not tried by a rollout")
    if trial.state not in UNDER_WAY:
        raise UnknownOptimization(optimization_id, f"is over: its trial is {trial.state}")
    return trial


def trials_under_way(connection: Connection) -> Sequence[Row[Any]]:
    """Return the trials that run or are held, oldest first."""
    return connection.execute(select(TRIAL).where(TRIAL.c.state.in_(UNDER_WAY)).order_by(TRIAL.c.id)).fetchall()


def steps_of(connection: Connection, trial_id: int) -> Sequence[Row[Any]]:
    """Return a trial's steps, oldest first."""
    return connection.execute(
        select(TRIAL_STEP).where(TRIAL_STEP.c.trial_id == trial_id).order_by(TRIAL_STEP.c.id)
    ).fetchall()


def trial_steps_of(engine: Engine, optimization_id: int) -> Sequence[Row[Any]]:
    """Return the steps of an optimization's trial, oldest first; none if it has no trial."""
    with reading(engine) as connection:
        trial = trial_of(connection, optimization_id)
        return () if trial is None else steps_of(connection, trial.id)


def percent_now(steps: Sequence[Row[Any]]) -> float:
    """Return the candidate's share in percent after some steps."""
    return next((float(it.percent) for it in reversed(steps) if it.percent is not None), 0.0)


def held_by(trial: Row[Any], steps: Sequence[Row[Any]]) -> str | None:
    """Return who holds a trial; None if it runs."""
    if trial.state != TrialState.HELD:
        return None
    return next((str(it.by) for it in reversed(steps) if it.action == "hold"), "")


def proposed_percent(trial: Row[Any], steps: Sequence[Row[Any]]) -> float | None:
    """Return the share that waits for a person's approval; None if none does."""
    if trial.state != TrialState.HELD or not steps or steps[-1].action != "hold":
        return None
    proposed = (steps[-1].evidence or {}).get(PROPOSED)
    return None if proposed is None else float(proposed)
