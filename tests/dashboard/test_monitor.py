"""The monitor survives errors, runs beside others, and stops on request."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from dashboard.monitor import Monitor
from models.context import AppContext
from models.database import reading, writing
from models.environment import Environment
from models.schema import TRIAL_BLOCK
from models.settings import parse_settings
from models.tables import Rollup, StoredMessage, table_of
from tasks.optimizer.router_config import read_config
from tasks.optimizer.switchback_timetable import flip_due
from tests.support.factories import insert_selections, selections
from tests.support.switchbacks import KEY, NEW, SETTINGS, blocks, started
from tests.support.waiting import until

ROLLUP, MESSAGE = table_of(Rollup), table_of(StoredMessage)


def place_of(engine: Engine, home: Path) -> AppContext:
    address: Any = engine.url.render_as_string(hide_password=False)
    settings = {
        "monitoring": {
            "updateInterval": 50,
            "alerting": {"thresholds": "fixed", "holdMinutes": 0, "groupWaitMinutes": 0},
        },
        "delivery": {"mode": "files"},
    }
    return AppContext(Environment(home=home, database_url=address), parse_settings(settings, "test"))


def an_incident(engine: Engine, now: datetime) -> None:
    """Two hundred calls, all failed, some minutes ago."""
    at = now - timedelta(minutes=3)
    insert_selections(engine, selections(*({"timestamp": at, "error": True} for _ in range(200))))


def counted(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(select(func.sum(ROLLUP.c["count"])).where(ROLLUP.c.level == "hour")) or 0)


def messages(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(select(func.count()).select_from(MESSAGE)) or 0)


def test_two_monitors_side_by_side_count_and_notify_once(engine: Engine, tmp_path: Path) -> None:
    """Each runs its cycles independently."""
    now = datetime.now(UTC)
    an_incident(engine, now)
    both = [Monitor(place_of(engine, tmp_path)) for _ in range(2)]
    for turn in range(3):
        for monitor in both:
            monitor.evaluate(now + timedelta(seconds=turn))
            monitor.deliver(now + timedelta(seconds=turn))
    assert counted(engine) == 200
    assert messages(engine) == 1


def test_it_continues_after_a_failed_cycle(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is one line in the log, and the next cycle does the work."""
    monitor, looked, tries = Monitor(place_of(sqlite_engine, tmp_path)), Event(), []
    evaluate = Monitor.evaluate

    def fails_first(self: Monitor, now: datetime) -> None:
        tries.append(now)
        if len(tries) == 1:
            raise OSError("the disk is away")
        evaluate(self, now)
        looked.set()

    an_incident(sqlite_engine, datetime.now(UTC))
    fails_first.__name__ = "evaluate"
    monkeypatch.setattr(Monitor, "evaluate", fails_first)
    with caplog.at_level(logging.WARNING, "routewatch"):
        monitor.start()
        until(looked.is_set)
        monitor.stop()
    assert counted(sqlite_engine) == 200
    [reported] = [it.getMessage() for it in caplog.records if "will retry" in it.getMessage()]
    assert reported == "the monitor failed to evaluate, will retry: OSError: the disk is away"


def test_it_flips_what_is_due_by_the_clock(sqlite_engine: Engine, tmp_path: Path) -> None:
    """A block of the new value that began a minute ago, and one of the old value that ends now."""
    now = datetime.now(UTC)
    number = started(sqlite_engine, at=now - timedelta(hours=2))
    with writing(sqlite_engine) as connection:
        for block in blocks(sqlite_engine, number):
            begins = now + timedelta(minutes=20 * (block.number - 1) - 1)
            connection.execute(
                update(TRIAL_BLOCK)
                .where(TRIAL_BLOCK.c.number == block.number)
                .values(starts_at=begins, ends_at=begins + timedelta(minutes=20), is_candidate=block.number % 2 == 1)
            )
    flip_due(sqlite_engine, SETTINGS, now - timedelta(minutes=21))
    monitor = Monitor(place_of(sqlite_engine, tmp_path))
    monitor.start()
    until(lambda: read_config(sqlite_engine)[KEY].value == NEW)
    monitor.stop()
    assert [it.state for it in blocks(sqlite_engine, number)[:3]] == ["done", "running", "planned"]


def test_it_stops_on_request(sqlite_engine: Engine, tmp_path: Path) -> None:
    """All its threads stop, and a second stop is harmless."""
    monitor = Monitor(place_of(sqlite_engine, tmp_path))
    monitor.start()
    assert sum(thread.name.startswith("monitor ") for thread in threading.enumerate()) == 4
    monitor.stop()
    assert not any(thread.name.startswith("monitor ") for thread in threading.enumerate())
    monitor.stop()
