"""A split is judged by what differs between the arms within the hour, at any look, and by nothing else."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kpis import KpiName
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.split import (
    MetricReading,
    SplitPlan,
    SplitReading,
    conclude_split,
    read_every_look,
    read_split,
)
from tasks.rollups.arms import ARM_SCHEMA, ARM_SUMS, roll_up_arms
from tests.support.factories import MONDAY

HOUR = timedelta(hours=1)
COST = JudgedMetric("averageCost", margin=0.01, relative=True)
ACCURACY = JudgedMetric(KpiName.SELECTION_ACCURACY, margin=0.01)
ERRORS = JudgedMetric(KpiName.ERROR_RATE, margin=0.005)
TIME = JudgedMetric(KpiName.RESPONSE_TIME, margin=0.1, relative=True)
SLOW = JudgedMetric("slowShare", margin=0.02)
METRICS = (COST, ACCURACY, ERRORS, TIME, SLOW)


def traffic(
    seed: int = 0, *, hours: int = 48, per_hour: int = 400, share: Any = 0.2, users: int = 0, rated: Any = 1.0,
    cost: float = 1.0, slow: float = 0.0, errors: float = 0.0, accuracy: float = 0.0, tokens: float = 1.0,
) -> pl.DataFrame:  # fmt: skip
    """Rows of one class in hours whose levels differ widely; the keywords say what the candidate does otherwise.

    `share` and `rated` may be one value an hour, and one value an arm. `tokens` is how its tokenizer counts.
    """
    random = np.random.default_rng(seed)
    hour = np.repeat(np.arange(hours), per_hour)
    size = len(hour)
    user = random.integers(0, users, size) if users else None
    level = np.exp(random.normal(0, 0.5, hours))[hour]
    draw = random.random(users)[user] if users else random.random(size)
    arm = draw < np.broadcast_to(share, hours)[hour]
    own = np.exp(random.normal(0, 1.0, users))[user] if users else np.ones(size)
    prompt = random.lognormal(5, 0.8, size)
    error = random.random(size) < 0.02 + errors * arm
    is_slow = random.random(size) < 0.2 + slow * arm
    right = random.random(size) < 0.85 + accuracy * arm
    is_rated = random.random(size) < np.broadcast_to(rated, 2)[arm.astype(int)]
    columns = {
        "timestamp": np.datetime64(MONDAY.replace(tzinfo=None), "us") + hour * np.timedelta64(1, "h"),
        "experiment": "rollout-1",
        "arm": np.where(arm, "candidate", "baseline"),
        "complexity": "simple",
        "unit_bucket": None if user is None else user % 64,
        "error": error,
        "response_time_ms": np.where(is_slow, 3_000.0, 1_000.0) * random.lognormal(0, 0.1, size),
        "cost_usd": prompt * 1e-6 * level * own * random.lognormal(0, 0.3, size) * np.where(arm, cost, 1),
        "cache_hit": None,
        "accuracy": np.where(is_rated, right, np.nan),
        "prompt_tokens": (prompt * np.where(arm, tokens, 1)).astype(int),
    }
    frame = pl.DataFrame(columns).with_columns(pl.col("accuracy").fill_nan(None))
    return frame.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC")).select(
        pl.col(name).cast(kind) for name, kind in ARM_SCHEMA.items()
    )


def hourly(rows: pl.DataFrame) -> pl.DataFrame:
    return roll_up_arms(rows, "UTC", 2_000.0)


def plan(*steps: tuple[float, float], alike: bool = False) -> SplitPlan:
    """A plan of steps as (hours after MONDAY, share)."""
    taken = tuple((MONDAY + hours * HOUR, share) for hours, share in steps or ((0.0, 0.2),))
    return SplitPlan("rollout-1", taken, has_common_tokenizer=alike)


def read(rows: pl.DataFrame, *metrics: JudgedMetric, of: SplitPlan | None = None) -> SplitReading:
    return read_split(hourly(rows), of or plan(), metrics or METRICS)


def metric(reading: SplitReading, name: str) -> MetricReading:
    return next(it for it in reading.metrics if it.metric.name == name)


def decided(reading: SplitReading, **given: Any) -> tuple[str, str | None, str]:
    return conclude_split(reading, **({"next_share": 0.5, "over": False} | given))


# ------------------------------------------------------------------------------------------------------- the estimate


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 1e3)), min_size=1, max_size=8),
    st.booleans(),
)
def test_what_both_arms_share_is_no_effect_whatever_the_shares(
    hours: list[tuple[int, int, float]], by_unit: bool
) -> None:
    rows = [
        {"bucket": MONDAY + number * HOUR, "arm": arm, "unit_bucket": number % 3 if by_unit else -1}
        | dict.fromkeys(ARM_SUMS, 0.0)
        | {"count": n, "cost_count": n, "cost_sum_usd": n * level, "cost_sum_sq": n * level**2}
        for number, (baseline, candidate, level) in enumerate(hours)
        for arm, n in (("baseline", baseline), ("candidate", candidate))
        if n
    ]
    if not rows:
        return
    frame = pl.DataFrame(rows, schema_overrides={"bucket": pl.Datetime("us", "UTC")})
    series = read_split(frame, plan(), [COST]).series
    assert series["estimate"].abs().max() in (None, pytest.approx(0, abs=1e-9 * max(level for *_, level in hours)))


def test_estimate_and_variance_are_those_of_the_rows() -> None:
    rows = traffic(hours=5, per_hour=150, share=0.3)
    found = read(rows, COST, of=plan((0, 0.3))).goal
    weights, effects, variances = [], [], []
    for _hour, part in rows.group_by(pl.col("timestamp").dt.truncate("1h"), maintain_order=True):
        old, new = (part.filter(pl.col("arm") == arm)["cost_usd"].to_numpy() for arm in ("baseline", "candidate"))
        weights.append(len(old) * len(new) / (len(old) + len(new)))
        effects.append(new.mean() - old.mean())
        variances.append(new.var(ddof=1) / len(new) + old.var(ddof=1) / len(old))
    weight = np.array(weights)
    assert found.sample_before + found.sample_after == 750
    assert found.estimate == pytest.approx((weight * effects).sum() / weight.sum())
    assert found.variance == pytest.approx((weight**2 * variances).sum() / weight.sum() ** 2)
    assert found.effective == pytest.approx(weight.sum())


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 1_000), st.integers(2, 4))
def test_rows_that_come_in_parts_and_any_order_give_the_same_reading(seed: int, parts: int) -> None:
    rows = traffic(seed, hours=6, per_hour=300)
    whole = hourly(rows)
    pieces = pl.concat([hourly(rows.gather_every(parts, offset)) for offset in range(parts)]).sample(
        fraction=1.0, shuffle=True, seed=seed
    )
    first, second = (read_split(frame, plan(), METRICS) for frame in (whole, pieces))
    assert first.requests == second.requests
    for one, other in zip(first.metrics, second.metrics, strict=True):
        assert one.judgement == other.judgement
        assert one.estimate == pytest.approx(other.estimate)
        assert one.variance == pytest.approx(other.variance)


@settings(deadline=None, max_examples=4)
@given(st.integers(0, 1_000), st.booleans(), st.sampled_from([0, 40]))
def test_a_look_sees_nothing_that_comes_later(seed: int, alike: bool, users: int) -> None:
    steps = plan((0, 0.1), (2.2, 0.3), alike=alike)
    share = np.array([0.1] * 3 + [0.3] * 3)
    frame = hourly(traffic(seed, hours=6, per_hour=300, share=share, users=users))
    for look in read_every_look(frame, steps, METRICS):
        then = read_split(frame.filter(pl.col("bucket") < look.observed_to), steps, METRICS)
        assert (then.requests, then.requests_in_step) == (look.requests, look.requests_in_step)
        assert then.sample_ratio.is_off == look.sample_ratio.is_off
        for one, other in zip(then.metrics, look.metrics, strict=True):
            assert (one.judgement, one.reason) == (other.judgement, other.reason)
            names = ("estimate", "low", "high", "before", "harm_bound")
            numbers = [[getattr(it, name) for name in names if getattr(it, name) is not None] for it in (one, other)]
            # Sums over more groups of users are added up in another order.
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-6, abs=1e-9)


def test_an_hour_without_one_arm_changes_no_estimate() -> None:
    rows = traffic(hours=10)
    one_sided = rows.filter((pl.col("timestamp").dt.hour() < 9) | (pl.col("arm") == "baseline"))
    without = rows.filter(pl.col("timestamp").dt.hour() < 9)
    assert metric(read(one_sided), "errorRate").estimate == metric(read(without), "errorRate").estimate
    assert read(one_sided).requests != read(without).requests


def test_the_hour_of_a_step_is_left_out_and_one_that_begins_with_it_is_not() -> None:
    rows = traffic(hours=10, share=np.repeat([0.2, 0.5], 5))
    within, between = (read(rows, of=plan((0, 0.2), (at, 0.5))) for at in (4.5, 5))
    assert (within.hours, within.left_out_hours) == (9, 1)
    assert (between.hours, between.left_out_hours) == (10, 0)
    assert between.requests_in_step == pytest.approx(1_000, abs=100)


def test_hours_before_the_first_step_and_at_shares_of_none_or_all_are_left_out() -> None:
    rows = traffic(hours=12)
    assert read(rows, of=plan((4, 0.2), (8, 1.0))).hours == 4
    assert read(rows, of=plan((0, 0.2), (6, 0.0))).hours == 6


def test_a_plan_that_goes_back_in_time_is_refused() -> None:
    with pytest.raises(ValueError, match="must ascend"):
        plan((5, 0.2), (4, 0.5))


# ------------------------------------------------------------------------------------------------ what the bounds hold


@pytest.mark.slow
@pytest.mark.parametrize("users", [0, 300])
def test_nothing_is_hardly_ever_taken_for_an_effect_at_any_look(users: int) -> None:
    lives = [read_every_look(hourly(traffic(seed, users=users, per_hour=200)), plan(), METRICS) for seed in range(60)]
    assert sum(any(look.harm for look in life) for life in lives) <= 60 * 0.05 + 3
    assert sum(any(look.goal.judgement == "better" for look in life) for life in lives) <= 60 * 0.05 + 3


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"cost": 1.3}, "averageCost"), ({"errors": 0.04}, "errorRate"), ({"slow": 0.08}, "slowShare"),
        ({"accuracy": -0.08}, "selectionAccuracy"),
    ],
)  # fmt: skip
def test_harm_is_rolled_back_and_named(change: dict[str, float], name: str) -> None:
    reading = read(traffic(**change))  # type: ignore[arg-type]
    action, conclusion, reason = decided(reading)
    assert (action, conclusion) == ("rollBack", "worse")
    assert name in [it.metric.name for it in reading.harm]
    assert reason.startswith("clearly worse: ")


def test_no_errors_among_few_are_no_certainty_that_there_are_none() -> None:
    calm = traffic(per_hour=15, hours=8).with_columns(error=pl.lit(value=False))
    few = metric(read(calm, ERRORS), "errorRate")
    assert few.estimate == 0
    assert few.judgement == "unclear"
    assert few.worse_end is not None
    assert few.worse_end > ERRORS.margin
    many = metric(read(traffic().with_columns(error=pl.lit(value=False)), ERRORS), "errorRate")
    assert many.judgement == "same"


def test_a_wholly_broken_candidate_is_found_among_a_handful_of_requests() -> None:
    rows = traffic(per_hour=30, hours=6, share=0.2, errors=0.98)
    assert decided(read(rows))[:2] == ("rollBack", "worse")


def test_single_requests_of_an_arm_in_an_hour_get_the_spread_of_the_others() -> None:
    rows = traffic(per_hour=40, hours=200)
    arms = [rows.filter(pl.col("arm") == arm) for arm in ("baseline", "candidate")]
    lone = pl.concat([arms[0], arms[1].unique("timestamp", keep="first", maintain_order=True)])
    found = read_split(hourly(lone), plan((0, 0.03)), [COST]).metrics[0]
    assert found.is_known
    assert found.worse_end is not None
    assert found.before is not None
    assert found.worse_end > 0.1 * found.before


def test_hours_with_one_request_of_an_arm_beside_fuller_ones_keep_their_spread() -> None:
    rows = traffic(per_hour=40, hours=240)
    arms = [rows.filter(pl.col("arm") == arm) for arm in ("baseline", "candidate")]
    single = arms[1].filter(pl.col("timestamp") >= MONDAY + 24 * HOUR).unique("timestamp", maintain_order=True)
    fuller = arms[1].filter(pl.col("timestamp") < MONDAY + 24 * HOUR)
    found = read_split(hourly(pl.concat([arms[0], fuller, single])), plan((0, 0.1)), [TIME]).metrics[0]
    spread = float(np.var(rows["response_time_ms"].to_numpy()))
    assert found.variance * found.effective == pytest.approx(spread, rel=0.25)


def test_a_price_that_never_varies_leaves_nothing_to_chance() -> None:
    def priced(new: float) -> pl.DataFrame:
        return traffic().with_columns(cost_usd=pl.when(pl.col("arm") == "candidate").then(new).otherwise(0.5))

    assert read(priced(0.75)).goal.judgement == "worse"
    assert read(priced(0.5)).goal.judgement == "same"
    assert read(priced(0.25)).goal.judgement == "better"
    free = traffic().with_columns(cost_usd=pl.lit(0.0))
    assert read(free).goal.judgement == "same"


def test_a_response_time_within_its_target_does_no_harm() -> None:
    lenient = JudgedMetric(KpiName.RESPONSE_TIME, margin=0.01, relative=True, limit=5_000.0)
    strict = JudgedMetric(KpiName.RESPONSE_TIME, margin=0.01, relative=True, limit=1_450.0)
    rows = traffic(slow=0.1)
    assert read(rows, lenient).goal.judgement == "same"
    assert read(rows, lenient).may_step_to(1.0)
    assert read(rows, strict).goal.judgement == "worse"


# --------------------------------------------------------------------------------------------------- users as clusters


def test_users_are_the_draws_where_users_were_assigned() -> None:
    rows = traffic(users=60, per_hour=200)
    by_user = read(rows)
    by_request = read(rows.with_columns(unit_bucket=pl.lit(None, dtype=pl.Int64)))
    assert by_user.by_unit
    assert not by_request.by_unit
    assert by_user.goal.estimate == pytest.approx(by_request.goal.estimate)
    assert by_user.goal.variance > 20 * by_request.goal.variance
    for it in (*by_user.metrics, *by_request.metrics):
        assert it.worse_end_at(1.0) == pytest.approx(it.worse_end)


def test_a_user_that_dominates_its_arm_decides_nothing() -> None:
    rows = traffic(users=200, per_hour=300)
    heavy = pl.when(pl.col("arm") == "candidate").then(pl.col("unit_bucket") == 5).otherwise(pl.lit(value=False))
    dear = rows.with_columns(cost_usd=pl.when(heavy).then(pl.col("cost_usd") * 400).otherwise("cost_usd"))
    found = read(dear).goal
    assert found.estimate is not None
    assert found.estimate > 0
    assert found.judgement == "unclear"


def test_too_few_groups_of_users_are_not_judged() -> None:
    reading = read(traffic(users=5, share=0.5), of=plan((0, 0.5)))
    assert {it.judgement for it in reading.metrics} == {"unknown"}
    assert not reading.may_step_to(0.6)


def test_users_that_were_assigned_but_are_not_known_allow_no_judgement() -> None:
    by_user = SplitPlan("rollout-1", ((MONDAY, 0.2),), by="user")
    reading = read(traffic(errors=0.1), of=by_user)
    assert {it.judgement for it in reading.metrics} == {"unknown"}
    assert reading.metrics[0].reason == "too few groups of users to tell chance from an effect"


# --------------------------------------------------------------------------------------------- what the request brought


def test_tokens_that_are_counted_alike_narrow_the_bounds_and_move_no_truth() -> None:
    rows = traffic(cost=1.2)
    plain, adjusted = (read(rows, COST, of=plan(alike=alike)).goal for alike in (False, True))
    assert (plain.is_adjusted, adjusted.is_adjusted) == (False, True)
    assert adjusted.variance < plain.variance / 3
    assert adjusted.estimate is not None
    assert adjusted.before is not None
    assert adjusted.estimate / adjusted.before == pytest.approx(0.2, abs=0.03)


def test_a_tokenizer_that_counts_more_does_not_hide_what_it_costs() -> None:
    reading = read(traffic(cost=1.3, tokens=1.3), COST, of=plan(alike=True))
    assert not reading.goal.is_adjusted
    assert reading.goal.judgement == "worse"
    assert "not counted alike" in reading.notes[0]


@pytest.mark.parametrize("how", ["null", "absent", "incomplete"])
def test_without_whole_cross_moments_nothing_is_adjusted(how: str) -> None:
    frame = hourly(traffic(hours=12))
    names = [name for name in ARM_SUMS if "prompt" in name]
    changed = {
        "null": frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in names),
        "absent": frame.drop(names),
        "incomplete": frame.with_columns(pl.col("cost_prompt_count") - 1),
    }[how]
    found = read_split(changed, plan(alike=True), METRICS)
    expected = read_split(frame, plan(), METRICS)
    assert found.goal == expected.goal
    assert not found.goal.is_adjusted


# ------------------------------------------------------------------------------------------------- what is not known


@pytest.mark.parametrize("rated", [0.0, 0.005, 0.01])
def test_a_guard_that_hardly_anybody_rated_allows_no_step_and_is_never_better(rated: float) -> None:
    reading = read(traffic(cost=0.5, rated=rated, per_hour=200))
    assert reading.goal.judgement == "better"
    assert not reading.may_step_to(0.25)
    assert decided(reading)[0] == "wait"
    action, conclusion, reason = decided(reading, over=True)
    assert (action, conclusion) == ("ask", "unproven")
    missing = metric(reading, "selectionAccuracy").missing_sample
    assert missing is not None
    assert f"about {missing:,} more known values are needed" in reason


def test_answers_that_are_rated_otherwise_in_each_arm_are_not_known() -> None:
    found = metric(read(traffic(rated=[0.3, 0.1], accuracy=0.1)), "selectionAccuracy")
    assert found.judgement == "unknown"
    assert found.reason is not None
    assert "of the candidate's requests, but of" in found.reason
    even = metric(read(traffic(rated=0.2)), "selectionAccuracy")
    assert even.is_known


def test_without_ratings_the_missing_number_is_what_a_coin_would_take() -> None:
    none, some = (metric(read(traffic(rated=rated)), "selectionAccuracy") for rated in (0.0, 0.1))
    assert none.missing_sample is not None
    assert some.missing_sample is not None
    assert none.missing_sample > some.missing_sample > 10_000


def test_so_many_more_ratings_do_decide_it() -> None:
    reading = metric(read(traffic(share=0.5, hours=24), ACCURACY, of=plan((0, 0.5))), "selectionAccuracy")
    assert reading.missing_sample is not None
    hours = 24 + math.ceil(reading.missing_sample / 400)
    known = [
        metric(read(traffic(seed, share=0.5, hours=hours), ACCURACY, of=plan((0, 0.5))), "selectionAccuracy")
        for seed in range(3)
    ]
    assert sum(it.judgement in ("same", "better") for it in known) >= 1


def test_no_hours_are_no_verdict() -> None:
    reading = read(traffic().clear())
    assert (reading.hours, reading.requests, reading.series.height) == (0, (0, 0), 0)
    assert decided(reading)[0] == "wait"
    assert decided(reading, over=True)[:2] == ("rollBack", "unproven")
    assert read_every_look(hourly(traffic().clear()), plan(), METRICS) == ()


def test_an_old_model_that_fails_more_often_leaves_the_cost_known() -> None:
    """A failed call has no cost: how often calls fail is judged by the error rate, and the rest is compared."""
    failing = traffic(errors=-0.02, hours=72).with_columns(
        error=pl.col("error") | ((pl.col("arm") == "baseline") & (pl.int_range(pl.len()) % 12 == 0))
    )
    answered = [
        pl.when(~pl.col("error")).then(name).alias(name) for name in ("cost_usd", "response_time_ms", "accuracy")
    ]
    reading = read(failing.with_columns(answered))
    assert {it.metric.name for it in reading.metrics if not it.is_known} == set()
    assert reading.goal.known_before == reading.goal.known_after == 1


def test_a_guard_within_its_margin_at_the_last_look_is_told_so() -> None:
    """The look at the deadline has narrower bounds, and a document has the bound that the verdict rests on."""
    readings = [metric(read(traffic(hours=24 * days, seed=days)), ERRORS.name) for days in range(2, 12)]
    narrow = [it for it in readings if it.judgement == "unclear" and it.allows(1, is_last=True)]
    assert narrow
    for it in narrow:
        told, usual = it.as_change(is_last=True), it.as_change()
        assert (told.judgement, usual.judgement) == ("same", "unclear")
        assert told.change is not None
        assert told.change.high is not None
        assert told.change.high <= ERRORS.margin


def test_a_metric_that_the_rollups_do_not_have_is_unknown() -> None:
    frame = hourly(traffic(hours=4)).drop("accuracy_sum", "cost_sum_sq")
    reading = read_split(frame, plan(), METRICS)
    assert [it.judgement for it in reading.metrics[:2]] == ["unknown", "unknown"]
    assert reading.metrics[2].is_known


# ------------------------------------------------------------------------------------------------------ what is done


def test_a_step_weighs_harm_by_the_share_that_it_reaches() -> None:
    reading = read(traffic(cost=0.8, hours=30))
    allowed = [reading.may_step_to(share) for share in (0.25, 0.5, 0.75, 1.0)]
    assert allowed == sorted(allowed, reverse=True)
    assert allowed[0]
    assert not allowed[-1]
    assert decided(reading, next_share=0.25)[:2] == ("step", None)
    assert decided(reading, next_share=0.25, over=True)[:2] == ("rollBack", "cannotBeTold")
    assert decided(reading, next_share=1.0)[0] == "wait"
    assert "may be worse by" in reading.blocked_by(1.0)[0]
    assert decided(reading, next_share=1.0, over=True)[:2] == ("rollBack", "cannotBeTold")


def test_the_look_at_the_deadline_has_an_error_of_its_own_and_so_narrower_bounds() -> None:
    metrics = (COST, JudgedMetric(KpiName.ERROR_RATE, 0.012))
    readings = [read(traffic(seed, cost=0.7, share=0.5, hours=20), *metrics, of=plan((0, 0.5))) for seed in range(3)]
    for reading in readings:
        ends = [reading.guards[0].worse_end_at(1.0, is_last=is_last) for is_last in (False, True)]
        assert ends[0] is not None
        assert ends[1] is not None
        assert ends[1] < ends[0]
    # Only the step to 1 has one: the others may be looked at again.
    assert readings[0].guards[0].worse_end_at(0.5, is_last=True) == readings[0].guards[0].worse_end_at(0.5)
    assert any(
        decided(it, next_share=1.0)[0] == "wait" and decided(it, next_share=1.0, over=True)[0] == "promote"
        for it in readings
    )


def test_a_step_waits_for_enough_requests_since_the_last() -> None:
    reading = read(traffic(cost=0.8, hours=30))
    action, _conclusion, reason = decided(reading, next_share=0.25, minimum_requests=100_000)
    assert action == "wait"
    assert "100000 are needed" in reason


def test_a_saving_at_equal_quality_is_promoted_and_measured() -> None:
    rows = traffic(cost=0.7, share=0.5)
    reading = read(rows, COST, JudgedMetric(KpiName.ERROR_RATE, 0.02), of=plan((0, 0.5)))
    assert decided(reading, next_share=1.0)[:2] == ("promote", "better")
    saved, old = reading.saved_usd(), float(rows.filter(pl.col("arm") == "baseline")["cost_usd"].to_numpy().sum())
    assert saved is not None
    assert saved.low is not None
    assert saved.high is not None
    assert saved.low < 0.3 * old < saved.high
    assert saved.low > 0


def test_an_equal_candidate_is_no_worse_once_that_is_sure() -> None:
    lenient = (JudgedMetric("averageCost", 0.1, relative=True), JudgedMetric(KpiName.ERROR_RATE, 0.02))
    reading = read(traffic(share=0.5, per_hour=800), *lenient, of=plan((0, 0.5)))
    assert decided(reading, next_share=1.0)[:2] == ("promote", "noWorse")


def test_ratings_that_come_too_slowly_are_asked_for_before_the_deadline() -> None:
    reading = read(traffic(cost=0.5, rated=0.05, hours=72, per_hour=600))
    assert decided(reading, next_share=1.0, hours_left=10_000)[0] == "wait"
    assert decided(reading, next_share=1.0, hours_left=24)[:2] == ("ask", "unproven")


def test_a_share_that_was_not_kept_makes_it_invalid_whatever_it_shows() -> None:
    reading = read(traffic(cost=0.5), of=plan((0, 0.5)))
    action, conclusion, reason = decided(reading)
    assert (action, conclusion) == ("rollBack", "invalid")
    assert "asked was 50.0%" in reason
    assert not reading.may_step_to(0.6)


def test_documents_get_what_is_known_and_why_the_rest_is_not() -> None:
    known, unknown = (it.as_change() for it in read(traffic(rated=0.0)).metrics[:2])
    assert known.change is not None
    assert known.before is not None
    assert known.change.low is not None
    assert known.change.high is not None
    assert known.change.low < known.change.estimate < known.change.high
    assert (unknown.change, unknown.before, unknown.judgement) == (None, None, "unknown")
    assert unknown.reason == "known of 0 requests of the candidate and 0 of the baseline, 20 are needed"


def test_the_series_shows_every_hour_that_was_compared() -> None:
    reading = read(traffic(hours=20))
    last: datetime = reading.series["bucket"].max()  # type: ignore[assignment]
    assert last + HOUR == reading.observed_to
    final = reading.series.filter(pl.col("bucket") == last)
    for row in final.iter_rows(named=True):
        it = metric(reading, row["metric"])
        assert (row["estimate"], row["low"], row["high"]) == (it.estimate, it.low, it.high)
        assert row["low"] < row["estimate"] < row["high"]
    widths = reading.series.filter(pl.col("metric") == "slowShare").select(pl.col("high") - pl.col("low")).to_series()
    assert widths[-1] < widths[3]
