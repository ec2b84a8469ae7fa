"""Rollout: the life of a change that a random share of the requests tries, in rising steps.

    start → step … → promote        the candidate becomes the model of its class
                   ↘ rollBack       harm, at any look; or the deadline, and it cannot be told
                   ↘ invalidate     the requests were not split as asked
                   ↘ abort          a person ends it, or changes one of its keys

While it runs, `rollout.CLASS` names the candidate and its share, and `routing.CLASS` keeps the old model. Each step is
one transaction: config, audit row, trial, step and the optimization's state. It goes ahead only where nobody has taken
a step since the numbers were read.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl
from sqlalchemy import Connection, Engine, Row, select

from models.database import reading, writing
from models.documents import Conclusion, Recommendation, Verdict
from models.errors import ConfigConflict
from models.notifications import AlertRule
from models.period import Level, floor_to
from models.schema import CONFIG_CHANGE, OPTIMIZATION, UNDER_WAY, OptimizationState, TrialState
from models.settings import Settings
from models.trials import ALL_PERCENT, RolloutPlan, percent_of
from routewatch.rollout import ROUTING_PREFIX
from tasks.alerts.registry import record_event
from tasks.optimizer.change_metrics import metrics_of
from tasks.optimizer.lifecycle import (
    ACTOR,
    OBSERVED,
    Step,
    advance,
    conflict_of,
    lock_optimizer,
    recommendation_of,
    revert_config,
)
from tasks.optimizer.queries import get_optimization
from tasks.optimizer.rollout_verdict import rollout_verdict
from tasks.optimizer.router_config import ChangeOrigin, conflict, read_key, set_value
from tasks.optimizer.router_values import UnreadableSetting, shown
from tasks.optimizer.split import SplitPlan, SplitReading, conclude_split, read_split
from tasks.optimizer.trial_rows import (
    PROPOSED,
    Action,
    add_step,
    add_trial,
    change_trial,
    held_by,
    percent_now,
    proposed_percent,
    steps_of,
    trial_of,
)
from tasks.optimizer.verdict_rows import LATE_ARRIVAL_GRACE, VerdictState, store_verdict, superseded_reason
from tasks.rollups.arm_store import read_arms, read_models_as_arms
from tasks.run_logger import logger

State = OptimizationState

UNDECIDED = ("unproven", "cannotBeTold")


@dataclass(frozen=True)
class RolloutLook:
    """A rollout as it was read at one time: rows, plan, and what its hours show.

    `at_deadline` is what the hours up to the deadline show, once the last of them is final: None before.
    """

    row: Row[Any]
    item: Recommendation
    trial: Row[Any]
    steps: Sequence[Row[Any]]
    plan: RolloutPlan
    reading: SplitReading
    at_deadline: SplitReading | None
    arms_by: Literal["assignment", "model"]
    observed_to: datetime

    @property
    def percent(self) -> float:
        return percent_now(self.steps)


@dataclass(frozen=True)
class RolloutDecision:
    """What becomes of a rollout at one look. `percent` is the share of a step that is taken or proposed."""

    action: Literal["wait", "step", "propose", "resume", "promote", "rollBack"]
    reason: str
    conclusion: Conclusion | None = None
    percent: float | None = None

    @property
    def state(self) -> VerdictState:
        """Return the state that the optimization gets: what stays undecided is expired, not kept."""
        if self.action == "promote":
            return "expired" if self.conclusion in UNDECIDED else "kept"
        return "reverted" if self.action == "rollBack" else "observing"


# --- start ------------------------------------------------------------------------------------------------------------


def can_split(item: Recommendation, settings: Settings) -> bool:
    """Return whether a share of the requests can try a recommendation: it changes the model of one class."""
    return (
        item.type == "model_selection"
        and len(item.moves) == 1
        and item.moves[0].key.startswith(ROUTING_PREFIX)
        and item.moves[0].key != ROUTING_PREFIX
        and isinstance(item.moves[0].from_value, str)
        and isinstance(item.moves[0].to_value, str)
        and settings.optimizer.rollout.steps[0] < ALL_PERCENT
    )


def start_rollout(
    connection: Connection, optimization_id: int, item: Recommendation, settings: Settings, step: Step
) -> None:
    """Give the candidate its first share. Raises ConfigConflict without changing anything.

    The class's model must be as proposed, and nobody else's rollout of the class may run.
    """
    (move,), rollout = item.moves, settings.optimizer.rollout
    complexity = move.key.removeprefix(ROUTING_PREFIX)
    plan = RolloutPlan(
        complexity=complexity,
        baseline=move.from_value,
        candidate=move.to_value,
        routing_version=move.version,
        experiment=f"rollout-{optimization_id}",
        salt=secrets.token_hex(8),
        by=rollout.by,
        steps=rollout.steps,
        minimum_requests=rollout.minimum_requests,
        approve_steps=rollout.approve_steps,
    )
    change = ChangeOrigin(step.by, step.reason, step.at, optimization_id)
    with connection.begin_nested():
        _lock_routing(connection, plan)
        version = _idle_version(connection, plan.rollout_key)
        set_value(connection, plan.rollout_key, plan.value_at(plan.steps[0]), version, change)
        deadline = step.at + timedelta(hours=rollout.deadline_hours)
        dumped = plan.model_dump(mode="json", by_alias=True)
        add_trial(connection, optimization_id, "split", dumped, deadline, step, percent=plan.steps[0])
        advance(connection, optimization_id, State.APPLIED, step, applied_at=step.at)


# --- a look -----------------------------------------------------------------------------------------------------------


def advance_rollout(engine: Engine, optimization_id: int, settings: Settings, now: datetime) -> Verdict | None:
    """Look at a rollout's hours, and take the step that they allow; None if somebody took one meanwhile."""
    look = look_at(engine, optimization_id, settings, now)
    if look is None:
        return None
    decision = decide(look, now, undecided=settings.optimizer.undecided)
    with writing(engine) as connection:
        lock_optimizer(connection)
        if not is_as_read(connection, look):
            return None
        if (found := foreign_change(connection, optimization_id, look.plan)) is not None:
            return _supersede(connection, look, found, now)
        try:
            with connection.begin_nested():
                return _carry_out(connection, look, decision, now)
        except ConfigConflict as changed:
            return _supersede(connection, look, changed, now)


