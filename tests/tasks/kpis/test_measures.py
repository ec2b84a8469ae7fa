"""The numbers of a report equal those computed from the raw rows of its period."""

from __future__ import annotations

import math
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from models.database import open_database
from models.documents import Filters
from models.period import Level, Period
from models.settings import PerformanceMetrics
from tasks.kpis.cost_efficiency import measure_efficiency
from tasks.kpis.measures import distribution, heatmap, kpis, model_breakdown, timeline
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.query import RollupSlice, query_rollups
from tasks.rollups.totals import total
from tasks.rollups.update import update_rollups
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY, hours, insert_selections, selections

TRAFFIC = selections(
    *(
        {
            "timestamp": MONDAY + timedelta(seconds=997 * i),
            "model_id": f"m{i % 3}",
            "team": f"t{i % 4}",
            "response_time_ms": None if i % 11 == 0 else 50.0 + 37 * (i % 200),
            "error": i % 11 == 0,
            "cost_usd": (i % 17) / 100,
            "cache_hit": [None, True, False][i % 3],
        }
        for i in range(900)
    )
)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = open_database(migrated_sqlite(tmp_path_factory.mktemp("measure")))
    insert_selections(engine, TRAFFIC)
    update_rollups(engine, RollupSettings("Asia/Kolkata", 2000.0), now=MONDAY)
    return engine


def within(period: Period) -> pl.DataFrame:
    return TRAFFIC.filter(pl.col("timestamp").is_between(period.start, period.end, closed="left"))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 15_000), st.integers(1, 15_000))
def test_any_period_of_whole_minutes_is_exact(folded: Engine, start: int, length: int) -> None:
    """Edges within an hour are covered by minutes, so that nothing is counted twice or missed."""
    first = MONDAY + timedelta(minutes=start)
    period = Period(first, first + timedelta(minutes=length), "Asia/Kolkata")
    rollup_slice, raw = query_rollups(folded, period, Filters()), within(period)
    for measured in (total(rollup_slice.parts), total(rollup_slice.hours)):
        assert measured.count == raw.height
        assert math.isclose(measured.sums["cost_sum_usd"], raw["cost_usd"].sum(), rel_tol=1e-9, abs_tol=1e-12)
        assert measured.known("response_time_count") == raw["response_time_ms"].count()


def test_a_period_with_teams_is_rounded_outward_to_hours(folded: Engine) -> None:
    """Minutes have no teams: the hours around the period are used, and the result says so."""
    asked = Period(MONDAY + timedelta(minutes=50), MONDAY + timedelta(hours=5, minutes=10), "Asia/Kolkata")
    rollup_slice = query_rollups(folded, asked, Filters(teams=("t1",)))
    assert (rollup_slice.requested_period, rollup_slice.period.start) == (asked, MONDAY + timedelta(minutes=30))
    assert rollup_slice.period.end == MONDAY + timedelta(hours=5, minutes=30)
    assert total(rollup_slice.parts).count == total(rollup_slice.hours).count
    assert total(rollup_slice.hours).count == within(rollup_slice.period).filter(pl.col("team") == "t1").height


def test_seconds_are_rounded_outward_to_minutes(folded: Engine) -> None:
    """Nothing finer than a minute is kept."""
    asked = Period(MONDAY + timedelta(seconds=61), MONDAY + timedelta(seconds=3601), "Asia/Kolkata")
    period = query_rollups(folded, asked, Filters()).period
    assert (period.start, period.end) == (MONDAY + timedelta(minutes=1), MONDAY + timedelta(minutes=61))


@pytest.fixture
def day(folded: Engine) -> RollupSlice:
    return query_rollups(folded, Period(MONDAY, MONDAY + timedelta(days=1), "Asia/Kolkata"), Filters())


def test_the_breakdown_has_the_models_with_most_selections_first(day: RollupSlice) -> None:
    """Per model: counts, averages and percentiles of its own rows."""
    breakdown = model_breakdown(day.parts, {})
    raw = within(day.period)
    assert sum(model.count for model in breakdown) == raw.height
    assert [model.count for model in breakdown] == sorted((model.count for model in breakdown), reverse=True)
    for model in breakdown:
        own = raw.filter(pl.col("model_id") == model.model_id)
        assert model.avg_response_time == pytest.approx(own["response_time_ms"].mean())
        assert model.p50_response_time == pytest.approx(own["response_time_ms"].quantile(0.5, "linear"), rel=0.01)
        assert model.error_rate == pytest.approx(own["error"].mean())


def test_the_timeline_has_every_bucket(day: RollupSlice) -> None:
    """Hours without selections are there, with nothing known."""
    points = timeline(
        day.hours,
        Period(MONDAY - timedelta(hours=3, minutes=30), MONDAY + timedelta(hours=2.5), "Asia/Kolkata"),
        Level.HOUR,
    )
    assert [point.count for point in points[:3]] == [0, 0, 0]
    assert points[0].avg_response_time is None
    assert points[0].cost_usd is None
    assert len(points) == 6


def test_distribution_and_heatmap_count_everything_timed(day: RollupSlice) -> None:
    """The bins hold each selection with a time once, the heatmap each selection once, at the zone's hours."""
    raw = within(day.period)
    assert sum(bin_.count for bin_ in distribution(day.parts)) == raw["response_time_ms"].count()
    cells = heatmap(day.hours, "Asia/Kolkata")
    assert sum(cell.count for cell in cells) == raw.height
    assert (cells[0].weekday, cells[0].hour) == (0, 5)


def test_unknown_is_unknown() -> None:
    """Columns that nobody recorded have no value and coverage 0; nothing becomes zero."""
    rollups, limits = hours(*[{"response_time_ms": 100.0}] * 5), PerformanceMetrics()
    found = {kpi.name.value: kpi for kpi in kpis(total(rollups), measure_efficiency(rollups, limits), limits)}
    for name in ("selectionAccuracy", "cacheHitRate", "costEfficiency"):
        assert (found[name].value, found[name].state, found[name].coverage.share) == (None, "no data", 0.0)
        assert found[name].reason
    assert found["responseTime"].value == 100.0
    assert found["errorRate"].value == 0.0


def test_an_empty_period_has_no_kpis() -> None:
    """Without selections not even the error rate is zero."""
    limits = PerformanceMetrics()
    found = kpis(total(hours()), measure_efficiency(hours(), limits), limits)
    assert {kpi.state for kpi in found} == {"no data"}
    assert {kpi.reason for kpi in found} == {"no selections in the period"}
