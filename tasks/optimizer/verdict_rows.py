"""Verdicts, whatever the method: the state and the saving that follow from a conclusion, and how they are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, update

from models.documents import Conclusion, Interval, TrialStepTaken, Verdict
from models.errors import ConfigConflict
from models.notifications import AlertRule
from models.schema import OPTIMIZATION, OptimizationState
from tasks.alerts.registry import record_event
from tasks.optimizer.lifecycle import ACTOR, Step, advance
from tasks.run_logger import logger

LATE_ARRIVAL_GRACE = timedelta(minutes=5)
"""An hour or a block is looked at this long after its end: late rows have arrived by then."""

VerdictState = Literal["observing", "kept", "reverted", "expired"]


def state_of(conclusion: Conclusion | None, undecided: Literal["revert", "keep"]) -> VerdictState:
    """Return what becomes of a change; `undecided` is optimizer.undecided."""
    if conclusion is None:
        return "observing"
    if conclusion in ("better", "noWorse"):
        return "kept"
    return "expired" if undecided == "keep" and conclusion != "worse" else "reverted"


def booked_saving(conclusion: Conclusion | None, saved: Interval | None) -> Interval | None:
    """Return the saving that a verdict has: of a change that is no worse, and a loss also of one that is.

    What is cheaper because it is worse saves nothing.
    """
    if conclusion not in ("better", "noWorse", "worse") or saved is None:
        return None
    return None if conclusion == "worse" and saved.estimate > 0 else saved


def superseded_reason(found: ConfigConflict) -> str:
    """Return why a change ends whose key somebody else has changed."""
    return f"the router or a person has changed {found.key} since: it is theirs now"


def steps_taken(rows: Iterable[Row[Any]]) -> tuple[TrialStepTaken, ...]:
    """Return rows of TRIAL_STEP as documents have them."""
    return tuple(
        TrialStepTaken(at=it.at, action=it.action, percent=it.percent, by=it.by, reason=it.reason) for it in rows
    )


def store_verdict(connection: Connection, optimization_id: int, verdict: Verdict) -> None:
    """Store the newest verdict on an optimization, whose state stays."""
    dumped = verdict.model_dump(mode="json", by_alias=True)
    connection.execute(update(OPTIMIZATION).where(OPTIMIZATION.c.id == optimization_id).values(verdict=dumped))


def record_conclusion(connection: Connection, optimization_id: int, verdict: Verdict, to: OptimizationState) -> None:
    """Store a verdict and move the optimization to a state, with the verdict as the step's evidence."""
    dumped = verdict.model_dump(mode="json", by_alias=True)
    advance(connection, optimization_id, to, Step(ACTOR, verdict.reason, verdict.judged_at, dumped), verdict=dumped)


def record_observation(connection: Connection, optimization_id: int, state: str, verdict: Verdict) -> None:
    """Store a verdict on a change in `state` that is observed further; the first one begins the observation."""
    if state == OptimizationState.APPLIED:
        record_conclusion(connection, optimization_id, verdict, OptimizationState.OBSERVING)
    else:
        store_verdict(connection, optimization_id, verdict)


def report_revert(
    connection: Connection, optimization_id: int, keys: Sequence[str], verdict: Verdict, now: datetime
) -> None:
    """Log that a change was reverted, and alert about it."""
    subject = f"#{optimization_id} {', '.join(keys)}"
    logger().warning("optimization %s was reverted: %s", subject, verdict.reason)
    record_event(
        connection,
        AlertRule.OPTIMIZATION_REVERTED,
        subject,
        verdict.reason,
        sample=verdict.goal.sample_after if verdict.goal else None,
        started_at=verdict.observed_from,
        at=now,
    )
