"""However many models, complexity classes and teams a router names, rollups stay small and lose no selection."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from models.database import reading, writing
from models.documents import Filters
from models.period import Level, Period
from models.schema import COLLECTIVE, OTHER_COMPLEXITIES, OTHER_MODELS, OTHERS, OVERHEAD, UNKNOWN
from models.settings import PerformanceMetrics
from tasks.alerts.windows import OVERALL, by_subject, slowest
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.kpis.routing_baselines import baselines
from tasks.reporting.data_notes import data_notes
from tasks.rollups.aggregate import MOST_NAMES, ROLLUP_SUMS, limit_names
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.overhead import MOST_KINDS, OTHER_KINDS, overhead_costs
from tasks.rollups.query import hours_by, query_rollups, these_hours
from tasks.rollups.reconcile import reconcile
from tasks.rollups.store import between, read_rollups
from tasks.rollups.totals import total
from tasks.rollups.update import rebuild, update_rollups
from tests.support.factories import MONDAY, hours, insert_selections, selections

NOW = MONDAY + timedelta(hours=5)
PERIOD = Period(MONDAY, MONDAY + timedelta(hours=4), "UTC")
ROLLUP_SETTINGS = RollupSettings("UTC", 2000.0)
FEW = {"model_id": 3, "complexity": 2, "team": 2}

ROWS = st.fixed_dictionaries(
    {
        "timestamp": st.integers(0, 3 * 3600 - 1).map(lambda second: MONDAY + timedelta(seconds=second)),
        "model_id": st.sampled_from([f"m{number}" for number in range(6)]),
        "complexity": st.none() | st.sampled_from([f"c{number}" for number in range(4)]),
        "team": st.none() | st.sampled_from([f"t{number}" for number in range(4)]),
        "response_time_ms": st.none() | st.floats(1, 1e5),
        "cost_usd": st.none() | st.floats(0, 10),
        "error": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=60), st.booleans())
def test_the_largest_keep_their_names_and_no_sum_changes(rows: list[dict[str, Any]], apart: bool) -> None:
    """In each bucket, or in all together; equal ones by name, so that the same rows give the same names."""
    whole = hours(*rows)
    over = ("bucket",) if apart else ()
    limited = limit_names(whole, FEW, over=over)
    keys = [*over, pl.lit(0).alias("all")]
    sums = [pl.col(ROLLUP_SUMS).sum()]
    expected, found = (frame.group_by(keys).agg(sums).sort(*over, "all") for frame in (whole, limited))
    assert found.select("count", "error_count", "response_time_count").equals(
        expected.select("count", "error_count", "response_time_count")
    )
    assert found["cost_sum_usd"].to_list() == pytest.approx(expected["cost_sum_usd"].to_list())
    for column, largest in FEW.items():
        for _, bucket in limited.group_by(keys):
            named = set(bucket[column]) - COLLECTIVE
            assert len(named) <= largest
            if OTHERS[column] in set(bucket[column]):
                assert len(named) == largest
    assert (
        limit_names(whole.reverse(), FEW, over=over)
        .sort(pl.all().exclude("latency_histogram"))
        .equals(limited.sort(pl.all().exclude("latency_histogram")))
    )


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for column, largest in FEW.items():
        monkeypatch.setitem(MOST_NAMES, column, largest)


def crowd(count: int, *, at: datetime = MONDAY, prefix: str = "m") -> list[dict[str, Any]]:
    """Selections of as many models as this, the first with the most; each hour has others beside those."""
    return [
        {"timestamp": at + timedelta(minutes=number % 60), "model_id": f"{prefix}{number:02}", "cost_usd": 0.5,
         "complexity": f"c{number % 5}", "team": f"t{number % 6}", "response_time_ms": 100.0, "error": number % 7 == 0}
        for number in range(count)
        for _ in range(count - number)
    ]  # fmt: skip


@pytest.mark.usefixtures("few")
def test_rollups_of_many_names_add_up_to_the_raw_rows_at_every_level(engine: Engine) -> None:
    """However the rows come in, in parts or at once, after a rebuild, and over all hours together."""
    count = 0
    for hour in range(3):
        for part in range(2):
            rows = crowd(6, at=MONDAY + timedelta(hours=hour), prefix=f"h{hour}p{part}m")
            insert_selections(engine, selections(*rows))
            update_rollups(engine, ROLLUP_SETTINGS, now=NOW)
            count += len(rows)

    def check() -> None:
        with reading(engine) as connection:
            for level in Level:
                stored = read_rollups(connection, between(level, MONDAY - timedelta(days=7), NOW))
                sums = total(stored)
                assert sums.count == count
                assert sums.cost_usd == pytest.approx(count / 2)
                for _, bucket in stored.group_by("bucket"):
                    assert all(len(set(bucket[column]) - COLLECTIVE) <= most for column, most in FEW.items())
        assert reconcile(engine) == 0

    check()
    rebuild(engine, ROLLUP_SETTINGS, period=None, now=NOW)
    check()
    rebuild(engine, ROLLUP_SETTINGS, period=PERIOD, now=NOW)
    check()
    found = query_rollups(engine, PERIOD, Filters())
    assert all(len(set(found.parts[column]) - COLLECTIVE) == most for column, most in FEW.items())
    with reading(engine) as connection:
        by_hour = hours_by(connection, found, ("model_id", "complexity"), ("count", "cost_sum_usd"))
        some = these_hours(connection, found, [MONDAY, MONDAY + timedelta(hours=1)], ("count",))
    assert by_hour["count"].sum() == count
    assert set(by_hour["model_id"]) == set(found.parts["model_id"])
    assert some["count"].sum() == count * 2 // 3
    notes = data_notes(found, total(found.parts), NOW)
    for others in OTHERS.values():
        assert any(f"are counted together as {others}." in note for note in notes)


def test_what_is_counted_together_is_compared_with_nothing_and_recommended_nowhere() -> None:
    """It is cheap, fast and right, but no model: nobody could route to it."""
    good = {"cost_usd": 0.001, "accuracy": 1.0, "response_time_ms": 100.0, "cache_hit": False}
    dear = {"cost_usd": 1.0, "accuracy": 1.0, "response_time_ms": 100.0, "cache_hit": False, "complexity": "simple"}
    rows = [
        row
        for _ in range(300)
        for row in (
            good | {"model_id": OTHER_MODELS, "complexity": "simple"},
            good | {"model_id": "swift", "complexity": OTHER_COMPLEXITIES},
            dear | {"model_id": "atlas"},
        )
    ]
    rollups = hours(*rows)
    found = cheapest_adequate(rollups, PerformanceMetrics())
    assert {name: candidate.model_id for name, candidate in found.items()} == {"simple": "atlas"}
    assert (baselines(rollups).all_cheapest.model, baselines(rollups).all_cheapest.covered_share) == ("atlas", 1 / 3)
    subjects = by_subject(rollups, found)
    assert set(subjects["subject"]) == {OVERALL, "swift", "atlas"}
    assert subjects.filter(pl.col("subject") == OVERALL)["count"].sum() == 900
    timed = slowest(rollups, MONDAY, MONDAY + timedelta(hours=1), timedelta(minutes=15))
    assert OTHER_MODELS not in {model for _, model in timed}


def test_kinds_of_calls_beyond_the_limit_are_one_and_their_cost_stays(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(
            insert(OVERHEAD),
            [
                {"request_id": f"r{number}", "timestamp": MONDAY, "source": "otel", "kind": f"kind {number:03}",
                 "model_id": "m", "cost_usd": 1.0 if number % 2 else None}
                for number in range(MOST_KINDS + 50)
            ],
        )  # fmt: skip
    with reading(engine) as connection:
        found = overhead_costs(connection, Period(MONDAY - timedelta(hours=1), NOW, "UTC"))
    assert (len(found), found[-1].kind, found[-1].count) == (MOST_KINDS + 1, OTHER_KINDS, 50)
    assert sum(it.count for it in found) == MOST_KINDS + 50
    assert sum(it.cost_usd for it in found) == (MOST_KINDS + 50) / 2


def test_a_name_that_is_unknown_stays_unknown() -> None:
    """It is no name: however many there are, it is counted with no other."""
    rows: list[dict[str, Any]] = [
        {"complexity": None, "team": None},
        *({"complexity": f"c{n}", "team": f"t{n}"} for n in range(9)),
    ]
    limited = limit_names(hours(*rows), FEW)
    assert UNKNOWN in set(limited["complexity"])
    assert limited.filter(pl.col("complexity") == UNKNOWN)["count"].sum() == 1
