"""A switchback's timetable: whatever is killed, late, run twice or edited, a row explains the value in force."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count, pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st
from sqlalchemy import Engine, Row, func, select, update

from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.attribution import Attribution
from models.database import reading, writing
from models.documents import Verdict
from models.schema import CONFIG_CHANGE, OPTIMIZATION, TRIAL, TRIAL_BLOCK, TRIAL_STEP
from models.settings import Settings, parse_settings
from models.trials import SwitchbackPlan
from tasks.optimizer.apply import applied_in
from tasks.optimizer.decisions import resume, revert, stop
from tasks.optimizer.lifecycle import State as OptimizationState
from tasks.optimizer.lifecycle import Step, advance, propose
from tasks.optimizer.router_config import config_history, read_config, set_by_hand
from tasks.optimizer.switchback_timetable import (
    LATE_SHARE,
    advance_switchback,
    advance_switchbacks,
    flip_due,
    look_at,
    pairs_of,
    plan_blocks,
    start_switchback,
    switchback_obstacle,
    transient_minutes,
)
from tasks.optimizer.trials import advance_trials, method_of, start_trial
from tasks.rollups.aggregate import SELECTION_SCHEMA
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.switchbacks import (
    KEY,
    NEW,
    OLD,
    SETTINGS,
    TWELVE,
    blocks,
    recommended,
    started,
    trial,
    with_settings,
)

MINUTE, BLOCK = timedelta(minutes=1), timedelta(minutes=20)
ANNA = Attribution("anna", "by hand", MONDAY)
NUMBERS = count()


def optimization(engine: Engine, number: int) -> Row[Any]:
    with reading(engine) as connection:
        return connection.execute(select(OPTIMIZATION).where(OPTIMIZATION.c.id == number)).one()


def value(engine: Engine, key: str = KEY) -> Any:
    return read_config(engine)[key].value


def changes(engine: Engine, key: str = KEY) -> list[Row[Any]]:
    with reading(engine) as connection:
        query = select(CONFIG_CHANGE).where(CONFIG_CHANGE.c.key == key).order_by(CONFIG_CHANGE.c.id)
        return list(connection.execute(query).fetchall())


def served(engine: Engine, start: datetime, end: datetime, **rates: float) -> None:
    """Write what the router served in [start, end) under the config in force: ten requests a minute."""
    random = np.random.default_rng(int(start.timestamp()))
    size = int((end - start) / MINUTE) * 10
    of = rates if value(engine) == NEW else {}
    slow, failed = random.random(size) < of.get("slow", 0.3), random.random(size) < of.get("errors", 0.0)
    known = pl.when(pl.Series(~failed))
    frame = pl.select(
        timestamp=pl.Series([start + number * MINUTE / 10 for number in range(size)]),
        model_id=pl.lit("m"),
        response_time_ms=known.then(pl.Series(np.where(slow, 2_500.0, 800.0))),
        error=pl.Series(failed),
        accuracy=known.then(1.0),
        cost_usd=pl.lit(of.get("usd", 0.05)),
        cache_hit=pl.lit(value=False),
    )
    others = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in SELECTION_SCHEMA.items() if name not in frame.columns
    ]
    insert_selections(engine, frame.with_columns(others).select(*SELECTION_SCHEMA).cast(pl.Schema(SELECTION_SCHEMA)))


def over(engine: Engine, number: int, block: Row[Any], settings: Settings = SETTINGS) -> Verdict | None:
    """Let a block end and its rows be counted, the first of the next block with them; return the verdict."""
    flip_due(engine, settings, block.ends_at + timedelta(seconds=4))
    insert_selections(engine, selections({"timestamp": block.ends_at, "error": False}))
    now = block.ends_at + 6 * MINUTE
    update_rollups(engine, rollup_settings(settings), now=now)
    return advance_switchback(engine, number, settings, now)


def lived(
    engine: Engine, number: int, settings: Settings = SETTINGS, *, until: int = 16, **rates: float
) -> Verdict | None:
    """Run a switchback as a monitor does: flip at each block's start, count, and judge; return the last verdict."""
    verdict = None
    flip_due(engine, settings, blocks(engine, number)[0].starts_at + timedelta(seconds=4))
    for block in blocks(engine, number)[:until]:
        served(engine, block.starts_at, block.ends_at, **rates)
        if block.number % 2 == 0:
            flip_due(engine, settings, block.ends_at + timedelta(seconds=4))
            continue
        verdict = over(engine, number, block, settings) or verdict
        if trial(engine, number).state != "running":
            break
    return verdict


