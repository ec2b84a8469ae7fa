"""A share of the requests tries a model in rising steps, and the config is never at a value that no row explains."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select, update

from models.database import reading, writing
from models.errors import ConfigConflict, OptimizerStopped, UnknownOptimization, UsageError
from models.schema import CONFIG, CONFIG_CHANGE, OPTIMIZATION, TRIAL, TrialState
from models.tables import Alert, table_of
from tasks.alerts.evaluate import evaluate_alerts
from tasks.optimizer.decisions import approve, revert, stop
from tasks.optimizer.lifecycle import OBSERVED, Step, blocking_reason, overlap, unchanged_since
from tasks.optimizer.queries import history_of
from tasks.optimizer.rollout_decisions import abort, approve_step, hold, jump, resume
from tasks.optimizer.router_config import history, read_config, set_by_hand
from tasks.optimizer.trial_rows import PROPOSED, add_step, change_trial, percent_now, steps_of, trials_under_way
from tasks.optimizer.trials import method_of
from tasks.optimizer.verify import verify
from tests.support.paths import ROOT
from tests.support.proposals import SETTINGS, proposal, propose
from tests.support.rollouts import (
    ANNA,
    CHEAP,
    HOUR,
    SPLIT_SETTINGS,
    STARTED_AT,
    Arm,
    let_pass,
    live,
    looked_at,
    set_up_router,
    settings_of,
    share_of,
    started,
    steps_taken,
    trial_state,
)

DAY = timedelta(days=1)
FAILING = Arm(usd=0.03, errors=0.08)
UNRATED = Arm(usd=0.03, rated=0.0)


@pytest.fixture
def router(engine: Engine) -> Engine:
    return set_up_router(engine)


@pytest.fixture
def one_router(sqlite_engine: Engine) -> Engine:
    """For what does not depend on the database."""
    return set_up_router(sqlite_engine)


def state_of(engine: Engine, optimization_id: int) -> str:
    return str(history_of(engine, optimization_id)[0].state)


def assert_explained(engine: Engine) -> None:
    """Every key is at the value and version of its newest audit row, and every share belongs to a trial's last step."""
    with reading(engine) as connection:
        for key, setting in read_config(engine).items():
            newest = connection.execute(
                select(CONFIG_CHANGE).where(CONFIG_CHANGE.c.key == key).order_by(CONFIG_CHANGE.c.id.desc())
            ).first()
            assert newest is not None, key
            assert (newest.to_value, newest.version) == (setting.value, setting.version), key
        under_way = trials_under_way(connection)
        shares = {it.plan["complexity"]: percent_now(steps_of(connection, it.id)) for it in under_way}
        states = {connection.scalar(select(OPTIMIZATION.c.state).where(OPTIMIZATION.c.id == it.optimization_id))
                  for it in under_way}  # fmt: skip
        observed = connection.scalar(
            select(func.count()).select_from(OPTIMIZATION).where(OPTIMIZATION.c.state.in_(OBSERVED))
        )
    assert states <= set(OBSERVED)
    assert observed == len(under_way)
    config = read_config(engine)
    in_config = {key.removeprefix("rollout."): it.value["percent"] for key, it in config.items() if "rollout." in key}
    assert {name: share for name, share in in_config.items() if share} == shares


# --- a whole life -----------------------------------------------------------------------------------------------------


