"""A failed flow is notified at once, once, and again when it succeeds."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.attribution import Attribution
from models.context import AppContext
from models.database import reading
from models.environment import Environment, load_environment
from models.errors import DatabaseUnavailable
from models.notifications import AlertMessage
from models.settings import parse_settings
from models.tables import Alert, table_of
from tasks.alerts.flow_failures import record_failure, record_success, shown_cause
from tasks.alerts.silences import SilenceRequest, create_silence
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY

ALERT = table_of(Alert)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ctx(engine: Engine, tmp_path: Path) -> AppContext:
    address: Any = engine.url.render_as_string(hide_password=False)
    return AppContext(Environment(home=tmp_path, database_url=address), parse_settings({}, "test"))


def event(message: AlertMessage | None) -> tuple[str, str, str] | None:
    return (
        None
        if message is None
        else (message.notifications[0].event, message.notifications[0].rule, message.notifications[0].subject)
    )


def test_a_failed_flow_is_notified_once_until_it_succeeds(ctx: AppContext) -> None:
    """A day of hourly failures is one message, and the success after it another."""
    fired = record_failure(ctx, "hourly", "the database is away", MONDAY)
    assert event(fired) == ("fired", "failedFlow", "hourly")
    assert fired is not None
    assert fired.notifications[0].detail == "the database is away"
    assert [record_failure(ctx, "hourly", "again", MONDAY + hour * timedelta(hours=1)) for hour in range(1, 20)] == [
        None
    ] * 19
    assert event(record_success(ctx, "hourly", MONDAY + timedelta(hours=21))) == ("resolved", "failedFlow", "hourly")
    assert record_success(ctx, "hourly", MONDAY + timedelta(hours=22)) is None


def test_each_flow_has_its_own_failure_alert(ctx: AppContext) -> None:
    assert event(record_failure(ctx, "hourly", "a", MONDAY)) == ("fired", "failedFlow", "hourly")
    assert event(record_failure(ctx, "daily", "b", MONDAY)) == ("fired", "failedFlow", "daily")
    assert event(record_success(ctx, "daily", MONDAY + MINUTE)) == ("resolved", "failedFlow", "daily")


def test_a_silenced_failure_stays_on_record(ctx: AppContext) -> None:
    create_silence(
        ctx.engine, SilenceRequest(None, "hourly", timedelta(hours=1)), Attribution("ops", "upgrade", MONDAY)
    )
    assert record_failure(ctx, "hourly", "upgrade", MONDAY + MINUTE) is None
    with reading(ctx.engine) as connection:
        assert connection.execute(select(ALERT.c.state)).scalars().all() == ["firing"]


def test_only_what_is_routewatchs_own_is_shown_of_an_error() -> None:
    """Third-party text may contain anything, including a password."""
    assert "hunter2" not in shown_cause(ValueError("password=hunter2"))
    assert "ValueError" in shown_cause(ValueError("password=hunter2"))
    assert "postgresql://somewhere" in shown_cause(DatabaseUnavailable("postgresql://somewhere", "it is away"))


# --- as Prefect runs it -----------------------------------------------------------------------------------------------


@pytest.fixture
def app_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Path:
    settings = tmp_path / "settings.json"
    settings.write_text(
        json.dumps({"delivery": {"mode": "files", "recipients": {"webhook": ["https://example.org/h"]}}})
    )
    monkeypatch.setenv("ROUTEWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("ROUTEWATCH_SETTINGS", str(settings))
    migrated_sqlite(tmp_path)
    return tmp_path


def test_a_run_that_fails_leaves_a_message_behind(app_context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the error's text: the file may contain a secret. The alert resolves with the next run that succeeds."""
    from flows.weekly import weekly  # noqa: PLC0415 - importing Prefect takes seconds

    def fails(*_: object, **_named: object) -> None:
        raise OSError("token=hunter2")

    with monkeypatch.context() as broken:
        broken.setattr("flows.weekly.run_pipeline", fails)
        with pytest.raises(OSError, match="token"):
            weekly(as_of=MONDAY + timedelta(days=7, hours=7))
    sent = list((app_context / "outbox").glob("*.json"))
    assert len(sent) == 1
    assert "hunter2" not in sent[0].read_text()
    assert "the flow weekly failed" in sent[0].read_text()
    weekly(as_of=MONDAY + timedelta(days=7, hours=7))
    with reading(AppContext(load_environment(), parse_settings({}, "test")).engine) as connection:
        row = connection.execute(select(ALERT.c.rule, ALERT.c.subject, ALERT.c.state)).one()
    assert tuple(row) == ("failedFlow", "weekly", "resolved")
