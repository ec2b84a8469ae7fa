"""A flow that fails is told at once, once, and told again when it succeeds."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.attribution import Attribution
from models.context import Workplace
from models.database import reading
from models.environment import Environment, load_environment
from models.errors import DatabaseUnavailable
from models.notifications import AlertMessage
from models.settings import parse_settings
from models.tables import Alert, table_of
from tasks.alerts.flow_failures import note_failure, note_success, shown_cause
from tasks.alerts.silences import Wanted, silence
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY

ALERT = table_of(Alert)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def place(engine: Engine, tmp_path: Path) -> Workplace:
    address: Any = engine.url.render_as_string(hide_password=False)
    return Workplace(Environment(home=tmp_path, database_url=address), parse_settings({}, "test"))


def event(message: AlertMessage | None) -> tuple[str, str, str] | None:
    return None if message is None else (message.news[0].event, message.news[0].rule, message.news[0].subject)


def test_a_failed_flow_is_told_once_until_it_succeeds(place: Workplace) -> None:
    """A day of hourly failures is one message, and the success after it another."""
    fired = note_failure(place, "hourly", "the database is away", MONDAY)
    assert event(fired) == ("fired", "failedFlow", "hourly")
    assert fired is not None
    assert fired.news[0].detail == "the database is away"
    assert [note_failure(place, "hourly", "again", MONDAY + hour * timedelta(hours=1)) for hour in range(1, 20)] == [
        None
    ] * 19
    assert event(note_success(place, "hourly", MONDAY + timedelta(hours=21))) == ("resolved", "failedFlow", "hourly")
    assert note_success(place, "hourly", MONDAY + timedelta(hours=22)) is None


def test_flows_fail_each_by_itself(place: Workplace) -> None:
    assert event(note_failure(place, "hourly", "a", MONDAY)) == ("fired", "failedFlow", "hourly")
    assert event(note_failure(place, "daily", "b", MONDAY)) == ("fired", "failedFlow", "daily")
    assert event(note_success(place, "daily", MONDAY + MINUTE)) == ("resolved", "failedFlow", "daily")


def test_a_silenced_failure_stays_on_record(place: Workplace) -> None:
    silence(place.engine, Wanted(None, "hourly", timedelta(hours=1)), Attribution("ops", "upgrade", MONDAY))
    assert note_failure(place, "hourly", "upgrade", MONDAY + MINUTE) is None
    with reading(place.engine) as connection:
        assert connection.execute(select(ALERT.c.state)).scalars().all() == ["firing"]


def test_only_what_is_routewatchs_own_is_shown_of_an_error() -> None:
    """The text of others may hold anything, a password too."""
    assert "hunter2" not in shown_cause(ValueError("password=hunter2"))
    assert "ValueError" in shown_cause(ValueError("password=hunter2"))
    assert "postgresql://somewhere" in shown_cause(DatabaseUnavailable("postgresql://somewhere", "it is away"))


# --- as Prefect runs it -----------------------------------------------------------------------------------------------


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Path:
    settings = tmp_path / "settings.json"
    settings.write_text(
        json.dumps({"delivery": {"mode": "files", "recipients": {"webhook": ["https://example.org/h"]}}})
    )
    monkeypatch.setenv("ROUTEWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("ROUTEWATCH_SETTINGS", str(settings))
    migrated_sqlite(tmp_path)
    return tmp_path


def test_a_run_that_fails_leaves_a_message_behind(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the error's text: the file cannot be told from a secret. It is over with the next run that succeeds."""
    from flows.weekly import weekly  # noqa: PLC0415 - importing Prefect takes seconds

    def fails(*_: object, **_named: object) -> None:
        raise OSError("token=hunter2")

    with monkeypatch.context() as broken:
        broken.setattr("flows.weekly.tell", fails)
        with pytest.raises(OSError, match="token"):
            weekly(as_of=MONDAY + timedelta(days=7, hours=7))
    sent = list((workplace / "outbox").glob("*.json"))
    assert len(sent) == 1
    assert "hunter2" not in sent[0].read_text()
    assert "the flow weekly failed" in sent[0].read_text()
    weekly(as_of=MONDAY + timedelta(days=7, hours=7))
    with reading(Workplace(load_environment(), parse_settings({}, "test")).engine) as connection:
        row = connection.execute(select(ALERT.c.rule, ALERT.c.subject, ALERT.c.state)).one()
    assert tuple(row) == ("failedFlow", "weekly", "resolved")
