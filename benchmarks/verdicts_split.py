"""Measure the verdicts of a random split: how often they are wrong, what harm they find and how soon.

`python -m benchmarks.verdicts_split` prints Markdown tables of whole lives, looked at every hour: of traffic in which
nothing was changed (real and made up), of harm and help of known size, and what other rules do on the same streams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import polars as pl
import typer

from benchmarks.verdict_lives import judged_metrics, of_100, processes
from benchmarks.verdict_streams import (
    DAY_HOURS,
    HOUR,
    NOTHING,
    START,
    WEEK_HOURS,
    Change,
    Life,
    Rows,
    life,
    made_up,
    real_rows,
    shares_of,
)
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.split import SplitPlan, conclude_split, read_every_look
from tasks.statistics.confidence_sequences import mixture_radius

STEPS = (0.05, 0.2, 0.5)
HELD = (0.2,)
"""One step only, at which power is measured."""

MINIMUM_REQUESTS = 200
STEP_LAG = timedelta(minutes=10)
"""A step is taken this long after the hour that it rests on: the hour of the step is left out."""

LIVES = 200
Z_FIXED = 1.96

COSTS = (Change("cost +5 %", cost=1.05), Change("cost +15 %", cost=1.15), Change("cost +30 %", cost=1.30))
SLOWER = (Change("slow +2 points", slow=0.02), Change("slow +5 points", slow=0.05))
FAILING = (Change("errors +1 point", errors=0.01), Change("errors +2.5 points", errors=0.025))
WRONG = (Change("accuracy −2 points", accuracy=-0.02), Change("accuracy −5 points", accuracy=-0.05))
CHEAPER = Change("cost −15 %", cost=0.85)

Source = Literal["real", "real simple", "made up"]


class End(NamedTuple):
    """How a life ended, and after how many hours; `steps` is the number of steps that were taken."""

    ending: str
    hours: int
    steps: int


@dataclass(frozen=True)
class Scenario:
    """Lives of one kind: traffic, change, the share of answers that are rated, and the steps."""

    source: Source
    change: Change
    rated: float = 1.0
    steps: tuple[float, ...] = STEPS
    days: int = 7
    per_day: float = 10_000.0
    alike: bool = False

    def life(self, seed: int) -> Life | None:
        rows = _real(self.source, self.days, seed % 7) if self.source != "made up" else None
        if rows is None and self.source != "made up":
            return None
        return life(rows or made_up(seed, self.days, self.per_day), self.change, seed, self.rated)


def live(scenario: Scenario, seed: int, *, ends_asking: bool = True) -> End | None:
    """Live through a rollout with a look every hour, as the product does; None where the traffic is absent.

    A person who is asked does not answer: the life ends there, or without `ends_asking` goes on at the same share.
    """
    own = scenario.life(seed)
    if own is None:
        return None
    metrics, shares = judged_metrics("model_selection"), scenario.steps
    hours = own.before.hours
    steps, number = [(START, shares[0])], 0
    while True:
        frame = own.frame(shares_of(steps, hours))
        plan = SplitPlan("rollout-1", tuple(steps), has_common_tokenizer=scenario.alike)
        following = shares[number + 1] if number + 1 < len(shares) else 1.0
        for reading in read_every_look(frame, plan, metrics):
            if reading.observed_to is None or reading.observed_to <= steps[-1][0]:
                continue
            passed = (reading.observed_to - START) // HOUR
            action, conclusion, _reason = conclude_split(
                reading,
                next_share=following,
                over=passed >= hours,
                minimum_requests=MINIMUM_REQUESTS,
                hours_left=hours - passed,
            )
            if action == "step" and passed + 1 < hours:
                number += 1
                steps.append((reading.observed_to + STEP_LAG, following))
                break
            if action == "ask" and ends_asking:
                return End("ask", passed, number)
            if action in ("promote", "rollBack") or (action == "ask" and passed >= hours):
                return End(conclusion or "", passed, number)
        else:
            return End("cannotBeTold", hours, number)


# ------------------------------------------------------------------------------------------------- what others would do


def live_by(rule: str, scenario: Scenario, seed: int) -> End | None:
    """Live through the same traffic at a share of 20 % by another rule; its own keeps are called better."""
    own = scenario.life(seed)
    if own is None:
        return None
    if rule == "ville":
        return _ville(own)
    sums = _Pooled(own.frame(np.full(own.before.hours, HELD[0])))
    return {"fixed daily": partial(_fixed, every=DAY_HOURS), "fixed hourly": partial(_fixed, every=1)}.get(
        rule, {"growthbook": _growthbook, "last 20": _last_20}.get(rule)
    )(sums)  # type: ignore[misc]


RULES = {
    "fixed daily": "95 % interval, looked at daily",
    "fixed hourly": "95 % interval, looked at hourly",
    "growthbook": "sequential t-test as GrowthBook's (N* = 5,000, two-sided 5 % each), hourly",
    "last 20": "point estimate over 20 requests beyond its margin, hourly",
    "ville": "ville.AsymptoticABTest (5 % over the metrics), every request",
}


class _Pooled:
    """The arms' running totals of every judged metric, hours not told apart."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.metrics = judged_metrics("model_selection")
        hours = frame.sort("bucket").group_by("bucket", "arm", maintain_order=True).agg(pl.exclude("unit_bucket").sum())
        whole = pl.DataFrame({"bucket": hours["bucket"].unique().sort()})
        self.by_hour = {
            arm: whole.join(hours.filter(pl.col("arm") == arm), on="bucket", how="left").fill_null(0.0)
            for arm in ("baseline", "candidate")
        }
        self.hours = whole.height

    def of(self, metric: JudgedMetric, arm: str) -> tuple[Any, Any, Any]:
        """Return number, sum and sum of squares by hour."""
        above, below = metric.sums
        frame = self.by_hour[arm]
        total = frame[above].to_numpy()
        name = below.removesuffix("_count") + "_sum_sq"
        squares = total if above.endswith("_count") else frame[name].to_numpy()
        return frame[below].to_numpy(), total, squares

    def difference(self, metric: JudgedMetric) -> tuple[Any, Any, Any, Any]:
        """Return candidate - baseline, its variance, the baseline's mean and the smaller arm's size after each hour."""
        parts = []
        for arm in ("baseline", "candidate"):
            n, total, squares = (np.cumsum(values) for values in self.of(metric, arm))
            n = np.maximum(n, 1)
            parts.append((n, total / n, np.maximum(squares / n - (total / n) ** 2, 0) * n / np.maximum(n - 1, 1)))
        (n0, mean0, var0), (n1, mean1, var1) = parts
        return mean1 - mean0, var0 / n0 + var1 / n1, mean0, np.minimum(n0, n1)


