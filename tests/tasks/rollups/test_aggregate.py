"""Rollups equal the group-by over the raw rows, whatever the zone, the order or the chunks."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ddsketch import RELATIVE_ERROR, ZERO_BIN, bin_of, value_of
from models.period import Level, floor_to
from models.schema import OTHER_TEAMS
from tasks.rollups.aggregate import ROLLUP_KEYS, ROLLUP_SUMS, SELECTION_SCHEMA, limit_names, merge, roll_up
from tasks.rollups.histogram import bin_index, histogram_table, pack, percentiles
from tests.support.factories import hours, selections

ZONES = st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
# Both changes of New York's clocks lie within.
INSTANTS = st.integers(0, 300 * 86_400_000_000).map(
    lambda us: datetime(2026, 2, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
TIMES_MS = st.none() | st.just(0.0) | st.floats(1e-4, 1e7)

ROWS = st.fixed_dictionaries(
    {
        "timestamp": INSTANTS,
        "model_id": st.sampled_from(["a", "b"]),
        "response_time_ms": TIMES_MS,
        "complexity": st.sampled_from([None, "simple"]),
        "cost_usd": st.none() | st.floats(0, 10),
        "cache_hit": st.none() | st.booleans(),
        "accuracy": st.none() | st.floats(0, 1),
        "user_satisfaction": st.none() | st.floats(0, 1),
        "error": st.booleans(),
        "prompt_tokens": st.none() | st.integers(0, 10_000),
        "completion_tokens": st.none() | st.integers(0, 10_000),
        "team": st.sampled_from([None, "red", "blue"]),
    }
)


def frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SELECTION_SCHEMA, orient="row")


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, max_size=40), ZONES, st.sampled_from(Level))
def test_rollups_equal_a_group_by_in_the_zone(rows: list[dict[str, object]], zone: str, level: Level) -> None:
    """Counts, sums and coverage of every bucket are those of the rows whose zone-local bucket it is."""
    raw = frame(rows)
    rollups = roll_up(raw, zone, 2000.0)[level]
    assert rollups["count"].sum() == raw.height
    expected: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in raw.to_dicts():
        team = "" if level is Level.MINUTE else row["team"] or ""
        key: tuple[object, ...] = (
            floor_to(level, row["timestamp"], zone),
            row["model_id"],
            row["complexity"] or "",
            team,
        )
        expected.setdefault(key, []).append(row)
    found = {tuple(row[name] for name in ROLLUP_KEYS): row for row in rollups.to_dicts()}
    assert found.keys() == expected.keys()
    for members_of, members in expected.items():
        times = [row["response_time_ms"] for row in members if row["response_time_ms"] is not None]
        costs = [row["cost_usd"] for row in members if row["cost_usd"] is not None]
        assert found[members_of]["count"] == len(members)
        assert found[members_of]["response_time_count"] == len(times)
        assert found[members_of]["over_target_count"] == sum(time > 2000 for time in times)  # type: ignore[operator]
        assert found[members_of]["cost_count"] == len(costs)
        assert math.isclose(found[members_of]["cost_sum_usd"], sum(costs), rel_tol=1e-9)  # type: ignore[arg-type]
        assert found[members_of]["cache_hit_count"] == sum(row["cache_hit"] is True for row in members)
        assert found[members_of]["cache_count"] == sum(row["cache_hit"] is not None for row in members)
        assert found[members_of]["error_count"] == sum(row["error"] is True for row in members)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, max_size=40), st.lists(ROWS, max_size=40), ZONES)
def test_merging_parts_equals_rolling_up_the_whole(
    first: list[dict[str, object]], second: list[dict[str, object]], zone: str
) -> None:
    """Rollups add up: two parts merged are the rollups of all rows, histograms included."""
    parts, whole = (
        [roll_up(frame(rows), zone, 2000.0) for rows in (first, second)],
        roll_up(frame(first + second), zone, 2000.0),
    )
    for level in Level:
        merged = merge(pl.concat([part[level] for part in parts])).sort(ROLLUP_KEYS)
        expected = whole[level].sort(ROLLUP_KEYS)
        assert merged["latency_histogram"].to_list() == expected["latency_histogram"].to_list()
        for name in ROLLUP_SUMS:
            assert merged[name].to_list() == pytest.approx(expected[name].to_list(), rel=1e-9)


@given(st.floats(1e-3, 1e9))
def test_a_bin_stands_for_its_durations_within_one_percent(value_ms: float) -> None:
    """The representative of a bin is within the promised relative error of everything in it."""
    assert abs(value_of(bin_of(value_ms)) - value_ms) <= RELATIVE_ERROR * value_ms * (1 + 1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50))
def test_polars_and_python_agree_on_bins(values: list[float]) -> None:
    """The vectorised bin is the scalar one, but for values that lie on an edge to the last digit."""
    bins = pl.DataFrame({"x": values}).select(bin_index("x")).to_series().to_list()
    assert all(abs(found - bin_of(value)) <= 1 for found, value in zip(bins, values, strict=True) if value >= 1e-3)
    assert all(found == bin_of(value) for found, value in zip(bins, values, strict=True) if value < 1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(1e-2, 1e6), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_within_one_percent(values: list[float], share: float) -> None:
    """A percentile from the histogram is within 1 % of the one that is interpolated between the exact values."""
    rollups = hours(*({"response_time_ms": value} for value in values))
    found = percentiles(rollups, [], {"p": share})["p"][0]
    exact = pl.Series(values).quantile(share, "linear")
    assert found == pytest.approx(exact, rel=RELATIVE_ERROR * 1.0001)


def test_packing_is_reversed_by_the_histogram_table() -> None:
    """Histograms come back from their bytes bin by bin, whatever the order of their durations; none is none."""
    frame = pl.DataFrame(
        {"k": ["a", "b", "c"], "bins": [[3, -2, 3], [], [0, ZERO_BIN]]}, schema_overrides={"bins": pl.List(pl.Int32)}
    )
    found = histogram_table(frame.select("k", latency_histogram=pack(frame["bins"])), ["k"])
    counts = [{bin_: count for bin_, count in zip(found.bins, row, strict=True) if count} for row in found.counts]
    assert dict(zip(found.keys["k"], counts, strict=True)) == {"a": {-2: 1, 3: 2}, "b": {}, "c": {ZERO_BIN: 1, 0: 1}}


def test_nothing_timed_has_no_percentile() -> None:
    """Failed calls have no latency, hence no percentile; the row is there all the same."""
    assert percentiles(hours({"error": True}), ["model_id"], {"p95": 0.95}).to_dicts() == [
        {"model_id": "m", "p95": None}
    ]


def test_the_smallest_teams_of_a_crowded_bucket_are_counted_together() -> None:
    """Past the limit the smallest teams go into one named (other), and no selection is lost."""
    rows = [{"team": f"t{i:02}"} for i in range(5) for _ in range(5 - i)]
    limited = limit_names(hours(*rows), {"team": 2})
    counts = dict(limited.select("team", "count").iter_rows())
    assert counts == {"t00": 5, "t01": 4, OTHER_TEAMS: 6}


def test_a_slow_failure_is_neither_fast_nor_slow() -> None:
    """A call without a time counts as a selection and an error, not in the times."""
    row = hours({"response_time_ms": None, "error": True}, {"response_time_ms": 2001.0}).row(0, named=True)
    assert (row["count"], row["error_count"], row["response_time_count"], row["over_target_count"]) == (2, 1, 1, 1)


def test_selections_without_rows_have_no_rollups() -> None:
    """An empty frame rolls up to empty frames at every level."""
    assert all(rollups.is_empty() for rollups in roll_up(selections(), "UTC", 2000.0).values())
