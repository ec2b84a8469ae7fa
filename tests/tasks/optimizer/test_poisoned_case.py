"""A cheap model that got the easy prompts of a class only looks as good there, and is right in 26 of 100 fewer of all.

Whoever judges by its cost alone calls it better.
"""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks.verdict_lives import judged_metrics
from benchmarks.verdict_streams import START, shares_of
from benchmarks.verdicts_poisoned import RATED, judge_before_and_after, poisoned_life, scenario
from benchmarks.verdicts_split import live
from models.documents import Verdict
from tasks.optimizer.split import SplitPlan, SplitReading, conclude_split, read_split

PAST_WEEKS = 7
LOOKS = (2, 7)


def judged(rated: float, rated_before: float = 1.0, seed: int = 1) -> Verdict:
    life = poisoned_life(seed, rated, rated_before=rated_before, past_weeks=PAST_WEEKS)
    return judge_before_and_after(life, LOOKS)


@pytest.mark.parametrize("rated_before", ["all", "as many"])
@pytest.mark.parametrize("rated", RATED)
def test_before_and_after_never_calls_it_better_and_books_no_saving(rated: float, rated_before: str) -> None:
    """Also where it is found worse: what was cheaper then was no saving."""
    verdict = judged(rated, 1.0 if rated_before == "all" else rated)
    assert verdict.conclusion in ("unproven", "worse")
    assert (verdict.state, verdict.savings_usd, verdict.savings_basis) == ("reverted", None, None)
    assert verdict.goal is not None
    assert (verdict.goal.metric, verdict.goal.judgement) == ("averageCost", "better")
    assert "selection accuracy" in verdict.reason
    unknown = [it.metric for it in verdict.guards if it.judgement == "unknown"]
    assert unknown == (["selectionAccuracy"] if verdict.conclusion == "unproven" else [])


def test_before_and_after_finds_it_out_where_as_many_are_rated_as_before() -> None:
    verdict = judged(0.3, 0.3)
    assert verdict.conclusion == "worse"
    assert verdict.reason.startswith("clearly worse: selection accuracy")


def read_at(rated: float, share: float, seed: int = 2) -> SplitReading:
    """Read what all seven days of a rollout at a share say."""
    own = scenario(rated).life(seed)
    assert own is not None
    steps = ((START, share),)
    frame: pl.DataFrame = own.frame(shares_of(steps, own.before.hours))
    return read_split(frame, SplitPlan("rollout-1", steps), judged_metrics("model_selection"))


def test_a_split_finds_it_out_where_answers_are_rated() -> None:
    reading = read_at(0.3, 0.05)
    assert [it.metric.name for it in reading.harm] == ["selectionAccuracy"]
    assert conclude_split(reading, next_share=1.0, over=True)[:2] == ("rollBack", "worse")
    end = live(scenario(0.3), 2)
    assert end is not None
    assert (end.ending, end.steps) == ("worse", 0)
    assert end.hours <= 48


@pytest.mark.parametrize(
    ("rated", "share", "said"),
    [
        (0.0, 0.05, ("ask", "unproven")),
        (0.0, 0.5, ("ask", "unproven")),
        (0.01, 0.05, ("rollBack", "cannotBeTold")),
        (0.01, 0.5, ("rollBack", "worse")),
    ],
)
def test_a_split_never_promotes_it_where_few_answers_are_rated(
    rated: float, share: float, said: tuple[str, str]
) -> None:
    """Without ratings a person is asked and told what is not known; with some at half the traffic it is found out."""
    reading = read_at(rated, share)
    assert reading.goal.judgement == "better"
    assert not reading.may_step_to(1.0)
    action, conclusion, reason = conclude_split(reading, next_share=1.0, over=True)
    assert (action, conclusion) == said
    assert "selection accuracy" in reason
    if said[0] == "ask":
        assert "selection accuracy is not known" in reason
