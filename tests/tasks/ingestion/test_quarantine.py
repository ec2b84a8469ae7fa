"""What was set aside is shown, brought back once it is valid, or dropped; nothing of it is lost or counted twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from models.database import reading, writing
from models.errors import UsageError
from routewatch.quarantine import set_aside
from tasks.ingestion.quarantine import (
    RetryResult,
    count_quarantined,
    drop_quarantined,
    list_quarantined,
    retry_quarantined,
)
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of

AHEAD = "timestamp is ahead of the clock"


def put(engine: Engine, *rows: dict[str, Any], reason: str = AHEAD) -> None:
    with writing(engine) as connection:
        set_aside(connection, [({"model_id": "m"} | row, reason) for row in rows], "http", NOW)


def test_a_row_comes_back_once_its_time_has_come_and_is_counted_once(engine: Engine) -> None:
    put(engine, {"timestamp": MONDAY, "request_id": "r", "cost_usd": 0.5, "error": True})
    assert retry_quarantined(engine, None, MONDAY - timedelta(hours=2)) == RetryResult(0, 0, 1)
    assert retry_quarantined(engine, None, MONDAY) == RetryResult(1, 0, 0)
    put(engine, {"timestamp": MONDAY, "request_id": "r"})
    assert retry_quarantined(engine, None, MONDAY) == RetryResult(0, 1, 0)
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 1
    assert_rollups_are_of(engine, selections({"timestamp": MONDAY, "cost_usd": 0.5, "error": True}))
    assert list_quarantined(engine) == []


def test_a_row_is_brought_back_without_what_cannot_be_read(engine: Engine) -> None:
    row = {"timestamp": "2026-09-07T08:00:00Z", "cost_usd": "much", "error": 1, "cache_hit": 0, "team": "a\nb",
           "cost_priced_on": "2026-09-07"}  # fmt: skip
    put(engine, row, {"timestamp": "soon"}, reason="it is not valid in the table")
    assert retry_quarantined(engine, None, NOW) == RetryResult(1, 0, 1)
    (found,) = raw_of(engine).to_dicts()
    assert (found["error"], found["cache_hit"], found["cost_usd"], found["team"]) == (True, False, None, None)
    with reading(engine) as connection:
        assert count_quarantined(connection) == {"timestamp is not an instant with an offset": 1}


def test_rows_that_the_update_set_aside_all_come_back_when_the_clock_is_right(engine: Engine) -> None:
    now = datetime.now(UTC)
    rows = selections(*({"timestamp": now + timedelta(hours=2, seconds=number)} for number in range(1_100)))
    insert_selections(engine, rows)
    assert update_rollups(engine, UTC_SETTINGS, now=now).rows == 0
    later = now + timedelta(hours=3)
    assert retry_quarantined(engine, None, later) == RetryResult(1_100, 0, 0)
    assert update_rollups(engine, UTC_SETTINGS, now=later).rows == 1_100


def test_one_row_is_retried_or_dropped_and_an_unknown_one_is_named(engine: Engine) -> None:
    put(engine, {"timestamp": MONDAY}, {"timestamp": MONDAY})
    newest, oldest = list_quarantined(engine)
    assert retry_quarantined(engine, oldest.id, NOW).restored == 1
    assert drop_quarantined(engine, newest.id, NOW) == 1
    for act in (retry_quarantined, drop_quarantined):
        with pytest.raises(UsageError, match=f"no row {newest.id}"):
            act(engine, newest.id, NOW)
