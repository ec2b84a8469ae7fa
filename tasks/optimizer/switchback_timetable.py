"""Switchback: the timetable of blocks in which the old and the new value of a setting take turns, and its life.

    planned → running → done        what counts once its sums are read
            ↘ missed   ↙            never started, too late, or its minutes are gone: its pair is left out

A flip is one transaction: the config by compare-and-set, the audit row, and the states of the blocks that end and
begin. It goes ahead only where the block is still planned, so that a block is flipped to once, whoever calls, however
often, and wherever a process was killed. Without a block that runs, the old value is in force. A key that somebody
else has changed is theirs: the trial ends, and nothing is set.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import polars as pl
from sqlalchemy import Connection, Engine, Row, insert, select, update

from models.clock import TOLERANCE
from models.database import reading, writing
from models.documents import Conclusion, Recommendation, TrialStepTaken, TrialSummary, Verdict
from models.errors import ConfigConflict
from models.period import Level, floor_to, next_start
from models.schema import CONFIG_CHANGE, OPTIMIZATION, ROLLUP, TRIAL, TRIAL_BLOCK, OptimizationState, TrialState
from models.settings import Settings
from models.trials import SwitchbackPlan, SwitchedKey
from routewatch.rollout import ROLLOUT_PREFIX
from tasks.optimizer.change_metrics import metrics_of
from tasks.optimizer.hour_grid import METRIC_SUMS
from tasks.optimizer.lifecycle import (
    ACTOR,
    OBSERVED,
    STOPPED_KEY,
    Step,
    advance,
    lock_optimizer,
    only_class_of,
    recommendation_of,
    stop_reason,
)
from tasks.optimizer.queries import get_optimization
from tasks.optimizer.router_config import ChangeOrigin, conflict, read_key, set_value
from tasks.optimizer.switchback import BlockPair, SwitchbackReading, conclude_switchback, read_switchback
from tasks.optimizer.trial_rows import add_step, add_trial, change_trial, steps_of, trial_of
from tasks.optimizer.verdict_rows import (
    LATE_ARRIVAL_GRACE,
    booked_saving,
    record_conclusion,
    record_observation,
    report_revert,
    state_of,
    steps_taken,
    superseded_reason,
)
from tasks.rollups.checkpoint import read_known_checkpoint
from tasks.rollups.store import aggregate_rollups, between
from tasks.run_logger import logger

State = OptimizationState
BlockState = Literal["planned", "running", "done", "missed"]

LATE_SHARE = 0.2
"""Part of a block that may have passed when it is flipped to; later it is missed, and its pair with it."""

PULLED_GRACE = timedelta(minutes=70)
"""LATE_ARRIVAL_GRACE where selections are pulled, which the hourly flow does."""

QUIET_GRACE = timedelta(hours=3)
"""A block is read this long after its end, even if no selection after its end has come: there may be no traffic."""

DEADLINE_GRACE = timedelta(hours=24)
"""How long after the last block the trial ends at the latest."""

LONGEST_AHEAD = timedelta(hours=25)
"""The next block begins no later from now, or within two blocks; else the clock was set back, and the trial is aborted.
"""

TRANSIENT_MINUTES = 5
"""Length of the bins in which the cache hit rate after a flip is looked at, to see when it has settled."""

TRANSIENT_BLOCKS = 4
"""Flips to either value that the measured wash-out needs."""

TRANSIENT_ERRORS = 3.0
"""Standard errors by which the effect in a bin differs from that of the block's second half until it has settled."""

FORGETFUL_KEYS: Mapping[str, str] = {
    "cache.key_strategy": "entries stored under the keys of one strategy are not found under those of the other",
    "cache.eviction_policy": "which entries are left is what the policies decided for long before",
}
"""Keys whose old value does not bring back what it had within a block, and why: they are judged before and after."""

TTL_KEY = "cache.ttl_seconds"


class PlannedBlock(NamedTuple):
    """One block as planned: [starts_at, ends_at) with the candidate's or the baseline's value."""

    number: int
    is_candidate: bool
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Due:
    """What a timetable asks for at one time. `is_candidate`: which value is in force from now on.

    `is_out_of_time`: its next block is so far ahead that the clock must have been set back since it was planned.
    """

    missed: tuple[tuple[int, str], ...]
    ended: int | None
    started: int | None
    is_candidate: bool
    is_out_of_time: bool = False


