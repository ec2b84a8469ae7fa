"""Days and weeks of a report are those of its zone, also when its clocks change, by half an hour too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from models.database import open_database
from models.documents import Document
from models.period import Level, last_complete
from models.settings import Settings
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.request import scheduled
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.databases import migrated_sqlite
from tests.support.factories import insert_selections, selections

TEMPLATES = sorted(kind.model_fields["template"].default for kind in get_args(Document))
EVERY = timedelta(minutes=10)

CASES = {
    "Kolkata": ("Asia/Kolkata", "2026-09-15T06:15", 24, 168),
    "New York, an hour more": ("America/New_York", "2026-11-02T06:15", 25, 169),
    "New York, an hour less": ("America/New_York", "2026-03-09T06:15", 23, 167),
    "Lord Howe, half an hour more": ("Australia/Lord_Howe", "2026-04-06T06:15", 24.5, 168.5),
    "Lord Howe, half an hour less": ("Australia/Lord_Howe", "2026-10-05T06:15", 23.5, 167.5),
}


@pytest.fixture(scope="module", params=list(CASES))
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every template's daily and weekly document at a Monday morning of the zone, over a selection each ten minutes."""
    zone, local, day_hours, week_hours = CASES[request.param]
    now = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    folder: Path = tmp_path_factory.mktemp("zones")
    engine = open_database(migrated_sqlite(folder))
    times = [now - timedelta(days=16) + EVERY * number for number in range(16 * 144)]
    rows = ({"timestamp": at, "response_time_ms": 100.0, "cost_usd": 0.01, "complexity": "simple"} for at in times)
    insert_selections(engine, selections(*rows))
    settings = Settings(timezone=zone)
    update_rollups(engine, rollup_settings(settings), now=now)

    def documents(kind: Any) -> list[Any]:
        request, _ = scheduled(kind, settings, now)
        requests = [replace(request, template=template) for template in TEMPLATES]
        return [compose(it, collect_material(engine, it, settings, now), settings, now) for it in requests]

    yield {"daily": (documents("daily"), day_hours), "weekly": (documents("weekly"), week_hours), "now": now}
    engine.dispose()


@pytest.mark.parametrize("kind", ["daily", "weekly"])
def test_days_and_weeks_are_those_of_the_zone(reported: Any, kind: str) -> None:
    """They are as long as their clocks make them, with every selection counted once, and each hour at its position."""
    documents, hours = reported[kind]
    zone = ZoneInfo(documents[0].period.zone)
    level = Level.DAY if kind == "daily" else Level.WEEK
    for document in documents:
        period = last_complete(level, reported["now"], document.period.zone)
        assert (document.period.start, document.period.end) == (period.start, period.end)
        assert (document.period.end - document.period.start) / timedelta(hours=1) == hours
        assert document.selection_count == hours * 6
        assert document.period.start.astimezone(zone).strftime("%H:%M") == "00:00"
        points = document.charts.timeline
        assert sum(point.count for point in points) == hours * 6
        assert {point.start.astimezone(zone).minute for point in points} <= {0, 30}
        assert sum(cell.count for cell in document.charts.heatmap) == hours * 6