# --- the plan ---------------------------------------------------------------------------------------------------------


@trying(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), pairs=st.integers(6, 60), minutes=st.integers(10, 600))
def test_a_timetable_is_pairs_of_both_values_without_gaps_and_the_same_for_the_same_seed(
    seed: int, pairs: int, minutes: int
) -> None:
    plan = SwitchbackPlan(
        seed=seed,
        keys=(),
        complexity=None,
        block_minutes=minutes,
        wash_out_minutes=5,
        minimum_pairs=6,
        maximum_pairs=pairs,
    )
    planned = plan_blocks(plan, MONDAY)
    assert planned == plan_blocks(plan, MONDAY)
    assert len(planned) == 2 * pairs
    for first, second in zip(planned[::2], planned[1::2], strict=True):
        assert first.is_candidate is not second.is_candidate
    for before, after in pairwise(planned):
        assert before.ends_at == after.starts_at
    assert all(it.starts_at.second == 0 and it.ends_at - it.starts_at == minutes * MINUTE for it in planned)


def test_the_order_within_pairs_is_a_fair_coin() -> None:
    plan = SwitchbackPlan(
        seed=0, keys=(), complexity=None, block_minutes=120, wash_out_minutes=5, minimum_pairs=6, maximum_pairs=40
    )
    first = [
        block.is_candidate
        for seed in range(50)
        for block in plan_blocks(plan.model_copy(update={"seed": seed}), MONDAY)[::2]
    ]
    assert 0.46 < np.mean(first) < 0.54


def test_a_start_keeps_the_old_value_until_the_first_whole_hour(engine: Engine) -> None:
    number = started(engine, at=MONDAY + 7 * MINUTE)
    assert value(engine) == OLD
    assert optimization(engine, number).state == "applied"
    assert blocks(engine, number)[0].starts_at == MONDAY + timedelta(hours=1)
    assert flip_due(engine, SETTINGS, MONDAY + 59 * MINUTE) == ()
    assert len(changes(engine)) == 1


def test_a_key_that_was_edited_before_the_start_starts_nothing(engine: Engine) -> None:
    version = set_by_hand(engine, KEY, OLD, by="router", reason="default", now=MONDAY)
    item = recommended((KEY, OLD, NEW, version))
    set_by_hand(engine, KEY, 1_500, by="anna", reason="mine", now=MONDAY)
    step = Step("routewatch", "r", MONDAY)
    with writing(engine) as connection:
        made: dict[str, Any] = {
            "type": item.type,
            "subject": KEY,
            "recommendation": {},
            "period_start": MONDAY,
            "period_end": MONDAY,
        }
        number = propose(connection, made, step)
        advance(connection, number, OptimizationState.AUTO_APPLIED, step)
        with pytest.raises(Exception, match="version"):
            start_switchback(connection, number, item, SETTINGS, step)
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(TRIAL)) == 0


# --- flips ------------------------------------------------------------------------------------------------------------


def test_each_block_has_its_value_and_every_flip_its_audit_row(engine: Engine) -> None:
    number = started(engine)
    for block in blocks(engine, number):
        flip_due(engine, SETTINGS, block.starts_at + timedelta(seconds=3))
        assert value(engine) == (NEW if block.is_candidate else OLD)
    rows = changes(engine)[1:]
    planned = [it.is_candidate for it in blocks(engine, number)]
    assert len(rows) == sum(now is not before for before, now in zip([False, *planned], planned, strict=False))
    assert all(row.optimization_id == number and row.reason.startswith("switchback, block") for row in rows)
    assert [row.to_value for row in rows] == [NEW if index % 2 == 0 else OLD for index in range(len(rows))]
    assert sum(row.reverted_by is None for row in rows) == int(planned[-1])


def test_after_the_last_block_the_old_value_is_in_force_until_it_is_decided(engine: Engine) -> None:
    number = started(engine)
    last = blocks(engine, number)[-1]
    flip_due(engine, SETTINGS, last.starts_at)
    flip_due(engine, SETTINGS, last.ends_at + MINUTE)
    assert value(engine) == OLD
    assert trial(engine, number).state == "running"


def test_two_processes_at_once_flip_once(engine: Engine) -> None:
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number]:
        flip_due(engine, SETTINGS, block.starts_at)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(flip_due, engine, SETTINGS, first.starts_at + MINUTE) for _ in range(4)]
        done = [run.result() for run in runs]
    assert sorted(map(len, done)) == [0, 0, 0, 1]
    assert [row.to_value for row in changes(engine)] == [OLD, NEW]


