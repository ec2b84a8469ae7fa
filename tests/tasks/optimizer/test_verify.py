"""A config change is kept if the traffic that follows it shows more than chance does, and is reverted otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, select, update

from models.attribution import Attribution
from models.database import reading, writing
from models.documents import Verdict
from models.errors import OptimizerStopped, UnknownOptimization, UsageError
from models.schema import CONFIG_CHANGE, OPTIMIZATION
from models.settings import Settings
from models.tables import Alert, ConfigChange, OptimizationTransition, table_of
from tasks.alerts.evaluate import evaluate_alerts
from tasks.marks import reset_marks
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.decisions import approve, reject, resume, revert, stop
from tasks.optimizer.lifecycle import blocking_reason, overlap
from tasks.optimizer.placebos import MINIMUM_SPANS
from tasks.optimizer.queries import history_of, list_optimizations, pending
from tasks.optimizer.router_config import history, read_config, set_by_hand
from tasks.optimizer.verify import verify
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.hourly_rollups import hourly_rollups, store_hours
from tests.support.proposals import APPLIED_AT, SETTINGS, proposal, propose

DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
LOOKED_AFTER = DAY + timedelta(hours=2)
CONFIG = {"cache.max_entries": 1000, "routing.simple": "costly", "routing.complex": "strong"}
ANNA = Attribution("anna", "saves money", APPLIED_AT)


PAST = 12 * WEEK


@pytest.fixture
def router(engine: Engine) -> Engine:
    """Twelve weeks of traffic under an unchanged config: enough to know what chance does within three days."""
    return prepared(engine, PAST)


def prepared(engine: Engine, past: timedelta) -> Engine:
    for key, value in CONFIG.items():
        set_by_hand(engine, key, value, by="router", reason="defaults", now=APPLIED_AT - past)
    update_rollups(engine, rollup_settings(SETTINGS), now=APPLIED_AT)
    store_hours(engine, hourly_rollups(APPLIED_AT - past, past))
    return engine


def applied(engine: Engine, key: str = "cache.max_entries", to_value: Any = 2000) -> int:
    [item] = propose(engine, proposal(key, to_value, engine))
    if item.status == "waiting":
        approve(engine, item.optimization_id or 0, SETTINGS, ANNA)
    return item.optimization_id or 0


def judged(engine: Engine, length: timedelta = LOOKED_AFTER, /, **rates: float) -> Verdict:
    store_hours(engine, hourly_rollups(APPLIED_AT, length, seed=2, **rates))
    [verdict] = verify(engine, SETTINGS, APPLIED_AT + length)
    return verdict


def state_of(engine: Engine, optimization_id: int) -> str:
    return str(history_of(engine, optimization_id)[0].state)


# --- keep or revert ---------------------------------------------------------------------------------------------------


def test_what_helped_is_kept(router: Engine) -> None:
    """Fewer slow requests in the same hours of the week: the change stays, with the numbers on record."""
    number = applied(router)
    verdict = judged(router, slow=0.1)
    assert (verdict.state, verdict.conclusion, verdict.method) == ("kept", "better", "beforeAfter")
    assert (verdict.matched_by, verdict.hours) == ("hour of the week", 25)
    assert verdict.goal is not None
    assert (verdict.goal.metric, verdict.goal.judgement) == ("slowShare", "better")
    assert (verdict.placebo_spans or 0) >= MINIMUM_SPANS
    assert verdict.false_verdicts_of_100 is not None
    assert 0 <= verdict.false_verdicts_of_100 <= 15
    assert verdict.savings_usd is not None
    assert verdict.savings_basis == "observed"
    assert (verdict.savings_usd.low or 0) < 0 < (verdict.savings_usd.high or 0)
    row, steps = history_of(router, number)
    assert [step.to_state for step in steps] == ["proposed", "autoApplied", "applied", "kept"]
    assert steps[-1].evidence == row.verdict == verdict.model_dump(mode="json", by_alias=True)
    assert read_config(router)["cache.max_entries"].value == 2000


def test_what_was_applied_by_a_clock_a_year_ahead_is_judged_once_it_is_right(router: Engine) -> None:
    """Else every change of the same selections would wait for a year, and the next for another one."""
    number, year = applied(router), timedelta(days=365)
    with writing(router) as connection:
        ahead = {"applied_at": APPLIED_AT + year, "updated_at": APPLIED_AT + year}
        connection.execute(update(OPTIMIZATION).values(ahead))
        connection.execute(update(CONFIG_CHANGE).where(CONFIG_CHANGE.c.optimization_id == number).values(
            changed_at=APPLIED_AT + year
        ))  # fmt: skip
    reset_marks(router, APPLIED_AT, timedelta())
    assert judged(router, slow=0.1).state == "kept"
    later = APPLIED_AT + DAY + timedelta(hours=SETTINGS.optimizer.cool_down_hours)
    assert blocking_reason_of(router, later) is None


def with_optimizer(**values: Any) -> Settings:
    return SETTINGS.model_copy(update={"optimizer": SETTINGS.optimizer.model_copy(update=values)})


def blocking_reason_of(engine: Engine, now: datetime) -> str | None:
    with reading(engine) as connection:
        return blocking_reason(connection, ["cache.max_entries"], SETTINGS, now)


@pytest.mark.parametrize(
    ("key", "to_value", "rates", "metric"),
    [
        ("cache.max_entries", 2000, {"slow": 0.6}, "slowShare"),
        ("cache.max_entries", 2000, {"slow": 0.1, "errors": 0.10}, "errorRate"),
        ("routing.simple", "cheap", {"usd": 0.01, "accuracy": 0.85}, "selectionAccuracy"),
        ("routing.simple", "cheap", {"usd": 0.08}, "averageCost"),
    ],
    ids=["slower", "more errors", "cheaper but wrong", "dearer"],
)
def test_a_harmful_change_is_reverted_with_an_alert(
    router: Engine, key: str, to_value: Any, rates: dict[str, float], metric: str
) -> None:
    """The primary or a guardrail metric is clearly worse: the key gets its old value back, with a notification."""
    number = applied(router, key, to_value)
    verdict = judged(router, **rates)
    assert verdict.state == "reverted"
    worse = [change.metric for change in (verdict.goal, *verdict.guards) if change and change.judgement == "worse"]
    assert metric in worse
    assert read_config(router)[key].value == CONFIG[key]
    with reading(router) as connection:
        [alert] = connection.execute(select(table_of(Alert))).fetchall()
        changes = connection.execute(
            select(table_of(ConfigChange)).where(table_of(ConfigChange).c.optimization_id == number)
        ).fetchall()
    assert (alert.subject, alert.detail) == (f"#{number} {key}", verdict.reason)
    message = evaluate_alerts(router, SETTINGS, alert.fired_at + timedelta(hours=1), flush=True).message
    assert message is not None
    assert [(notification.event.value, notification.rule.value) for notification in message.notifications] == [
        ("fired", "optimizationReverted")
    ]
    assert [change.reverted_by for change in changes] == [changes[1].id, changes[1].id]


def test_a_day_is_waited_for(router: Engine) -> None:
    """Before the observation time is over, nothing is kept."""
    number = applied(router)
    assert judged(router, timedelta(hours=16), slow=0.1).state == "observing"
    assert state_of(router, number) == "observing"


def test_certain_harm_is_reverted_early(router: Engine) -> None:
    """The hourly evaluation does not wait for a day if the harm is certain, and reports nothing otherwise."""
    number = applied(router)
    now = APPLIED_AT + timedelta(hours=15)
    store_hours(router, hourly_rollups(APPLIED_AT, timedelta(hours=15), seed=2, errors=0.5))
    [verdict] = verify(router, SETTINGS, now, early=True)
    assert (verdict.state, verdict.conclusion) == ("reverted", "worse")
    assert state_of(router, number) == "reverted"


def test_a_change_that_cannot_be_read_does_not_keep_the_others_from_being_assessed(router: Engine) -> None:
    broken, harmful = applied(router, "routing.simple", "cheap"), applied(router, "routing.complex", "weak")
    with writing(router) as connection:
        connection.execute(update(OPTIMIZATION).where(OPTIMIZATION.c.id == broken).values(recommendation={"type": "?"}))
    store_hours(router, hourly_rollups(APPLIED_AT, timedelta(hours=15), seed=2, errors=0.5))
    with pytest.raises(ValidationError, match="validation errors for Recommendation"):
        verify(router, SETTINGS, APPLIED_AT + timedelta(hours=15), early=True)
    assert state_of(router, harmful) == "reverted"
    assert read_config(router)["routing.complex"].value == "strong"


def test_an_early_evaluation_leaves_uncertain_changes_alone(router: Engine) -> None:
    applied(router)
    store_hours(router, hourly_rollups(APPLIED_AT, timedelta(hours=15), seed=2))
    assert verify(router, SETTINGS, APPLIED_AT + timedelta(hours=15), early=True) == ()


@pytest.mark.parametrize(("undecided", "state", "value"), [("revert", "reverted", 1000), ("keep", "expired", 2000)])
def test_too_little_traffic_is_waited_for_and_then_reported(
    router: Engine, undecided: Any, state: str, value: int
) -> None:
    """Without selections there is no verdict: in the end the settings say whether the change stays, unproven."""
    number = applied(router)
    settings = with_optimizer(undecided=undecided)
    assert [verdict.state for verdict in verify(router, settings, APPLIED_AT + 2 * DAY)] == ["observing"]
    [last] = verify(router, settings, APPLIED_AT + WEEK)
    assert (last.state, last.conclusion) == (state, "unproven")
    assert last.reason.startswith("unproven: slow responses is known in 0 matched hours, 12 are needed")
    assert state_of(router, number) == state
    assert read_config(router)["cache.max_entries"].value == value


@pytest.mark.parametrize("rated", [0.0, 0.01, 0.3])
def test_what_is_cheaper_is_no_better_as_long_as_its_answers_are_not_rated(router: Engine, rated: float) -> None:
    """All answers were rated before, of the cheap model's few or none: what is not known has not passed."""
    number = applied(router, "routing.simple", "cheap")
    verdict = judged(router, usd=0.01, rated=rated, accuracy=1.0)
    assert (verdict.state, verdict.conclusion, verdict.savings_usd) == ("observing", None, None)
    assert verdict.reason.startswith("not known yet: selection accuracy is known ")
    [last] = verify(router, SETTINGS, APPLIED_AT + WEEK)
    assert (last.state, last.conclusion, last.savings_usd, last.savings_basis) == ("reverted", "unproven", None, None)
    assert last.reason.startswith("unproven: selection accuracy is known ")
    [accuracy] = [guard for guard in last.guards if guard.metric == "selectionAccuracy"]
    assert (accuracy.judgement, accuracy.change) == ("unknown", None)
    assert (accuracy.missing_sample or 0) == (0 if rated else 100)
    assert state_of(router, number) == "reverted"