def look_at(engine: Engine, optimization_id: int, settings: Settings, now: datetime) -> RolloutLook | None:
    """Return what a rollout's final hours show; None if it is over."""
    with reading(engine) as connection:
        row, trial = get_optimization(connection, optimization_id), trial_of(connection, optimization_id)
        if trial is None or trial.state not in UNDER_WAY:
            return None
        steps = steps_of(connection, trial.id)
        plan = RolloutPlan.model_validate(trial.plan)
        start = floor_to(Level.HOUR, trial.started_at, settings.timezone)
        end = max(start, floor_to(Level.HOUR, now - LATE_ARRIVAL_GRACE, settings.timezone))
        hours, arms_by = _arm_hours(connection, plan, start, end)
    item = recommendation_of(row)
    goal, guards = metrics_of(item, settings.performance_metrics)
    shares = tuple((it.at, it.percent / ALL_PERCENT) for it in steps if it.percent is not None)
    common = settings.optimizer.rollout.common_tokenizer
    split = SplitPlan(plan.experiment, shares, by=plan.by, has_common_tokenizer=common)
    read = read_split(hours, split, (goal, *guards))
    if not hours.filter(pl.col("bucket") >= shares[-1][0]).height:
        # No whole hour has passed since the last step: the judge counts from the step of the last hour that it has.
        read = replace(read, requests_in_step=0)
    last = floor_to(Level.HOUR, trial.deadline, settings.timezone)
    in_time = hours.filter(pl.col("bucket") < last)
    return RolloutLook(
        row=row,
        item=item,
        trial=trial,
        steps=steps,
        plan=plan,
        reading=read,
        at_deadline=None if end < last else read_split(in_time, split, (goal, *guards)),
        arms_by=arms_by,
        observed_to=end,
    )