def test_a_flip_that_is_missed_leaves_the_old_value_and_its_pair_is_left_out_and_named(engine: Engine) -> None:
    """A process that comes back later than a fifth of the block: that pair has no second chance."""
    number = started(engine, seed=3)
    planned = blocks(engine, number)
    flip_due(engine, SETTINGS, planned[0].starts_at)
    late = planned[1].starts_at + LATE_SHARE * BLOCK + MINUTE
    flip_due(engine, SETTINGS, late)
    assert value(engine) == OLD
    assert [it.state for it in blocks(engine, number)[:2]] == ["done", "missed"]
    assert "5 minutes later" in blocks(engine, number)[1].note
    flip_due(engine, SETTINGS, planned[2].starts_at + MINUTE)
    assert blocks(engine, number)[2].state == "running"


def test_a_block_whose_pair_is_out_already_is_not_flipped_to(engine: Engine) -> None:
    number = started(engine, seed=3)
    planned = blocks(engine, number)
    flip_due(engine, SETTINGS, planned[0].starts_at + BLOCK / 2)
    flip_due(engine, SETTINGS, planned[1].starts_at)
    assert [it.state for it in blocks(engine, number)[:2]] == ["missed", "missed"]
    assert value(engine) == OLD


def test_a_process_that_was_dead_for_a_day_restores_the_old_value_and_flips_nothing_twice(engine: Engine) -> None:
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number + 1]:
        flip_due(engine, SETTINGS, block.starts_at)
    assert value(engine) == NEW
    flip_due(engine, SETTINGS, MONDAY + timedelta(days=1))
    assert value(engine) == OLD
    states = [it.state for it in blocks(engine, number)]
    assert states[: first.number + 1] == ["done"] * (first.number + 1)
    assert set(states[first.number + 1 :]) == {"missed"}


def test_a_clock_set_back_amid_a_block_restores_the_old_value(engine: Engine) -> None:
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number + 1]:
        flip_due(engine, SETTINGS, block.starts_at)
    flip_due(engine, SETTINGS, first.starts_at - timedelta(seconds=30))
    assert value(engine) == NEW, "clocks of two machines differ by seconds"
    flip_due(engine, SETTINGS, first.starts_at - timedelta(hours=2))
    assert value(engine) == OLD
    assert "clock" in blocks(engine, number)[first.number].note
    flip_due(engine, SETTINGS, first.starts_at)
    assert value(engine) == OLD, "no block is flipped to twice"


def test_what_a_clock_a_year_ahead_has_planned_is_aborted_once_it_is_right(engine: Engine) -> None:
    """Else nothing else could be tried for a year; the old value is in force."""
    year = timedelta(days=365)
    number = started(engine, at=MONDAY + year)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number + 1]:
        flip_due(engine, SETTINGS, block.starts_at)
    assert value(engine) == NEW
    [told] = flip_due(engine, SETTINGS, MONDAY)
    assert "clock was set back" in told
    assert (value(engine), trial(engine, number).state) == (OLD, "aborted")
    assert optimization(engine, number).state == "expired"


def test_a_person_who_edits_the_key_amid_it_wins(engine: Engine) -> None:
    """Theirs stays, whatever block is due, and it is told; nothing else is changed ever after."""
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number + 1]:
        flip_due(engine, SETTINGS, block.starts_at)
    set_by_hand(engine, KEY, 1_500, by="anna", reason="memory", now=first.starts_at)
    told = flip_due(engine, SETTINGS, first.starts_at + 5 * MINUTE)
    assert told == (f"the router or a person has changed {KEY} since: it is theirs now",)
    assert trial(engine, number).state == "aborted"
    row = optimization(engine, number)
    assert (row.state, row.verdict["method"], row.verdict["state"]) == ("expired", "switchback", "expired")
    for block in blocks(engine, number):
        assert flip_due(engine, SETTINGS, block.starts_at) == ()
    assert (value(engine), changes(engine)[-1].changed_by) == (1_500, "anna")


def test_a_person_who_sets_the_very_value_that_is_in_force_wins_too(engine: Engine) -> None:
    number = started(engine)
    flip_due(engine, SETTINGS, blocks(engine, number)[0].starts_at)
    set_by_hand(engine, KEY, value(engine), by="anna", reason="I want it so", now=MONDAY)
    for block in blocks(engine, number)[1:4]:
        flip_due(engine, SETTINGS, block.starts_at)
    assert trial(engine, number).state == "aborted"
    assert changes(engine)[-1].changed_by == "anna"