def test_a_better_candidate_becomes_the_model_of_its_class_in_steps(router: Engine) -> None:
    """Each step is in the config, the audit trail, the trial and the optimization; the saving is measured."""
    number = started(router)
    value = read_config(router)["rollout.simple"].value
    assert {**value, "salt": ""} == {
        "candidate": "cheap", "percent": 20, "salt": "", "by": "request", "experiment": f"rollout-{number}",
    }  # fmt: skip
    assert len(value["salt"]) >= 16
    assert read_config(router)["routing.simple"].value == "costly"
    verdict = live(router, CHEAP)
    assert (verdict.state, verdict.conclusion, verdict.method) == ("kept", "better", "split")
    assert steps_taken(router, number) == [
        ("start", 20, "anna"), ("step", 50, "routewatch"), ("promote", 100, "routewatch"),
    ]  # fmt: skip
    assert (read_config(router)["routing.simple"].value, share_of(router)) == ("cheap", 0)
    assert (state_of(router, number), trial_state(router, number)) == ("kept", "promoted")
    assert_explained(router)
    assert verdict.savings_basis == "measured"
    assert verdict.savings_usd is not None
    assert verdict.trial is not None
    candidates = verdict.goal.sample_after if verdict.goal else 0
    assert verdict.savings_usd.estimate == pytest.approx(0.02 * candidates, rel=0.1)
    assert [step.action for step in verdict.trial.steps] == ["start", "step", "promote"]
    metrics = {"averageCost", "selectionAccuracy", "errorRate", "responseTime", "slowShare"}
    assert {point.metric for point in verdict.trial.series} == metrics
    assert verdict.trial.asked_percent == pytest.approx(verdict.trial.found_percent, rel=0.1)
    assert history_of(router, number)[0].verdict == verdict.model_dump(mode="json", by_alias=True)
    changed = [(row.key, row.to_value if row.key == "routing.simple" else row.to_value["percent"])
               for row in reversed(history(router)) if row.optimization_id == number]  # fmt: skip
    assert changed == [
        ("rollout.simple", 20),
        ("rollout.simple", 50),
        ("routing.simple", "cheap"),
        ("rollout.simple", 0),
    ]


def test_a_model_that_is_being_tried_is_not_proposed_again(one_router: Engine) -> None:
    """The config keeps the old model while it is tried, so that a daily run finds the same again."""
    number = started(one_router)
    for state in ("running", "held"):
        [again] = propose(one_router, proposal("routing.simple", "cheap", one_router))
        assert (again.status, again.note) == ("deferred", f"#{number} is the same, and is being tried"), state
        if state == "running":
            hold(one_router, number, ANNA)
    set_by_hand(one_router, "routing.moderate", "costly", by="router", reason="default", now=STARTED_AT)
    [other] = propose(one_router, proposal("routing.moderate", "cheap", one_router))
    assert other.status == "waiting", "another class is another change"


@pytest.mark.parametrize(
    ("candidate", "metric"),
    [
        (FAILING, "errorRate"), (Arm(usd=0.03, accuracy=0.9), "selectionAccuracy"), (Arm(usd=0.07), "averageCost"),
        (Arm(usd=0.03, slow=0.3), "slowShare"),
    ],
    ids=["fails", "wrong", "dearer", "slower"],
)  # fmt: skip
def test_harm_takes_the_share_away_at_the_next_look_with_an_alert(
    one_router: Engine, candidate: Arm, metric: str
) -> None:
    number = started(one_router)
    verdict = live(one_router, candidate, every_h=1, days=2)
    assert (verdict.state, verdict.conclusion) == ("reverted", "worse")
    changes = [verdict.goal, *verdict.guards]
    assert metric in [change.metric for change in changes if change and change.judgement == "worse"]
    assert (share_of(one_router), read_config(one_router)["routing.simple"].value) == (0, "costly")
    assert (state_of(one_router, number), trial_state(one_router, number)) == ("reverted", "rolledBack")
    with reading(one_router) as connection:
        [alert] = connection.execute(select(table_of(Alert))).fetchall()
    assert (alert.subject, alert.detail) == (f"#{number} routing.simple", verdict.reason)
    assert_explained(one_router)
    [again] = propose(one_router, proposal("routing.simple", "cheap", one_router), now=verdict.judged_at + HOUR)
    said = approve(one_router, again.optimization_id or 0, SPLIT_SETTINGS, replace(ANNA, at=verdict.judged_at + HOUR))
    assert "cools down until" in said


