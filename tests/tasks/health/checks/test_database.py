"""Each fault of the database, provoked for real, is told with what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from models.database import writing
from tasks.health.check import Finding, State
from tasks.health.checks import database
from tests.support.contexts import place_of
from tests.support.health import changed, found, of, scene_of


def test_a_database_that_is_well_is_told_with_its_version_and_size(engine: Engine, tmp_path: Path) -> None:
    scene = scene_of(place_of(engine, tmp_path))
    named = {"sqlite": "SQLite 3.", "postgresql": "PostgreSQL 1"}[engine.dialect.name]
    assert found("database", scene).found.startswith(named)
    findings = [found(f"database {what}", scene) for what in ("revision", "writable", "size")]
    assert {it.state for it in findings} == {State.OK}


@pytest.mark.parametrize(
    ("address", "cause", "remedy"),
    [
        ("postgresql://ops:planted@127.0.0.1:9/x", "refused", "start the server"),
        ("sqlite:////no/such/folder/routewatch.db", "no such file", "routewatch init"),
    ],
)
def test_a_database_that_is_away_is_told(tmp_path: Path, address: str, cause: str, remedy: str) -> None:
    scene = of(tmp_path, database_url=SecretStr(address))
    finding = found("database", scene)
    assert (finding.state, cause in finding.found, remedy in finding.remedy) == (State.FAILED, True, True)
    assert "planted" not in finding.found
    assert found("deliveries", scene) == Finding(State.SKIPPED, "the database cannot be used")


def test_a_database_of_another_revision_is_told_with_which_of_the_two_is_to_be_brought_up(
    engine: Engine, tmp_path: Path
) -> None:
    scene = scene_of(place_of(engine, tmp_path))
    for revision, remedy in (("0001", "run `routewatch init`"), ("9999", "upgrade Routewatch")):
        with writing(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        finding = found("database revision", scene)
        assert (finding.state, remedy in finding.remedy) == (State.FAILED, True)
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    assert "no tables" in found("database revision", scene).found


def test_a_database_that_only_reads_is_told(postgres_engine: Engine, postgres_server: Any, tmp_path: Path) -> None:
    name = postgres_engine.url.database
    postgres_server.psql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    finding = found("database writable", scene_of(place_of(postgres_engine, tmp_path)))
    assert (finding.state, "default_transaction_read_only" in finding.remedy) == (State.FAILED, True)


def test_a_user_who_may_not_write_is_told_with_the_grant_that_is_missing(
    postgres_engine: Engine, postgres_server: Any, tmp_path: Path
) -> None:
    role = f"eye_{postgres_engine.url.database}"
    with writing(postgres_engine) as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        connection.execute(text(f"GRANT INSERT, UPDATE, DELETE ON alert TO {role}"))
    place = place_of(postgres_engine, tmp_path)
    url = postgres_engine.url.set(username=role).render_as_string(hide_password=False)
    finding = found("database writable", scene_of(changed(place, database_url=SecretStr(url))))
    postgres_server.psql(f"\\connect {postgres_engine.url.database}\nDROP OWNED BY {role}; DROP ROLE {role}")
    assert finding.state is State.FAILED
    assert finding.remedy.startswith("GRANT SELECT, INSERT, UPDATE, DELETE ON alert_silence")
    assert " alert," not in finding.remedy


def test_a_file_that_only_reads_and_one_that_somebody_holds_are_told(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 50)
    place = place_of(sqlite_engine, tmp_path)
    file = sqlite_engine.url.database
    read_only = changed(place, database_url=SecretStr(f"sqlite:///file:{file}?mode=ro&uri=true"))
    finding = found("database writable", scene_of(read_only))
    assert (finding.state, "the right to write" in finding.remedy) == (State.FAILED, True)
    other = sqlite3.connect(str(file), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = found("database writable", scene_of(place))
    other.close()
    assert (held.state, "somebody else has been writing" in held.found) == (State.WARNING, True)
    assert found("database writable", scene_of(place)).state is State.OK
