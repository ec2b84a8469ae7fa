"""The examples of docs/api.md work unchanged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from models.database import reading, writing
from models.tables import Selection, table_of
from tests.support.page_server import WRITER, app_context, listening
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(table_of(Selection))) or 0


def test_the_python_example_stores_a_selection(sqlite_engine: Engine) -> None:
    environment = os.environ | {"ROUTEWATCH_DATABASE_URL": str(sqlite_engine.url)}
    subprocess.run([sys.executable, "-c", example("python")], env=environment, check=True)
    assert count(sqlite_engine) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_example_stores_two_and_again_none(sqlite_engine: Engine, tmp_path: Path) -> None:
    with listening(app_context(sqlite_engine, tmp_path)) as (address, _):
        environment = os.environ | {"ROUTEWATCH_ADDRESS": address, "ROUTEWATCH_TOKEN": WRITER}
        for created in (2, 0):
            said = subprocess.run(
                ["sh", "-c", example("sh")], env=environment, check=True, capture_output=True, text=True
            )
            assert f'"created":{created}' in said.stdout
    assert count(sqlite_engine) == 2


def test_the_sql_example_stores_one_and_again_none(engine: Engine) -> None:
    """In SQLite with an instant in the compared form: another form is missed at an hour's first second."""
    statement = example("sql")
    if engine.dialect.name == "sqlite":
        [spelled] = re.findall(r"In SQLite with `(.*?)` for `now\(\)`", PAGE, re.IGNORECASE)
        statement = statement.replace("now()", spelled)
    for _ in range(2):
        with writing(engine) as connection:
            # As typed: its colons are not SQLAlchemy parameters.
            connection.exec_driver_sql(statement)
    assert count(engine) == 1
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            stored = connection.exec_driver_sql("SELECT timestamp FROM selection").scalar_one()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", stored)