def test_without_enough_ratings_nothing_is_promoted_and_no_saving_is_booked(one_router: Engine) -> None:
    """Half as dear, and nobody knows whether it is right: at the deadline it goes back, unproven."""
    number = started(one_router)
    with writing(one_router) as connection:
        connection.execute(update(TRIAL).values(deadline=STARTED_AT + DAY))
    verdict = live(one_router, UNRATED, days=2)
    assert (verdict.state, verdict.conclusion, verdict.savings_usd) == ("reverted", "unproven", None)
    assert verdict.reason.startswith("not proven by the deadline: ")
    assert "selection accuracy is not known" in verdict.reason
    assert (share_of(one_router), trial_state(one_router, number)) == (0, "undecided")
    assert_explained(one_router)


def test_what_cannot_be_told_by_the_deadline_goes_back_or_stays_as_the_settings_say(one_router: Engine) -> None:
    settings = settings_of(deadlineHours=4)
    number = started(one_router, settings)
    verdict = live(one_router, Arm(), days=1, every_h=2, settings=settings, requests=400)
    assert (verdict.state, verdict.conclusion, trial_state(one_router, number)) == (
        "reverted", "cannotBeTold", "undecided"
    )  # fmt: skip
    assert verdict.savings_usd is None
    assert share_of(one_router) == 0


def test_what_cannot_be_told_is_kept_where_the_settings_say_so(one_router: Engine) -> None:
    """Nothing harmful was seen, nor any estimate beyond its margin: it stays, and no saving is booked."""
    settings = settings_of(deadlineHours=4, undecided="keep")
    number = started(one_router, settings)
    verdict = live(one_router, Arm(usd=0.03, errors=0.01, slow=0.1, accuracy=0.99), days=1, every_h=2,
                   settings=settings, requests=400)  # fmt: skip
    assert (verdict.state, verdict.savings_usd, trial_state(one_router, number)) == ("expired", None, "promoted")
    assert verdict.conclusion in ("cannotBeTold", "unproven")
    assert (read_config(one_router)["routing.simple"].value, share_of(one_router)) == ("cheap", 0)
    assert_explained(one_router)


def test_what_seems_harmful_is_not_kept_undecided(one_router: Engine) -> None:
    settings = settings_of(deadlineHours=4, undecided="keep")
    started(one_router, settings)
    verdict = live(one_router, Arm(usd=0.03, slow=0.24), days=1, every_h=2, settings=settings, requests=200)
    assert (verdict.state, verdict.conclusion) == ("reverted", "cannotBeTold")


def test_shares_other_than_asked_make_a_rollout_invalid(one_router: Engine) -> None:
    """The router gives the candidate 20 % where 50 % were asked: what it shows is worth nothing."""
    number = started(one_router)
    now = let_pass(one_router, STARTED_AT, 2, CHEAP)
    jump(one_router, number, 50, SPLIT_SETTINGS, replace(ANNA, at=STARTED_AT + timedelta(minutes=5)))
    verdict = looked_at(one_router, now)
    assert (verdict.state, verdict.conclusion, trial_state(one_router, number)) == ("reverted", "invalid", "invalid")
    assert "the router does not do as told, requests are pinned, or rows are missing" in verdict.reason
    assert (share_of(one_router), verdict.savings_usd) == (0, None)
    assert_explained(one_router)


# --- a person ---------------------------------------------------------------------------------------------------------