def _fixed(sums: _Pooled, *, every: int) -> End:
    """Judge by 95 % intervals, as before: a guard is safe by its point estimate."""
    found = [(metric, *sums.difference(metric)) for metric in sums.metrics]
    for hour in range(every - 1, sums.hours, every):
        better, within = False, True
        for number, (metric, change, variance, before, size) in enumerate(found):
            sign = 1.0 if metric.lower_is_better else -1.0
            worse, error = sign * change[hour], math.sqrt(variance[hour])
            if size[hour] < 30:  # noqa: PLR2004
                within = within and number > 0
                continue
            if worse - Z_FIXED * error > 0 and worse > metric.margin_of(before[hour]):
                return End("worse", hour + 1, 0)
            if number == 0:
                better = worse + Z_FIXED * error < 0
            else:
                within = within and worse <= metric.margin_of(before[hour])
        if better and within and hour + 1 >= DAY_HOURS:
            return End("better", hour + 1, 0)
    return End("cannotBeTold", sums.hours, 0)


def _growthbook(sums: _Pooled) -> End:
    """Roll back when a metric's sequential interval is on its worse side, keep when the goal's is on its better one."""
    alpha, tuned = 0.05, 5_000.0
    rho_sq = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuned
    found = [(metric, *sums.difference(metric)) for metric in sums.metrics]
    n = sum(np.cumsum(sums.of(sums.metrics[2], arm)[0]) for arm in ("baseline", "candidate"))
    factor = np.sqrt(2 * (n * rho_sq + 1) / (n * rho_sq) * np.log(np.sqrt(n * rho_sq + 1) / alpha))
    for hour in range(sums.hours):
        better = False
        for number, (metric, change, variance, _before, size) in enumerate(found):
            if size[hour] < 30:  # noqa: PLR2004
                continue
            worse = change[hour] * (1.0 if metric.lower_is_better else -1.0)
            radius = factor[hour] * math.sqrt(variance[hour])
            if worse - radius > 0:
                return End("worse", hour + 1, 0)
            better = better or (number == 0 and worse + radius < 0)
        if better:
            return End("better", hour + 1, 0)
    return End("cannotBeTold", sums.hours, 0)