def test_a_person_who_takes_it_back_amid_a_block_gets_the_old_value_at_once(engine: Engine) -> None:
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number + 1]:
        flip_due(engine, SETTINGS, block.starts_at)
    revert(engine, number, ANNA)
    assert value(engine) == OLD
    assert (trial(engine, number).state, optimization(engine, number).state) == ("aborted", "reverted")
    assert flip_due(engine, SETTINGS, first.ends_at) == ()


def test_while_the_optimizer_is_stopped_nothing_is_flipped(engine: Engine) -> None:
    """As ever: the kill switch freezes what is in force. What passes meanwhile is missed."""
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number + 1]:
        flip_due(engine, SETTINGS, block.starts_at)
    stop(engine, ANNA)
    assert flip_due(engine, SETTINGS, first.ends_at + 10 * BLOCK) == ()
    assert value(engine) == NEW
    resume(engine, ANNA)
    flip_due(engine, SETTINGS, first.ends_at + timedelta(days=1))
    assert value(engine) == OLD


def test_a_trial_whose_row_cannot_be_read_does_not_keep_the_others_from_their_flips(engine: Engine) -> None:
    broken, whole = started(engine, "limits.parallel"), started(engine)
    with writing(engine) as connection:
        connection.execute(update(TRIAL).where(TRIAL.c.optimization_id == broken).values(plan={"seed": "none"}))
    first = next(it for it in blocks(engine, whole) if it.is_candidate)
    for block in blocks(engine, whole)[: first.number + 1]:
        with pytest.raises(ValueError, match="SwitchbackPlan"):
            flip_due(engine, SETTINGS, block.starts_at)
    assert value(engine) == NEW
    with pytest.raises(ValueError, match="SwitchbackPlan"):
        advance_switchbacks(engine, SETTINGS, first.ends_at)
    assert value(engine, "limits.parallel") == OLD


CRASH = """
    import os, signal, sys
    from datetime import datetime
    from sqlalchemy import event
    from models.database import open_database
    from tasks.optimizer.switchback_timetable import flip_due
    from tests.support.switchbacks import SETTINGS

    engine = open_database(sys.argv[1])
    statements = 0

    @event.listens_for(engine, "after_cursor_execute")
    def _die(connection, cursor, statement, *_):
        global statements
        if statement.startswith(("UPDATE", "INSERT")):
            statements += 1
            if statements == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)

    flip_due(engine, SETTINGS, datetime.fromisoformat(sys.argv[2]))
"""


@pytest.mark.parametrize("written", [*(pytest.param(it, marks=pytest.mark.slow) for it in (1, 2, 4)), 3])
def test_a_process_killed_amid_a_flip_has_not_flipped(engine: Engine, written: int) -> None:
    """Killed after each of its writes: block, trial, config, audit row. The next process flips, once."""
    number = started(engine)
    first = next(it for it in blocks(engine, number) if it.is_candidate)
    for block in blocks(engine, number)[: first.number]:
        flip_due(engine, SETTINGS, block.starts_at)
    before = [it.state for it in blocks(engine, number)]
    address = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", textwrap.dedent(CRASH), address, first.starts_at.isoformat(), str(written)]
    done = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    assert (value(engine), [it.state for it in blocks(engine, number)]) == (OLD, before)
    assert len(changes(engine)) == 1
    flip_due(engine, SETTINGS, first.starts_at + MINUTE)
    assert (value(engine), len(changes(engine))) == (NEW, 2)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "flip", "flip", "flip", "twice", "fail", "stop", "edit"]),
        st.floats(-3, 6).map(lambda it: round(it, 2)) | st.just(1.0) | st.floats(0, 0.3),
    ),
    min_size=1,
    max_size=14,
)


