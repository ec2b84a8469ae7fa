"""A declared random split is accepted only as far as the data support it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from models.period import Level, Period
from models.report_template import Template
from models.settings import Optimizer, Settings
from tasks.reporting.collect import collect_material
from tasks.reporting.request import Request
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tasks.statistics.randomization import (
    FALSE_ALARM,
    PROMPT_COLUMNS,
    Split,
    chi_square_chance,
    rank_statistics,
    split_of,
    student_chance,
)
from tests.support.chance import few_or_all, most_by_chance
from tests.support.factories import DEFAULTS, MONDAY, insert_selections, selections

DECLARED = Optimizer(random_split=True)
COUNT = 6_000


def traffic(seed: int) -> pl.DataFrame:
    """Four days of two teams, busier and of longer prompts by day, one third of it handed to model b at random."""
    random = np.random.default_rng(seed)
    hour = random.choice(96, COUNT, p=np.tile(np.where(np.arange(24) < 8, 1, 3), 4) / 224)
    is_day = hour % 24 >= 8
    columns = {
        "timestamp": [MONDAY + timedelta(hours=int(number)) for number in hour],
        "model_id": np.where(random.random(COUNT) < 1 / 3, "b", "a"),
        "complexity": "simple",
        "team": np.where(random.random(COUNT) < 0.2, "blue", "red"),
        "prompt_tokens": (random.lognormal(5, 1, COUNT) * np.where(is_day, 1.5, 1)).astype(int),
    }
    return pl.DataFrame(DEFAULTS | columns, schema=SELECTION_SCHEMA)


def hourly(frame: pl.DataFrame) -> pl.DataFrame:
    return roll_up(frame, "UTC", 2000.0)[Level.HOUR]


def prompts(frame: pl.DataFrame) -> pl.DataFrame:
    """Return single prompts as they are read from raw selections."""
    hour = pl.col("timestamp").dt.strftime("%Y-%m-%d %H")
    return frame.select("model_id", "complexity", "prompt_tokens", hour=hour).select(PROMPT_COLUMNS)


def checked(frame: pl.DataFrame) -> Split:
    return split_of(hourly(frame), DECLARED, prompts(frame))


def handed_out(
    seed: int, count: int, *, share: float = 0.5, spread: float = 1.0, of_long: float | None = None, days: int = 4
) -> pl.DataFrame:
    """Return so many prompts of some days, longer and more by day; `share` goes to model b at random.

    With `of_long`, b gets that share of those above the median length, and of the others the rest. `spread` is that of
    the logarithm of lengths: from 2 on one prompt in a thousand has as many tokens as all others.
    """
    random = np.random.default_rng(seed)
    hour = random.choice(24 * days, count, p=np.tile(np.where(np.arange(24) < 8, 1, 3), days) / (56 * days))
    tokens = (random.lognormal(5, spread, count) * np.where(hour % 24 >= 8, 1.5, 1)).astype(int) + 1
    is_long = tokens > np.median(tokens)
    chance = share if of_long is None else np.where(is_long, of_long, 1 - of_long)
    columns = {
        "timestamp": [MONDAY + timedelta(hours=int(number)) for number in hour],
        "model_id": np.where(random.random(count) < chance, "b", "a"),
        "complexity": "simple",
        "team": np.where(random.random(count) < 0.2, "blue", "red"),
        "prompt_tokens": tokens,
    }
    return pl.DataFrame(DEFAULTS | columns, schema=SELECTION_SCHEMA)


def given_to(model_id: str, where: pl.Expr, share: float, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same traffic, with that share of some selections sent to one model for their content."""
    picked = where & (pl.int_range(pl.len()) % 100 < share * 100)
    return frame.with_columns(model_id=pl.when(picked).then(pl.lit(model_id)).otherwise("model_id"))


