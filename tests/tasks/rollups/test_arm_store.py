"""Rollups by arm stay small whatever a router names, and say of each arm what its selections say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sqlalchemy import Engine

from models.database import reading
from models.schema import OTHER_ARMS, OTHER_COMPLEXITIES, OTHER_EXPERIMENTS
from tasks.retention.purge import retain
from tasks.rollups import arm_store
from tasks.rollups.aggregate import MOST_NAMES
from tasks.rollups.arm_store import ARM_READING, limit_arms, read_arms, read_models_as_arms
from tasks.rollups.arms import ARM_SUMS, roll_up_arms
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import rebuild, update_rollups
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.rollups import NOW, UTC_SETTINGS, stored_arms, traffic

FEW = {"MOST_EXPERIMENTS": 3, "MOST_ARMS": 2}
HOUR = timedelta(hours=1)
EXACT = [name for name in ARM_SUMS if name.endswith("count")]

ROWS = st.fixed_dictionaries(
    {
        "timestamp": st.integers(0, 2 * 3600 - 1).map(lambda second: MONDAY + timedelta(seconds=second)),
        "experiment": st.none() | st.sampled_from([*(f"e{number}" for number in range(6)), OTHER_EXPERIMENTS]),
        "arm": st.none() | st.sampled_from([*(f"a{number}" for number in range(5)), OTHER_ARMS]),
        "complexity": st.none() | st.sampled_from([f"c{number}" for number in range(4)]),
        "unit_bucket": st.none() | st.integers(0, 63),
        "cost_usd": st.none() | st.floats(0, 10),
        "prompt_tokens": st.none() | st.integers(0, 1_000_000_000),
        "error": st.booleans(),
    }
)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, largest in FEW.items():
        monkeypatch.setattr(arm_store, name, largest)
    monkeypatch.setitem(MOST_NAMES, "complexity", 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, max_size=60))
def test_the_largest_keep_their_names_and_no_sum_changes(rows: list[dict[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, largest in FEW.items():
            patch.setattr(arm_store, name, largest)
        patch.setitem(MOST_NAMES, "complexity", 2)
        whole = roll_up_arms(selections(*rows), "UTC", 2000.0)
        limited = limit_arms(whole)
        again = limit_arms(whole.reverse())
    keys = ["bucket", "experiment", "arm", "complexity", "unit_bucket"]
    assert_frame_equal(again.sort(keys), limited.sort(keys), check_exact=False)
    assert limited.select(keys).is_unique().all()
    for sums in (
        whole.group_by("bucket").agg(pl.col(ARM_SUMS).sum()),
        limited.group_by("bucket").agg(pl.col(ARM_SUMS).sum()),
    ):
        assert sums.height == whole["bucket"].n_unique()
    of_whole, of_limited = (
        frame.group_by("bucket").agg(pl.col(ARM_SUMS).sum()).sort("bucket") for frame in (whole, limited)
    )
    assert_frame_equal(of_limited, of_whole, check_exact=False)
    for _, hour in limited.group_by("bucket"):
        assert len(set(hour["experiment"]) - {OTHER_EXPERIMENTS}) <= FEW["MOST_EXPERIMENTS"]
        assert len(set(hour["complexity"]) - {"", OTHER_COMPLEXITIES}) <= 2
        for _, experiment in hour.group_by("experiment"):
            assert len(set(experiment["arm"]) - {OTHER_ARMS}) <= FEW["MOST_ARMS"]


@pytest.mark.usefixtures("few")
def test_arms_of_many_names_add_up_however_they_come_in(engine: Engine) -> None:
    """One experiment a request, as a router writes that takes a request id for it: the hour stays small."""
    for part in range(2):
        rows = [
            {"timestamp": MONDAY, "experiment": f"p{part}e{number}", "arm": f"a{number % 4}", "unit_bucket": number}
            for number in range(20)
        ]
        rows += [{"timestamp": MONDAY, "experiment": "rollout-1", "arm": arm} for arm in ("baseline", "candidate") * 9]
        insert_selections(engine, selections(*rows))
        update_rollups(engine, UTC_SETTINGS, now=NOW)

    def check() -> None:
        arms = stored_arms(engine)
        assert arms["count"].sum() == 76
        assert arms.filter(pl.col("experiment") == "rollout-1")["count"].to_list() == [18, 18]
        assert arms["experiment"].n_unique() <= FEW["MOST_EXPERIMENTS"] + 1
        assert reconcile(engine) == 0

    check()
    rebuild(engine, UTC_SETTINGS, period=None, now=NOW)
    check()


def test_one_class_of_one_experiment_is_read_by_hour_and_arm(engine: Engine) -> None:
    raw = traffic(200).with_columns(complexity=pl.Series(["simple", "complex"] * 100))
    insert_selections(engine, raw)
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    span = (MONDAY + 2 * HOUR, MONDAY + 9 * HOUR)
    with reading(engine) as connection:
        found = read_arms(connection, "rollout-1", "simple", *span)
        none = read_arms(connection, "rollout-2", "simple", *span)
        unclassed = read_arms(connection, "rollout-1", "", *span)
    within = raw.filter(pl.col("timestamp").is_between(*span, closed="left"), pl.col("complexity") == "simple")
    expected = roll_up_arms(within, "UTC", 2000.0).select(ARM_READING).sort("bucket", "arm", "unit_bucket")
    assert_frame_equal(found, expected, check_exact=False)
    assert (found.height > 5, none.height, unclassed.height) == (True, 0, 0)
    assert none.schema == found.schema


def test_models_stand_for_arms_where_a_router_says_no_arm(engine: Engine) -> None:
    """What hourly rollups do not know of a model, how its values depend on the prompt, is null and never 0."""
    raw = traffic(300).with_columns(
        experiment=pl.lit(None, dtype=pl.String), complexity=pl.Series([None, "simple", "simple"] * 100)
    )
    insert_selections(engine, raw)
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    with reading(engine) as connection:
        found = read_models_as_arms(connection, "simple", "m1", "m2", MONDAY, MONDAY + 5 * HOUR)
        like = read_arms(connection, "rollout-1", "simple", MONDAY, MONDAY + 5 * HOUR)
    as_arms = raw.with_columns(
        experiment=pl.lit("e"),
        arm=pl.col("model_id").replace_strict({"m1": "baseline", "m2": "candidate"}, default=None),
        unit_bucket=pl.lit(None, dtype=pl.Int64),
    ).filter(pl.col("complexity") == "simple", pl.col("timestamp") < MONDAY + 5 * HOUR)
    expected = roll_up_arms(as_arms, "UTC", 2000.0).select(ARM_READING)
    unknown = [name for name in ARM_SUMS if "_prompt_" in name or name == "prompt_token_sum_sq"]
    assert found.schema == like.schema
    assert found.select(unknown).null_count().row(0) == (found.height,) * 9
    assert_frame_equal(found.drop(unknown), expected.sort("bucket", "arm").drop(unknown), check_exact=False)
    assert set(found["arm"]) == {"baseline", "candidate"}


def test_arms_go_with_the_hours(engine: Engine) -> None:
    insert_selections(engine, traffic(300))
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    retain(engine, raw_kept=timedelta(days=1), now=MONDAY + timedelta(days=91))
    assert stored_arms(engine)["bucket"].min() == MONDAY + timedelta(days=1)
