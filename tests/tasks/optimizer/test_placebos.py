"""Chance is what pretended changes in the past show, at as many looks, in as many metrics."""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kpis import KpiName
from tasks.optimizer.judged_metric import JudgedMetric
from tasks.optimizer.placebos import (
    INCIDENT_SHARE,
    MATCHED_MINIMUM_HOURS,
    MINIMUM_SPANS,
    WEEK_HOURS,
    Control,
    Courses,
    HourlySums,
    Placebos,
    Subject,
    allowed_share,
    compare,
    differences,
    horizon_of,
    learn,
    margin_of,
    match,
    prepare,
    standardised,
)
from tests.support.chance import few_or_all, most_by_chance

SLOW = JudgedMetric("slowShare", margin=0.002)
ERRORS = JudgedMetric(KpiName.ERROR_RATE, margin=0.005)
COST = JudgedMetric("averageCost", margin=0.05, relative=True)
WEEKS = 5


def drift(draw: np.random.Generator, hours: int, alike: float) -> Any:
    """Return an AR(1) series of unit variance."""
    steps = draw.standard_normal(hours) * np.sqrt(1 - alike**2)
    for hour in range(1, hours):
        steps[hour] += alike * steps[hour - 1]
    return steps


def share_hours(draw: np.random.Generator, odds: Any, rows: int = 400) -> HourlySums:
    known = draw.poisson(rows * (1 + 0.6 * np.sin(np.arange(len(odds)) / 24 * 2 * np.pi)))
    return HourlySums(draw.binomial(known, 1 / (1 + np.exp(-odds))).astype(float), known.astype(float))


def subjects_of(seed: int, hours: int, alike: float = 0.75) -> list[Subject]:
    draw = np.random.default_rng(seed)
    slow = share_hours(draw, -1.4 + 0.25 * drift(draw, hours, alike))
    errors = share_hours(draw, -3.9 + 0.25 * drift(draw, hours, alike))
    spent = errors.below * 0.01 * np.exp(0.25 * drift(draw, hours, alike)) * (1 + 0.1 * draw.exponential(size=hours))
    return [
        Subject(SLOW, (slow,)), Subject(ERRORS, (errors,)), Subject(COST, (HourlySums(spent, errors.below),)),
    ]  # fmt: skip


def verdict_of(seed: int, alike: float) -> str:
    """Return the verdict on a change that does nothing, at any of its hourly looks."""
    end = WEEKS * WEEK_HOURS
    calm = np.zeros(end + WEEK_HOURS, bool)
    subjects = subjects_of(seed, len(calm), alike)
    placebos = learn(subjects, end, calm, longest=WEEK_HOURS, keep_from=24)
    course = Courses(np.array([end]), placebos.evaluations, calm)
    for subject, design in zip(subjects, placebos.designs, strict=True):
        worse_by = differences(course, prepare(subject, design)).worse_by[0]
        scores = standardised(worse_by, design.spread)
        if (scores > placebos.harm_quantile)[worse_by > margin_of(subject.metric)].any():
            return "worse"
        if subject.metric is SLOW and (scores < -design.better_quantile)[placebos.evaluations >= 24].any():
            return "better"
    return ""


@few_or_all(30, 300)
@pytest.mark.parametrize("alike", [0.0, 0.87])
def test_a_change_that_does_nothing_is_seldom_called_better_or_worse(draws: int, alike: float) -> None:
    """At hourly looks over the whole life and in all metrics together, however alike neighbouring hours are."""
    said = [verdict_of(seed, alike) for seed in range(draws)]
    for verdict in ("better", "worse"):
        assert said.count(verdict) <= most_by_chance(0.05, draws)


@given(st.integers(0, 20_000), st.integers(24, 1_000))
def test_a_life_is_judged_no_longer_than_twenty_placebos_fit_into_the_past(past: int, longest: int) -> None:
    horizon, spans = horizon_of(past, longest)
    before = WEEK_HOURS * -(-horizon // WEEK_HOURS)
    if horizon:
        assert MATCHED_MINIMUM_HOURS <= horizon <= longest
        assert spans >= MINIMUM_SPANS
        assert spans * horizon <= past - before
    else:
        assert spans < MINIMUM_SPANS
        assert past - WEEK_HOURS < MINIMUM_SPANS * MATCHED_MINIMUM_HOURS
    assert horizon_of(past, longest + 1_000)[0] >= horizon


@given(st.integers(MINIMUM_SPANS, 500))
def test_the_real_change_counts_among_the_placebos(spans: int) -> None:
    """Beyond all of twenty is a chance of 1 in 21; with more placebos, some may be beyond the real one."""
    exceeding = allowed_share(spans) * spans
    assert (exceeding + 1) / (spans + 1) <= 0.05 + 1e-12 or exceeding == 0
    assert exceeding < 1 if spans < 2 * MINIMUM_SPANS - 1 else exceeding >= 0.99


def naive_sum(hours: Any, incident: Any, start: int, look: int) -> tuple[float, int]:
    """Return a life's sum without passed incidents, and how many hours are left out, hour by hour."""
    here = list(range(start, start + look))
    lasting = set()
    for hour in reversed(here):
        if not incident[hour]:
            break
        lasting.add(hour)
    out = [hour for hour in here if incident[hour] and hour not in lasting]
    if len(out) > INCIDENT_SHARE * look:
        out = []
    return sum(hours[hour] for hour in here if hour not in out), len(out)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=16, max_size=40), st.integers(1, 3))