def test_a_person_is_asked_where_ratings_come_too_slowly_and_told_how_many_are_missing(one_router: Engine) -> None:
    """The step waits; a person takes it, or ratings arrive and it is taken without one."""
    number = started(one_router)
    with writing(one_router) as connection:
        connection.execute(update(TRIAL).values(deadline=STARTED_AT + 2 * DAY))
    now = let_pass(one_router, STARTED_AT, 24, Arm(usd=0.03, rated=0.02), baseline=Arm(rated=0.02))
    verdict = looked_at(one_router, now)
    assert (verdict.state, trial_state(one_router, number)) == ("observing", "held")
    assert verdict.reason.startswith("a person is asked: better: ")
    assert "more known values are needed" in verdict.reason
    assert [it.missing_sample for it in verdict.guards if it.metric == "selectionAccuracy"] != [None]
    looked_at(one_router, now)
    message = evaluate_alerts(one_router, SPLIT_SETTINGS, now + HOUR, flush=True).message
    assert message is not None
    [notification] = message.notifications
    assert (notification.rule.value, notification.subject) == ("rolloutWaits", f"#{number} routing.simple")
    assert [action for action, _, _ in steps_taken(one_router, number)] == ["start", "hold"]
    said = approve_step(one_router, number, SPLIT_SETTINGS, replace(ANNA, at=now + HOUR))
    assert said == f"#{number}: cheap gets 50 % of the requests from now on"
    assert (share_of(one_router), trial_state(one_router, number)) == (50, "running")
    assert_explained(one_router)


def test_a_person_approves_every_step_where_the_settings_say_so(one_router: Engine) -> None:
    settings = settings_of(approveSteps=True)
    number = started(one_router, settings)
    now = let_pass(one_router, STARTED_AT, 12, CHEAP)
    verdict = looked_at(one_router, now, settings)
    assert "the step to 50 % waits for a person's approval" in verdict.reason
    assert (share_of(one_router), trial_state(one_router, number)) == (20, "held")
    approve_step(one_router, number, settings, replace(ANNA, at=now + HOUR))
    with pytest.raises(UnknownOptimization, match="has no step that waits for approval"):
        approve_step(one_router, number, settings, replace(ANNA, at=now + HOUR))
    now = let_pass(one_router, now + HOUR, 48, CHEAP)
    looked_at(one_router, now, settings)
    said = approve_step(one_router, number, settings, replace(ANNA, at=now + HOUR))
    assert said == f"Promoted #{number}: routing.simple = cheap"
    row = history_of(one_router, number)[0]
    assert (row.state, row.verdict["conclusion"]) == ("kept", "better")
    assert_explained(one_router)


def test_a_proposed_step_is_withdrawn_when_the_numbers_no_longer_allow_it(one_router: Engine) -> None:
    number = started(one_router)
    with writing(one_router) as connection:
        trial_id = trials_under_way(connection)[0].id
        add_step(connection, trial_id, "hold", Step("routewatch", "", STARTED_AT, {PROPOSED: 50.0}))
        change_trial(connection, trial_id, state=TrialState.HELD)
    now = let_pass(one_router, STARTED_AT, 3, CHEAP, requests=300)
    assert looked_at(one_router, now).reason.startswith("not clear yet: ")
    assert trial_state(one_router, number) == "running"
    assert [action for action, _, _ in steps_taken(one_router, number)] == ["start", "hold", "resume"]
    assert share_of(one_router) == 20


def test_a_held_rollout_takes_no_step_but_harm_still_ends_it(router: Engine) -> None:
    number = started(router)
    hold(router, number, ANNA)
    now = let_pass(router, STARTED_AT, 12, CHEAP)
    verdict = looked_at(router, now)
    assert verdict.reason.startswith("held by anna; ")
    assert share_of(router) == 20
    resume(router, number, replace(ANNA, at=now))
    with pytest.raises(UnknownOptimization, match="is not held"):
        resume(router, number, ANNA)
    assert looked_at(router, now).state == "observing"
    assert share_of(router) == 50
    hold(router, number, replace(ANNA, at=now + HOUR))
    now = let_pass(router, now + HOUR, 4, FAILING)
    assert looked_at(router, now).conclusion == "worse"
    assert share_of(router) == 0
    assert_explained(router)