def decide(  # noqa: PLR0911 - one return for each outcome
    look: RolloutLook, now: datetime, *, undecided: Literal["revert", "keep"] = "revert"
) -> RolloutDecision:
    """Return what to do after a look. Pure.

    Harm and arms that are not as asked end a rollout whoever holds it. At the deadline it is promoted if the judge is
    sure; a held one then waits for a person. If it cannot be told, `undecided` decides, and what is kept has no
    estimate beyond its margin. The hours after the deadline, of one that waits, tell of harm alone: the judge's look
    at the deadline is over hours that were fixed beforehand.
    """
    reading = look.at_deadline or look.reading
    over, plan = look.at_deadline is not None, look.plan
    if look.reading.harm or look.reading.sample_ratio.is_off:
        reading = look.reading
    # At the deadline it is all or nothing.
    percent = ALL_PERCENT if over else plan.next_percent(look.percent)
    action, conclusion, reason = conclude_split(
        reading,
        next_share=percent / ALL_PERCENT,
        over=over,
        minimum_requests=0 if over and reading.requests[0] >= plan.minimum_requests else plan.minimum_requests,
        hours_left=None if over else (look.trial.deadline - now) / timedelta(hours=1),
    )
    if action == "rollBack" and conclusion in ("worse", "invalid"):
        return RolloutDecision("rollBack", reason, conclusion)
    if over and action == "ask":
        reason = f"not proven by the deadline: {reason}"
    if over and action not in ("promote", "step"):
        return _at_the_deadline(look, conclusion or "cannotBeTold", reason, undecided)
    holder = held_by(look.trial, look.steps)
    if action == "wait":
        # What Routewatch had proposed is no longer so.
        return RolloutDecision("resume" if holder == ACTOR else "wait", reason)
    if action == "ask":
        return _proposed(look, percent, f"a person is asked: {reason}")
    if holder not in (None, ACTOR):
        return RolloutDecision("wait", f"held by {holder}; {reason}")
    if plan.needs_approval(percent):
        return _proposed(look, percent, f"the step to {percent:g} % waits for a person's approval: {reason}")
    if action == "promote":
        return RolloutDecision("promote", reason, conclusion, ALL_PERCENT)
    return RolloutDecision("step", reason, percent=percent)


def foreign_change(connection: Connection, optimization_id: int, plan: RolloutPlan) -> ConfigConflict | None:
    """Return the conflict if the router or a person changed a key of a rollout that is under way; else None."""
    routing = read_key(connection, plan.routing_key)
    content = routing.content if routing else None
    return conflict_of(connection, optimization_id) or conflict(
        content, plan.routing_key, plan.routing_version, plan.baseline
    )


def is_as_read(connection: Connection, look: RolloutLook) -> bool:
    """Return whether nobody has taken a step since a rollout was read."""
    trial = trial_of(connection, look.row.id)
    state = connection.scalar(select(OPTIMIZATION.c.state).where(OPTIMIZATION.c.id == look.row.id))
    if trial is None or trial.state != look.trial.state or state not in OBSERVED:
        return False
    return [it.id for it in steps_of(connection, trial.id)] == [it.id for it in look.steps]


# --- steps; the caller's transaction holds the lock -------------------------------------------------------------------


def set_percent(connection: Connection, trial: Row[Any], percent: float, action: Action, step: Step) -> None:
    """Give the candidate another share and record the step; the rollout goes on. Raises ConfigConflict."""
    plan = RolloutPlan.model_validate(trial.plan)
    _lock_routing(connection, plan)
    _set_share(connection, trial.optimization_id, plan, percent, step)
    add_step(connection, trial.id, action, step, percent)
    change_trial(connection, trial.id, state=TrialState.RUNNING, step=plan.step_of(percent), step_at=step.at)


def promote(connection: Connection, trial: Row[Any], step: Step, to: State = State.KEPT) -> None:
    """Make the candidate the model of its class, and end the rollout. Raises ConfigConflict."""
    plan = RolloutPlan.model_validate(trial.plan)
    change = ChangeOrigin(step.by, step.reason, step.at, trial.optimization_id)
    set_value(connection, plan.routing_key, plan.candidate, plan.routing_version, change, expected_value=plan.baseline)
    _set_share(connection, trial.optimization_id, plan, 0, step)
    add_step(connection, trial.id, "promote", step, ALL_PERCENT)
    change_trial(connection, trial.id, state=TrialState.PROMOTED, ended_at=step.at)
    advance(connection, trial.optimization_id, to, step)


def roll_back(connection: Connection, trial: Row[Any], state: TrialState, action: Action, step: Step) -> None:
    """Take the candidate's share away, and end the rollout. Raises ConfigConflict."""
    revert_config(connection, trial.optimization_id, step)
    add_step(connection, trial.id, action, step, 0)
    change_trial(connection, trial.id, state=state, ended_at=step.at)


