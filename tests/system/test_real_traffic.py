"""Two weeks of real traffic: the report's numbers are those of the raw rows, in every zone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, select

from models.database import open_database, reading
from models.period import Level, Period
from models.report_template import Template
from models.schema import UNKNOWN
from models.settings import Settings
from models.tables import Rollup, table_of
from reports.renderers.json_document import render_json
from tasks.ingestion.column_mapping import Mapping
from tasks.ingestion.file_import import import_file
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.request import Request
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.databases import migrated_sqlite

SERVEGEN = Path("/work/shared/data/servegen_14d.parquet")
START, END = datetime(2026, 9, 6, 16, tzinfo=UTC), datetime(2026, 9, 20, 16, tzinfo=UTC)
NOW = datetime(2026, 9, 21, tzinfo=UTC)
ROLLUP = table_of(Rollup)

pytestmark = pytest.mark.skipif(not SERVEGEN.exists(), reason=f"{SERVEGEN} is not here")


@pytest.fixture(scope="module")
def traffic() -> pl.DataFrame:
    return pl.read_parquet(SERVEGEN)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with TemporaryDirectory() as folder:
        engine = open_database(migrated_sqlite(Path(folder)))
        import_file(engine, SERVEGEN, mapping=Mapping(), zone="UTC", rejects_folder=Path(folder))
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def reported(engine: Engine) -> dict[str, Any]:
    settings = Settings()
    update_rollups(engine, rollup_settings(settings), now=NOW)
    request = Request("custom", Template.PERFORMANCE, Period(START, END), "detailed")
    document = compose(request, collect_material(engine, request, settings, NOW), settings, NOW)
    reported: dict[str, Any] = json.loads(render_json(document))
    return reported


def test_totals_and_averages_are_those_of_the_raw_rows(reported: dict[str, Any], traffic: pl.DataFrame) -> None:
    summary = reported["summary"]
    assert summary["totalSelections"] == traffic.height == 199_996
    assert summary["totalCost"] == pytest.approx(traffic["cost_usd"].sum(), rel=1e-9)
    assert summary["averageResponseTime"] == pytest.approx(traffic["response_time_ms"].mean(), rel=1e-9)


@pytest.mark.parametrize("rank", ["nearest", "linear"])
def test_each_models_numbers_are_its_own(reported: dict[str, Any], traffic: pl.DataFrame, rank: Any) -> None:
    counts = {stats["modelId"]: stats["count"] for stats in reported["modelBreakdown"]}
    assert counts == dict(traffic["model_id"].value_counts().iter_rows())
    for stats in reported["modelBreakdown"]:
        own = traffic.filter(pl.col("model_id") == stats["modelId"])
        assert stats["totalCost"] == pytest.approx(own["cost_usd"].sum(), rel=1e-9)
        assert stats["avgResponseTime"] == pytest.approx(own["response_time_ms"].mean(), rel=1e-9)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            exact = own["response_time_ms"].quantile(share, rank)
            assert stats[f"{name}ResponseTime"] == pytest.approx(exact, rel=0.01)


def test_what_was_not_recorded_is_no_data(reported: dict[str, Any]) -> None:
    kpis = {kpi["name"]: kpi for kpi in reported["kpis"]}
    for name in ("selectionAccuracy", "cacheHitRate", "costEfficiency"):
        assert (kpis[name]["value"], kpis[name]["state"], kpis[name]["coverage"]["share"]) == (None, "no data", 0)
    for column in ("cacheHit", "accuracy", "userSatisfaction"):
        assert reported["coverage"][column] == {"known": 0, "of": 199_996, "share": 0.0}
    assert reported["summary"]["userSatisfaction"] is None


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York", "Asia/Kolkata"])
def test_a_day_is_one_of_the_reporting_zone(engine: Engine, traffic: pl.DataFrame, zone: str) -> None:
    update_rollups(engine, rollup_settings(Settings(timezone=zone)), now=NOW)
    with reading(engine) as connection:
        rows = connection.execute(
            select(ROLLUP.c.bucket, ROLLUP.c.model_id, ROLLUP.c["count"], ROLLUP.c.cost_sum_usd).where(
                ROLLUP.c.level == Level.DAY, ROLLUP.c.team != UNKNOWN
            )
        ).fetchall()
    found = (
        pl.DataFrame([tuple(row) for row in rows], schema=["day", "model_id", "n", "usd"], orient="row")
        .with_columns(pl.col("day").dt.convert_time_zone(zone).dt.date())
        .group_by("day", "model_id")
        .agg(pl.col("n", "usd").sum())
        .sort("day", "model_id")
    )
    exact = (
        traffic.group_by(pl.col("timestamp").dt.convert_time_zone(zone).dt.date().alias("day"), "model_id")
        .agg(n=pl.len(), usd=pl.col("cost_usd").sum())
        .sort("day", "model_id")
    )
    assert found.select("day", "model_id").rows() == exact.select("day", "model_id").rows()
    assert found["n"].to_list() == exact["n"].to_list()
    assert found["usd"].to_list() == pytest.approx(exact["usd"].to_list(), rel=1e-9)
