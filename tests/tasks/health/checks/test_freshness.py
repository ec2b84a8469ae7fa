"""Selections that nobody counts, reports that did not come and flows that fail are told with what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, insert

from models.database import writing
from models.tables import Delivery, Report, table_of
from tasks.alerts.flow_failures import note_failure
from tasks.health.check import State
from tasks.rollups.checkpoint import basis_of
from tasks.rollups.update import fold
from tests.support.contexts import NOW, place_of
from tests.support.factories import insert_selections, selections
from tests.support.health import found, scene_of

DELIVERY, REPORT = table_of(Delivery), table_of(Report)


def test_selections_that_nobody_counts_any_more_are_told(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    assert "nothing has been counted" in found("selections counted", scene_of(place)).found
    insert_selections(engine, selections({"timestamp": NOW - timedelta(minutes=1)}))
    fold(engine, basis_of(place.settings), now=NOW)
    states = [
        found("selections counted", scene_of(place, NOW + timedelta(minutes=minutes))).state
        for minutes in (0, 70, 80, 60 * 26)
    ]
    assert states == [State.OK, State.OK, State.WARNING, State.FAILED]
    stale = found("selections counted", scene_of(place, NOW + timedelta(days=3)))
    assert stale.found.startswith("last counted 3 days ago; the newest selection is of 2026-09-08 05:59 UTC")
    assert "routewatch serve" in stale.remedy


def test_a_router_whose_clock_is_ahead_is_told(sqlite_engine: Engine, tmp_path: Path) -> None:
    place = place_of(sqlite_engine, tmp_path)
    insert_selections(sqlite_engine, selections({"timestamp": NOW + timedelta(hours=3)}))
    fold(sqlite_engine, basis_of(place.settings), now=NOW)
    finding = found("selections counted", scene_of(place))
    assert (finding.state, "3 h in the future" in finding.found) == (State.WARNING, True)
    assert "the router's machine" in finding.remedy


def test_reports_that_did_not_come_are_told(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    missing = found("reports on time", scene_of(place))
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
    assert found("reports on time", scene_of(place, NOW)).state is State.OK
    late = found("reports on time", scene_of(place, NOW + timedelta(minutes=40)))
    assert late.found == "the newest hourly report ends at 2026-09-08 05:00 UTC, one up to 2026-09-08 06:00 UTC is due"
    assert "routewatch run hourly" in late.remedy
    assert "daily report" in found("reports on time", scene_of(place, NOW + timedelta(hours=3))).found


def test_flows_that_fail_are_told_with_why(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    assert found("failed runs", scene_of(place)).state is State.OK
    note_failure(place, "daily", "the disk is full", NOW)
    finding = found("failed runs", scene_of(place))
    assert (finding.state, finding.found) == (State.WARNING, "daily since 2026-09-08 06:00 UTC: the disk is full")
    assert "routewatch run daily" in finding.remedy


def test_a_pull_that_failed_is_told_with_the_command_that_tries_it(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    note_failure(place, "pull litellm", "it is away", NOW)
    assert "`routewatch pull litellm`" in found("failed runs", scene_of(place)).remedy