@dataclass(frozen=True)
class SwitchbackLook:
    """A switchback as it was read at one time, with what its final blocks show."""

    row: Row[Any]
    item: Recommendation
    trial: Row[Any]
    steps: Sequence[Row[Any]]
    plan: SwitchbackPlan
    blocks: Sequence[Row[Any]]
    reading: SwitchbackReading
    is_over: bool
    wash_out_minutes: float
    is_transient: bool
    missed_pairs: tuple[int, ...] = field(default=())


# --- start ------------------------------------------------------------------------------------------------------------


def switchback_obstacle(item: Recommendation, settings: Settings) -> str | None:
    """Return why a change cannot be tried by taking turns; None if it can."""
    if not item.moves:
        return "no key of the router's config carries it out"
    for move in item.moves:
        if move.key in FORGETFUL_KEYS:
            return f"{move.key} cannot be switched back within a block: {FORGETFUL_KEYS[move.key]}"
        if move.key == STOPPED_KEY or move.key.startswith(ROLLOUT_PREFIX):
            return f"{move.key} is no setting that requests share"
    wash_out, block = _wash_out_minutes(item, settings), settings.optimizer.switchback.block_minutes
    if wash_out > block / 2:
        return (
            f"{TTL_KEY} cannot be switched back within a block: entries of the other value live up to "
            f"{wash_out:,} minutes, half a block is {block / 2:g} (optimizer.switchback.blockMinutes)"
        )
    return None