@few_or_all(15, 60)
def test_a_random_split_is_seldom_doubted(draws: int) -> None:
    """At most once in so many draws, although teams and hours differ from each other."""
    assert sum(bool(split_of(hourly(traffic(seed)), DECLARED).uneven) for seed in range(draws)) <= 1


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("spread", [1.0, 2.5], ids=["usual lengths", "heavy tails"])
@few_or_all(3, 150)
def test_a_random_split_of_few_prompts_is_seldom_doubted_for_lengths(share: float, spread: float, draws: int) -> None:
    """Neither seasons, nor heavy tails, nor unequal shares look like a preference."""
    splits = [checked(handed_out(seed, 800, share=share, spread=spread)) for seed in range(draws)]
    assert sum(bool(split.uneven) for split in splits) <= most_by_chance(FALSE_ALARM, draws)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "spread"), [(0.5, 1.0), (0.1, 2.5), (0.03, 2.5)])
def test_ranks_of_a_random_split_vary_as_much_as_is_said(share: float, spread: float) -> None:
    """The statistic over its error is standard normal up to where a false alarm is 1 in 1,000."""
    frames = [prompts(handed_out(seed, 800, share=share, spread=spread)) for seed in range(2_000)]
    deviates = [total / variance**0.5 for total, variance in (rank_statistics(frame)["b"] for frame in frames)]
    assert 0.95 <= np.std(deviates) <= 1.05
    assert sum(abs(deviate) > 3.29 for deviate in deviates) <= most_by_chance(FALSE_ALARM, len(deviates))


@pytest.mark.parametrize("count", [300, 800, 1_600])
@pytest.mark.parametrize("spread", [0.3, 2.5])
@few_or_all(5, 100)
def test_a_split_by_length_is_found_in_few_prompts(count: int, spread: float, draws: int) -> None:
    """Four of five long prompts to one model, four of five short ones to the other."""
    found = [checked(handed_out(seed, count, spread=spread, of_long=0.8)) for seed in range(draws)]
    assert sum("prompt lengths" in (split.why(["simple"]) or "") for split in found) >= 0.95 * draws
    assert all(split.evidence(["simple"]) == "observational" for split in found)


@pytest.mark.parametrize(
    "frame",
    [
        handed_out(1, 100),
        handed_out(1, 800).with_columns(prompt_tokens=pl.lit(None, pl.Int64)),
        handed_out(1, 800).with_columns(prompt_tokens=pl.lit(12, pl.Int64)),
        handed_out(1, 800, share=0.04),
    ],
    ids=["few prompts", "unknown lengths", "one length", "a model that hardly gets any"],
)
def test_what_could_not_show_a_preference_is_not_called_checked(frame: pl.DataFrame) -> None:
    """It is declared, not checkable: the estimate stays observational, and says why."""
    split = checked(frame)
    assert not split.uneven
    assert split.evidence(["simple"]) == "declared split, not checkable"
    assert split.is_observational(["simple"])
    assert "declared, not checkable" in (split.why(["simple"]) or "")


def test_a_split_that_could_have_shown_a_preference_is_checked() -> None:
    assert checked(handed_out(1, 800)).evidence(["simple"]) == "split checked"
    assert split_of(hourly(handed_out(1, 6_000)), DECLARED).evidence(["simple"]) == "split checked"
    assert split_of(hourly(handed_out(1, 800)), DECLARED).evidence(["simple"]) == "declared split, not checkable"


def test_a_class_of_one_model_leaves_nothing_to_check() -> None:
    """All its requests go to one model: it does not make the other classes' estimate observational."""
    alone = handed_out(2, 400, share=0).with_columns(complexity=pl.lit("complex"))
    assert checked(pl.concat([handed_out(1, 800), alone])).evidence(["simple", "complex"]) == "split checked"
    few = handed_out(2, 40).with_columns(complexity=pl.lit("complex"))
    split = checked(pl.concat([handed_out(1, 800), few]))
    assert split.evidence(["simple", "complex"]) == "declared split, not checkable"


@pytest.mark.parametrize("days", [1, 4, 60], ids=["crowded hours", "hours", "hours of one prompt at most"])
def test_ranks_find_a_preference_however_many_prompts_an_hour_has(days: int) -> None:
    biased = checked(handed_out(3, 400, of_long=0.8, days=days))
    assert "prompt lengths" in (biased.why(["simple"]) or "")