@trying(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, seed=st.integers(0, 100))
def test_whatever_happens_when_the_value_in_force_is_explained(  # noqa: PLR0912 - a branch for each event
    engine: Engine, events: list[tuple[str, float]], seed: int
) -> None:
    """Processes that die, come late or together, clocks that jump either way, people who edit or stop.

    After each: the config is at the last audit row; the new value is in force only in a block that runs; no block
    begins twice or counts without having run; what a person set stays.
    """
    key = f"cache.key_{next(NUMBERS)}"
    number = started(engine, key, seed=seed)
    now, seen, theirs = MONDAY + timedelta(hours=1), blocks(engine, number), None
    for what, later in events:
        now += later * BLOCK
        if what == "edit" and theirs is None and later > 2:
            theirs = set_by_hand(engine, key, 7, by="anna", reason="mine", now=now)
        if what == "stop":
            stop(engine, ANNA)
            flip_due(engine, SETTINGS, now)
            resume(engine, ANNA)
        elif what == "twice":
            with ThreadPoolExecutor(2) as pool:
                for run in [pool.submit(flip_due, engine, SETTINGS, now) for _ in range(2)]:
                    run.result()
        else:
            flip_due(engine, SETTINGS, now) if what != "fail" else None
        if what == "fail":
            continue
        if what == "stop":
            flip_due(engine, SETTINGS, now)
        setting, rows, found = read_config(engine)[key], changes(engine, key), blocks(engine, number)
        assert (setting.value, setting.version) == (rows[-1].to_value, rows[-1].version)
        running = [it for it in found if it.state == "running"]
        assert len(running) <= 1
        if theirs is None:
            assert setting.value == (NEW if any(it.is_candidate for it in running) else OLD)
        else:
            assert setting.version == theirs
            assert trial(engine, number).state == "aborted"
        for before, after in zip(seen, found, strict=True):
            if before.state in ("done", "missed"):
                assert after == before
            assert before.started_at in (None, after.started_at)
            if after.started_at is not None:
                assert after.started_at - after.starts_at <= LATE_SHARE * BLOCK
            if after.state == "done":
                assert after.ended_at >= after.ends_at
        seen = found
    with writing(engine) as connection:
        connection.execute(update(TRIAL).where(TRIAL.c.optimization_id == number).values(state="aborted"))


# --- a whole one ------------------------------------------------------------------------------------------------------


def test_what_helps_is_kept_and_set_once(engine: Engine) -> None:
    settings = TWELVE
    number = started(engine, settings=settings)
    verdict = lived(engine, number, settings, until=24, slow=0.02, usd=0.02)
    assert verdict is not None
    assert (verdict.state, verdict.method, verdict.conclusion) == ("kept", "switchback", "better"), verdict.reason
    assert value(engine) == NEW
    row = trial(engine, number)
    assert (row.state, optimization(engine, number).state) == ("promoted", "kept")
    assert verdict.trial is not None
    pairs = verdict.trial.pairs
    assert pairs in (10, 11, 12)
    assert (verdict.trial.planned_pairs, verdict.trial.missed_pairs) == (12, 0)
    assert verdict.trial.wash_out_minutes == 5
    assert [it.action for it in verdict.trial.steps] == ["start", "promote"]
    assert {point.metric for point in verdict.trial.series} >= {"slowShare", "averageCost"}
    assert verdict.savings_basis == "measured"
    assert verdict.savings_usd is not None
    # Of each block what follows its first six minutes, at three cents less.
    assert verdict.savings_usd.estimate == pytest.approx(pairs * 140 * 0.03)
    assert sum(it.reverted_by is None and it.to_value == NEW for it in changes(engine)) == 1
    count_before = len(changes(engine))
    assert advance_trials(engine, settings, blocks(engine, number)[-1].ends_at + timedelta(days=2)) == ()
    assert flip_due(engine, settings, blocks(engine, number)[-1].ends_at + timedelta(days=2)) == ()
    assert (len(changes(engine)), value(engine)) == (count_before, NEW)


def test_what_harms_is_taken_back_as_soon_as_the_minimum_of_pairs_is_over(engine: Engine) -> None:
    number = started(engine, settings=TWELVE)
    verdict = lived(engine, number, TWELVE, until=24, errors=0.6)
    assert verdict is not None
    assert (verdict.state, verdict.conclusion) == ("reverted", "worse"), verdict.reason
    assert verdict.trial is not None
    assert verdict.trial.pairs == 10
    assert value(engine) == OLD
    assert (trial(engine, number).state, optimization(engine, number).state) == ("rolledBack", "reverted")
    assert all(it.reverted_by is not None for it in changes(engine)[1:])


@pytest.mark.parametrize(("undecided", "state", "ends_at"), [("revert", "reverted", OLD), ("keep", "expired", NEW)])
def test_what_cannot_be_told_ends_as_the_settings_say(
    sqlite_engine: Engine, undecided: str, state: str, ends_at: int
) -> None:
    settings = with_settings(undecided=undecided)
    number = started(sqlite_engine, settings=settings)
    verdict = lived(sqlite_engine, number, settings)
    assert verdict is not None
    assert (verdict.state, verdict.conclusion) == (state, "cannotBeTold"), verdict.reason
    assert value(sqlite_engine) == ends_at
    assert trial(sqlite_engine, number).state == "undecided"
    assert verdict.savings_usd is None


