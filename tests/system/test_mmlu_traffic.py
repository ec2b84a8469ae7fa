"""Savings compared with the truth: questions to which the answers and costs of both models are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from models.documents import HighCost, Interval, Recommendation
from models.kpis import FallingRatioThresholds
from models.period import Level
from models.schema import UNKNOWN
from models.settings import Optimizer, PerformanceMetrics
from tasks.kpis.cost_efficiency import cheapest_adequate, measure_efficiency
from tasks.kpis.routing_baselines import baselines
from tasks.optimizer.recommend import recommend
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up
from tasks.statistics.randomization import Split, split_of
from tests.support.factories import DEFAULTS, MONDAY
from tests.support.paths import ROOT

MMLU = ROOT.parent / "shared/data/mmlu_outcomes.parquet"
STRONG, WEAK = "gpt-4-1106", "mixtral-8x7b"

FEW_DRAWS, DRAWS, SEED = 50, 200, 20_260_907
LEVELS = (0.90, 0.95)
STANDARD_ERRORS = 2.5
"""By how many of them the share of intervals that contain the truth may differ from their level."""

LIMITS = PerformanceMetrics.model_validate(
    {"selection_accuracy": FallingRatioThresholds(target=0.3, warning=0.2, critical=0.1)}
)
"""The weak model counts as adequate here: the test examines what is claimed of it."""

HIGH_COST = HighCost(severity="medium", sample=1, average_cost=1.0, average_cost_interval=Interval(estimate=1.0))
RANDOM, DECLARED = Split(declared=True), Optimizer(random_split=True)

pytestmark = pytest.mark.skipif(not MMLU.exists(), reason=f"{MMLU} is not here")

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Draw:
    """One draw of a router's selections: what Routewatch sees, and whether each question went to the strong model."""

    rollups: pl.DataFrame
    strong: Flags
    prompts: pl.DataFrame


@dataclass(frozen=True)
class Truth:
    """What is known of every question, in the order of the questions."""

    subject: npt.NDArray[np.str_]
    strong_usd: npt.NDArray[np.float64]
    weak_usd: npt.NDArray[np.float64]
    strong_right: npt.NDArray[np.float64]
    weak_right: npt.NDArray[np.float64]
    prompt_tokens: npt.NDArray[np.int64]

    @cached_property
    def chance_of_strong(self) -> npt.NDArray[np.float64]:
        """Of a router that sends the harder subjects to the strong model: 0.2 to 0.8, the same within a subject."""
        subjects = sorted(set(self.subject), key=lambda name: -self.weak_right[self.subject == name].mean())
        chances = dict(zip(subjects, np.linspace(0.2, 0.8, len(subjects)), strict=True))
        return np.array([chances[name] for name in self.subject])

    def draws(self, chance: Any, complexity: Any, team: Any = None, *, count: int) -> Iterator[Draw]:
        """Yield rollups of independent draws, with made-up equal response times: without one no model is adequate."""
        random = np.random.default_rng(SEED)
        for number in range(count):
            strong = random.random(self.subject.size) < chance
            columns = {
                "timestamp": MONDAY + timedelta(hours=number),
                "prompt_tokens": self.prompt_tokens,
                "model_id": np.where(strong, STRONG, WEAK),
                "cost_usd": np.where(strong, self.strong_usd, self.weak_usd),
                "accuracy": np.where(strong, self.strong_right, self.weak_right),
                "response_time_ms": 500.0,
                "complexity": complexity,
                "team": team,
            }
            rows = pl.DataFrame(DEFAULTS | columns, schema=SELECTION_SCHEMA)
            prompts = rows.select(
                pl.col("timestamp").dt.strftime("%Y-%m-%d %H").alias("hour"),
                "model_id",
                pl.col("complexity").fill_null(UNKNOWN),
                "prompt_tokens",
            )
            yield Draw(roll_up(rows, "UTC", 2000.0)[Level.HOUR], strong, prompts)

    def some(self, count: int, seed: int) -> Truth:
        """Return so many of the questions, drawn at random."""
        drawn = np.random.default_rng(seed).choice(self.subject.size, count, replace=False)
        return Truth(**{item.name: getattr(self, item.name)[drawn] for item in fields(self)})

    def saved_usd(self, moved: Flags) -> float:
        return float((self.strong_usd - self.weak_usd)[moved].sum())

    def accuracy_of(self, moved: Flags) -> float:
        return float(self.weak_right[moved].mean())


@pytest.fixture(scope="module")
def truth() -> Truth:
    rows = pl.read_parquet(MMLU).with_columns(pl.col("correct").cast(pl.Float64)).sort("prompt_id")
    strong, weak = rows.filter(pl.col("model_id") == STRONG), rows.filter(pl.col("model_id") == WEAK)
    assert strong["prompt_id"].equals(weak["prompt_id"])
    subject = strong["subject"].to_numpy().astype(np.str_)
    usd, right = (strong["cost_usd"], weak["cost_usd"]), (strong["correct"], weak["correct"])
    tokens = strong["prompt_tokens"].cast(pl.Int64)
    return Truth(subject, *(column.to_numpy() for column in (*usd, *right, tokens)))


@pytest.fixture(scope="module", params=[FEW_DRAWS, pytest.param(DRAWS, marks=pytest.mark.slow)])
def count(request: pytest.FixtureRequest) -> int:
    """Of draws."""
    return int(request.param)


@pytest.fixture(scope="module")
def at_random(truth: Truth, count: int) -> list[Draw]:
    return list(truth.draws(0.5, None, count=count))


@pytest.fixture(scope="module")
def by_subject(truth: Truth, count: int) -> list[Draw]:
    return list(truth.draws(truth.chance_of_strong, truth.subject, count=count))