def _last_20(sums: _Pooled) -> End:
    """Roll back when the mean of the newest 20 or more requests is beyond a margin; keep what survives."""
    for metric in sums.metrics:
        sign = 1.0 if metric.lower_is_better else -1.0
        sides = [sums.of(metric, arm) for arm in ("baseline", "candidate")]
        kept = [[0.0, 0.0], [0.0, 0.0]]
        for hour in range(sums.hours):
            for side, (n, total, _squares) in zip(kept, sides, strict=True):
                side[0] += n[hour]
                side[1] += total[hour]
            if min(kept[0][0], kept[1][0]) < 20:  # noqa: PLR2004
                continue
            before, after = kept[0][1] / kept[0][0], kept[1][1] / kept[1][0]
            if sign * (after - before) > metric.margin_of(before):
                return End("worse", hour + 1, 0)
            kept = [[0.0, 0.0], [0.0, 0.0]]
    return End("better", sums.hours, 0)


def _ville(own: Life) -> End:
    """Ask the library's A/B test about every request, the error shared over the metrics."""
    import ville  # noqa: PLC0415 - only this rule needs it

    metrics = judged_metrics("model_selection")
    arm, seen = own.outcomes(np.full(own.before.hours, HELD[0]))
    ends = []
    for number, metric in enumerate(metrics):
        values, known = seen[metric.name]
        if known.sum() < 200:  # noqa: PLR2004
            continue
        test = ville.AsymptoticABTest(alpha=2 * 0.05 / len(metrics), propensity=HELD[0], t_opt=5_000, min_samples=200)
        test.fit(values[known], arm[known])
        sign = 1.0 if metric.lower_is_better else -1.0
        low, high = (test.lower_, test.upper_) if sign > 0 else (-test.upper_, -test.lower_)
        hour = own.before.hour[known]
        worse = np.flatnonzero(low > 0)
        if worse.size:
            ends.append(End("worse", int(hour[worse[0]]) + 1, 0))
        good = np.flatnonzero(high < 0)
        if number == 0 and good.size:
            ends.append(End("better", int(hour[good[0]]) + 1, 0))
    return min(ends, key=lambda end: end.hours) if ends else End("cannotBeTold", own.before.hours, 0)


# ----------------------------------------------------------------------------------------------------------- the tables


Run = Callable[[Callable[..., Any], Scenario], list[End]]


def _ends(pool: ProcessPoolExecutor, lives: int, one: Callable[..., Any], scenario: Scenario) -> list[End]:
    return [end for end in pool.map(partial(one, scenario), range(lives), chunksize=5) if end is not None]


def _nothing(run: Run) -> Iterator[str]:
    yield "Nothing was changed: 5 → 20 → 50 → 100 %, seven days, a look every hour."
    yield ""
    yield "| traffic | lives | false better | no worse (true) | false rollback | invalid | cannot be told |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for source in ("real", "real simple", "made up"):
        for alike in (False, True):
            ends = run(live, Scenario(source, NOTHING, alike=alike))
            if not ends:
                yield f"| {source} | 0 | the trace is absent | | | | |"
                continue
            told = f"{source}{', adjusted for prompt tokens' if alike else ''}"
            cells = [_of(ends, "better"), _of(ends, "noWorse"), _of(ends, "worse"), _of(ends, "invalid")]
            yield f"| {told} | {len(ends)} | {' | '.join(cells)} | {_of(ends, 'cannotBeTold', 'unproven', 'ask')} |"


def _harm(title: str, source: Source, steps: tuple[float, ...], run: Run) -> Iterator[str]:
    yield title
    yield ""
    yield "| change | rolled back in 24 h | in 48 h | in 7 days | median hours | promoted | else |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for scenario in _harmful(source, steps):
        yield _harm_line(scenario, run(live, scenario))


def _help(run: Run) -> Iterator[str]:
    yield "Cost −15 % at equal quality: 5 → 20 → 50 → 100 %, seven days."
    yield ""
    yield "| answers rated | at 100 % by itself | median days | asks a person | rolled back as worse | else |"
    yield "|---|--:|--:|--:|--:|--:|"
    for rated in (1.0, 0.1, 0.0):
        for alike in (False, True):
            ends = run(live, Scenario("made up", CHEAPER, rated=rated, alike=alike))
            done = [end.hours / DAY_HOURS for end in ends if end.ending in ("better", "noWorse")]
            median = f"{np.median(done):.1f}" if done else "–"
            told = f"{rated:.0%}{', adjusted for prompt tokens' if alike else ''}"
            yield (
                f"| {told} | {_of(ends, 'better', 'noWorse')} | {median} | {_of(ends, 'ask')} | "
                f"{_of(ends, 'worse')} | {_of(ends, 'cannotBeTold', 'unproven', 'invalid')} |"
            )