def test_missed_pairs_are_named_in_the_verdict_and_not_counted(sqlite_engine: Engine) -> None:
    number = started(sqlite_engine)
    with writing(sqlite_engine) as connection:
        late = TRIAL_BLOCK.c.number.in_([2, 3, 6, 7])
        connection.execute(update(TRIAL_BLOCK).where(late).values(state="missed", note="nothing ran"))
    verdict = lived(sqlite_engine, number)
    assert verdict is not None
    assert verdict.trial is not None
    assert (verdict.trial.pairs, verdict.trial.missed_pairs) == (6, 2)
    assert "left out as missed: pair 2, 4 of 8" in verdict.reason


def test_two_processes_that_judge_at_once_end_it_once(engine: Engine) -> None:
    number = started(engine, settings=TWELVE)
    lived(engine, number, TWELVE, until=19, errors=0.9)
    block = blocks(engine, number)[19]
    served(engine, block.starts_at, block.ends_at, errors=0.9)
    flip_due(engine, TWELVE, block.ends_at)
    insert_selections(engine, selections({"timestamp": block.ends_at, "error": False}))
    now = block.ends_at + 6 * MINUTE
    update_rollups(engine, rollup_settings(TWELVE), now=now)
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(advance_switchback, engine, number, TWELVE, now) for _ in range(3)]
        verdicts = [it for it in (run.result() for run in runs) if it is not None]
    assert [it.state for it in verdicts].count("reverted") <= 1
    assert (value(engine), optimization(engine, number).state) == (OLD, "reverted")
    with reading(engine) as connection:
        ends = select(func.count()).select_from(TRIAL_STEP).where(TRIAL_STEP.c.action == "rollBack")
        assert connection.scalar(ends) == 1


# --- what a block holds -----------------------------------------------------------------------------------------------


def test_a_block_counts_its_minutes_after_the_wash_out_and_no_later_rows(engine: Engine) -> None:
    number = started(engine)
    lived(engine, number, until=2)
    [first, *_] = blocks(engine, number)
    # The flip was seconds late: the wash-out begins with the next whole minute.
    assert first.sums["from"] == (first.starts_at + 6 * MINUTE).isoformat()
    assert first.sums["count"] == 14 * 10
    insert_selections(engine, selections({"timestamp": first.starts_at + 10 * MINUTE, "error": True}))
    update_rollups(engine, rollup_settings(SETTINGS), now=first.ends_at + 10 * MINUTE)
    advance_switchback(engine, number, SETTINGS, first.ends_at + 10 * MINUTE)
    assert blocks(engine, number)[0].sums == first.sums


def test_a_block_is_not_read_before_its_late_rows_have_come(sqlite_engine: Engine) -> None:
    """Not five minutes after its end, nor while the rollups are behind; without newer rows, three hours."""
    engine, number = sqlite_engine, started(sqlite_engine)
    first, second = blocks(engine, number)[:2]
    flip_due(engine, SETTINGS, first.starts_at)
    served(engine, first.starts_at, first.ends_at)
    flip_due(engine, SETTINGS, second.starts_at)
    for counted_at, now, is_read in (
        (4 * MINUTE, 4 * MINUTE, False),
        (4 * MINUTE, timedelta(hours=4), False),
        (6 * MINUTE, 6 * MINUTE, False),
        (timedelta(hours=3), timedelta(hours=3), True),
    ):
        update_rollups(engine, rollup_settings(SETTINGS), now=first.ends_at + counted_at)
        advance_switchback(engine, number, SETTINGS, first.ends_at + now)
        assert (blocks(engine, number)[0].sums is not None) is is_read


def test_a_block_whose_minutes_are_gone_is_missed_and_says_so(sqlite_engine: Engine) -> None:
    number = started(sqlite_engine)
    block = blocks(sqlite_engine, number)[0]
    flip_due(sqlite_engine, SETTINGS, block.starts_at)
    served(sqlite_engine, block.starts_at, block.ends_at)
    now = block.ends_at + timedelta(days=4)
    flip_due(sqlite_engine, SETTINGS, now)
    # Rollups that begin now have minutes of the last two days.
    update_rollups(sqlite_engine, rollup_settings(SETTINGS), now=now)
    advance_switchback(sqlite_engine, number, SETTINGS, now)
    found = blocks(sqlite_engine, number)[0]
    assert (found.state, found.sums) == ("missed", None)
    assert "no longer kept" in found.note


