"""How often each method of judging a change is wrong, what harm it finds and how soon; and what others say of the same.

Every line is a share of whole lives, in which every look was taken. A life is a week of one class's requests in which
a change was made that does nothing, harm or help of known size. docs/verdicts.md tells what came of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks import verdicts_before_after, verdicts_poisoned, verdicts_split, verdicts_switchback
from benchmarks.line import Goal, Line
from benchmarks.scene import Scene
from benchmarks.verdict_lives import Kind, of_100, processes
from benchmarks.verdict_streams import NOTHING, Change, real_trace
from benchmarks.verdicts_split import CHEAPER, COSTS, FAILING, HELD, SLOWER, STEPS, WRONG, Scenario, Source

AT_MOST_FALSE = Goal(5.0, at_least=False)
NEVER = Goal(0.0, at_least=False)
IN_A_DAY, IN_TWO_DAYS, HELPED = Goal(85.0), Goal(95.0), Goal(80.0)
DAY_HOURS = 24

LIVES = {
    "nothing": 200,
    "harm": 100,
    "others": 60,
    "before and after": 60,
    "before and after, harm": 20,
    "poisoned": 40,
}
"""Of each table; `--lives` multiplies them. So many take about 1,000 seconds of processor time, on two processors."""

LARGE = (COSTS[1], SLOWER[1], FAILING[1])
SMALL = ((COSTS[0], 1.0), (SLOWER[0], 1.0), (FAILING[0], 1.0), (WRONG[0], 1.0), (WRONG[1], 1.0), (WRONG[1], 0.1))
"""Harm that is smaller, with the share of answers that is rated."""

SWITCHED: tuple[tuple[Kind, str], ...] = (("cache_optimization", "slow share"), ("cache_strategy", "hit rate"))
WORSE, BETTER, KEPT = ("worse", "invalid"), ("better",), ("better", "noWorse")
FIRM = (*KEPT, "worse")


class Ended(NamedTuple):
    """What was said of a life in the end, after how many hours, and whether a saving was booked."""

    said: str
    hours: int
    saved: bool = False


Life = Callable[[int], Ended | None]


@dataclass
class Lives:
    """Runs lives in processes of their own and says how far it is."""

    pool: ProcessPoolExecutor
    scene: Scene

    def of(self, name: str, table: str, one: Life, most: int | None = None) -> list[Ended]:
        """Return how the lives of a table ended; those whose traffic is absent are left out."""
        count = max(1, round(LIVES[table] * self.scene.lives))
        count = min(count, most) if most is not None else count
        ended, told_at = [], 0.0
        for done, end in enumerate(self.pool.map(one, range(count), chunksize=4), 1):
            if time.monotonic() - told_at >= 1:
                told_at = time.monotonic()
                self.scene.say(f"verdicts, {name}: life {done} of {count}")
            if end is not None:
                ended.append(end)
        return ended


def lines(scene: Scene) -> Iterator[Line]:
    with processes() as pool:
        lives = Lives(pool, scene)
        for table in TABLES:
            yield from table(lives)


# --- lives, run in other processes ------------------------------------------------------------------------------------


def split_life(scenario: Scenario, rule: str, seed: int) -> Ended | None:
    end = verdicts_split.live_by(rule, scenario, seed) if rule else verdicts_split.live(scenario, seed)
    return None if end is None else Ended(end.ending, end.hours)


def switchback_life(rule: str, source: str, change: Change, kind: Kind, seed: int) -> Ended | None:
    end = verdicts_switchback.live(rule, source, change, kind, seed)
    return None if end is None else Ended(end.ending, round(end.pairs * verdicts_switchback.PAIR_HOURS))


def before_after_life(stream: str, harm: str | None, seed: int, *, peer: bool = False) -> Ended:
    end = verdicts_before_after.Trial(stream, seed, harm, peer).run()
    return Ended(end.said, end.hours)


def poisoned_life(rated: float, rated_before: float, seed: int) -> Ended:
    return Ended(*verdicts_poisoned.said_before_and_after(rated, rated_before, seed))


def poisoned_split(rated: float, steps: tuple[float, ...], seed: int) -> Ended:
    return Ended(*verdicts_poisoned.said_of_split(rated, steps, seed))


# --- the tables -------------------------------------------------------------------------------------------------------


def _split_nothing(lives: Lives) -> Iterator[Line]:
    sources: tuple[Source, ...] = ("real", "made up")
    for source in sources:
        name = f"split, nothing changed, {source}"
        ended = lives.of(name, "nothing", partial(split_life, Scenario(source, NOTHING), ""))
        yield from _false(name, ended)


def _split_harm(lives: Lives) -> Iterator[Line]:
    sources: tuple[Source, ...] = ("made up", "real")
    for source in sources:
        for change, alike in (*((change, False) for change in LARGE), (COSTS[1], True)):
            name = f"split at 20 %, {change.name}, {source}{', by tokens' if alike else ''}"
            scenario = Scenario(source, change, steps=HELD, alike=alike)
            ended = lives.of(name, "harm", partial(split_life, scenario, ""))
            # What brings the variance down is told beside what is asked for.
            yield from _caught(name, ended, has_goal=not alike)
            yield _share(f"{name}: promoted", ended, KEPT, AT_MOST_FALSE)
    for change, rated in SMALL:
        name = f"split at 20 %, {change.name}"
        if change.accuracy:
            name += ", all rated" if rated == 1 else ", 1 in 10 rated"
        scenario = Scenario("made up", change, rated=rated, steps=HELD)
        ended = lives.of(name, "harm", partial(split_life, scenario, ""))
        yield _share(f"{name}: promoted", ended, KEPT, AT_MOST_FALSE)
        yield _share(f"{name}: rolled back in 7 days", ended, WORSE)


def _split_help(lives: Lives) -> Iterator[Line]:
    for rated, told in ((1.0, "all rated"), (0.1, "1 in 10 rated")):
        name = f"split, cost −15 %, {told}"
        scenario = Scenario("made up", CHEAPER, rated=rated, steps=STEPS)
        ended = lives.of(name, "harm", partial(split_life, scenario, ""))
        yield _share(f"{name}: to 100 % by itself", ended, KEPT, HELPED if rated == 1 else None)
        yield _share(f"{name}: a person is asked", ended, ("ask",))


def _split_others(lives: Lives) -> Iterator[Line]:
    sources: tuple[Source, ...] = ("real", "made up")
    for source in sources:
        for rule, told in {"": "Routewatch", **verdicts_split.RULES}.items():
            short = told.split(" (", maxsplit=1)[0]
            nothing = Scenario(source, NOTHING, steps=HELD)
            ended = lives.of(f"{short}, nothing changed", "others", partial(split_life, nothing, rule))
            yield from _false(f"at 20 %, {source}: {short}", ended, has_goal=not rule)
            scenario = Scenario(source, COSTS[1], steps=HELD)
            ended = lives.of(f"{short}, {COSTS[1].name}", "others", partial(split_life, scenario, rule))
            yield _share(f"at 20 %, {source}: {short}: {COSTS[1].name} in 24 h", ended, WORSE, within=DAY_HOURS)


def _switchback_nothing(lives: Lives) -> Iterator[Line]:
    for source in ("real", "made up"):
        for kind, goal in SWITCHED:
            for rule in verdicts_switchback.RULES:
                name = f"{rule}, {goal}, nothing changed, {source}"
                ended = lives.of(name, "nothing", partial(switchback_life, rule, source, NOTHING, kind))
                yield from _false(name, ended, has_goal=rule == "switchback")


def _switchback_harm(lives: Lives) -> Iterator[Line]:
    for source in ("real", "made up"):
        for change in (*verdicts_switchback.LARGE_HARMS, *verdicts_switchback.HELPS):
            kind: Kind = "cache_strategy" if change.hits else "cache_optimization"
            helps = change in verdicts_switchback.HELPS
            name = f"switchback, {change.name}, {source}"
            ended = lives.of(name, "others", partial(switchback_life, "switchback", source, change, kind))
            yield _share(f"{name}: {'better' if helps else 'worse'}", ended, BETTER if helps else WORSE)
            if not helps:
                yield _share(f"{name}: kept", ended, KEPT, AT_MOST_FALSE)


def _before_after_nothing(lives: Lives) -> Iterator[Line]:
    for stream, told in verdicts_before_after.STREAMS.items():
        of_real = stream.partition(" ")[0] in ("real", "days")
        if of_real and real_trace() is None:
            continue
        most = verdicts_before_after.count_of_real_lives() if stream == "real" else None
        run = partial(lives.of, told, "before and after", most=most)
        ended = run(partial(before_after_life, stream, None))
        if stream == "real":
            yield _share(f"before and after, {told}: anything firm", ended, FIRM, NEVER)
        else:
            yield from _false(f"before and after, {told}", ended)
        ended = run(partial(before_after_life, stream, None, peer=True))
        yield _share(f"fixed 95 % daily, {told}: anything firm", ended, FIRM)


def _before_after_harm(lives: Lives) -> Iterator[Line]:
    for stream in ("days 26", "0.87 26"):
        if stream == "days 26" and real_trace() is None:
            continue
        for harm in ("cost +15 %", "cost +30 %", "slow +5 points", "errors +2.5 points"):
            name = f"before and after, {harm}, {verdicts_before_after.STREAMS[stream]}"
            ended = lives.of(name, "before and after, harm", partial(before_after_life, stream, harm))
            yield _share(f"{name}: worse", ended, WORSE)
            yield _share(f"{name}: kept", ended, KEPT, AT_MOST_FALSE)


def _poisoned(lives: Lives) -> Iterator[Line]:
    for rated in verdicts_poisoned.RATED:
        for before, told in ((1.0, "all"), (rated, f"{rated:.0%}")):
            name = f"poisoned, before and after, {rated:.0%} rated ({told} before)"
            ended = lives.of(name, "poisoned", partial(poisoned_life, rated, before))
            yield _share(f"{name}: kept", ended, KEPT, NEVER)
            saved = [Ended("saved" if end.saved else "", end.hours) for end in ended]
            yield _share(f"{name}: a saving booked", saved, ("saved",), NEVER)
            yield _share(f"{name}: worse", ended, WORSE)
    for rated in verdicts_poisoned.RATED:
        for steps, told in ((STEPS, "5 → 20 → 50 → 100 %"), (HELD, "at 20 %")):
            name = f"poisoned, split {told}, {rated:.0%} rated"
            ended = lives.of(name, "poisoned", partial(poisoned_split, rated, steps))
            yield _share(f"{name}: promoted", ended, KEPT, NEVER)
            # Without a rating nothing can be found out, and with a few only at a share that is large enough.
            yield _share(
                f"{name}: found out", ended, WORSE, IN_TWO_DAYS if rated == max(verdicts_poisoned.RATED) else None
            )


TABLES: Sequence[Callable[[Lives], Iterator[Line]]] = (
    _split_nothing, _switchback_nothing, _before_after_nothing, _split_harm, _split_help, _poisoned, _split_others,
    _switchback_harm, _before_after_harm,
)  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------------


def _false(name: str, ended: Sequence[Ended], *, has_goal: bool = True) -> Iterator[Line]:
    goal = AT_MOST_FALSE if has_goal else None
    yield _share(f"{name}: false better", ended, BETTER, goal)
    yield _share(f"{name}: false worse", ended, WORSE, goal)


def _caught(name: str, ended: Sequence[Ended], *, has_goal: bool) -> Iterator[Line]:
    for hours, goal in ((DAY_HOURS, IN_A_DAY), (2 * DAY_HOURS, IN_TWO_DAYS)):
        yield _share(f"{name}: back in {hours} h", ended, WORSE, goal if has_goal else None, within=hours)


def _share(
    name: str, ended: Sequence[Ended], said: Sequence[str], goal: Goal | None = None, *, within: int | None = None
) -> Line:
    """Tell how many of 100 lives ended so, with the binomial interval in the note."""
    if not ended:
        return Line(name, "none", 0, note="the real trace is absent")
    found = [end.hours for end in ended if end.said in said and (within is None or end.hours <= within)]
    note = f"{len(found)} of {len(ended)} lives: {of_100(len(found), len(ended))}"
    if found:
        note += f"; median {median(found):.0f} h"
    return Line(name, "none", 0, (100 * len(found) / len(ended),), unit="of 100", goal=goal, note=note)