@pytest.mark.parametrize(("undecided", "state"), [("revert", "reverted"), ("keep", "expired")])
def test_where_the_past_is_short_nothing_is_certain(engine: Engine, undecided: Any, state: str) -> None:
    """Two weeks have no twenty placebos: whatever the numbers say, in the end it cannot be told."""
    number = applied(prepared(engine, 2 * WEEK))
    settings = with_optimizer(undecided=undecided)
    store_hours(engine, hourly_rollups(APPLIED_AT, WEEK, seed=2, slow=0.9, errors=0.3))
    assert verify(engine, settings, APPLIED_AT + timedelta(hours=20), early=True) == ()
    [early] = verify(engine, settings, APPLIED_AT + 2 * DAY)
    assert (early.state, early.conclusion) == ("observing", None)
    assert early.goal is not None
    assert early.goal.change is not None
    assert early.goal.change.estimate == pytest.approx(0.6, abs=0.02)
    assert (early.goal.judgement, early.goal.change.low) == ("unclear", None)
    [last] = verify(engine, settings, APPLIED_AT + WEEK)
    assert (last.state, last.conclusion, last.savings_usd) == (state, "cannotBeTold", None)
    assert (last.placebo_spans or 0) < MINIMUM_SPANS
    assert last.false_verdicts_of_100 is None
    assert last.reason.startswith("cannot be told: 14 pretended changes fit into the past under the same config")
    assert state_of(engine, number) == state


