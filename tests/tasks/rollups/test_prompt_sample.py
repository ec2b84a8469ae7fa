"""Single prompts for the check of a declared split: bounded, drawn evenly, and of the requested rows alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine, text

import tasks.rollups.prompt_sample as sample
from models.database import reading
from models.documents import Filters
from models.period import Period
from models.schema import UNKNOWN
from models.settings import Settings
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.prompt_sample import read_prompts
from tasks.rollups.query import hours_by, query_rollups_in
from tasks.rollups.update import update_rollups
from tasks.statistics.randomization import SPLIT_COLUMNS, SPLIT_KEYS
from tests.support.factories import DEFAULTS, MONDAY, insert_selections

DAY = Period(MONDAY, MONDAY + timedelta(days=1), "UTC")


def stored(engine: Engine, count: int, **columns: object) -> None:
    """Store rows a minute apart that take turns between two models, each with its number as prompt tokens."""
    of_all = {
        "timestamp": [MONDAY + timedelta(minutes=number) for number in range(count)],
        "model_id": ["ab"[number % 2] for number in range(count)],
        "complexity": "simple",
        "prompt_tokens": range(count),
    }
    insert_selections(engine, pl.DataFrame(DEFAULTS | of_all | columns))
    update_rollups(engine, rollup_settings(Settings()), now=MONDAY + timedelta(days=1))


def read(engine: Engine, period: Period = DAY, filters: Filters | None = None, per_class: int = 10_000) -> pl.DataFrame:
    with reading(engine) as connection:
        found = query_rollups_in(connection, period, filters or Filters())
        hours = hours_by(connection, found, SPLIT_KEYS, SPLIT_COLUMNS)
        return read_prompts(connection, found, hours, per_class=per_class)


def test_every_known_length_of_the_period_is_read_where_there_are_few(engine: Engine) -> None:
    stored(engine, 1_500, prompt_tokens=[None if number % 10 == 0 else number for number in range(1_500)])
    rows = read(engine).sort("prompt_tokens")
    assert rows["prompt_tokens"].to_list() == [number for number in range(1_440) if number % 10]
    assert rows["hour"].to_list() == [f"2026-09-07 {number // 60:02d}" for number in range(1_440) if number % 10]
    assert set(rows.select("model_id", "complexity").iter_rows()) == {("a", "simple"), ("b", "simple")}


def test_of_many_a_part_is_drawn_of_each_class_that_follows_no_turns(engine: Engine) -> None:
    """Every other row of a router that takes turns would be of one model only; a small class is read whole."""
    names = ["rare" if number % 50 == 0 else None if number % 3 == 0 else "simple" for number in range(1_440)]
    stored(engine, 1_440, complexity=names)
    rows = read(engine, per_class=100)
    counts = dict(rows.group_by("complexity").len().iter_rows())
    assert counts["rare"] == names.count("rare")
    for name in ("simple", UNKNOWN):
        assert 70 <= counts[name] <= 130
        of_class = rows.filter(pl.col("complexity") == name)
        assert 0.3 <= (of_class["model_id"] == "a").sum() / of_class.height <= 0.7


def test_the_newest_hours_are_read_of_a_period_with_too_many(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "SCANNED_ROWS", 150)
    stored(engine, 1_440)
    assert sorted(read(engine)["prompt_tokens"]) == list(range(1_320, 1_440))
    monkeypatch.setattr(sample, "SCANNED_ROWS", 10)
    assert sorted(read(engine)["prompt_tokens"]) == list(range(1_380, 1_440))


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(models=("a",)), lambda number: number % 2 == 0),
        (Filters(teams=("red",)), lambda number: number % 4 == 0),
        (Filters(complexities=("simple",)), lambda number: number % 3 != 0),
        (Filters(complexities=("unclassified",)), lambda number: number % 3 == 0),
        (Filters(complexities=("simple", "unclassified")), lambda _: True),
    ],
    ids=["a model", "a team", "a class", "unclassified", "both"],
)
def test_a_filter_holds_for_single_prompts_too(engine: Engine, filters: Filters, kept: object) -> None:
    stored(
        engine,
        240,
        team=["red" if number % 4 == 0 else "blue" for number in range(240)],
        complexity=[None if number % 3 == 0 else "simple" for number in range(240)],
    )
    assert callable(kept)
    assert sorted(read(engine, filters=filters)["prompt_tokens"]) == [number for number in range(240) if kept(number)]


def test_a_period_without_selections_has_no_prompts(engine: Engine) -> None:
    assert read(engine).is_empty()


def test_what_nobody_can_read_costs_its_row_alone(sqlite_engine: Engine) -> None:
    """SQLite stores text in a column of numbers, and bytes that are no text in one of texts."""
    stored(sqlite_engine, 120)
    with sqlite_engine.begin() as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text("UPDATE selection SET prompt_tokens = 'many' WHERE prompt_tokens = 7"))
        connection.execute(text("UPDATE selection SET model_id = CAST(x'ff41' AS TEXT) WHERE prompt_tokens = 8"))
    rows = read(sqlite_engine)
    assert sorted(rows["prompt_tokens"]) == [number for number in range(120) if number != 7]


def test_an_instant_is_compared_as_it_is_stored(engine: Engine) -> None:
    stored(engine, 240)
    start: datetime = MONDAY + timedelta(minutes=30)
    rows = read(engine, Period(start, MONDAY + timedelta(minutes=150), "UTC"))
    assert sorted(rows["prompt_tokens"]) == list(range(30, 150))
