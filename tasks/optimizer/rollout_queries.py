"""Read recorded rollouts, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from models.database import reading
from models.errors import UnknownOptimization
from models.schema import TRIAL, UNDER_WAY
from models.trials import RolloutPlan
from tasks.optimizer.queries import get_optimization, label
from tasks.optimizer.trial_rows import held_by, percent_now, proposed_percent, steps_of


@dataclass(frozen=True)
class RolloutOverview:
    """A rollout with its steps. `percent` is the candidate's share now, `proposed_percent` one that waits for approval.

    `verdict` is the stored one (models.documents.Verdict as JSON), None before the first look.
    """

    optimization_id: int
    label: str
    state: str
    plan: RolloutPlan
    percent: float
    proposed_percent: float | None
    held_by: str | None
    started_at: datetime
    step_at: datetime
    deadline: datetime
    ended_at: datetime | None
    steps: Sequence[Row[Any]]
    verdict: dict[str, Any] | None

    @property
    def is_under_way(self) -> bool:
        return self.state in UNDER_WAY

    @property
    def decisions(self) -> tuple[str, ...]:
        """Return what a person can decide: any of approve, hold, resume, jump, abort."""
        if not self.is_under_way:
            return ()
        first = () if self.proposed_percent is None else ("approve",)
        return (*first, "hold" if self.held_by is None or first else "resume", "jump", "abort")

    @property
    def reason(self) -> str:
        """Return why it is where it is, in words."""
        return str(self.verdict["reason"]) if self.verdict else "no hours are known yet"


def list_rollouts(engine: Engine, *, under_way: bool = False) -> tuple[RolloutOverview, ...]:
    """Return the rollouts, newest first; only those that run or are held if `under_way`."""
    query = select(TRIAL).where(TRIAL.c.method == "split").order_by(TRIAL.c.id.desc())
    with reading(engine) as connection:
        trials = connection.execute(query.where(TRIAL.c.state.in_(UNDER_WAY)) if under_way else query).fetchall()
        return tuple(_overview(connection, trial) for trial in trials)


def get_rollout(engine: Engine, optimization_id: int) -> RolloutOverview:
    """Return the rollout of an optimization. Raises UnknownOptimization if it has none."""
    with reading(engine) as connection:
        get_optimization(connection, optimization_id)
        query = select(TRIAL).where(TRIAL.c.optimization_id == optimization_id, TRIAL.c.method == "split")
        trial = connection.execute(query).one_or_none()
        if trial is None:
            raise UnknownOptimization(optimization_id, "is not tried by a rollout")
        return _overview(connection, trial)


# ----------------------------------------------------------------------------------------------------------------------


def _overview(connection: Connection, trial: Row[Any]) -> RolloutOverview:
    row, steps = get_optimization(connection, trial.optimization_id), steps_of(connection, trial.id)
    return RolloutOverview(
        optimization_id=row.id,
        label=label(row),
        state=trial.state,
        plan=RolloutPlan.model_validate(trial.plan),
        percent=percent_now(steps) if trial.state in UNDER_WAY else 0.0,
        proposed_percent=proposed_percent(trial, steps),
        held_by=held_by(trial, steps),
        started_at=trial.started_at,
        step_at=trial.step_at,
        deadline=trial.deadline,
        ended_at=trial.ended_at,
        steps=steps,
        verdict=row.verdict,
    )
