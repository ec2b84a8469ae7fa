"""Measure the verdicts of a switchback: how often they are wrong, what harm they find and how soon.

`python -m benchmarks.verdicts_switchback` prints Markdown tables of whole lives (42 pairs of blocks of two hours, the
first 15 minutes of each left out), looked at after every pair: of traffic in which nothing was changed, real and made
up, and of harm and help of known size; beside it what other rules say of the same blocks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import lru_cache, partial
from statistics import median
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from benchmarks.verdict_lives import Kind, judged_metrics, of_100, processes
from benchmarks.verdict_streams import (
    ACCURACY,
    ERROR_RATE,
    NOTHING,
    SLOW_SHARE,
    START,
    TARGET_MS,
    Change,
    drift,
    real_trace,
)
from models.settings import Switchback
from models.trials import SwitchbackPlan
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.switchback import BlockPair, conclude_switchback, read_every_look
from tasks.optimizer.switchback_timetable import plan_blocks

DEFAULTS = Switchback()
LIVES, HARM_LIVES = 200, 100
DAYS = 7
PAIR_HOURS = DEFAULTS.block_minutes * 2 / 60
MINUTES_OF_DAY, HOURS_OF_DAY = 1440, 24
PER_DAY = 10_000.0
HIT_RATE = 0.3
T_95_ONE_SIDED_AT_30 = 1.96


HARMS = (
    Change("cost +15 %", cost=1.15), Change("slow +5 points", slow=0.05), Change("errors +2.5 points", errors=0.025),
    Change("hit rate −5 points", hits=-0.05), Change("cost +5 %", cost=1.05), Change("slow +2 points", slow=0.02),
    Change("errors +1 point", errors=0.01), Change("hit rate −2 points", hits=-0.02),
)  # fmt: skip
LARGE_HARMS = HARMS[:4]
HELPS = (Change("hit rate +5 points", hits=0.05), Change("slow −5 points", slow=-0.05))


class Requests(NamedTuple):
    """Requests in order of time: minute since the start, cost, time in ms, and what an old value makes of each."""

    minute: Any
    cost: Any
    time: Any
    error: Any
    right: Any
    hit: Any


class End(NamedTuple):
    """How a life ended, and after how many pairs."""

    ending: str
    pairs: int


# ------------------------------------------------------------------------------------------------------------- traffic


def made_up(seed: int) -> Requests:
    """Return a week with daily and weekly seasons, levels that drift by hour (AR(1), .6 to .87), and heavy tails."""
    random = np.random.default_rng([seed, 1])
    hours = DAYS * HOURS_OF_DAY
    at, correlation = np.arange(hours), random.uniform(0.6, 0.87)
    season = 1 + 0.6 * np.sin(2 * np.pi * (at % HOURS_OF_DAY - 9) / HOURS_OF_DAY)
    season *= np.where((at // HOURS_OF_DAY) % 7 < 5, 1.15, 0.62)  # noqa: PLR2004 - a weekend
    mean = season * drift(random, hours, correlation, 0.2)
    hour = np.repeat(at, random.poisson(PER_DAY / HOURS_OF_DAY * mean / mean.mean()))
    size = len(hour)
    minute = np.sort(hour * 60 + random.integers(0, 60, size))
    cost = random.lognormal(4.5, 1.2, size) * drift(random, hours, correlation, 0.2)[hour] * 1e-6
    level = drift(random, hours, correlation, 0.2)
    time = TARGET_MS * np.exp(-0.8416 * 0.8) * random.lognormal(0, 0.75, size) * level[hour]
    return _with_shares(random, minute, cost, time, correlation)


_trace = lru_cache(maxsize=1)(real_trace)


def real(seed: int) -> Requests | None:
    """Return a week of the real trace from a random hour on; None where it is absent.

    Its arrivals, costs and times are as they are; it has no errors, ratings or hits: those are made up, with drift.
    """
    trace = _trace()
    if trace is None:
        return None
    random = np.random.default_rng([seed, 2])
    minutes = ((trace["timestamp"] - trace["timestamp"][0]).dt.total_seconds() // 60).to_numpy().astype(np.int64)
    first = 60 * int(random.integers(0, DAYS * HOURS_OF_DAY))
    own = (minutes >= first) & (minutes < first + DAYS * MINUTES_OF_DAY)
    cost, time = trace["cost_usd"].to_numpy()[own], trace["response_time_ms"].to_numpy()[own]
    # The target is where a fifth is slower, as in the made-up traffic.
    time = time * TARGET_MS / np.quantile(trace["response_time_ms"].to_numpy(), 1 - SLOW_SHARE)
    return _with_shares(random, minutes[own] - first, cost, time, 0.75)


def _with_shares(random: np.random.Generator, minute: Any, cost: Any, time: Any, correlation: float) -> Requests:
    hour, size, hours = minute // 60, len(minute), DAYS * HOURS_OF_DAY
    errors = np.clip(ERROR_RATE * drift(random, hours, correlation, 0.3), 0, 0.5)
    hits = np.clip(HIT_RATE * drift(random, hours, correlation, 0.1), 0, 0.9)
    draws = random.random((3, size))
    return Requests(minute, cost, time, draws[0] < errors[hour], draws[1] < ACCURACY, draws[2] < hits[hour])


def pairs_of(requests: Requests, change: Change, seed: int) -> list[BlockPair]:
    """Return the pairs of blocks of a random timetable, with the change in the candidate's blocks."""
    random = np.random.default_rng([seed, 3])
    plan = SwitchbackPlan(
        seed=seed,
        keys=(),
        complexity=None,
        block_minutes=round(DEFAULTS.block_minutes),
        wash_out_minutes=round(DEFAULTS.wash_out_minutes),
        minimum_pairs=DEFAULTS.minimum_pairs,
        maximum_pairs=DEFAULTS.maximum_pairs,
    )
    blocks = plan_blocks(plan, START)
    number = np.minimum(requests.minute // plan.block_minutes, len(blocks) - 1)
    counts = requests.minute % plan.block_minutes >= plan.wash_out_minutes
    is_new = np.array([block.is_candidate for block in blocks])[number]
    size = len(number)
    draws = random.random((4, size))
    slower = is_new & (requests.time <= TARGET_MS) & (draws[0] < max(change.slow, 0) / (1 - SLOW_SHARE))
    faster = is_new & (requests.time > TARGET_MS) & (draws[0] < max(-change.slow, 0) / SLOW_SHARE)
    time = np.where(slower, 1.5 * TARGET_MS, np.where(faster, 0.5 * TARGET_MS, requests.time))
    failed = requests.error | (is_new & (draws[1] < change.errors / (1 - ERROR_RATE)))
    hit = requests.hit & ~(is_new & (draws[2] < max(-change.hits, 0) / HIT_RATE))
    hit = hit | (is_new & (draws[3] < max(change.hits, 0) / (1 - HIT_RATE)))
    cost = requests.cost * np.where(is_new, change.cost, 1.0)

    def added(values: Any, known: Any) -> Any:
        kept = counts & known
        return np.bincount(number[kept], weights=np.broadcast_to(values, size)[kept], minlength=len(blocks))

    every, known = np.ones(size, dtype=bool), ~failed
    sums = {
        "count": added(1.0, every), "error_count": added(failed * 1.0, every), "response_time_count": added(1.0, known),
        "response_time_sum_ms": added(time, known), "over_target_count": added((time > TARGET_MS) * 1.0, known),
        "cost_count": added(1.0, known), "cost_sum_usd": added(cost, known), "cache_count": added(1.0, every),
        "cache_hit_count": added(hit * 1.0, every), "accuracy_count": added(1.0, known),
        "accuracy_sum": added(requests.right * 1.0, known),
    }  # fmt: skip
    pairs = []
    for first in range(0, len(blocks), 2):
        new = first if blocks[first].is_candidate else first + 1
        old = 2 * first + 1 - new
        candidate, baseline = ({name: float(it[at]) for name, it in sums.items()} for at in (new, old))
        if min(candidate["count"], baseline["count"]) > 0:
            pairs.append(BlockPair(first // 2, START + (first + 2) * timedelta(minutes=120), candidate, baseline))
    return pairs


# --------------------------------------------------------------------------------------------------------------- rules


def by_switchback(pairs: Sequence[BlockPair], metrics: Sequence[JudgedMetric]) -> End:
    """Judge after every pair, as the product does."""
    # In parts: harm is mostly found soon, and all looks at once take long.
    for until in (min(20, len(pairs)), len(pairs)):
        looks = read_every_look(pairs[:until], metrics, minimum_pairs=DEFAULTS.minimum_pairs)
        for reading in looks:
            conclusion, _ = conclude_switchback(
                reading, over=reading.pairs == len(pairs), minimum_pairs=DEFAULTS.minimum_pairs
            )
            if conclusion is not None:
                return End(conclusion, reading.pairs)
    return End("cannotBeTold", len(pairs))


def by_t_test(pairs: Sequence[BlockPair], metrics: Sequence[JudgedMetric]) -> End:
    """Judge by a paired t-test at 95 % after every pair from the 12th on; a guard is safe by its point estimate."""
    for looked_at in range(DEFAULTS.minimum_pairs, len(pairs) + 1):
        better, within = False, True
        for number, metric in enumerate(metrics):
            above, below = metric.sums
            sign = 1.0 if metric.lower_is_better else -1.0
            values = [
                (it.candidate[above] / it.candidate[below], it.baseline[above] / it.baseline[below])
                for it in pairs[:looked_at]
            ]
            worse = sign * np.array([new - old for new, old in values])
            mean, error = worse.mean(), worse.std(ddof=1) / math.sqrt(looked_at)
            margin = metric.margin_of(float(np.mean([old for _new, old in values])))
            radius = _student(looked_at - 1) * error
            if mean - radius > 0 and mean > margin:
                return End("worse", looked_at)
            if number == 0:
                better = mean + radius < 0
            within = within and (number == 0 or mean <= margin)
        if better and within:
            return End("better", looked_at)
    return End("cannotBeTold", len(pairs))


def by_requests(pairs: Sequence[BlockPair], metrics: Sequence[JudgedMetric]) -> End:
    """Judge shares at 95 % after every pair as if requests were independent draws, whatever block they are of."""
    shares = [metric for metric in metrics if metric.is_share]
    for looked_at in range(DEFAULTS.minimum_pairs, len(pairs) + 1):
        better, within = False, True
        for number, metric in enumerate(shares):
            above, below = metric.sums
            sides = [
                (sum(side[above] for side in one), sum(side[below] for side in one))
                for one in ([it.candidate for it in pairs[:looked_at]], [it.baseline for it in pairs[:looked_at]])
            ]
            (new, of_new), (old, of_old) = ((total / count, count) for total, count in sides)
            worse = (1.0 if metric.lower_is_better else -1.0) * (new - old)
            radius = T_95_ONE_SIDED_AT_30 * math.sqrt(new * (1 - new) / of_new + old * (1 - old) / of_old)
            if worse - radius > 0 and worse > metric.margin_of(old):
                return End("worse", looked_at)
            if number == 0:
                better = worse + radius < 0
            within = within and (number == 0 or worse <= metric.margin_of(old))
        if better and within:
            return End("better", looked_at)
    return End("cannotBeTold", len(pairs))


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's law (Peiser's terms, to 0.1 % from 11 degrees of freedom on)."""
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


RULES = {"switchback": by_switchback, "paired t-test, every look": by_t_test, "requests as draws": by_requests}


def live(rule: str, source: str, change: Change, kind: Kind, seed: int) -> End | None:
    """Live through a switchback; None where the traffic is absent."""
    requests = real(seed) if source == "real" else made_up(seed)
    return None if requests is None else RULES[rule](pairs_of(requests, change, seed), judged_metrics(kind))


# --------------------------------------------------------------------------------------------------------------- tables


def _ends(pool: ProcessPoolExecutor, lives: int, *scenario: Any) -> list[End]:
    return [end for end in pool.map(partial(live, *scenario), range(lives), chunksize=5) if end is not None]


def _share(ends: Sequence[End], *names: str) -> str:
    return of_100(sum(end.ending in names for end in ends), len(ends))


def _nothing(pool: ProcessPoolExecutor, lives: int) -> Iterator[str]:
    yield f"Nothing was changed: {lives} lives each, 42 pairs (7 days), a look after each from the 12th on."
    yield ""
    yield "| traffic | goal | rule | false better | false revert (worse) | no worse (true) | cannot be told |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for source in ("real", "made up"):
        for kind, goal in (("cache_optimization", "slow share"), ("cache_strategy", "hit rate")):
            for rule in RULES:
                ends = _ends(pool, lives, rule, source, NOTHING, kind)
                if not ends:
                    yield f"| {source} | | | the trace is absent | | | |"
                    continue
                cells = [_share(ends, "better"), _share(ends, "worse"), _share(ends, "noWorse")]
                yield f"| {source} | {goal} | {rule} | {' | '.join(cells)} | {_share(ends, 'cannotBeTold')} |"


def _power(pool: ProcessPoolExecutor, lives: int) -> Iterator[str]:
    yield f"Harm and help of known size, {lives} lives each; a pair takes four hours."
    yield ""
    yield "| traffic | change | worse | of them by pair 12 / 18 | median pairs | better | no worse | cannot be told |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for change in (*HARMS, *HELPS):
        for source in ("made up", "real"):
            kind = "cache_strategy" if change.hits else "cache_optimization"
            ends = _ends(pool, lives, "switchback", source, change, kind)
            if not ends:
                continue
            name = "better" if change in HELPS else "worse"
            found = [end.pairs for end in ends if end.ending == name]
            soon = f"{sum(it <= 12 for it in found)} / {sum(it <= 18 for it in found)}"  # noqa: PLR2004
            middle = f"{median(found):.0f}" if found else "–"
            count = Counter(end.ending for end in ends)
            cells = [str(count["worse"]), soon, middle, *(str(count[it]) for it in ("better", "noWorse"))]
            yield f"| {source} | {change.name} | {' | '.join(cells)} | {count['cannotBeTold']} |"


def main(
    lives: Annotated[int, typer.Option(min=1)] = LIVES,
    harm_lives: Annotated[int, typer.Option(min=1)] = HARM_LIVES,
    only: Annotated[str, typer.Option(help="nothing or power; by default both.")] = "",
) -> None:
    """Print the tables of docs/verdicts.md on switchbacks."""
    with processes() as pool:
        if only in ("", "nothing"):
            for line in _nothing(pool, lives):
                typer.echo(line)
            typer.echo("")
        if only in ("", "power"):
            for line in _power(pool, harm_lives):
                typer.echo(line)


if __name__ == "__main__":
    typer.run(main)
