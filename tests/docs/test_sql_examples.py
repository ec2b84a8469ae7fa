"""The documentation's own SQL works as it stands: the table takes it, and it is counted where it belongs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from models.database import reading, writing
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import rebuild, update_rollups
from tests.support.paths import ROOT
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def example(dialect: str) -> str:
    text = (ROOT / "docs" / "router.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```sql\n-- {DATABASES[dialect]}\n(INSERT INTO selection .*?)```", text, re.DOTALL)
    return str(found)


def test_the_example_of_an_insert_is_counted_once_on_its_full_hour(engine: Engine) -> None:
    for _ in range(2):
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL TIME ZONE 'Asia/Tokyo'")
            connection.exec_driver_sql(example(engine.dialect.name))
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 1
    raw = raw_of(engine)
    assert raw["timestamp"].to_list() == [datetime(2026, 9, 7, 8, tzinfo=UTC)]
    rebuild(engine, UTC_SETTINGS, period=None, now=NOW)
    assert_rollups_are_of(engine, raw)
    assert reconcile(engine) == 0


@pytest.mark.parametrize("dialect", DATABASES)
def test_no_other_example_inserts_selections(dialect: str) -> None:
    """One that is added must say which database it is for."""
    text = (ROOT / "docs" / "router.md").read_text(encoding="utf-8")
    assert text.count("INSERT INTO selection") == len(DATABASES)
    assert example(dialect)


def test_the_example_of_reading_the_config_runs(engine: Engine) -> None:
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT key, value FROM config").all() == []
