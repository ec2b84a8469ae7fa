"""Inputs of the bottleneck rules, read from real databases, equal the raw rows, and the report has the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Engine

from models.database import open_database, reading
from models.documents import ErrorBurst, Filters, ModelRegression, SpendSpike
from models.kpis import KpiName
from models.period import Level, Period
from models.report_template import Template
from models.schema import UNKNOWN
from models.settings import PerformanceMetrics, Settings
from tasks.bottlenecks.inputs import INPUT_COLUMNS, RuleInputs, read_rule_inputs
from tasks.bottlenecks.spend_spikes import SPENDING
from tasks.reporting.collect import collect_material
from tasks.reporting.request import Request
from tasks.rollups.aggregate import ROLLUP_SUMS, SELECTION_SCHEMA, roll_up
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.query import query_rollups_in
from tasks.rollups.update import update_rollups
from tests.support.databases import PostgresServer, migrated_sqlite
from tests.support.factories import MONDAY, insert_selections

ZONE = "Asia/Kolkata"
LIMITS = PerformanceMetrics()
SUNDAY = datetime(2026, 9, 6, 18, 30, tzinfo=MONDAY.tzinfo)
"""The start of MONDAY in the zone, whose hours begin at half past in UTC."""
DAY = timedelta(days=1)
TENTH = Period(SUNDAY + 9 * DAY, SUNDAY + 10 * DAY, ZONE)
NOON = TENTH.start + timedelta(hours=12)


def ten_days() -> pl.DataFrame:
    """One request a minute; on the tenth day a team asks for much, a model fails for an hour, and one is slower."""
    draw = np.random.default_rng(7)
    times = [SUNDAY + timedelta(minutes=minute) for minute in range(10 * 24 * 60)]
    times += [NOON + timedelta(seconds=7 * step) for step in range(900)]
    count, extra = len(times), np.arange(len(times)) >= 10 * 24 * 60
    frame = pl.DataFrame(
        {
            "timestamp": times,
            "model_id": [f"m{number}" for number in draw.integers(3, size=count)],
            "team": np.where(extra, "greedy", np.where(draw.random(count) < 0.5, "red", "blue")),
            "complexity": np.where(draw.random(count) < 0.3, "complex", "simple"),
            "response_time_ms": draw.gamma(4, 200, count),
            "cost_usd": draw.gamma(4, 0.05, count),
            "error": draw.random(count) < 0.01,
            "luck": draw.random(count),
        }
    )
    tenth = pl.col("timestamp") >= TENTH.start
    evening = pl.col("timestamp").is_between(NOON + timedelta(hours=6), NOON + timedelta(hours=7), closed="left")
    slower = pl.when(tenth & (pl.col("model_id") == "m2")).then(1.5).otherwise(1.0)
    fails = evening & (pl.col("model_id") == "m1") & (pl.col("luck") < 0.9)
    known = frame.with_columns(pl.col("response_time_ms") * slower, pl.col("error") | fails)
    missing = (pl.lit(None, kind).alias(name) for name, kind in SELECTION_SCHEMA.items() if name not in frame.columns)
    return known.with_columns(*missing).select(pl.col(name).cast(kind) for name, kind in SELECTION_SCHEMA.items())


TRAFFIC = ten_days()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def folded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database of each kind for all tests: they only read."""
    with ExitStack() as opened:
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            address = opened.enter_context(server.database(migrated=True))
        else:
            address = migrated_sqlite(tmp_path_factory.mktemp("evidence"))
        engine = open_database(address)
        opened.callback(engine.dispose)
        insert_selections(engine, TRAFFIC)
        update_rollups(engine, RollupSettings(ZONE, 2000.0), now=TENTH.end)
        yield engine


def inputs(engine: Engine, period: Period, filters: Filters, earlier: Sequence[Period] = ()) -> RuleInputs:
    with reading(engine) as connection:
        current, *others = (query_rollups_in(connection, each, filters) for each in (period, *earlier))
        return read_rule_inputs(connection, current, others, LIMITS)


def within(start: datetime, end: datetime, filters: Filters) -> pl.DataFrame:
    condition = pl.col("timestamp").is_between(start, end, closed="left")
    for column, names in (("model_id", filters.models), ("team", filters.teams)):
        condition &= pl.col(column).is_in(names) if names else pl.lit(True)
    return TRAFFIC.filter(condition)