def test_a_held_rollout_that_is_proven_waits_for_a_person_at_its_deadline(one_router: Engine) -> None:
    """A hold is not promoted over; one that cannot be told goes back, held or not."""
    number = started(one_router)
    hold(one_router, number, ANNA)
    now = let_pass(one_router, STARTED_AT, 72, CHEAP)
    with writing(one_router) as connection:
        connection.execute(update(TRIAL).values(deadline=now))
    assert looked_at(one_router, now).reason.startswith("held by anna; better: ")
    assert (share_of(one_router), trial_state(one_router, number)) == (20, "held")
    resume(one_router, number, replace(ANNA, at=now + HOUR))
    assert looked_at(one_router, now + HOUR).state == "kept"


def test_a_person_jumps_aborts_and_is_told_what_is_no_share(router: Engine) -> None:
    number = started(router)
    assert (
        jump(router, number, 12.5, SPLIT_SETTINGS, ANNA) == f"#{number}: cheap gets 12.5 % of the requests from now on"
    )
    for percent in (0.0, -5.0, 100.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="expected one above 0 and up to 100"):
            jump(router, number, percent, SPLIT_SETTINGS, ANNA)
    assert share_of(router) == 12.5
    assert_explained(router)
    assert abort(router, number, ANNA) == f"Aborted #{number}; all requests go to the old model again"
    assert (share_of(router), state_of(router, number), trial_state(router, number)) == (0, "reverted", "aborted")
    assert_explained(router)
    for decision in (hold, resume, abort):
        with pytest.raises(UnknownOptimization, match="is over: its trial is aborted"):
            decision(router, number, ANNA)
    with pytest.raises(UnknownOptimization, match="optimization 99 does not exist"):
        hold(router, 99, ANNA)


def test_a_person_who_promotes_what_nobody_knows_is_told_so_in_the_verdict(one_router: Engine) -> None:
    number = started(one_router)
    jump(one_router, number, 100, SPLIT_SETTINGS, ANNA)
    row = history_of(one_router, number)[0]
    assert (row.state, row.verdict["conclusion"], row.verdict["savingsUsd"]) == ("kept", "unproven", None)
    assert row.verdict["reason"] == "saves money (anna)"
    assert read_config(one_router)["routing.simple"].value == "cheap"
    revert(one_router, number, ANNA)
    assert (read_config(one_router)["routing.simple"].value, share_of(one_router)) == ("costly", 0)
    assert_explained(one_router)


def test_reverting_a_running_rollout_aborts_it(one_router: Engine) -> None:
    number = started(one_router)
    looked_at(one_router, let_pass(one_router, STARTED_AT, 3, CHEAP))
    revert(one_router, number, ANNA)
    row = history_of(one_router, number)[0]
    assert (row.state, row.verdict["reason"]) == ("reverted", "aborted by anna: saves money")
    assert (trial_state(one_router, number), share_of(one_router)) == ("aborted", 0)


def test_steps_that_end_below_all_requests_leave_the_promotion_to_a_person(one_router: Engine) -> None:
    settings = settings_of(20)
    number = started(one_router, settings)
    now = let_pass(one_router, STARTED_AT, 72, CHEAP)
    assert "the step to 100 % waits" in looked_at(one_router, now, settings).reason
    assert share_of(one_router) == 20
    approve_step(one_router, number, settings, replace(ANNA, at=now + HOUR))
    assert read_config(one_router)["routing.simple"].value == "cheap"


def test_nothing_steps_while_the_kill_switch_is_on_but_a_person_may_abort(one_router: Engine) -> None:
    number = started(one_router)
    now = let_pass(one_router, STARTED_AT, 12, CHEAP)
    stop(one_router, ANNA)
    assert verify(one_router, SPLIT_SETTINGS, now + HOUR, early=True) == ()
    with pytest.raises(OptimizerStopped):
        jump(one_router, number, 50, SPLIT_SETTINGS, ANNA)
    assert share_of(one_router) == 20
    abort(one_router, number, ANNA)
    assert share_of(one_router) == 0


# --- somebody else's edits --------------------------------------------------------------------------------------------

