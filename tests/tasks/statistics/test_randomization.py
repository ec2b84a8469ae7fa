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
from tasks.statistics.randomization import chi_square_chance, split_of, student_chance
from tests.support.chance import few_or_all
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


def given_to(model_id: str, where: pl.Expr, share: float, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same traffic, with that share of some selections sent to one model for their content."""
    picked = where & (pl.int_range(pl.len()) % 100 < share * 100)
    return frame.with_columns(model_id=pl.when(picked).then(pl.lit(model_id)).otherwise("model_id"))


@few_or_all(15, 60)
def test_a_random_split_is_seldom_doubted(draws: int) -> None:
    """At most once in so many draws, although teams and hours differ from each other."""
    assert sum(bool(split_of(hourly(traffic(seed)), DECLARED).uneven) for seed in range(draws)) <= 1


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
    ("preference", "observational"), [(0.0, False), (0.5, True)], ids=["at random", "the night goes to b"]
)
def test_a_report_checks_the_split_by_hour(engine: Engine, preference: float, observational: bool) -> None:
    """A week is read by the day; the split is still tested by hour."""
    settings = Settings(optimizer=DECLARED)
    insert_selections(engine, given_to("b", pl.col("timestamp").dt.hour() < 8, preference, traffic(1)))
    now = MONDAY + timedelta(days=7)
    update_rollups(engine, rollup_settings(settings), now=now)
    request = Request("weekly", Template.PERFORMANCE, Period(MONDAY, now, "UTC"))
    assert collect_material(engine, request, settings, now).split.is_observational(["simple"]) == observational