def by_hour(rows: pl.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    hours = roll_up(rows, ZONE, 2000.0)[Level.HOUR]
    return hours.group_by("bucket", *keys).agg(pl.col(columns).sum())


def alike(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert_frame_equal(one, other, check_row_order=False, check_exact=False, rel_tol=1e-9)


@pytest.mark.parametrize(
    "filters", [Filters(), Filters(models=("m1", "m2")), Filters(teams=("red",))], ids=["all", "models", "teams"]
)
def test_evidence_is_that_of_the_raw_rows(folded: Engine, filters: Filters) -> None:
    """Hours by model of both periods, and the hours before, over the requested models and teams."""
    found = inputs(folded, TENTH, filters, [TENTH.before()])
    today, before = within(TENTH.start, TENTH.end, filters), within(TENTH.start - DAY, TENTH.start, filters)
    alike(found.models, by_hour(today, ("model_id", "complexity"), INPUT_COLUMNS))
    alike(found.models_earlier[0], by_hour(before, ("model_id", "complexity"), INPUT_COLUMNS))
    alike(found.history, by_hour(within(SUNDAY, TENTH.start, filters), (), SPENDING))


def test_an_edge_is_of_its_minutes_alone(folded: Engine) -> None:
    """A period from ten past to ten to counts those minutes, also in the hours that stand out."""
    period = Period(NOON - timedelta(hours=1, minutes=20), NOON + timedelta(minutes=40), ZONE)
    longer = Period(period.start - timedelta(hours=6), period.end, ZONE)
    found = inputs(folded, longer, Filters())
    inside = within(longer.start, longer.end, Filters())
    alike(found.models, by_hour(inside, ("model_id", "complexity"), INPUT_COLUMNS))
    assert (
        found.by_dimension.filter(pl.col("bucket") == NOON)["count"].sum() == within(NOON, longer.end, Filters()).height
    )
    assert set(found.by_dimension.filter(pl.col("bucket") == NOON)["team"]) == {UNKNOWN}


def test_an_hour_is_analysed_by_the_minute(folded: Engine) -> None:
    """A report of one hour has sixty buckets to assess a model by."""
    hour = Period(NOON, NOON + timedelta(hours=1), ZONE)
    found = inputs(folded, hour, Filters(), [hour.before()])
    assert found.models["bucket"].n_unique() == found.models_earlier[0]["bucket"].n_unique() == 60


def test_hours_that_stand_out_are_read_with_their_teams(folded: Engine) -> None:
    """Those of the burst and of the spike, and the same hours of earlier days; no others."""
    by_dimension = inputs(folded, TENTH, Filters()).by_dimension
    noons = [NOON - day * DAY for day in range(10)]
    expected = [*noons, *(noon + timedelta(hours=1) for noon in noons), NOON + timedelta(hours=6)]
    assert set(by_dimension["bucket"]) == set(expected)
    rows = TRAFFIC.filter(pl.col("timestamp").dt.offset_by("30m").dt.truncate("1h").is_in(
        [bucket + timedelta(minutes=30) for bucket in expected]
    ))  # fmt: skip
    alike(by_dimension, by_hour(rows, ("model_id", "complexity", "team"), ROLLUP_SUMS))


def test_a_period_that_overlaps_is_not_compared_with(folded: Engine) -> None:
    """For a period longer than a week, the same period a week before is mostly itself."""
    eight = Period(TENTH.end - 8 * DAY, TENTH.end, ZONE)
    assert len(inputs(folded, eight, Filters(), [eight.week_before(), eight.before()]).models_earlier) == 1


def test_a_report_tells_all_three(folded: Engine) -> None:
    """The burst with its model, the spike with its team, and the model that became slower: no more of their kinds."""
    material = collect_material(
        folded, Request("custom", Template.PERFORMANCE, TENTH), Settings(timezone=ZONE), TENTH.end
    )
    kinds = (ErrorBurst, SpendSpike, ModelRegression)
    found = {type(item): item for item in material.bottlenecks if isinstance(item, kinds)}
    assert len([item for item in material.bottlenecks if isinstance(item, kinds)]) == len(found) == 3
    burst, spike, regression = (found[kind] for kind in kinds)
    assert isinstance(burst, ErrorBurst)
    assert isinstance(spike, SpendSpike)
    assert isinstance(regression, ModelRegression)
    assert (burst.start, burst.end) == (NOON + timedelta(hours=6), NOON + timedelta(hours=7))
    assert [(hotspot.dimension, hotspot.value) for hotspot in burst.where] == [("model", "m1")]
    assert (spike.start, spike.end) == (NOON, NOON + timedelta(hours=2))
    assert [(hotspot.dimension, hotspot.value) for hotspot in spike.where] == [("team", "greedy")]
    assert (regression.model_id, regression.metric) == ("m2", KpiName.RESPONSE_TIME)
