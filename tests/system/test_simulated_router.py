"""The simulated router obeys a rollout as a real one must, and its rows do not depend on how its time is cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from examples.simulated_router import DEFAULT_CONFIG, simulate
from routewatch.rollout import read_rollout

START = datetime(2026, 9, 8, 10, tzinfo=UTC)
END = START + timedelta(hours=4)
VALUE = {"candidate": "swift-mini", "percent": 20, "salt": "9f2c", "by": "request", "experiment": "rollout-1"}
ARMS = ("experiment", "arm", "unit_bucket")


def served(percent: float | None = 20, start: datetime = START, end: datetime = END, **values: Any) -> pl.DataFrame:
    rollout = None if percent is None else VALUE | {"percent": percent} | values
    return simulate(start, end, DEFAULT_CONFIG | {"rollout.simple": rollout}, requests_per_hour=300)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 4 * 3600 - 1), max_size=3, unique=True),
    st.lists(st.sampled_from([None, 0, 20, 50, 100]), min_size=4, max_size=4),
    st.sampled_from(["request", "user"]),
)
def test_a_config_that_changes_amid_an_hour_holds_from_then_on_and_changes_nothing_else(
    seconds: list[int], percents: list[float | None], by: str
) -> None:
    cuts = [START, *(START + timedelta(seconds=it) for it in sorted(seconds)), END]
    for start, end, percent in zip(cuts, cuts[1:], percents, strict=False):
        part, whole = served(percent, start, end, by=by), served(percent, by=by)
        within = whole.filter(pl.col("timestamp").is_between(start, end, closed="left"))
        assert_frame_equal(part, within)


def test_a_rollout_changes_only_the_requests_that_it_assigns() -> None:
    before, during = served(None), served()
    assert before.select(ARMS).null_count().row(0) == (before.height,) * 3
    same = during["arm"].is_null() | (during["arm"] == "baseline")
    assert_frame_equal(before.filter(same).drop(ARMS), during.filter(same).drop(ARMS))
    assert set(during.filter(pl.col("arm").is_not_null())["complexity"]) == {"simple"}
    assert_frame_equal(
        simulate(START, END, DEFAULT_CONFIG | {"rollout.simple": {"percent": 5}}),
        simulate(START, END, DEFAULT_CONFIG | {"rollout.simple": VALUE | {"candidate": "no such model"}}),
    )


@pytest.mark.parametrize("by", ["request", "user"])
def test_arms_are_those_of_the_hash_and_candidates_stay_it(by: str) -> None:
    split = read_rollout(VALUE | {"by": by})
    assert split is not None
    few, many = (served(percent, by=by).filter(pl.col("arm").is_not_null()) for percent in (20, 50))
    assert few["request_id"].equals(many["request_id"])
    assert not ((few["arm"] == "candidate") & (many["arm"] == "baseline")).any()
    if by == "request":
        assert few["arm"].to_list() == [split.assign(it).arm for it in few["request_id"]]
        assert few["unit_bucket"].null_count() == few.height
    else:
        assert few["unit_bucket"].is_between(0, 63).all()
    share = (few["arm"] == "candidate").mean()
    assert isinstance(share, float)
    assert 0.1 < share < 0.35


def test_a_fallback_stays_in_the_arm_that_it_was_assigned_to() -> None:
    candidates = served(100).filter(pl.col("arm") == "candidate")
    models = dict(candidates["model_id"].value_counts().iter_rows())
    assert set(models) == {"swift-mini", "atlas-large"}
    assert models["atlas-large"] < models["swift-mini"] / 10
    assert candidates.filter(pl.col("error"))["arm"].null_count() == 0