def _others(run: Run) -> Iterator[str]:
    yield "Others on the same streams, at a share of 20 % for seven days."
    yield ""
    harms = (COSTS[1], SLOWER[1], FAILING[1])
    names = " | ".join(f"{change.name}: back in 24 / 48 h" for change in harms)
    yield f"| rule | traffic | nothing: false better | nothing: false rollback | {names} | cost −15 %: kept |"
    yield f"|---|---|{'--:|' * (3 + len(harms))}"
    for source in ("real", "made up"):
        for rule, told in (("", "Routewatch"), *RULES.items()):
            one = partial(live_by, rule) if rule else live
            nothing = run(one, Scenario(source, NOTHING, steps=HELD))
            if not nothing:
                continue
            caught = []
            for change in harms:
                ends = run(one, Scenario(source, change, steps=HELD))
                caught.append(f"{_caught(ends, 24)} / {_caught(ends, 48)}")
            kept = run(one, Scenario(source, CHEAPER, steps=HELD))
            cells = [_of(nothing, "better"), _of(nothing, "worse", "invalid"), *caught]
            yield f"| {told} | {source} | {' | '.join(cells)} | {_of(kept, 'better', 'noWorse')} |"


def _boundary(_run: Run) -> Iterator[str]:
    import ville  # noqa: PLC0415 - a second opinion

    information = np.geomspace(50, 50_000, 7)
    yield "Radius of the one-sided sequence over ville's exact root, each tuned by itself at an information of 1,000."
    yield ""
    yield f"| error | {' | '.join(f'at {at:,.0f}' for at in information)} |"
    yield f"|---|{'--:|' * len(information)}"
    for alpha in (0.05, 0.025, 0.01):
        prior = ville.best_rho(1_000.0, alpha, one_sided=True)
        exact = ville.normal_mixture(information, alpha, prior, one_sided=True) / information
        ratio = mixture_radius(information, alpha, tuned_at=1_000.0) / exact
        yield f"| {alpha:.1%} | {' | '.join(f'{value:.3f}' for value in ratio)} |"


_HARM_MADE_UP = "Harm at a share of 20 %, made-up traffic of 10,000 requests a day, seven days, a look every hour."
TABLES: dict[str, Callable[[Run], Iterator[str]]] = {
    "nothing": _nothing,
    "harm": partial(_harm, _HARM_MADE_UP, "made up", HELD),
    "harm-real": partial(_harm, "The same harm put into the real trace (14,300 requests a day).", "real", HELD),
    "harm-steps": partial(_harm, "Harm from the first step on: 5 → 20 → 50 → 100 %.", "made up", STEPS),
    "help": _help,
    "others": _others,
    "boundary": _boundary,
}


def _harmful(source: Source, steps: tuple[float, ...]) -> Iterator[Scenario]:
    for change in (*COSTS, *SLOWER, *FAILING):
        yield Scenario(source, change, steps=steps)
    yield Scenario(source, COSTS[1], steps=steps, alike=True)
    for change in WRONG:
        for rated in (1.0, 0.1):
            yield Scenario(source, change, rated=rated, steps=steps)


def _harm_line(scenario: Scenario, ends: Sequence[End]) -> str:
    name = scenario.change.name
    if scenario.alike:
        name += ", adjusted for prompt tokens"
    if scenario.change.accuracy:
        name += ", every answer rated" if scenario.rated == 1 else ", one answer in ten rated"
    if not ends:
        return f"| {name} | the trace is absent | | | | | |"
    hours = [end.hours for end in ends if end.ending == "worse"]
    median = f"{np.median(hours):.0f}" if hours else "–"
    cells = [_caught(ends, within) for within in (24, 48, WEEK_HOURS)]
    rest = _of(ends, "cannotBeTold", "unproven", "ask", "invalid")
    return f"| {name} | {' | '.join(cells)} | {median} | {_of(ends, 'better', 'noWorse')} | {rest} |"


def _caught(ends: Sequence[End], within: int) -> str:
    part = sum(end.ending == "worse" and end.hours <= within for end in ends)
    return f"{100 * part / len(ends):.0f}"


def _of(ends: Sequence[End], *endings: str) -> str:
    """Return how many of 100, with the 95 % binomial interval."""
    return of_100(sum(end.ending in endings for end in ends), len(ends))


@lru_cache(maxsize=20)
def _real(source: Source, days: int, first_day: int) -> Rows | None:
    return real_rows(days, first_day, "simple" if source == "real simple" else None)


def main(
    lives: Annotated[int, typer.Option(min=1)] = LIVES,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(TABLES)}; may be repeated.")] = None,
) -> None:
    """Print the tables; rows of a real trace that is absent say so."""
    with processes() as pool:
        for name in only or TABLES:
            for line in TABLES[name](partial(_ends, pool, lives)):
                typer.echo(line)
            typer.echo("")


if __name__ == "__main__":
    typer.run(main)
