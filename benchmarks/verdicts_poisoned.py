"""The poisoned case: a cheap model that was given only the easy prompts of a class, so that it looks as good there.

It is recommended, and a person approves. Then it is given all prompts of the class: it costs a fifth, and is right in
26 of 100 fewer. That can be seen only where answers are rated.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from benchmarks import verdicts_split
from benchmarks.verdict_streams import Change
from benchmarks.verdicts_before_after import DAY, LIFE_HOURS, SETTINGS, START, WEEK, Life, made_up, observed
from models.documents import ConfigChangeProposal, Interval, Recommendation, Verdict
from tasks.optimizer.hour_grid import ObservedHours
from tasks.optimizer.verify import ObservationWindow, assess

TOUCHED = "complex"
COST, LOST = 0.2, 0.26
RATED = (0.0, 0.01, 0.3)
"""Shares of the answers that are rated after the change."""

POISONED = Change("a fifth of the cost, 26 points fewer right", cost=COST, accuracy=-LOST)
RECOMMENDED = Recommendation(
    type="model_selection", bottleneck="cost", description="The cheap model was as often right.", impact="high",
    effort="low", auto_apply=False, observational=True, complexity=TOUCHED,
    savings_usd=Interval(estimate=52.0, low=None, high=None),
    moves=(ConfigChangeProposal(key=f"routing.{TOUCHED}", from_value="costly", to_value="cheap", version=1),),
)  # fmt: skip


def poisoned_life(seed: int, rated: float, *, rated_before: float = 1.0, past_weeks: int = 12) -> Life:
    """Return weeks of a class at the costly model, and one at the cheap one."""
    at = START + past_weeks * WEEK
    hours, draw = made_up(seed, alike=0.75, weeks=past_weeks + 1), np.random.default_rng([seed, 4])
    touched = (hours["bucket"] >= at).to_numpy() & (hours["complexity"] == TOUCHED).to_numpy()
    count = hours["count"].to_numpy().astype(int)
    right = hours["accuracy_sum"].to_numpy() / np.maximum(count, 1) - LOST * touched
    known = draw.binomial(count, np.where((hours["bucket"] >= at).to_numpy(), rated, rated_before))
    changed = hours.with_columns(
        cost_sum_usd=pl.col("cost_sum_usd") * pl.Series(np.where(touched, COST, 1.0)),
        accuracy_count=pl.Series(known.astype(float)),
        accuracy_sum=pl.Series(draw.binomial(known, np.clip(right, 0, 1)).astype(float)),
    )
    return Life(changed, at, at + LIFE_HOURS * timedelta(hours=1), "model_selection", TOUCHED)


def judge_before_and_after(life: Life, days: tuple[int, ...] = tuple(range(1, 8))) -> Verdict:
    """Assess a life on some mornings, as the daily flow does; return the last verdict."""
    hours, verdict = observed(life), None
    for day in days:
        now = life.at + day * DAY
        seen = replace(
            hours,
            after=hours.after.filter(pl.col("bucket") < now),
            untouched=hours.untouched.filter(pl.col("bucket") < now),
            after_to=now,
        )
        verdict = assess(_window(life, seen), SETTINGS, now)
        if verdict is not None and verdict.conclusion is not None:
            return verdict
    raise AssertionError(f"a life ends with a conclusion, not with {verdict}")


def said_before_and_after(rated: float, rated_before: float, seed: int) -> tuple[str, int, bool]:
    """Return what is said in the end, after how many hours, and whether a saving is booked."""
    life = poisoned_life(seed, rated, rated_before=rated_before)
    verdict = judge_before_and_after(life)
    hours = (verdict.judged_at - life.at) // timedelta(hours=1)
    saved = verdict.savings_usd
    return verdict.conclusion or "", hours, saved is not None and saved.estimate > 0


def scenario(rated: float, steps: tuple[float, ...] = verdicts_split.STEPS) -> verdicts_split.Scenario:
    """Return the same as a rollout of a class of 10,000 requests a day, for seven days."""
    return verdicts_split.Scenario("made up", POISONED, rated=rated, steps=steps)


def said_of_split(rated: float, steps: tuple[float, ...], seed: int) -> tuple[str, int, bool]:
    """Return what a rollout ends with where the person who is asked does not answer; a saving is booked if promoted."""
    end = verdicts_split.live(scenario(rated, steps), seed, ends_asking=False)
    if end is None:
        raise AssertionError("made-up traffic is always there")
    return end.ending, end.hours, end.ending in ("better", "noWorse")


# ----------------------------------------------------------------------------------------------------------------------


def _window(life: Life, hours: ObservedHours) -> ObservationWindow:
    row: Any = SimpleNamespace(id=1, applied_at=life.at)
    return ObservationWindow(row=row, item=RECOMMENDED, hours=hours)