def test_a_block_without_requests_is_no_pair_and_no_error(sqlite_engine: Engine) -> None:
    number = started(sqlite_engine)
    for block in blocks(sqlite_engine, number):
        flip_due(sqlite_engine, SETTINGS, block.starts_at)
    last = blocks(sqlite_engine, number)[-1].ends_at
    insert_selections(sqlite_engine, selections({"timestamp": last, "error": False}))
    flip_due(sqlite_engine, SETTINGS, last)
    update_rollups(sqlite_engine, rollup_settings(SETTINGS), now=last + 6 * MINUTE)
    verdict = advance_switchback(sqlite_engine, number, SETTINGS, last + 6 * MINUTE)
    assert verdict is not None
    assert (verdict.conclusion, value(sqlite_engine)) == ("cannotBeTold", OLD)
    assert pairs_of(blocks(sqlite_engine, number)) == ()


# --- wash-out ---------------------------------------------------------------------------------------------------------


def _flips(settles: int, effect: float, seed: int = 1) -> tuple[list[Any], list[dict[str, Any]], SwitchbackPlan]:
    """Return blocks of two hours whose hit rate reaches its level `settles` minutes after a flip."""
    plan = SwitchbackPlan(
        seed=seed, keys=(), complexity=None, block_minutes=120, wash_out_minutes=5, minimum_pairs=6, maximum_pairs=15
    )
    random, planned = np.random.default_rng(seed), plan_blocks(plan, MONDAY)
    sums, rate = [], 0.3
    for block in planned:
        goal, begins, bins = (0.3 + effect if block.is_candidate else 0.3), rate, []
        for number in range(24):
            reached = min((number + 0.5) * 5 / settles, 1.0) if settles else 1.0
            rate = begins + (goal - begins) * reached
            bins.append([int(random.binomial(300, rate)), 300])
        sums.append({"number": block.number, "transient": bins})
    return list(planned), sums, plan


@pytest.mark.parametrize(("settles", "at_least", "at_most"), [(0, 0, 0), (30, 15, 35), (55, 35, 60), (110, 61, 120)])
def test_the_wash_out_is_measured_where_the_hit_rate_shows_when_it_has_settled(
    settles: int, at_least: int, at_most: int
) -> None:
    found = transient_minutes(*_flips(settles, 0.25))
    assert found is not None
    assert at_least <= found <= at_most


def test_without_an_effect_or_with_few_flips_no_wash_out_is_measured() -> None:
    assert transient_minutes(*_flips(60, 0.0)) == 0
    planned, sums, plan = _flips(60, 0.25)
    assert transient_minutes(planned, sums[:5], plan) is None


# --- which keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "before", "after", "found"),
    [
        ("cache.max_entries", 1_000, 2_000, None),
        ("cache.ttl_seconds", 900, 1_800, None),
        ("cache.ttl_seconds", 900, 86_400, "live up to 1,440 minutes"),
        ("cache.key_strategy", "exact", "semantic", "entries stored under"),
        ("cache.eviction_policy", "fifo", "lru", "cannot be switched back"),
        ("limits.parallel", 4, 8, None),
    ],
)
def test_a_cache_that_forgets_what_it_had_is_judged_before_and_after_and_says_why(
    sqlite_engine: Engine, key: str, before: Any, after: Any, found: str | None
) -> None:
    settings = Settings.model_validate({"optimizer": {"trial": "switchback"}})
    version = set_by_hand(sqlite_engine, key, before, by="router", reason="default", now=MONDAY)
    item, step = recommended((key, before, after, version)), Step("routewatch", "because", MONDAY)
    obstacle = switchback_obstacle(item, settings)
    assert (obstacle is None) is (found is None)
    with writing(sqlite_engine) as connection:
        made: dict[str, Any] = {
            "type": item.type,
            "subject": key,
            "recommendation": {},
            "period_start": MONDAY,
            "period_end": MONDAY,
        }
        number = propose(connection, made, step)
        advance(connection, number, OptimizationState.AUTO_APPLIED, step)
        method = method_of(connection, item, settings)
        assert start_trial(connection, number, item, settings, step) == method
    assert method == ("switchback" if found is None else "beforeAfter")
    if found is not None:
        assert found in (obstacle or "")
        assert found in changes(sqlite_engine, key)[-1].reason


