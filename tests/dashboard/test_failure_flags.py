"""What says that a call failed, in whatever words, is a failure at every entrance, and what says neither is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select, text

from models.clock import true_now
from models.context import AppContext
from models.database import reading
from models.documents import Filters
from models.period import Period
from routewatch.client import RouterLog
from routewatch.selection import SELECTION
from tasks.ingestion.column_mapping import Mapping
from tasks.ingestion.file_import import import_file
from tasks.ingestion.intake import read_intake
from tasks.reporting.intake_notes import intake_notes
from tasks.rollups.query import query_rollups
from tasks.rollups.totals import total
from tasks.rollups.update import update_rollups
from tests.support.page_server import WRITER, app_context, bearing, serving
from tests.support.pulls import bring
from tests.support.rollups import UTC_SETTINGS
from tests.support.spans import CHAT, Recorder, body_of

SAID = {"timeout": True, "500": True, " Failed ": True, "HTTP 429": True, "200 OK": False, "false": False}
"""By text, whether the call failed."""
UNREADABLE = ("hmm", "500 ms", "OK after timeout")
TEXTS = (*SAID, *UNREADABLE)

Feed = Callable[[AppContext, Path], None]


def by_import(ctx: AppContext, folder: Path) -> None:
    path = folder / "calls.csv"
    path.write_text(
        "request_id,timestamp,model_id,error\n" + "".join(f"{it},2026-09-07T08:00:00Z,m,{it}\n" for it in TEXTS)
    )
    import_file(ctx.engine, path, mapping=Mapping(), zone="UTC", rejects_folder=folder)


def by_pull(ctx: AppContext, folder: Path) -> None:
    engine = create_engine(f"sqlite:///{folder / 'router.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE calls (request_id TEXT, timestamp TEXT, model_id TEXT, error TEXT)"))
        for it in TEXTS:
            values = {"id": it, "at": "2026-09-07T08:00:00Z"}
            connection.execute(text("INSERT INTO calls VALUES (:id, :at, 'm', :id)"), values)
    engine.dispose()
    mapping = folder / "map.toml"
    mapping.write_text('[source]\ntable = "calls"\ncursor = "timestamp"\nid = "request_id"\n')
    bring(ctx.engine, "table", f"sqlite:///{folder / 'router.db'}", mapping=mapping)


def by_http(ctx: AppContext, _folder: Path) -> None:
    sent = [{"requestId": it, "modelId": "m", "timestamp": "2026-09-07T08:00:00Z", "error": it} for it in TEXTS]
    with serving(ctx) as client:
        answer = client.post("/selections", json=sent, headers=bearing(WRITER)).json()
    assert [it.get("unknown", {}).get("error") is None for it in answer["results"]] == [it in SAID for it in TEXTS]


def by_otlp(ctx: AppContext, _folder: Path) -> None:
    recorder = Recorder()
    for it in TEXTS:
        recorder.span({**CHAT, "error": it})
    headers = bearing(WRITER) | {"content-type": "application/x-protobuf"}
    with serving(ctx) as client:
        assert client.post("/v1/traces", content=body_of(recorder.spans), headers=headers).status_code == 200


def by_router_log(ctx: AppContext, _folder: Path) -> None:
    with RouterLog(ctx.engine.url.render_as_string(hide_password=False)) as log:
        for it in TEXTS:
            log.record_selection(model_id="m", timestamp=true_now() - timedelta(hours=3), error=it)  # type: ignore[arg-type]


@pytest.mark.parametrize("feed", [by_import, by_pull, by_http, by_otlp, by_router_log])
def test_a_failure_is_one_by_any_word_and_what_says_neither_is_told_with_the_rate_that_it_may_come_to(
    sqlite_engine: Engine, tmp_path: Path, feed: Feed
) -> None:
    ctx = app_context(sqlite_engine, tmp_path)
    feed(ctx, tmp_path)
    with reading(sqlite_engine) as connection:
        flags = list(connection.scalars(select(SELECTION.c.error).order_by(SELECTION.c.id)))
        newest = connection.scalar(select(SELECTION.c.timestamp).limit(1))
    assert sorted(flags) == sorted([*SAID.values(), *(False for _ in UNREADABLE)])
    assert newest is not None
    update_rollups(sqlite_engine, UTC_SETTINGS, now=true_now())
    period = Period(newest - timedelta(hours=1), newest + timedelta(hours=1), "UTC")
    measured = total(query_rollups(sqlite_engine, period, Filters()).parts)
    with reading(sqlite_engine) as connection:
        intake = read_intake(connection, period)
    assert (measured.known("error_count"), intake.unreadable_error_flags) == (4, len(UNREADABLE))
    assert "would be 77.8%, not 44.4%" in " ".join(intake_notes(intake, measured, Filters()))
