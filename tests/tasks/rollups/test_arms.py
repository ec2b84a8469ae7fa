"""Rollups by arm equal the group-by over the raw rows, with every sum that a comparison needs."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.rollups.arms import ARM_KEYS, ARM_SCHEMA, ARM_SUMS, UNKNOWN_BUCKET, arm_schema, roll_up_arms
from tests.support.factories import MONDAY

AMOUNT = st.one_of(st.none(), st.floats(0, 1e4, allow_subnormal=False))
ROW = st.fixed_dictionaries(
    {
        "timestamp": st.integers(0, 7_200_000).map(lambda ms: MONDAY + timedelta(milliseconds=ms)),
        "experiment": st.sampled_from(["rollout-1", "rollout-2", None]),
        "arm": st.sampled_from(["baseline", "candidate", None]),
        "complexity": st.sampled_from(["simple", None]),
        "unit_bucket": st.sampled_from([None, 0, 63]),
        "error": st.booleans(),
        "response_time_ms": AMOUNT,
        "cost_usd": AMOUNT,
        "cache_hit": st.sampled_from([None, True, False]),
        "accuracy": st.one_of(st.none(), st.floats(0, 1)),
        "prompt_tokens": st.one_of(st.none(), st.integers(0, 10**9)),
    }
)


def by_hand(rows: list[dict[str, Any]], target_ms: float) -> dict[tuple[Any, ...], dict[str, float]]:
    groups: dict[tuple[Any, ...], dict[str, float]] = defaultdict(lambda: dict.fromkeys(ARM_SUMS, 0.0))
    for row in rows:
        if row["experiment"] is None or row["arm"] is None:
            continue
        bucket = row["timestamp"].replace(minute=0, second=0, microsecond=0)
        unit = UNKNOWN_BUCKET if row["unit_bucket"] is None else row["unit_bucket"]
        sums = groups[bucket, row["experiment"], row["arm"], row["complexity"] or "", unit]
        time, cost, right, tokens = (
            row[name] for name in ("response_time_ms", "cost_usd", "accuracy", "prompt_tokens")
        )
        sums["count"] += 1
        sums["error_count"] += row["error"]
        if row["cache_hit"] is not None:
            sums["cache_count"] += 1
            sums["cache_hit_count"] += row["cache_hit"]
        for name, unit_name, value in (
            ("response_time", "sum_ms", time), ("cost", "sum_usd", cost), ("accuracy", "sum", right),
            ("prompt_token", "sum", tokens),
        ):  # fmt: skip
            if value is not None:
                sums[f"{name}_count"] += 1
                sums[f"{name}_{unit_name}"] += value
                sums[f"{name}_sum_sq"] += value * value
        sums["over_target_count"] += time is not None and time > target_ms
        for name, value in (("response_time", time), ("cost", cost)):
            if value is not None and tokens is not None:
                sums[f"{name}_prompt_count"] += 1
                sums[f"{name}_prompt_sum_tokens"] += tokens
                sums[f"{name}_prompt_sum_sq"] += tokens * tokens
                sums[f"{name}_prompt_product"] += tokens * value
    return groups


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, max_size=12))
def test_every_sum_equals_the_group_by_over_the_rows(rows: list[dict[str, Any]]) -> None:
    found = roll_up_arms(pl.DataFrame(rows, schema=ARM_SCHEMA), "UTC", 2_000.0)
    expected = by_hand(rows, 2_000.0)
    assert found.schema == arm_schema()
    assert {row[: len(ARM_KEYS)] for row in found.iter_rows()} == set(expected)
    for row in found.iter_rows(named=True):
        sums = expected[tuple(row[key] for key in ARM_KEYS)]
        assert {name: row[name] for name in ARM_SUMS} == {
            name: pytest.approx(sums[name], rel=1e-9, abs=1e-9) for name in ARM_SUMS
        }


@settings(deadline=None, max_examples=25)
@given(st.lists(ROW, max_size=12), st.integers(0, 12))
def test_parts_add_up_to_the_whole(rows: list[dict[str, Any]], cut: int) -> None:
    frames = [pl.DataFrame(part, schema=ARM_SCHEMA) for part in (rows, rows[:cut], rows[cut:])]
    whole, *parts = (roll_up_arms(frame, "UTC", 2_000.0) for frame in frames)
    added = pl.concat(parts).group_by(ARM_KEYS).agg(pl.col(ARM_SUMS).sum()).sort(ARM_KEYS)
    assert added.select(ARM_KEYS).equals(whole.select(ARM_KEYS))
    for name in ARM_SUMS:
        assert added[name].to_list() == pytest.approx(whole[name].to_list(), rel=1e-9, abs=1e-9)


def test_hours_are_those_of_the_zone() -> None:
    row = dict.fromkeys(ARM_SCHEMA) | {"experiment": "e", "arm": "baseline", "error": False}
    frame = pl.DataFrame([row | {"timestamp": MONDAY + timedelta(minutes=45)}], schema=ARM_SCHEMA)
    bucket: datetime = roll_up_arms(frame, "Asia/Kolkata", 2_000.0)["bucket"][0]
    assert bucket == MONDAY + timedelta(minutes=30)
