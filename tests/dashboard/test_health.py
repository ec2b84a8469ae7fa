"""The page's server reports ready when its numbers are current, and the reason when they are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import Engine, update

from models.database import writing
from models.schema import ROLLUP_CHECKPOINT
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import insert_selections, selections
from tests.support.page_server import READER, app_context, bearing, serving


def why_not(client: httpx.Client) -> str:
    answer = client.get("/readyz", headers=bearing(READER))
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    detail: str = answer.json()["detail"]
    return detail


def test_it_is_ready_while_selections_are_counted(engine: Engine, tmp_path: Path) -> None:
    ctx, now = app_context(engine, tmp_path), datetime.now(UTC)
    with serving(ctx) as client:
        assert "no selection has been counted yet" in why_not(client)
        update_rollups(engine, rollup_settings(ctx.settings), now=now - timedelta(minutes=11))
        assert "more than 600 s" in why_not(client)
        update_rollups(engine, rollup_settings(ctx.settings), now=now)
        assert client.get("/readyz", headers=bearing(READER)).json() == {"status": "ok"}


def test_it_is_not_ready_while_selections_wait_and_none_is_counted(engine: Engine, tmp_path: Path) -> None:
    """However fresh the last update was; and not while the last one seems to be in the future."""
    ctx, now = app_context(engine, tmp_path), datetime.now(UTC)
    update_rollups(engine, rollup_settings(ctx.settings), now=now)
    with serving(ctx) as client:

        def set_back(**times: datetime) -> None:
            with writing(engine) as connection:
                connection.execute(update(ROLLUP_CHECKPOINT).values(times))

        set_back(progressed_at=now - timedelta(seconds=100))
        assert client.get("/readyz", headers=bearing(READER)).json() == {"status": "ok"}
        insert_selections(engine, selections({"timestamp": now}))
        assert "1 selection waits, and none was counted for 1" in why_not(client)
        gauges = client.get("/metrics", headers=bearing(READER)).text
        assert "routewatch_selections_waiting 1.0" in gauges
        assert "routewatch_counting_stalled_seconds 1" in gauges
        update_rollups(engine, rollup_settings(ctx.settings), now=now)
        assert client.get("/readyz", headers=bearing(READER)).json() == {"status": "ok"}
        set_back(rollups_updated_at=now + timedelta(days=365))
        assert "no selection has been counted yet" in why_not(client)


def test_a_database_of_another_revision_is_reported_as_to_be_upgraded(engine: Engine, tmp_path: Path) -> None:
    with serving(app_context(engine, tmp_path)) as client:
        client.get("/readyz", headers=bearing(READER))
        with writing(engine) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
        assert "revision 0000" in why_not(client)
        assert "routewatch init" in why_not(client)
        assert client.get("/healthz").status_code == 200
