"""Selections that are not rolled up, missed reports and failing flows are reported with what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, insert

from models.clock import true_now
from models.database import writing
from models.tables import Delivery, Report, table_of
from tasks.alerts.flow_failures import record_failure
from tasks.health.check import CheckState
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.contexts import NOW, context_of
from tests.support.factories import insert_selections, selections
from tests.support.health import check_context_of, found

DELIVERY, REPORT = table_of(Delivery), table_of(Report)


def test_selections_that_are_no_longer_rolled_up_are_reported(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path)
    assert "nothing has been counted" in found("selections counted", check_context_of(ctx)).found
    insert_selections(engine, selections({"timestamp": NOW - timedelta(minutes=1)}))
    update_rollups(engine, rollup_settings(ctx.settings), now=NOW)
    states = [
        found("selections counted", check_context_of(ctx, NOW + timedelta(minutes=minutes))).state
        for minutes in (0, 70, 80, 60 * 26)
    ]
    assert states == [CheckState.OK, CheckState.OK, CheckState.WARNING, CheckState.FAILED]
    stale = found("selections counted", check_context_of(ctx, NOW + timedelta(days=3)))
    assert stale.found.startswith("last counted 3 days ago; the newest selection is of 2026-09-08 05:59 UTC")
    assert "routewatch serve" in stale.remedy


def test_a_count_that_stands_still_is_a_failure(engine: Engine, tmp_path: Path) -> None:
    """However lately somebody tried."""
    ctx, now = context_of(engine, tmp_path), true_now()
    update_rollups(engine, rollup_settings(ctx.settings), now=now)
    insert_selections(engine, selections({"timestamp": NOW}, {"timestamp": NOW}))
    assert found("selections counted", check_context_of(ctx, now + timedelta(minutes=1))).state is CheckState.OK
    result = found("selections counted", check_context_of(ctx, now + timedelta(minutes=4)))
    assert (result.state, result.found) == (
        CheckState.FAILED, "2 selections wait, and none was counted for 4 min; no selection yet",
    )  # fmt: skip
    assert "routewatch run hourly" in result.remedy


def test_a_router_whose_clock_is_ahead_is_reported(sqlite_engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(sqlite_engine, tmp_path)
    insert_selections(sqlite_engine, selections({"timestamp": NOW + timedelta(hours=3)}))
    update_rollups(sqlite_engine, rollup_settings(ctx.settings), now=NOW)
    result = found("selections counted", check_context_of(ctx))
    assert (result.state, "3 h in the future" in result.found) == (CheckState.WARNING, True)
    assert "the router's machine" in result.remedy


def test_missed_reports_are_reported(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path)
    missing = found("reports on time", check_context_of(ctx))
    assert missing.found == "no hourly report yet; no daily report yet; no weekly report yet"
    midnight = NOW.replace(hour=0)
    ends = {
        "hourly": NOW.replace(hour=5),
        "daily": midnight - timedelta(days=1),
        "weekly": midnight - timedelta(days=1),
    }
    base = {"template": "performance", "parameters_hash": "h", "parameters": {}, "document": {}, "created_at": NOW}
    with writing(engine) as connection:
        rows = [base | {"kind": kind, "period_start": end, "period_end": end} for kind, end in ends.items()]
        connection.execute(insert(REPORT), rows)
    assert found("reports on time", check_context_of(ctx, NOW)).state is CheckState.OK
    late = found("reports on time", check_context_of(ctx, NOW + timedelta(minutes=40)))
    assert late.found == "the newest hourly report ends at 2026-09-08 05:00 UTC, one up to 2026-09-08 06:00 UTC is due"
    assert "routewatch run hourly" in late.remedy
    assert "daily report" in found("reports on time", check_context_of(ctx, NOW + timedelta(hours=3))).found


def test_failing_flows_are_reported_with_the_reason(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path)
    assert found("failed runs", check_context_of(ctx)).state is CheckState.OK
    record_failure(ctx, "daily", "the disk is full", NOW)
    result = found("failed runs", check_context_of(ctx))
    assert (result.state, result.found) == (CheckState.WARNING, "daily since 2026-09-08 06:00 UTC: the disk is full")
    assert "routewatch run daily" in result.remedy


def test_a_failed_pull_is_reported_with_the_command_that_retries_it(engine: Engine, tmp_path: Path) -> None:
    ctx = context_of(engine, tmp_path)
    record_failure(ctx, "pull litellm", "it is away", NOW)
    assert "`routewatch pull litellm`" in found("failed runs", check_context_of(ctx)).remedy