def record_end(
    connection: Connection,
    look: RolloutLook,
    step: Step,
    *,
    state: Literal["kept", "reverted", "expired"],
    conclusion: Conclusion | None,
) -> Verdict:
    """Store the verdict on a rollout that is over, for the reason of its last step, and return it."""
    verdict = rollout_verdict(
        look.reading,
        look.trial,
        steps_of(connection, look.trial.id),
        state=state,
        conclusion=conclusion,
        reason=f"{step.reason} ({step.by})" if step.by != ACTOR else step.reason,
        arms_by=look.arms_by,
        observed_to=look.observed_to,
        judged_at=step.at,
    )
    store_verdict(connection, look.row.id, verdict)
    return verdict


# ----------------------------------------------------------------------------------------------------------------------


def _proposed(look: RolloutLook, percent: float, reason: str) -> RolloutDecision:
    """Return that a step waits for a person; nothing new where it does already, or where a person holds it."""
    holder = held_by(look.trial, look.steps)
    is_new = holder is None or (holder == ACTOR and proposed_percent(look.trial, look.steps) != percent)
    return RolloutDecision("propose" if is_new else "wait", reason, percent=percent)


def _at_the_deadline(
    look: RolloutLook, conclusion: Conclusion, reason: str, undecided: Literal["revert", "keep"]
) -> RolloutDecision:
    beyond = [it for it in look.reading.metrics if (it.worse_by or 0.0) > (it.margin or 0.0)]
    is_held = held_by(look.trial, look.steps) not in (None, ACTOR)
    if undecided == "keep" and conclusion in UNDECIDED and not beyond and not is_held:
        return RolloutDecision(
            "promote", f"kept undecided, as optimizer.undecided says: {reason}", conclusion, ALL_PERCENT
        )
    return RolloutDecision("rollBack", reason, conclusion)


def _carry_out(connection: Connection, look: RolloutLook, decision: RolloutDecision, now: datetime) -> Verdict:
    trial, verdict = look.trial, _verdict(look, decision, now)
    if decision.action == "promote":
        promote(connection, trial, _step(decision.reason, verdict, now), State(decision.state))
    elif decision.action == "rollBack":
        state, action = _ending(decision.conclusion)
        roll_back(connection, trial, state, action, _step(decision.reason, verdict, now))
        logger().warning("optimization #%s was reverted: %s", look.row.id, verdict.reason)
        _notify(connection, look, AlertRule.OPTIMIZATION_REVERTED, verdict.reason, now)
    elif decision.action == "step" and decision.percent is not None:
        set_percent(connection, trial, decision.percent, "step", _step(decision.reason, verdict, now))
    elif decision.action == "propose":
        evidence = {PROPOSED: decision.percent}
        add_step(connection, trial.id, "hold", Step(ACTOR, decision.reason, now, evidence))
        change_trial(connection, trial.id, state=TrialState.HELD)
        _notify(connection, look, AlertRule.ROLLOUT_WAITS, decision.reason, now)
    elif decision.action == "resume":
        add_step(connection, trial.id, "resume", Step(ACTOR, f"no longer proposed: {decision.reason}", now))
        change_trial(connection, trial.id, state=TrialState.RUNNING)
    return _recorded(connection, look, decision, now)


def _recorded(connection: Connection, look: RolloutLook, decision: RolloutDecision, now: datetime) -> Verdict:
    """Store the verdict with all steps, also the one that was just taken, and return it."""
    verdict = _verdict(look, decision, now, steps=steps_of(connection, look.trial.id))
    if get_optimization(connection, look.row.id).state == State.APPLIED:
        advance(connection, look.row.id, State.OBSERVING, _step(decision.reason, verdict, now))
    store_verdict(connection, look.row.id, verdict)
    return verdict


def _verdict(
    look: RolloutLook, decision: RolloutDecision, now: datetime, *, steps: Sequence[Row[Any]] | None = None
) -> Verdict:
    is_last = look.at_deadline is not None and decision.conclusion in ("better", "noWorse")
    return rollout_verdict(
        look.at_deadline if is_last and look.at_deadline is not None else look.reading,
        look.trial,
        look.steps if steps is None else steps,
        state=decision.state,
        conclusion=decision.conclusion,
        reason=decision.reason,
        arms_by=look.arms_by,
        observed_to=look.observed_to,
        judged_at=now,
        is_last=is_last,
    )