@pytest.mark.parametrize(
    ("where", "respect"),
    [
        (pl.col("team") == "blue", "teams"),
        (pl.col("timestamp").dt.hour() < 8, "hours of the day"),
        (pl.col("timestamp").dt.day() == MONDAY.day, "days"),
        (pl.col("prompt_tokens") > 400, "prompt lengths"),
    ],
    ids=["a team", "the night", "a day", "long prompts"],
)
def test_a_preference_is_found_and_reported(where: pl.Expr, respect: str) -> None:
    """A router that sends a third more of something to one model does not split at random."""
    split = split_of(hourly(given_to("b", where, 0.35, traffic(1))), DECLARED)
    assert split.is_observational(["simple"])
    assert respect in (split.why(["simple"]) or "")


def test_nothing_is_believed_that_was_not_declared() -> None:
    split = split_of(hourly(traffic(1)), Optimizer())
    assert split.is_observational(["simple"])
    assert split.why(["simple"]) is None


def test_only_the_classes_that_are_uneven_are_doubted() -> None:
    """An estimate over the other class stands, one over both does not."""
    uneven = given_to("b", pl.col("team") == "blue", 0.5, traffic(2)).with_columns(complexity=pl.lit("complex"))
    split = split_of(hourly(pl.concat([traffic(1), uneven])), DECLARED)
    assert list(split.uneven) == ["complex"]
    assert not split.is_observational(["simple"])
    assert split.is_observational(["simple", "complex"])


def test_too_little_to_compare_contradicts_nothing() -> None:
    """Few selections, one model or one team and hour."""
    few = [{"model_id": "ab"[number % 2], "team": "xy"[number % 2]} for number in range(40)]
    assert not split_of(hourly(selections(*few)), DECLARED).uneven
    assert not split_of(hourly(selections(*[{"model_id": "a"}] * 500)), DECLARED).uneven
    assert not split_of(hourly(selections(*[{"model_id": m} for m in "ab" * 500])), DECLARED).uneven


@pytest.mark.parametrize(
    ("statistic", "freedom", "chance"),
    [
        (3.841, 1, 0.05),
        (10.828, 1, 0.001),
        (13.816, 2, 0.001),
        (23.685, 14, 0.05),
        (36.123, 14, 0.001),
        (149.449, 100, 0.001),
    ],
)
def test_the_chance_of_a_chi_square(statistic: float, freedom: int, chance: float) -> None:
    """Against the usual table, within a few percent at 0.05 and rather too large beyond."""
    assert 0.94 * chance <= chi_square_chance(statistic, freedom) <= 1.2 * chance


@pytest.mark.parametrize(("statistic", "freedom", "chance"), [(2.045, 29, 0.05), (3.659, 29, 0.001), (3.3, 999, 0.001)])
def test_the_chance_of_a_student_t(statistic: float, freedom: int, chance: float) -> None:
    assert student_chance(statistic, freedom) == pytest.approx(chance, rel=0.02)


@pytest.mark.parametrize(
    ("frame", "evidence"),
    [
        (traffic(1), "split checked"),
        (given_to("b", pl.col("timestamp").dt.hour() < 8, 0.5, traffic(1)), "observational"),
        (handed_out(1, 800), "split checked"),
        (handed_out(1, 800, of_long=0.8), "observational"),
        (handed_out(1, 100), "declared split, not checkable"),
    ],
    ids=["at random", "the night goes to b", "few at random", "few by length", "too few"],
)
def test_a_report_checks_the_split_by_hour_and_single_prompt(
    engine: Engine, frame: pl.DataFrame, evidence: str
) -> None:
    """A week is read by the day; the split is still tested by hour, and lengths by single prompts."""
    settings = Settings(optimizer=DECLARED)
    insert_selections(engine, frame)
    now = MONDAY + timedelta(days=7)
    update_rollups(engine, rollup_settings(settings), now=now)
    request = Request("weekly", Template.PERFORMANCE, Period(MONDAY, now, "UTC"))
    assert collect_material(engine, request, settings, now).split.evidence(["simple"]) == evidence