def test_sums_of_lives_are_what_adding_hour_by_hour_gives(rows: list[tuple[int, bool]], step: int) -> None:
    hours, incident = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    evaluations = np.arange(2, 9, step)
    courses = Courses(np.arange(len(rows) - 9), evaluations, incident)
    for start, (sums, left_out) in enumerate(zip(courses.sums(hours), courses.incident_hours(), strict=True)):
        for look, added, out in zip(evaluations, sums, left_out, strict=True):
            expected, left = naive_sum(hours, incident, start, int(look))
            assert (added, out) == (pytest.approx(expected), left)


def test_an_hour_is_expected_to_be_like_the_same_hours_before_with_its_own_number_of_rows() -> None:
    draw = np.random.default_rng(1)
    below = draw.integers(0, 5, 3 * WEEK_HOURS).astype(float)
    above = draw.binomial(below.astype(int), 0.3).astype(float)
    matched = match(HourlySums(above, below), (WEEK_HOURS, 2 * WEEK_HOURS))
    for hour in range(2 * WEEK_HOURS, 3 * WEEK_HOURS):
        before = [hour - WEEK_HOURS, hour - 2 * WEEK_HOURS]
        if below[hour] and below[before].sum():
            assert matched.expected[hour] == pytest.approx(below[hour] * above[before].sum() / below[before].sum())
        else:
            assert (matched.known[hour], matched.below[hour], matched.expected[hour]) == (0, 0, 0)


def test_a_life_with_too_few_known_hours_is_not_known() -> None:
    """Unknown is not zero: neither where nothing was known, nor where nothing was before."""
    below = np.zeros(2 * WEEK_HOURS)
    below[WEEK_HOURS : WEEK_HOURS + 30] = 5
    course = Courses(np.array([WEEK_HOURS]), np.arange(12, 30), np.zeros(len(below), bool))
    assert np.isnan(compare(course, match(HourlySums(below, below), (WEEK_HOURS,)), relative=False)).all()


@pytest.mark.parametrize("shared", [True, False])
def test_untouched_traffic_is_subtracted_where_it_shares_the_drift(shared: bool) -> None:
    """The placebos decide: what does not make them differ less is left alone."""
    draw = np.random.default_rng(3)
    end = 8 * WEEK_HOURS
    both = 0.4 * drift(draw, end, 0.8)
    own = share_hours(draw, -1.4 + both, 2000)
    other = share_hours(draw, -1.4 + (both if shared else 0.4 * drift(draw, end, 0.8)), 2000)
    calm = np.zeros(end, bool)
    plain, with_control = (
        learn([Subject(SLOW, (own,), controls)], end, calm, longest=48, keep_from=24).designs[0]
        for controls in ((), (Control(other, relative=False),))
    )
    if shared:
        assert with_control.shares[0] == pytest.approx(1, abs=0.15)
        assert with_control.spread[-1] < 0.4 * plain.spread[-1]
    else:
        assert abs(with_control.shares[0]) < 0.4
        assert with_control.spread[-1] > 0.8 * plain.spread[-1]


def test_a_metric_that_was_seldom_known_has_few_placebos() -> None:
    """Ratings began three weeks ago: twenty placebos of the requests are none of the ratings."""
    end = 12 * WEEK_HOURS
    subjects = subjects_of(1, end)
    errors = subjects[1].variants[0]
    begun = np.arange(end) >= 9 * WEEK_HOURS
    late = HourlySums(errors.above * begun, errors.below * begun)
    placebos = learn(
        [subjects[0], Subject(ERRORS, (late,))], end, np.zeros(end, bool), longest=WEEK_HOURS, keep_from=24
    )
    assert placebos.designs[0].spans == placebos.spans >= MINIMUM_SPANS
    assert placebos.designs[1].spans < MINIMUM_SPANS / 2


def learned(weeks: int, seed: int = 1) -> Placebos:
    end = weeks * WEEK_HOURS
    return learn(subjects_of(seed, end), end, np.zeros(end, bool), longest=WEEK_HOURS, keep_from=24)


def test_what_comes_after_the_change_teaches_nothing() -> None:
    """The hours after are in the arrays: else a harm would raise what chance is said to reach."""
    end = WEEKS * WEEK_HOURS
    subjects = subjects_of(1, end + 50)
    calm = np.zeros(end + 50, bool)
    before = learn(subjects, end, calm, longest=48, keep_from=24)
    for subject in subjects:
        subject.variants[0].above[end:] *= 9
    after = learn(subjects, end, calm, longest=48, keep_from=24)
    assert before.harm_quantile == after.harm_quantile
    assert [design.better_quantile for design in before.designs] == [it.better_quantile for it in after.designs]


def test_its_own_false_verdicts_are_counted() -> None:
    said = [learned(WEEKS, seed).false_verdicts_of_100 or 0.0 for seed in range(6)]
    assert 0 < float(np.mean(said)) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("weeks", [26, 53])
def test_half_a_year_of_hours_is_learned_from_in_a_second(weeks: int) -> None:
    subjects = subjects_of(1, weeks * WEEK_HOURS)
    began = process_time()
    learn(subjects, weeks * WEEK_HOURS, np.zeros(weeks * WEEK_HOURS, bool), longest=WEEK_HOURS, keep_from=24)
    assert process_time() - began < 1
