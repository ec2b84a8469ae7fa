"""Trials: how a change is tried, its start, and each look at those that are under way.

A method is one of models.documents.TrialMethod. What starts and advances it is in _STARTS and _ADVANCES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.database import reading
from models.documents import Recommendation, TrialMethod, Verdict
from models.settings import Settings
from tasks.optimizer.lifecycle import Step, apply_config
from tasks.optimizer.rollout import advance_rollout, can_split, start_rollout
from tasks.optimizer.router_config import read_key
from tasks.optimizer.router_values import Setting
from tasks.optimizer.switchback_timetable import advance_switchback, start_switchback, switchback_obstacle
from tasks.optimizer.trial_rows import trials_under_way
from tasks.run_logger import logger

ROUTER_TRIALS_KEY = "router.trials"
"""The key of the router's config in which the router says how it can try a change: a list of "split", "switchback"."""

Start = Callable[[Connection, int, Recommendation, Settings, Step], None]
"""Start the trial of an optimization, in the caller's transaction. Raises ConfigConflict without changing anything."""

Advance = Callable[[Engine, int, Settings, datetime], Verdict | None]
"""Look at the trial of an optimization and act; None if somebody did meanwhile."""


def method_of(connection: Connection, item: Recommendation, settings: Settings) -> TrialMethod:
    """Return how a recommendation is tried: as the settings say if that is possible, else before and after.

    With `auto` it is the strongest way that the router declares. A split is for the model of one class, a switchback
    for any key whose old value is the old state within a block.
    """
    asked = settings.optimizer.trial
    allowed = declared_trials(connection) if asked == "auto" else {asked}
    if "split" in allowed and can_split(item, settings):
        return "split"
    if "switchback" in allowed and switchback_obstacle(item, settings) is None:
        return "switchback"
    return "beforeAfter"


def declared_trials(connection: Connection) -> set[str]:
    """Return how the router says that it can try a change; nothing if it says nothing that can be read."""
    row = read_key(connection, ROUTER_TRIALS_KEY)
    if row is None or not isinstance(row.content, Setting) or not isinstance(row.content.value, list):
        return set()
    return {it for it in row.content.value if it in ("split", "switchback")}


def needs_history(method: TrialMethod) -> bool:
    """Return whether a change is judged by the hours before it."""
    return method == "beforeAfter"


def start_trial(
    connection: Connection, optimization_id: int, item: Recommendation, settings: Settings, step: Step
) -> TrialMethod:
    """Start to try an approved optimization, and return how. Raises ConfigConflict without changing anything.

    The change, its audit rows, the trial and the new state belong to the caller's transaction.
    """
    method = method_of(connection, item, settings)
    if method == "beforeAfter":
        if (why := _why_not_switched(connection, item, settings)) is not None:
            step = replace(step, reason=f"{step.reason}; judged by the hours before and after: {why}")
        apply_config(connection, optimization_id, item, step)
    else:
        _STARTS[method](connection, optimization_id, item, settings, step)
    return method


def advance_trials(engine: Engine, settings: Settings, now: datetime) -> tuple[Verdict, ...]:
    """Look at every trial that is under way, and act on it: one verdict each, oldest first. Every look is allowed.

    An error at one trial does not stop the others: the first is raised at the end.
    """
    with reading(engine) as connection:
        under_way = [(trial.optimization_id, trial.method) for trial in trials_under_way(connection)]
    verdicts: list[Verdict] = []
    errors: list[Exception] = []
    for optimization_id, method in under_way:
        try:
            verdict = _ADVANCES[method](engine, optimization_id, settings, now) if method in _ADVANCES else None
        except Exception as error:  # noqa: BLE001 - raised below, after the others
            errors.append(error)
            logger().error("the trial of optimization #%s could not be looked at: %s", optimization_id, error)
            continue
        if verdict is not None:
            verdicts.append(verdict)
    if errors:
        raise errors[0]
    return tuple(verdicts)


# ----------------------------------------------------------------------------------------------------------------------

_STARTS: Mapping[str, Start] = {"split": start_rollout, "switchback": start_switchback}

_ADVANCES: Mapping[str, Advance] = {"split": advance_rollout, "switchback": advance_switchback}


def _why_not_switched(connection: Connection, item: Recommendation, settings: Settings) -> str | None:
    """Return why a switchback that was asked for is impossible; None if none was, or it is."""
    asked = settings.optimizer.trial
    if asked != "switchback" and not (asked == "auto" and "switchback" in declared_trials(connection)):
        return None
    return switchback_obstacle(item, settings)
