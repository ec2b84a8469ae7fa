"""What was set aside is shown, brought back once it is valid, or dropped; nothing of it is lost or counted twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, func, select

from dashboard.ingest import record
from models.database import reading, writing
from models.errors import UsageError
from models.settings import Ingestion
from routewatch.quarantine import INTAKE_COUNT, SetAside, count_dropped, set_aside
from tasks.ingestion.column_mapping import Mapping
from tasks.ingestion.file_import import import_file
from tasks.ingestion.pull_stats import PullStats
from tasks.ingestion.quarantine import (
    RetryResult,
    count_quarantined,
    drop_quarantined,
    list_quarantined,
    retry_quarantined,
)
from tasks.ingestion.source import Batch
from tasks.ingestion.store_batch import prepare, store
from tasks.rollups.update import update_rollups
from tests.support.commands import call
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


# --- a quarantine that is full ----------------------------------------------------------------------------------------


MOST = 3
FEW = Ingestion(maximum_quarantined_rows=MOST)


def ahead_csv(folder: Path, rows: int, name: str = "ahead.csv") -> Path:
    path = folder / name
    at = datetime.now(UTC) + timedelta(days=3)
    path.write_text("timestamp,model_id,error\n" + "".join(f"{at.isoformat()},m{it},true\n" for it in range(rows)))
    return path


def intake(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        counts = select(INTAKE_COUNT.c.outcome, func.sum(INTAKE_COUNT.c.rows)).group_by(INTAKE_COUNT.c.outcome)
        return {str(outcome): int(rows) for outcome, rows in connection.execute(counts)}


def test_an_import_says_what_it_dropped_and_a_second_one_counts_it_no_more(engine: Engine, tmp_path: Path) -> None:
    path = ahead_csv(tmp_path, 8)
    for _ in range(3):
        done = import_file(
            engine, path, mapping=Mapping(), zone="UTC", rejects_folder=tmp_path / "rejects", ingestion=FEW
        )
        assert (done.read, done.set_aside, done.dropped, done.added) == (8, MOST, 5, 0)
        assert len(list_quarantined(engine)) == MOST
        assert intake(engine) == {"setAside": 8, "dropped": 5}
    # Another request with as many takes the place of the oldest, which is told as well.
    with writing(engine) as connection:
        assert set_aside(connection, [(AHEAD_ROW, AHEAD)] * 2, "http", NOW, most_rows=MOST) == SetAside(2, 0)
        assert count_dropped(connection)[0] == 7
    drop_quarantined(engine, None, NOW)
    with reading(engine) as connection:
        assert count_dropped(connection)[0] == 7


AHEAD_ROW = {"timestamp": NOW + timedelta(days=9), "model_id": "m"}


@pytest.mark.parametrize("batches", [1, 2])
def test_a_pull_and_a_request_say_what_they_dropped(sqlite_engine: Engine, tmp_path: Path, batches: int) -> None:
    total = PullStats()
    for number in range(batches):
        rows = pl.DataFrame(
            {"timestamp": [datetime.now(UTC) + timedelta(days=2)] * 4, "model_id": ["m"] * 4,
             "request_id": [f"{number}-{it}" for it in range(4)]}
        )  # fmt: skip
        prepared = prepare(Batch(rows, ""), "theirs", None, ingestion=FEW)
        with writing(sqlite_engine) as connection:
            total.add(store(connection, prepared, ingestion=FEW, kept_before=total.set_aside))
    assert (total.read, total.set_aside, total.dropped) == (4 * batches, MOST, 4 * batches - MOST)
    sent = [{"modelId": "m", "timestamp": (datetime.now(UTC) + timedelta(days=2)).isoformat()}] * 5
    results = record(sqlite_engine, sent, datetime.now(UTC), most_quarantined=MOST)
    assert (results.set_aside, results.refused) == (MOST, 2)
    assert [it.status for it in results.results] == ["refused"] * 2 + ["setAside"] * MOST
    assert results.results[0].error == "timestamp is ahead of the clock, and the quarantine is full: dropped"


def test_the_commands_tell_of_rows_that_were_dropped(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.json").write_text(json.dumps({"ingestion": {"maximumQuarantinedRows": MOST}}))
    env = {"ROUTEWATCH_SETTINGS": str(home / "settings.json")}
    call(home, "init", env=env)
    said = call(home, "import", str(ahead_csv(tmp_path, 7)), env=env).stdout
    assert "3 set aside (`routewatch quarantine list`), 4 dropped: the quarantine holds no more" in said
    assert "4 more since" in call(home, "quarantine", "list", env=env).stdout
    assert "4 were dropped since" in call(home, "doctor", env=env).stdout