def test_a_difference_within_chance_cannot_be_told(router: Engine) -> None:
    """Chance reaches farther than the margin of the goal: after the longest observation nothing is claimed."""
    applied(router)
    verdict = judged(router, WEEK)
    assert (verdict.state, verdict.conclusion, verdict.savings_usd) == ("reverted", "cannotBeTold", None)
    assert verdict.reason.startswith("cannot be told from chance in the longest time of observation: slow responses")


def test_an_incident_that_passes_is_not_the_changes_doing(router: Engine) -> None:
    """Three hours in which most calls failed are excluded, and reported."""
    applied(router)
    start = APPLIED_AT + timedelta(hours=9)
    down = pl.col("bucket").is_between(start, start + timedelta(hours=3), closed="left")
    errors = pl.when(down).then("count").otherwise("error_count")
    after = hourly_rollups(APPLIED_AT, LOOKED_AFTER, seed=2, slow=0.1).with_columns(error_count=errors)
    store_hours(router, after)
    [verdict] = verify(router, SETTINGS, APPLIED_AT + LOOKED_AFTER)
    assert (verdict.state, verdict.incident_hours, verdict.hours) == ("kept", 3, 22)


def test_a_class_of_requests_is_assessed_separately(router: Engine) -> None:
    """The model of simple requests was changed: effects on complex ones do not count."""
    number = applied(router, "routing.simple", "cheap")
    failed = pl.when(pl.col("complexity") == "complex").then(pl.col("count") // 4).otherwise("error_count")
    after = hourly_rollups(APPLIED_AT, LOOKED_AFTER, seed=2, usd=0.01).with_columns(error_count=failed)
    store_hours(router, after)
    [verdict] = verify(router, SETTINGS, APPLIED_AT + LOOKED_AFTER)
    assert verdict.state == "kept"
    assert verdict.savings_usd is not None
    served = after.filter(
        (pl.col("complexity") == "simple") & (pl.col("bucket") > APPLIED_AT)
    )["count"]  # fmt: skip
    assert verdict.savings_usd.estimate == pytest.approx(0.04 * int(served.head(25).sum()), rel=0.03)
    assert (verdict.savings_usd.low or 0) < verdict.savings_usd.estimate < (verdict.savings_usd.high or 0)
    assert state_of(router, number) == "kept"


def test_a_key_that_the_router_changed_since_is_not_reverted(router: Engine) -> None:
    """The router edits the key while it is observed: its value is not reverted, whatever the numbers say."""
    number = applied(router)
    set_by_hand(router, "cache.max_entries", 1500, by="router", reason="memory", now=APPLIED_AT + timedelta(hours=3))
    verdict = judged(router, slow=0.9)
    assert (verdict.state, state_of(router, number)) == ("expired", "expired")
    assert read_config(router)["cache.max_entries"].value == 1500


def test_hours_under_an_older_config_are_no_baseline(router: Engine) -> None:
    """A manual change on Thursday cuts the hours before: Monday is compared with Thursday and Friday alone."""
    set_by_hand(router, "routing.complex", "other", by="router", reason="trial", now=APPLIED_AT - 4 * DAY)
    applied(router)
    verdict = judged(router, slow=0.1)
    assert (verdict.state, verdict.matched_by, verdict.placebo_spans) == ("observing", "hour of the day", 0)
    assert verdict.goal is not None
    assert verdict.goal.sample_before <= 2 * 1300 * 48


def test_a_change_that_could_not_be_assessed_is_not_applied(router: Engine) -> None:
    """After a change on Sunday no working day is known under the present config, so Monday's would prove nothing."""
    set_by_hand(router, "routing.complex", "other", by="router", reason="trial", now=APPLIED_AT - DAY)
    [item] = propose(router, proposal("cache.max_entries", 2000, router))
    assert (item.status, item.note) == (
        "deferred",
        "waits for hours under the present config that the next ones can be compared with",
    )


# --- life and limits --------------------------------------------------------------------------------------------------


def test_the_wait_doubles_with_each_revert(router: Engine) -> None:
    """A day, then two, then four: no key oscillates."""
    now = APPLIED_AT
    for days in (2, 4, 8):
        [item] = propose(router, proposal("cache.max_entries", 2000, router), now=now)
        assert item.status == "applied"
        revert(router, item.optimization_id or 0, replace(ANNA, at=now))
        with reading(router) as connection:
            waits = [
                blocking_reason(connection, ["cache.max_entries"], SETTINGS, now + timedelta(days=days, hours=hours))
                for hours in (-1, 0)
            ]
        assert waits[0] is not None
        assert waits[1] is None
        now += timedelta(days=days) + DAY


def test_one_change_at_a_time_on_the_same_requests(router: Engine) -> None:
    """While the cache is observed no model is changed; classes of requests do not block each other."""
    applied(router)
    [item] = propose(router, proposal("routing.simple", "cheap", router))
    said = approve(router, item.optimization_id or 0, SETTINGS, ANNA)
    assert "waits until #1 (cache.max_entries) is judged" in said
    assert read_config(router)["routing.simple"].value == "costly"
    assert overlap(["routing.simple"], ["cache.max_entries"])
    assert not overlap(["routing.simple"], ["routing.complex"])


def test_what_was_approved_is_applied_when_it_can_be(router: Engine) -> None:
    """The next run applies it in the name of the person who approved it."""
    number = applied(router)
    [item] = propose(router, proposal("routing.simple", "cheap", router))
    approve(router, item.optimization_id or 0, SETTINGS, ANNA)
    revert(router, number, ANNA)
    propose(router, now=APPLIED_AT + timedelta(hours=6))
    assert read_config(router)["routing.simple"].value == "costly"
    propose(router, now=APPLIED_AT + DAY)
    assert read_config(router)["routing.simple"].value == "cheap"
    assert history(router, "routing.simple")[0].changed_by == "anna"


def test_a_decision_has_a_name_and_a_note_on_record(router: Engine) -> None:
    number = applied(router, "routing.simple", "cheap")
    steps = history_of(router, number)[1]
    assert [(step.to_state, step.by, step.reason) for step in steps[1:]] == [
        ("approved", "anna", "saves money"),
        ("applied", "anna", "saves money"),
    ]
    with pytest.raises(UsageError, match="a name of 1 to 200 letters"):
        Attribution(" ", "", APPLIED_AT)


def test_what_is_rejected_is_not_proposed_again_for_a_while(router: Engine) -> None:
    """The same proposal is not repeated for 30 days; another one is made."""
    [item] = propose(router, proposal("routing.simple", "cheap", router))
    reject(router, item.optimization_id or 0, ANNA)
    [again] = propose(router, proposal("routing.simple", "cheap", router), now=APPLIED_AT + DAY)
    assert (again.status, pending(router)) == ("deferred", ())
    assert (again.note or "").startswith("rejected by anna on 2026-09-21 (saves money)")
    [other] = propose(router, proposal("routing.simple", "cheaper", router), now=APPLIED_AT + DAY)
    assert other.status == "waiting"
    [late] = propose(router, proposal("routing.simple", "cheap", router), now=APPLIED_AT + 31 * DAY)
    assert late.status == "waiting"


def test_a_proposal_that_nobody_decides_on_expires(router: Engine) -> None:
    propose(router, proposal("routing.simple", "cheap", router))
    propose(router, now=APPLIED_AT + 8 * DAY)
    assert [row.state for row in list_optimizations(router)] == ["expired"]


def test_the_kill_switch_stops_everything_until_it_is_undone(router: Engine) -> None:
    """Nothing is proposed, applied, approved or reverted while it is on."""
    applied(router)
    stop(router, ANNA)
    [item] = propose(router, proposal("routing.simple", "cheap", router))
    assert "stopped by anna" in (item.note or "")
    assert verify(router, SETTINGS, APPLIED_AT + WEEK) == ()
    with pytest.raises(OptimizerStopped, match="stopped by anna"):
        approve(router, 1, SETTINGS, ANNA)
    resume(router, ANNA)
    [item] = propose(router, proposal("routing.simple", "cheap", router))
    assert item.status == "waiting"


def test_a_dry_run_logs_and_changes_nothing(router: Engine) -> None:
    from models.period import Period  # noqa: PLC0415

    evidence = DecisionContext(Period(APPLIED_AT - DAY, APPLIED_AT), APPLIED_AT, APPLIED_AT)
    items = (proposal("cache.max_entries", 2000, router), proposal("routing.simple", "cheap", router))
    reported = apply(router, items, SETTINGS, evidence, dry_run=True)
    assert [item.status for item in reported] == ["applied", "waiting"]
    assert list_optimizations(router) == []
    assert read_config(router)["cache.max_entries"].value == 1000
    assert [item.status for item in propose(router, *items)] == ["applied", "waiting"]


def test_only_what_may_follow_a_state_follows_it(router: Engine) -> None:
    number = applied(router)
    with pytest.raises(UnknownOptimization, match="is applied and cannot become approved"):
        approve(router, number, SETTINGS, ANNA)
    with pytest.raises(UnknownOptimization, match="is applied and cannot become rejected"):
        reject(router, number, ANNA)
    with pytest.raises(UnknownOptimization, match="optimization 99 does not exist"):
        revert(router, 99, ANNA)
    assert state_of(router, number) == "applied"


# --- many at once, and crashes ----------------------------------------------------------------------------------------


def test_two_runs_at_once_apply_once(router: Engine) -> None:
    """The second run finds the key changed."""
    items = (proposal("cache.max_entries", 2000, router),)
    with ThreadPoolExecutor(4) as pool:
        reported = [run.result()[0].status for run in [pool.submit(propose, router, *items) for _ in range(4)]]
    assert sorted(reported) == ["applied", "deferred", "deferred", "deferred"]
    assert read_config(router)["cache.max_entries"].version == 2


def test_a_router_that_edits_the_key_in_the_same_second_wins(router: Engine) -> None:
    """Both start from version 1; whichever order the database runs them in, no edit of the router's is lost."""
    items = (proposal("cache.max_entries", 2000, router),)

    def edit() -> None:
        set_by_hand(router, "cache.max_entries", 1500, by="router", reason="memory", now=APPLIED_AT)

    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.submit(propose, router, *items), pool.submit(edit)
        reported, _ = ours.result()[0], theirs.result()
    assert read_config(router)["cache.max_entries"].value == 1500
    assert reported.status in ("deferred", "applied")
    if reported.status == "deferred":
        assert [change.changed_by for change in history(router, "cache.max_entries")] == ["router", "router"]


CRASH = """
    import os, signal, sys
    from datetime import datetime, timedelta
    from sqlalchemy import event
    from models.database import open_database
    from tests.support.proposals import proposal, propose

    engine = open_database(sys.argv[1])
    items = (proposal("cache.max_entries", 2000, engine),)

    @event.listens_for(engine, "after_cursor_execute")
    def _die(connection, cursor, statement, *_):
        if statement.startswith("UPDATE config "):
            os.kill(os.getpid(), signal.SIGKILL)

    propose(engine, *items)
"""


def test_a_crash_between_config_and_audit_leaves_neither(router: Engine) -> None:
    """Killed right after the config was written, before its audit row: the database rolls the write back."""
    address = router.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", textwrap.dedent(CRASH), address]
    done = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    assert read_config(router)["cache.max_entries"].version == 1
    with reading(router) as connection:
        assert connection.execute(select(table_of(OptimizationTransition))).fetchall() == []
    [item] = propose(router, proposal("cache.max_entries", 2000, router))
    assert item.status == "applied"