def plan_blocks(plan: SwitchbackPlan, start: datetime) -> tuple[PlannedBlock, ...]:
    """Return the timetable from `start` on: blocks 2n and 2n + 1 are a pair, in an order that the seed decides."""
    draw, length = random.Random(plan.seed), timedelta(minutes=plan.block_minutes)  # noqa: S311 - no secret
    first = [draw.random() < 0.5 for _ in range(plan.maximum_pairs)]  # noqa: PLR2004 - a fair coin
    return tuple(
        PlannedBlock(
            number, first[number // 2] != bool(number % 2), start + number * length, start + (number + 1) * length
        )
        for number in range(2 * plan.maximum_pairs)
    )


def start_switchback(
    connection: Connection,
    optimization_id: int,
    item: Recommendation,
    settings: Settings,
    step: Step,
    *,
    seed: int | None = None,
) -> None:
    """Plan the blocks from the next whole hour on. Raises ConfigConflict without changing anything.

    The config keeps the old value until the first flip. The hourly flow comes soon after the hour, so that it can flip
    blocks of whole hours where no monitor runs.
    """
    asked = settings.optimizer.switchback
    for move in item.moves:
        row = read_key(connection, move.key, lock=True)
        if found := conflict(row.content if row else None, move.key, move.version, move.from_value):
            raise found
    plan = SwitchbackPlan(
        seed=secrets.randbits(31) if seed is None else seed,
        keys=tuple(
            SwitchedKey(key=it.key, baseline=it.from_value, candidate=it.to_value, version=it.version)
            for it in item.moves
        ),
        complexity=only_class_of(move.key for move in item.moves),
        block_minutes=round(asked.block_minutes),
        wash_out_minutes=_wash_out_minutes(item, settings),
        minimum_pairs=asked.minimum_pairs,
        maximum_pairs=asked.maximum_pairs,
    )
    blocks = plan_blocks(plan, next_start(Level.HOUR, step.at + timedelta(minutes=1), settings.timezone))
    with connection.begin_nested():
        dumped = plan.model_dump(mode="json", by_alias=True)
        deadline = blocks[-1].ends_at + DEADLINE_GRACE
        trial_id = add_trial(connection, optimization_id, "switchback", dumped, deadline, step)
        planned = [{"trial_id": trial_id, "state": "planned", **block._asdict()} for block in blocks]
        connection.execute(insert(TRIAL_BLOCK), planned)
        advance(connection, optimization_id, State.APPLIED, step, applied_at=step.at)


# --- flips ------------------------------------------------------------------------------------------------------------


def flip_due(engine: Engine, settings: Settings, now: datetime) -> tuple[str, ...]:
    """Flip every switchback whose next block is due, and return what was done in words.

    `now` is what the clock says: a run that acts as of another time must not flip. Nothing is done while the optimizer
    is off or stopped: blocks that pass meanwhile are missed, and the value in force stays until it goes on.
    """
    with reading(engine) as connection:
        if not (running := _running(connection)) or stop_reason(connection, settings.optimizer) is not None:
            return ()
        waiting = [trial.id for trial in running if _needs_flip(connection, trial, now)]
    done: list[str] = []
    failures: list[Exception] = []
    for trial_id in waiting:
        try:
            with writing(engine) as connection:
                lock_optimizer(connection)
                if stop_reason(connection, settings.optimizer) is None:
                    done += _flip(connection, trial_id, now)
        except Exception as error:  # noqa: BLE001 - one trial does not keep the others from their flips
            failures.append(error)
    for text in done:
        logger().info("%s", text)
    if failures:
        raise failures[0]
    return tuple(done)


def abort_switchback(connection: Connection, optimization_id: int, step: Step) -> None:
    """End a switchback that runs, if the optimization has one, as its config is about to be reverted by hand."""
    trial = trial_of(connection, optimization_id)
    if trial is not None and trial.method == "switchback" and trial.state == TrialState.RUNNING:
        _end(connection, trial, TrialState.ABORTED, "abort", step)


def due(blocks: Sequence[Row[Any]], now: datetime) -> Due:
    """Return what a timetable asks for at a time. `blocks` are all rows of TRIAL_BLOCK of one trial, by number. Pure.

    A running block ends at its end. One that began later than `now`, by more than clocks differ, is missed: the clock
    was set back. A planned block begins when it is due, but not later than LATE_SHARE of it, and not if its pair is out
    of the count already.
    """
    missed: dict[int, str] = {}
    ended = started = None
    following = next((block for block in blocks if block.state == "planned" and block.starts_at > now), None)
    if following is not None:
        longest = max(LONGEST_AHEAD, 2 * (following.ends_at - following.starts_at))
        if following.starts_at - now > longest:
            return Due((), None, None, is_candidate=False, is_out_of_time=True)
    running = next((block for block in blocks if block.state == "running"), None)
    if running is not None:
        if now < running.started_at - TOLERANCE:
            missed[running.number] = f"the clock was set back to {now:%Y-%m-%d %H:%M} UTC while it ran"
        elif now < running.ends_at:
            return Due((), None, None, bool(running.is_candidate))
        else:
            ended = running.number
    is_candidate = False
    out = {block.number // 2 for block in blocks if block.state == "missed"}
    for block in blocks:
        if block.state != "planned" or block.starts_at > now:
            continue
        late, pair = now - block.starts_at, block.number // 2
        if now >= block.ends_at:
            missed[block.number] = "nothing ran to flip to it"
        elif late > LATE_SHARE * (block.ends_at - block.starts_at):
            missed[block.number] = f"nothing ran to flip to it until {late / timedelta(minutes=1):.0f} minutes later"
        elif pair in out | {number // 2 for number in missed}:
            missed[block.number] = "the other block of its pair was missed"
        else:
            started, is_candidate = block.number, bool(block.is_candidate)
    return Due(tuple(sorted(missed.items())), ended, started, is_candidate)


# --- a look -----------------------------------------------------------------------------------------------------------


def advance_switchback(engine: Engine, optimization_id: int, settings: Settings, now: datetime) -> Verdict | None:
    """Read the sums of blocks that are final, judge the pairs, and act on it; None if there is nothing new to judge."""
    read_blocks(engine, optimization_id, settings, now)
    look = look_at(engine, optimization_id, settings, now)
    if look is None:
        return None
    verdict = _verdict(look, settings, now)
    with writing(engine) as connection:
        lock_optimizer(connection)
        if stop_reason(connection, settings.optimizer) is not None or not _is_as_read(connection, look):
            return None
        if (found := _foreign_change(connection, look.plan, optimization_id)) is not None:
            return _supersede(connection, look.row, look.trial, found, now)
        try:
            with connection.begin_nested():
                return _carry_out(connection, look, verdict, now)
        except ConfigConflict as changed:
            return _supersede(connection, look.row, look.trial, changed, now)


def advance_switchbacks(engine: Engine, settings: Settings, now: datetime) -> tuple[Verdict, ...]:
    """Look at every switchback that runs; for the monitor, which flips as well."""
    with reading(engine) as connection:
        if stop_reason(connection, settings.optimizer) is not None:
            return ()
        running = [trial.optimization_id for trial in _running(connection)]
    verdicts: list[Verdict] = []
    failures: list[Exception] = []
    for optimization_id in running:
        try:
            verdict = advance_switchback(engine, optimization_id, settings, now)
        except Exception as error:  # noqa: BLE001 - one trial does not keep the others from being judged
            failures.append(error)
        else:
            verdicts += [] if verdict is None else [verdict]
    if failures:
        raise failures[0]
    return tuple(verdicts)


def read_blocks(engine: Engine, optimization_id: int, settings: Settings, now: datetime) -> int:
    """Store the sums of the blocks that are over and final, once; return how many. Later rows are not counted.

    They are those of the minutes of [start + wash-out, end). Minutes are kept for two days: a block whose minutes are
    gone is missed. The wash-out is at least that of the plan, and as long as earlier blocks took to settle.
    """
    with reading(engine) as connection:
        trial = trial_of(connection, optimization_id)
        if trial is None or trial.state != TrialState.RUNNING:
            return 0
        plan, blocks = SwitchbackPlan.model_validate(trial.plan), _blocks(connection, trial.id)
        found: dict[int, dict[str, Any] | str] = {}
        for block in blocks:
            if block.state != "done" or block.sums is not None or not _is_final(connection, block, settings, now):
                continue
            earlier = [found.get(it.number) or it.sums for it in blocks if it.number < block.number]
            transient = transient_minutes(blocks, [it for it in earlier if isinstance(it, dict)], plan)
            wash_out = min(max(plan.wash_out_minutes, transient or 0), plan.block_minutes / 2)
            found[block.number] = _sums_of(connection, block, plan, wash_out)
    if not found:
        return 0
    with writing(engine) as connection:
        lock_optimizer(connection)
        for number, sums in found.items():
            same = TRIAL_BLOCK.c.trial_id == trial.id, TRIAL_BLOCK.c.number == number
            unread = TRIAL_BLOCK.c.state == "done", TRIAL_BLOCK.c.sums.is_(None)
            values = {"sums": sums} if isinstance(sums, dict) else {"state": "missed", "note": sums}
            connection.execute(update(TRIAL_BLOCK).where(*same, *unread).values(values))
    return len(found)


def look_at(engine: Engine, optimization_id: int, settings: Settings, now: datetime) -> SwitchbackLook | None:
    """Return what a switchback's pairs show; None if it is over, or if nothing is new since its last verdict."""
    with reading(engine) as connection:
        row, trial = get_optimization(connection, optimization_id), trial_of(connection, optimization_id)
        if trial is None or trial.state != TrialState.RUNNING or row.state not in OBSERVED:
            return None
        blocks, steps = _blocks(connection, trial.id), steps_of(connection, trial.id)
    plan, item = SwitchbackPlan.model_validate(trial.plan), recommendation_of(row)
    pairs = pairs_of(blocks)
    is_open = any(it.state in ("planned", "running") or (it.state == "done" and it.sums is None) for it in blocks)
    is_over = now >= trial.deadline or not is_open
    known = ((row.verdict or {}).get("trial") or {}).get("pairs")
    if known == len(pairs) and not is_over:
        return None
    goal, guards = metrics_of(item, settings.performance_metrics)
    sums = [it.sums for it in blocks if it.sums is not None]
    transient = transient_minutes(blocks, sums, plan)
    return SwitchbackLook(
        row=row,
        item=item,
        trial=trial,
        steps=steps,
        plan=plan,
        blocks=blocks,
        reading=read_switchback(pairs, (goal, *guards), minimum_pairs=plan.minimum_pairs),
        is_over=is_over,
        wash_out_minutes=max((float(it["washOutMinutes"]) for it in sums), default=float(plan.wash_out_minutes)),
        is_transient=transient is not None and transient > plan.block_minutes / 2,
        missed_pairs=missed_pairs(blocks),
    )


def pairs_of(blocks: Sequence[Row[Any]]) -> tuple[BlockPair, ...]:
    """Return the pairs that count: both blocks are done, read, and had requests."""
    found = []
    for first, second in zip(blocks[::2], blocks[1::2], strict=True):
        both = [it for it in (first, second) if it.state == "done" and it.sums is not None and it.sums["count"] > 0]
        if len(both) == 2:  # noqa: PLR2004 - a pair
            candidate, baseline = sorted(both, key=lambda it: not it.is_candidate)
            found.append(BlockPair(first.number // 2, second.ends_at, candidate.sums, baseline.sums))
    return tuple(found)


def missed_pairs(blocks: Iterable[Row[Any]]) -> tuple[int, ...]:
    """Return the numbers of the pairs that are left out since a block of them was missed."""
    return tuple(sorted({block.number // 2 for block in blocks if block.state == "missed"}))


def transient_minutes(
    blocks: Sequence[Row[Any]], sums: Sequence[Mapping[str, Any]], plan: SwitchbackPlan
) -> float | None:
    """Return how long after a flip the hit rate's effect differs from that in the second halves; None if unknown. Pure.

    The effect in a bin of minutes is that of blocks of the candidate after one of the baseline, less the reverse: what
    comes and goes with the time of day cancels. Until it has settled it differs by TRANSIENT_ERRORS.
    """
    by_number = {int(it["number"]): it for it in sums}
    values = {block.number: bool(block.is_candidate) for block in blocks}
    flips = [
        by_number[later] for earlier, later in pairwise(sorted(values))
        if later in by_number and values[earlier] != values[later]
    ]  # fmt: skip
    sides = [[it["transient"] for it in flips if values[int(it["number"])] is side] for side in (True, False)]
    if min(map(len, sides)) < TRANSIENT_BLOCKS:
        return None
    bins = plan.block_minutes // TRANSIENT_MINUTES
    effects, variances = [], []
    late = range(math.ceil(bins / 2), bins)
    for of in ([number] for number in range(bins)), [late]:
        for numbers in of:
            effect, variance = _effect(sides, numbers)
            effects.append(effect)
            variances.append(variance)
    last, last_variance = effects.pop(), variances.pop()
    for number, (effect, variance) in enumerate(zip(effects, variances, strict=True)):
        if not abs(effect - last) > TRANSIENT_ERRORS * math.sqrt(variance + last_variance):
            return float(number * TRANSIENT_MINUTES)
    return float(plan.block_minutes)


# ----------------------------------------------------------------------------------------------------------------------


def _wash_out_minutes(item: Recommendation, settings: Settings) -> int:
    """Return the least wash-out: as set, and where entries' lives change, as long as one of either value lives."""
    ttl_minutes = [
        value / 60
        for move in item.moves
        if move.key == TTL_KEY
        for value in (move.from_value, move.to_value)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return math.ceil(max(settings.optimizer.switchback.wash_out_minutes, *ttl_minutes, 0))


def _running(connection: Connection) -> Sequence[Row[Any]]:
    running = TRIAL.c.method == "switchback", TRIAL.c.state == TrialState.RUNNING
    return connection.execute(select(TRIAL).where(*running).order_by(TRIAL.c.id)).fetchall()


def _blocks(connection: Connection, trial_id: int) -> Sequence[Row[Any]]:
    query = select(TRIAL_BLOCK).where(TRIAL_BLOCK.c.trial_id == trial_id).order_by(TRIAL_BLOCK.c.number)
    return connection.execute(query).fetchall()


def _needs_flip(connection: Connection, trial: Row[Any], now: datetime) -> bool:
    """Return whether there is anything to write, or to fail at: looked at without a lock, every few seconds."""
    try:
        plan = SwitchbackPlan.model_validate(trial.plan)
    except ValueError:
        return True
    state = connection.scalar(select(OPTIMIZATION.c.state).where(OPTIMIZATION.c.id == trial.optimization_id))
    if state not in OBSERVED or _foreign_change(connection, plan, trial.optimization_id) is not None:
        return True
    asked = due(_blocks(connection, trial.id), now)
    if asked.is_out_of_time:
        return True
    in_force = bool(_in_force(connection, trial.optimization_id))
    return bool(asked.missed) or asked.ended is not None or asked.started is not None or in_force != asked.is_candidate


def _in_force(connection: Connection, optimization_id: int) -> dict[str, Row[Any]]:
    """Return the changes by key with which the candidate's value is in force; empty if the old one is."""
    made = CONFIG_CHANGE.c.optimization_id == optimization_id, CONFIG_CHANGE.c.reverted_by.is_(None)
    return {row.key: row for row in connection.execute(select(CONFIG_CHANGE).where(*made)).fetchall()}


def _newest(connection: Connection, optimization_id: int) -> dict[str, Row[Any]]:
    """Return the newest change that an optimization made of each key."""
    made = select(CONFIG_CHANGE).where(CONFIG_CHANGE.c.optimization_id == optimization_id).order_by(CONFIG_CHANGE.c.id)
    return {row.key: row for row in connection.execute(made).fetchall()}


def _foreign_change(connection: Connection, plan: SwitchbackPlan, optimization_id: int) -> ConfigConflict | None:
    """Return the conflict if the router or a person changed a key of a switchback since its last flip; else None."""
    newest = _newest(connection, optimization_id)
    for it in plan.keys:
        own, row = newest.get(it.key), read_key(connection, it.key)
        version, value = (it.version, it.baseline) if own is None else (own.version, own.to_value)
        if found := conflict(row.content if row else None, it.key, version, value):
            return found
    return None


def _flip(connection: Connection, trial_id: int, now: datetime) -> list[str]:
    """Bring a trial's blocks and the config to what is due, in the caller's locked transaction."""
    trial = connection.execute(select(TRIAL).where(TRIAL.c.id == trial_id)).one()
    if trial.state != TrialState.RUNNING:
        return []
    row, plan = get_optimization(connection, trial.optimization_id), SwitchbackPlan.model_validate(trial.plan)
    if row.state not in OBSERVED:
        step = Step(ACTOR, f"the optimization is {row.state}", now)
        _end(connection, trial, TrialState.ABORTED, "abort", step)
        return [f"the switchback of #{row.id} is aborted: {step.reason}"]
    if (found := _foreign_change(connection, plan, row.id)) is not None:
        return [_supersede(connection, row, trial, found, now).reason]
    asked, name = due(_blocks(connection, trial_id), now), f"#{row.id} {', '.join(it.key for it in plan.keys)}"
    if asked.is_out_of_time:
        reason = f"the clock was set back to {now:%Y-%m-%d %H:%M} UTC since its blocks were planned"
        _set_values(
            connection, plan, row.id, f"end of the switchback: the old value; {reason}", now, is_candidate=False
        )
        return [_abort(connection, row, trial, reason, now).reason]
    done = []
    for number, note in asked.missed:
        _set_block(connection, trial_id, number, ("planned", "running"), state="missed", note=note)
        done.append(f"block {number} of the switchback of {name} is missed: {note}")
    if asked.ended is not None:
        _set_block(connection, trial_id, asked.ended, ("running",), state="done", ended_at=now)
    if asked.started is not None:
        _set_block(connection, trial_id, asked.started, ("planned",), state="running", started_at=now)
        change_trial(connection, trial_id, step=asked.started, step_at=now)
    what = "the new" if asked.is_candidate else "the old"
    block = "no block runs" if asked.started is None else f"block {asked.started} of {2 * plan.maximum_pairs}"
    reason = f"switchback, {block}: {what} value"
    if _set_values(connection, plan, row.id, reason, now, is_candidate=asked.is_candidate):
        done.append(f"{name}: {reason}")
    return done


def _set_block(
    connection: Connection, trial_id: int, number: int, before: tuple[BlockState, ...], **values: Any
) -> None:
    """Change a block's row if it is in a state as read; the optimizer's lock makes sure that it is."""
    same = TRIAL_BLOCK.c.trial_id == trial_id, TRIAL_BLOCK.c.number == number, TRIAL_BLOCK.c.state.in_(before)
    if connection.execute(update(TRIAL_BLOCK).where(*same).values(values)).rowcount != 1:
        raise RuntimeError(f"block {number} of trial {trial_id} is no longer {' or '.join(before)}")


def _set_values(
    connection: Connection, plan: SwitchbackPlan, optimization_id: int, reason: str, now: datetime, *,
    is_candidate: bool,
) -> bool:  # fmt: skip
    """Set all keys to the candidate's or the old values; return whether they were not already. Raises ConfigConflict.

    A change to the old value and the one that it takes back point to it, as with any optimization that is reverted.
    """
    in_force = _in_force(connection, optimization_id)
    if bool(in_force) == is_candidate:
        return False
    newest = _newest(connection, optimization_id)
    origin = ChangeOrigin(ACTOR, reason, now, optimization_id)
    for it in plan.keys:
        before, after = (it.baseline, it.candidate) if is_candidate else (it.candidate, it.baseline)
        version = newest[it.key].version if it.key in newest else it.version
        made = set_value(connection, it.key, after, version, origin, expected_value=before)
        if not is_candidate:
            same = CONFIG_CHANGE.c.key == it.key, CONFIG_CHANGE.c.version == made
            new_id = connection.execute(select(CONFIG_CHANGE.c.id).where(*same)).scalar_one()
            both = CONFIG_CHANGE.c.id.in_([in_force[it.key].id, new_id])
            connection.execute(update(CONFIG_CHANGE).where(both).values(reverted_by=new_id))
    return True


def _is_final(connection: Connection, block: Row[Any], settings: Settings, now: datetime) -> bool:
    """Return whether the rows of a block have arrived and are in the rollups."""
    checkpoint = read_known_checkpoint(connection)
    if checkpoint is None or checkpoint.rollups_updated_at is None:
        return False
    is_pulled = any(source.enabled for source in settings.sources.values())
    grace = PULLED_GRACE if is_pulled else LATE_ARRIVAL_GRACE
    if min(now, checkpoint.rollups_updated_at) < block.ends_at + grace:
        return False
    last = checkpoint.last_selection_at
    return bool((last is not None and last >= block.ends_at) or now >= block.ends_at + QUIET_GRACE)


def _sums_of(connection: Connection, block: Row[Any], plan: SwitchbackPlan, wash_out: float) -> dict[str, Any] | str:
    """Return a done block's sums without its wash-out, and its hits in bins; or why there are none."""
    begun = next_start(Level.MINUTE, block.started_at, "UTC")
    start = next_start(Level.MINUTE, begun + timedelta(minutes=wash_out), "UTC")
    end = floor_to(Level.MINUTE, min(block.ended_at, block.ends_at), "UTC")
    checkpoint = read_known_checkpoint(connection)
    kept_from = None if checkpoint is None else checkpoint.minutes_from
    if kept_from is not None and kept_from > start:
        return f"its minutes are no longer kept: they are from {kept_from:%Y-%m-%d %H:%M} UTC on"
    whole = timedelta(minutes=plan.block_minutes - wash_out)
    if end - start < whole / 2:
        return "too little of it is left without its wash-out"
    where = between(Level.MINUTE, begun, end)
    if plan.complexity is not None:
        where = where & (ROLLUP.c.complexity == plan.complexity)
    minutes = aggregate_rollups(connection, where, (), METRIC_SUMS)
    counted = minutes.filter(pl.col("bucket") >= start).select(METRIC_SUMS).sum().row(0, named=True)
    since = ((pl.col("bucket") - begun).dt.total_minutes() // TRANSIENT_MINUTES).alias("bin")
    bins = minutes.group_by(since).agg(pl.col("cache_hit_count", "cache_count").sum())
    hits = {number: [hit, known] for number, hit, known in bins.iter_rows()}
    return {
        **counted,
        "number": block.number,
        "from": start.isoformat(),
        "to": end.isoformat(),
        "washOutMinutes": wash_out,
        "transient": [hits.get(number, [0, 0]) for number in range(plan.block_minutes // TRANSIENT_MINUTES)],
    }


def _effect(sides: Sequence[Sequence[Any]], numbers: Iterable[int]) -> tuple[float, float]:
    """Return the hit rate after a flip to the candidate, less that after one to the baseline, and its variance.

    Infinite where it is unknown, which is no difference. Chance is over blocks.
    """
    wanted, means, variance = list(numbers), [], 0.0
    for side in sides:
        sums = [(sum(it[n][0] for n in wanted), sum(it[n][1] for n in wanted)) for it in side]
        rates = [hit / known for hit, known in sums if known]
        if len(rates) < 2:  # noqa: PLR2004 - one has no spread
            return 0.0, math.inf
        mean = sum(rates) / len(rates)
        spread = sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)
        known = sum(known for _hit, known in sums) / len(sums)
        # Blocks that happen to be alike are no certainty.
        pooled = (sum(hit for hit, _known in sums) + 1) / (sum(known for _hit, known in sums) + 2)
        means.append(mean)
        variance += max(spread, pooled * (1 - pooled) / known) / len(rates)
    return means[0] - means[1], variance


def _is_as_read(connection: Connection, look: SwitchbackLook) -> bool:
    """Return whether nobody has judged or ended a switchback since it was read."""
    trial, row = trial_of(connection, look.row.id), get_optimization(connection, look.row.id)
    if trial is None or trial.state != TrialState.RUNNING:
        return False
    return bool(row.state == look.row.state and row.verdict == look.row.verdict)


def _verdict(look: SwitchbackLook, settings: Settings, now: datetime) -> Verdict:
    conclusion, reason = conclude_switchback(look.reading, over=look.is_over, minimum_pairs=look.plan.minimum_pairs)
    if look.is_transient and conclusion not in (None, "worse"):
        conclusion = "invalid"
        reason = (
            f"the hit rate had not settled within half a block of {look.plan.block_minutes} minutes after a flip: what "
            f"one value leaves to the other is in the numbers (optimizer.switchback.blockMinutes)"
        )
    saved = booked_saving(conclusion, look.reading.saved_usd())
    if look.missed_pairs:
        names = ", ".join(str(number + 1) for number in look.missed_pairs)
        reason = f"{reason}; left out as missed: pair {names} of {look.plan.maximum_pairs}"
    ended = [block.ends_at for block in look.blocks if block.sums is not None]
    return Verdict(
        state=state_of(conclusion, settings.optimizer.undecided),
        reason=reason,
        judged_at=now,
        observed_from=look.blocks[0].starts_at,
        observed_to=max(ended, default=look.blocks[0].starts_at),
        matched_by=None,
        hours=round(look.reading.pairs * 2 * look.plan.block_minutes / 60),
        goal=look.reading.goal,
        guards=look.reading.guards,
        savings_usd=saved,
        method="switchback",
        conclusion=conclusion,
        savings_basis=None if saved is None else "measured",
        trial=TrialSummary(
            started_at=look.trial.started_at,
            deadline=look.trial.deadline,
            steps=steps_taken(look.steps),
            series=look.reading.series,
            pairs=look.reading.pairs,
            planned_pairs=look.plan.maximum_pairs,
            missed_pairs=len(look.missed_pairs),
            wash_out_minutes=look.wash_out_minutes,
        ),
    )


_ENDS: Mapping[Conclusion, TrialState] = {
    "better": TrialState.PROMOTED, "noWorse": TrialState.PROMOTED, "worse": TrialState.ROLLED_BACK,
    "invalid": TrialState.INVALID, "unproven": TrialState.UNDECIDED, "cannotBeTold": TrialState.UNDECIDED,
}  # fmt: skip


def _carry_out(connection: Connection, look: SwitchbackLook, verdict: Verdict, now: datetime) -> Verdict:
    """Record a verdict; at the end set the value that is kept, or the old one. Raises ConfigConflict."""
    row = look.row
    if verdict.conclusion is None:
        record_observation(connection, row.id, row.state, verdict)
        return verdict
    step = Step(ACTOR, verdict.reason, now)
    is_kept = verdict.state in ("kept", "expired")
    reason = f"end of the switchback: {'the new' if is_kept else 'the old'} value; {verdict.reason}"
    _set_values(connection, look.plan, row.id, reason, now, is_candidate=is_kept)
    action: Literal["end", "invalidate", "promote", "rollBack"] = "promote" if is_kept else "rollBack"
    if verdict.conclusion == "invalid":
        action = "invalidate"
    _end(connection, look.trial, _ENDS[verdict.conclusion], action, step)
    summary = verdict.trial
    if summary is not None:
        taken = TrialStepTaken(at=now, action=action, by=ACTOR, reason=verdict.reason)
        summary = summary.model_copy(update={"steps": (*summary.steps, taken)})
        verdict = verdict.model_copy(update={"trial": summary})
    record_conclusion(connection, row.id, verdict, State(verdict.state))
    if verdict.state == "reverted":
        report_revert(connection, row.id, [it.key for it in look.plan.keys], verdict, now)
    return verdict


def _supersede(connection: Connection, row: Row[Any], trial: Row[Any], found: ConfigConflict, now: datetime) -> Verdict:
    """End a switchback whose key somebody else has changed: it is theirs, and keeps its value."""
    return _abort(connection, row, trial, superseded_reason(found), now)


def _abort(connection: Connection, row: Row[Any], trial: Row[Any], reason: str, now: datetime) -> Verdict:
    """End a switchback without a conclusion, with the numbers of its last verdict."""
    summary = TrialSummary(started_at=trial.started_at, deadline=trial.deadline)
    verdict = Verdict(
        state="expired",
        reason=reason,
        judged_at=now,
        observed_from=trial.started_at,
        observed_to=max(now, trial.started_at),
        matched_by=None,
        hours=0,
        goal=None,
        method="switchback",
        trial=summary,
    )
    if row.verdict is not None:
        earlier = Verdict.model_validate(row.verdict)
        verdict = earlier.model_copy(update={"state": "expired", "reason": reason, "judged_at": now})
    _end(connection, trial, TrialState.ABORTED, "abort", Step(ACTOR, reason, now))
    record_conclusion(connection, row.id, verdict, State.EXPIRED)
    return verdict


def _end(
    connection: Connection,
    trial: Row[Any],
    state: TrialState,
    action: Literal["abort", "end", "invalidate", "promote", "rollBack"],
    step: Step,
) -> None:
    """End a trial: its planned blocks stay as planned, and one that runs is cut short and not counted."""
    add_step(connection, trial.id, action, step)
    change_trial(connection, trial.id, state=state, ended_at=step.at)
    running = TRIAL_BLOCK.c.trial_id == trial.id, TRIAL_BLOCK.c.state == "running"
    cut = {"state": "missed", "ended_at": step.at, "note": "the trial ended while it ran"}
    connection.execute(update(TRIAL_BLOCK).where(*running).values(cut))