THEIRS = {"candidate": "cheap", "percent": 80, "salt": "s", "by": "user", "experiment": "mine"}


def _edit_routing(engine: Engine) -> None:
    set_by_hand(engine, "routing.simple", "other", by="ben", reason="mine", now=STARTED_AT + HOUR)


def _edit_rollout(engine: Engine) -> None:
    set_by_hand(engine, "rollout.simple", THEIRS, by="ben", reason="mine", now=STARTED_AT + HOUR)


def _edit_both(engine: Engine) -> None:
    _edit_routing(engine)
    _edit_rollout(engine)


def _write_past_the_version(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(CONFIG).where(CONFIG.c.key == "routing.simple").values(value="other"))


def _delete_rollout(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(delete(CONFIG).where(CONFIG.c.key == "rollout.simple"))


def _delete_routing(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(delete(CONFIG).where(CONFIG.c.key == "routing.simple"))


@pytest.mark.parametrize(
    ("edit", "expected_routing", "expected_share"),
    [
        (_edit_routing, "other", 0), (_edit_rollout, "costly", 80), (_edit_both, "other", 80),
        (_write_past_the_version, "other", 0), (_delete_rollout, "costly", None), (_delete_routing, None, 0),
    ],
)  # fmt: skip
def test_a_person_who_edits_a_key_amid_a_rollout_wins(
    router: Engine, edit: Callable[[Engine], None], expected_routing: str | None, expected_share: float | None
) -> None:
    """Theirs stays; the share is taken back where it is still ours; and nothing touches it ever after."""
    number = started(router)
    now = let_pass(router, STARTED_AT, 12, CHEAP)
    edit(router)
    if edit is not _delete_rollout:
        with pytest.raises(ConfigConflict):
            jump(router, number, 50, SPLIT_SETTINGS, ANNA)
    for look in range(2):
        verdicts = verify(router, SPLIT_SETTINGS, now + timedelta(minutes=10 + 60 * look), early=True)
        assert [verdict.state for verdict in verdicts] == ["expired"][look:]
    config = read_config(router)
    routing, rollout = config.get("routing.simple"), config.get("rollout.simple")
    assert (routing.value if routing else None) == expected_routing
    assert (rollout.value["percent"] if rollout else None) == expected_share
    assert (state_of(router, number), trial_state(router, number)) == ("expired", "aborted")


def test_a_rollout_of_somebody_else_is_left_alone(one_router: Engine) -> None:
    [item] = propose(one_router, proposal("routing.simple", "cheap", one_router))
    set_by_hand(one_router, "rollout.simple", THEIRS, by="ben", reason="mine", now=STARTED_AT)
    said = approve(one_router, item.optimization_id or 0, SPLIT_SETTINGS, ANNA)
    assert "did not apply it: config key rollout.simple is a rollout: " in said
    assert read_config(one_router)["rollout.simple"].value == THEIRS


@pytest.mark.parametrize("value", ["on", [5], {"percent": "5"}, {"percent": True}, {"percent": -1}, {}, 7])
def test_a_rollout_key_that_nobody_understands_is_left_alone(one_router: Engine, value: Any) -> None:
    [item] = propose(one_router, proposal("routing.simple", "cheap", one_router))
    set_by_hand(one_router, "rollout.simple", value, by="ben", reason="mine", now=STARTED_AT)
    assert "did not apply it" in approve(one_router, item.optimization_id or 0, SPLIT_SETTINGS, ANNA)
    assert read_config(one_router)["rollout.simple"].value == value


@pytest.mark.parametrize("value", [None, {"percent": 0}, {"percent": 0.0, "candidate": "x"}])
def test_a_rollout_key_without_a_share_is_free(one_router: Engine, value: Any) -> None:
    set_by_hand(one_router, "rollout.simple", value, by="ben", reason="mine", now=STARTED_AT - DAY)
    started(one_router)
    assert share_of(one_router) == 20


# --- which method -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "trial", "method"),
    [
        (["split"], "auto", "split"), (["switchback", "split"], "auto", "split"), ([], "auto", "beforeAfter"),
        ("split", "auto", "beforeAfter"), ({"split": 1}, "auto", "beforeAfter"), ([["split"]], "auto", "beforeAfter"),
        (None, "auto", "beforeAfter"), (["split"], "beforeAfter", "beforeAfter"), ([], "split", "split"),
    ],
)  # fmt: skip
def test_the_strongest_way_that_the_router_declares_is_taken(
    one_router: Engine, declared: Any, trial: str, method: str
) -> None:
    set_by_hand(one_router, "router.trials", declared, by="ben", reason="", now=STARTED_AT)
    settings = SETTINGS.model_copy(update={"optimizer": SETTINGS.optimizer.model_copy(update={"trial": trial})})
    item = proposal("routing.simple", "cheap", one_router)
    with reading(one_router) as connection:
        assert method_of(connection, item, settings) == method
        cache = proposal("cache.max_entries", 2000, one_router)
        assert method_of(connection, cache, settings) != "split"


def test_a_rollout_needs_no_hours_before_it(one_router: Engine) -> None:
    """It has its own baseline: a class that was never seen before can be tried at once."""
    started(one_router)
    with reading(one_router) as connection:
        assert "waits for hours" in str(blocking_reason(connection, ["routing.complex"], SETTINGS, STARTED_AT))
        assert blocking_reason(connection, ["routing.complex"], SETTINGS, STARTED_AT, needs_history=False) is None


def test_a_rollout_touches_the_selections_of_its_class(one_router: Engine) -> None:
    assert overlap(["rollout.simple"], ["routing.simple"])
    assert overlap(["rollout.simple"], ["cache.max_entries"])
    assert not overlap(["rollout.simple"], ["routing.complex"])
    number = started(one_router)
    with reading(one_router) as connection:
        blocked = blocking_reason(connection, ["cache.max_entries"], SETTINGS, STARTED_AT, needs_history=False)
        assert f"waits until #{number} (routing.simple) is judged" in str(blocked)
        assert unchanged_since(connection, ["routing.simple"], STARTED_AT + DAY) == STARTED_AT
        assert unchanged_since(connection, ["routing.complex"], STARTED_AT + DAY) < STARTED_AT


# --- killed at any point, and many at once ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stepper() -> Iterator[Callable[..., str]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.rollout_stepper"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = process.stdin, process.stdout

        def carry_out(engine: Engine, command: str, number: int, now: datetime, killed_after: int, **given: Any) -> str:
            engine.dispose()
            address = engine.url.render_as_string(hide_password=False)
            wish = {"address": address, "command": command, "optimization_id": number, "now": now.isoformat(),
                    "killed_after": killed_after, **given}  # fmt: skip
            lines[0].write(json.dumps(wish) + "\n")
            lines[0].flush()
            return lines[1].readline().strip()

        yield carry_out
        process.stdin.close()


def _killed_everywhere(
    carry_out: Callable[..., str], engine: Engine, command: str, number: int, now: datetime, **given: Any
) -> int:
    """Kill a step after each of its writing statements, until one is left to end; return how often it was killed."""
    before = read_config(engine)
    for killed_after in range(1, 50):
        said = carry_out(engine, command, number, now, killed_after, **given)
        assert_explained(engine)
        if said == "done":
            return killed_after - 1
        assert said == "killed"
        assert read_config(engine) == before
    raise AssertionError("it never ends")


def test_a_step_that_is_killed_between_config_and_audit_leaves_neither(
    router: Engine, stepper: Callable[..., str]
) -> None:
    """The first statement that a step writes is the config's."""
    number = started(router)
    now = let_pass(router, STARTED_AT, 12, CHEAP) + timedelta(minutes=10)
    assert stepper(router, "look", number, now, 1) == "killed"
    assert_explained(router)
    assert share_of(router) == 20
    assert stepper(router, "look", number, now, 0) == "done"
    assert_explained(router)
    assert share_of(router) == 50


@pytest.mark.slow
def test_a_rollout_that_is_killed_after_any_statement_leaves_what_its_rows_say(
    router: Engine, stepper: Callable[..., str]
) -> None:
    """Start, step, promotion, and the promotion's revert: each is all there or not at all."""
    [item] = propose(router, proposal("routing.simple", "cheap", router))
    number = item.optimization_id or 0
    assert _killed_everywhere(stepper, router, "approve", number, STARTED_AT) >= 7
    now = let_pass(router, STARTED_AT, 12, CHEAP)
    assert _killed_everywhere(stepper, router, "look", number, now + timedelta(minutes=10)) >= 5
    assert share_of(router) == 50
    now = let_pass(router, now + HOUR, 48, CHEAP)
    assert _killed_everywhere(stepper, router, "look", number, now + timedelta(minutes=10)) >= 8
    assert state_of(router, number) == "kept"
    assert _killed_everywhere(stepper, router, "revert", number, now + HOUR) >= 4
    assert read_config(router)["routing.simple"].value == "costly"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["harm", "abort", "edit"])