def _step(reason: str, verdict: Verdict, now: datetime) -> Step:
    """Return a step by Routewatch with its numbers, without the picture's: those are in the optimization's verdict."""
    return Step(ACTOR, reason, now, verdict.model_dump(mode="json", by_alias=True, exclude={"trial"}))


def _ending(conclusion: Conclusion | None) -> tuple[TrialState, Action]:
    if conclusion == "invalid":
        return TrialState.INVALID, "invalidate"
    if conclusion in UNDECIDED:
        return TrialState.UNDECIDED, "end"
    return TrialState.ROLLED_BACK, "rollBack"


def _supersede(connection: Connection, look: RolloutLook, found: ConfigConflict, now: datetime) -> Verdict:
    """End a rollout whose keys somebody else changed: theirs stay, and the share is taken back if it is still ours."""
    reason = superseded_reason(found)
    step = Step(ACTOR, reason, now)
    percent: float | None = 0
    try:
        with connection.begin_nested():
            _set_share(connection, look.row.id, look.plan, 0, step)
    except ConfigConflict:
        # What theirs gives the candidate is no step of this rollout.
        percent = None
    add_step(connection, look.trial.id, "abort", step, percent)
    change_trial(connection, look.trial.id, state=TrialState.ABORTED, ended_at=now)
    advance(connection, look.row.id, State.EXPIRED, step)
    verdict = record_end(connection, look, step, state="expired", conclusion=None)
    logger().warning("the rollout of optimization #%s was aborted: %s", look.row.id, reason)
    return verdict


def _notify(connection: Connection, look: RolloutLook, rule: AlertRule, reason: str, now: datetime) -> None:
    record_event(
        connection,
        rule,
        f"#{look.row.id} {look.plan.routing_key}",
        reason,
        sample=look.reading.requests[0],
        started_at=look.trial.started_at,
        at=now,
    )


def _set_share(connection: Connection, optimization_id: int, plan: RolloutPlan, percent: float, step: Step) -> None:
    """Set the candidate's share if the key is as this rollout left it. Raises ConfigConflict."""
    is_ours = CONFIG_CHANGE.c.key == plan.rollout_key, CONFIG_CHANGE.c.optimization_id == optimization_id
    newest = connection.execute(select(CONFIG_CHANGE).where(*is_ours).order_by(CONFIG_CHANGE.c.id.desc())).first()
    if newest is None:
        raise ConfigConflict(plan.rollout_key, 0, None, "not of this rollout")
    change = ChangeOrigin(step.by, step.reason, step.at, optimization_id)
    set_value(
        connection, plan.rollout_key, plan.value_at(percent), newest.version, change, expected_value=newest.to_value
    )


def _lock_routing(connection: Connection, plan: RolloutPlan) -> None:
    """Lock the class's model until the transaction's end. Raises ConfigConflict if it is not the baseline as read."""
    row = read_key(connection, plan.routing_key, lock=True)
    if found := conflict(row.content if row else None, plan.routing_key, plan.routing_version, plan.baseline):
        raise found


def _idle_version(connection: Connection, key: str) -> int | None:
    """Return the version of a rollout's key, None for a new one. Raises ConfigConflict if it gives anybody a share."""
    row = read_key(connection, key, lock=True)
    if row is None:
        return None
    if isinstance(row.content, UnreadableSetting):
        raise ConfigConflict(key, 0, None, f"unreadable: {row.content.found} {row.content.reason}")
    if percent_of(row.content.value) != 0:
        raise ConfigConflict(key, row.content.version, row.content.version, f"a rollout: {shown(row.content.value)}")
    return row.content.version


def _arm_hours(
    connection: Connection, plan: RolloutPlan, start: datetime, end: datetime
) -> tuple[pl.DataFrame, Literal["assignment", "model"]]:
    """Return the sums by arm of a rollout's hours, and how the arms are known.

    Where the router names no arm at all, the model that served is taken for it.
    """
    hours = read_arms(connection, plan.experiment, plan.complexity, start, end)
    if hours.height:
        return hours, "assignment"
    by_model = read_models_as_arms(connection, plan.complexity, plan.baseline, plan.candidate, start, end)
    return by_model, "model"