def recommended(draw: Draw, split: Split, level: float) -> tuple[Recommendation, ...]:
    cheapest = cheapest_adequate(draw.rollups, LIMITS)
    return recommend((HIGH_COST,), draw.rollups, cheapest, {}, Optimizer(), split=split, level=level)


def holds(interval: Interval | None, true: float) -> bool:
    assert interval is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= true <= interval.high


def assert_calibrated(held: list[bool], level: float, draws: int) -> None:
    """By the binomial distribution over the draws; subjects of one draw are not independent of each other."""
    off = STANDARD_ERRORS * np.sqrt(level * (1 - level) / draws)
    assert level - off <= np.mean(held) <= level + off, f"{np.mean(held):.1%} of {len(held)}"


@pytest.mark.parametrize("level", LEVELS)
def test_of_a_random_split_the_intervals_hold_the_truth(
    truth: Truth, at_random: list[Draw], level: float, count: int
) -> None:
    """Savings and the accuracy after switching, as often as their level says."""
    savings, accuracy, total = [], [], []
    for draw in at_random:
        [item] = recommended(draw, RANDOM, level)
        assert (item.from_model, item.to_model, item.observational) == (STRONG, WEAK, False)
        savings.append(holds(item.savings_usd, truth.saved_usd(draw.strong)))
        accuracy.append(holds(item.accuracy_after, truth.accuracy_of(draw.strong)))
        measured = measure_efficiency(draw.rollups, LIMITS, RANDOM, level=level).savings
        total.append(holds(measured.savings_usd, truth.saved_usd(draw.strong)))
    for held in (savings, accuracy, total):
        assert_calibrated(held, level, count)


@pytest.mark.parametrize("level", LEVELS)
def test_within_a_subject_they_hold_it_too(truth: Truth, by_subject: list[Draw], level: float, count: int) -> None:
    """The router prefers the strong model for harder subjects, but within a subject it selects at random."""
    savings, accuracy, total = [], [], []
    for draw in by_subject:
        items = recommended(draw, RANDOM, level)
        assert not any(item.observational for item in items)
        for item in items:
            moved = draw.strong & (truth.subject == item.complexity)
            savings.append(holds(item.savings_usd, truth.saved_usd(moved)))
            accuracy.append(holds(item.accuracy_after, truth.accuracy_of(moved)))
        found = measure_efficiency(draw.rollups, LIMITS, RANDOM, level=level)
        baseline = {name: candidate.model_id for name, candidate in found.cheapest.items()}
        to = np.array([baseline.get(name, "") for name in truth.subject])
        saved = truth.saved_usd(draw.strong & (to == WEAK)) - truth.saved_usd(~draw.strong & (to == STRONG))
        total.append(holds(found.savings.savings_usd, saved))
    assert len(savings) > 40 * count
    for held in (savings, accuracy, total):
        assert_calibrated(held, level, count)


def test_across_subjects_it_is_observational_and_may_miss(truth: Truth) -> None:
    """Without the subject as a class the split is not random: the interval misses, and the report does not hide it."""
    savings, accuracy = [], []
    for draw in truth.draws(truth.chance_of_strong, None, count=50):
        [item] = recommended(draw, split_of(draw.rollups, Optimizer()), 0.90)
        assert item.observational
        savings.append(holds(item.savings_usd, truth.saved_usd(draw.strong)))
        accuracy.append(holds(item.accuracy_after, truth.accuracy_of(draw.strong)))
    assert np.mean(savings) < 0.5
    assert np.mean(accuracy) < 0.5


def test_a_split_that_is_declared_but_does_not_show_is_observational(truth: Truth) -> None:
    """With each subject as a team, the teams would reveal the routing rule."""
    [draw] = truth.draws(truth.chance_of_strong, None, team=truth.subject, count=1)
    [item] = recommended(draw, split_of(draw.rollups, DECLARED), 0.95)
    assert item.observational
    assert item.note is not None
    assert "got other teams than the other models" in item.note
    [fair] = truth.draws(0.5, None, team=truth.subject, count=1)
    [item] = recommended(fair, split_of(fair.rollups, DECLARED, fair.prompts), 0.95)
    assert (item.observational, item.evidence) == (False, "split checked")
    [item] = recommended(fair, split_of(fair.rollups, DECLARED), 0.95)
    assert item.evidence == "split checked", "14,042 prompts are enough for the means of rollups"


def test_a_split_by_length_is_found_in_800_real_questions(truth: Truth, count: int) -> None:
    """Four of five long questions to the strong model, four of five short ones to the weak."""
    found = fair = 0
    for seed in range(count):
        some = truth.some(800, seed)
        is_long = some.prompt_tokens > np.median(some.prompt_tokens)
        [biased] = some.draws(np.where(is_long, 0.8, 0.2), None, count=1)
        [even] = some.draws(0.5, None, count=1)
        found += split_of(biased.rollups, DECLARED, biased.prompts).evidence([UNKNOWN]) == "observational"
        fair += split_of(even.rollups, DECLARED, even.prompts).evidence([UNKNOWN]) == "split checked"
    assert found >= 0.95 * count
    assert fair >= count - 1


def test_a_router_gains_over_a_shuffle_only_where_it_knows_something(truth: Truth, by_subject: list[Draw]) -> None:
    """Harder subjects to the stronger model is worth more than the same spend at random; a random split is not."""
    informed = [baselines(draw.rollups, level=0.90) for draw in by_subject[:50]]
    gains = [item.accuracy_gained for item in informed if item.accuracy_gained]
    assert len(gains) == len(informed)
    assert np.mean([gain.estimate for gain in gains]) > 0.002
    random = truth.draws(0.5, truth.subject, count=50)
    assert np.mean([holds(baselines(draw.rollups, level=0.90).accuracy_gained, 0.0) for draw in random]) >= 0.85