def test_an_end_that_is_killed_after_any_statement_leaves_what_its_rows_say(
    router: Engine, stepper: Callable[..., str], end: str
) -> None:
    number = started(router)
    now = let_pass(router, STARTED_AT, 12, FAILING if end == "harm" else CHEAP)
    if end == "edit":
        _edit_routing(router)
    command = "abort" if end == "abort" else "look"
    assert _killed_everywhere(stepper, router, command, number, now + timedelta(minutes=10)) >= 5
    assert share_of(router) == 0


def test_looks_that_follow_each_other_take_one_step(router: Engine) -> None:
    """Each share serves requests before the next: the hourly and the daily run may come in the same minute."""
    number = started(router)
    now = let_pass(router, STARTED_AT, 12, CHEAP) + timedelta(minutes=10)
    for _ in range(3):
        [verdict] = verify(router, SPLIT_SETTINGS, now, early=True)
        assert verdict.state == "observing"
    assert [action for action, _, _ in steps_taken(router, number)] == ["start", "step"]


def test_looks_at_once_take_one_step(router: Engine) -> None:
    number = started(router)
    now = let_pass(router, STARTED_AT, 12, CHEAP) + timedelta(minutes=10)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(verify, router, SPLIT_SETTINGS, now, early=True) for _ in range(4)]
        verdicts = [verdict for run in runs for verdict in run.result()]
    assert {verdict.state for verdict in verdicts} == {"observing"}
    assert [action for action, _, _ in steps_taken(router, number)] == ["start", "step"]
    assert_explained(router)


def test_approvals_at_once_start_one_rollout(router: Engine) -> None:
    [item] = propose(router, proposal("routing.simple", "cheap", router))

    def decide() -> str:
        try:
            return approve(router, item.optimization_id or 0, SPLIT_SETTINGS, ANNA)
        except UnknownOptimization as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        said = [run.result() for run in [pool.submit(decide) for _ in range(4)]]
    assert sum(text.startswith("Started #") for text in said) == 1
    assert_explained(router)


def test_a_person_and_a_look_at_once_leave_one_of_both(router: Engine) -> None:
    """Whichever comes first, the other finds it, and the config is what the last row says."""
    number = started(router)
    now = let_pass(router, STARTED_AT, 12, CHEAP) + timedelta(minutes=10)

    def by_hand() -> str:
        try:
            return jump(router, number, 35, SPLIT_SETTINGS, replace(ANNA, at=now))
        except UnknownOptimization as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        look, hand = pool.submit(verify, router, SPLIT_SETTINGS, now, early=True), pool.submit(by_hand)
        look.result()
        hand.result()
    assert share_of(router) in (35, 50)
    assert_explained(router)