def test_the_wash_out_is_at_least_as_long_as_entries_live(sqlite_engine: Engine) -> None:
    version = set_by_hand(sqlite_engine, "cache.ttl_seconds", 900, by="router", reason="default", now=MONDAY)
    item, step = recommended(("cache.ttl_seconds", 900, 1_801, version)), Step("routewatch", "because", MONDAY)
    with writing(sqlite_engine) as connection:
        made: dict[str, Any] = {
            "type": item.type,
            "subject": "s",
            "recommendation": {},
            "period_start": MONDAY,
            "period_end": MONDAY,
        }
        number = propose(connection, made, step)
        advance(connection, number, OptimizationState.AUTO_APPLIED, step)
        start_switchback(connection, number, item, Settings(), step)
    assert SwitchbackPlan.model_validate(trial(sqlite_engine, number).plan).wash_out_minutes == 31


def test_nothing_new_is_no_new_verdict(sqlite_engine: Engine) -> None:
    number = started(sqlite_engine)
    assert lived(sqlite_engine, number, until=2) is not None
    after = blocks(sqlite_engine, number)[1].ends_at + 8 * MINUTE
    assert look_at(sqlite_engine, number, SETTINGS, after) is None
    assert optimization(sqlite_engine, number).state == "observing"


def test_a_report_tells_one_change_not_each_flip(sqlite_engine: Engine) -> None:
    """Sixteen blocks are one change of one key, and at its end the old value is back: two rows at most."""
    engine, number = sqlite_engine, started(sqlite_engine)
    start, end = MONDAY + MINUTE, MONDAY + timedelta(days=1)
    for block in blocks(engine, number):
        flip_due(engine, SETTINGS, block.starts_at)
    assert len(changes(engine)) > 6
    assert [(it.from_value, it.to_value) for it in applied_in(engine, start, end)] == [(OLD, NEW)]
    flip_due(engine, SETTINGS, blocks(engine, number)[-1].ends_at)
    update_rollups(engine, rollup_settings(SETTINGS), now=end)
    advance_switchback(engine, number, SETTINGS, end)
    told = [(it.from_value, it.to_value) for it in config_history(engine, start, end)]
    assert told == [(OLD, NEW), (NEW, OLD)]
    set_by_hand(engine, "limits.parallel", 4, by="anna", reason="r", now=end)
    assert len(config_history(engine, start, end)) == 3, "what others changed is told"


@pytest.mark.slow
def test_a_whole_switchback_on_the_simulated_router(sqlite_engine: Engine) -> None:
    """A cache of a hundred entries against one of four thousand: better, measured, and kept."""
    engine, settings = sqlite_engine, parse_settings({"optimizer": {"trial": "switchback"}}, "test")
    for key, setting in (DEFAULT_CONFIG | {KEY: 100}).items():
        set_by_hand(engine, key, setting, by="router", reason="default", now=MONDAY)
    item, step = recommended((KEY, 100, 4_000, 1)), Step("routewatch", "because of slow_response", MONDAY)
    with writing(engine) as connection:
        made: dict[str, Any] = {
            "type": item.type, "subject": KEY, "recommendation": item.model_dump(mode="json", by_alias=True),
            "period_start": MONDAY, "period_end": MONDAY,
        }  # fmt: skip
        number = propose(connection, made, step)
        advance(connection, number, OptimizationState.AUTO_APPLIED, step)
        assert start_trial(connection, number, item, settings, step) == "switchback"
    verdict = None
    for block in blocks(engine, number):
        flip_due(engine, settings, block.starts_at + timedelta(seconds=3))
        config = {key: it.value for key, it in read_config(engine).items()}
        insert_selections(engine, simulate(block.starts_at, block.ends_at, config, requests_per_hour=600))
        if block.number % 2:
            # The next block's requests have begun to come.
            flip_due(engine, settings, block.ends_at + timedelta(seconds=3))
            later = block.ends_at + 6 * MINUTE
            insert_selections(engine, selections({"timestamp": block.ends_at, "request_id": f"n{block.number}"}))
            update_rollups(engine, rollup_settings(settings), now=later)
            verdict = advance_switchback(engine, number, settings, later) or verdict
        if trial(engine, number).state != "running":
            break
    assert verdict is not None
    assert (verdict.state, verdict.conclusion) == ("kept", "better"), verdict.reason
    assert verdict.savings_usd is not None
    assert verdict.savings_usd.low is not None
    assert verdict.savings_usd.low > 0
    assert value(engine) == 4_000
