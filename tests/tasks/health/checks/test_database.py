"""Each database fault, provoked for real, is reported with what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from models.database import writing
from tasks.health.check import CheckResult, CheckState
from tasks.health.checks import database
from tests.support.contexts import context_of
from tests.support.health import changed, check_context_of, found, of


def test_a_working_database_is_reported_with_its_version_and_size(engine: Engine, tmp_path: Path) -> None:
    context = check_context_of(context_of(engine, tmp_path))
    named = {"sqlite": "SQLite 3.", "postgresql": "PostgreSQL 1"}[engine.dialect.name]
    assert found("database", context).found.startswith(named)
    findings = [found(f"database {what}", context) for what in ("revision", "writable", "size")]
    assert {it.state for it in findings} == {CheckState.OK}


@pytest.mark.parametrize(
    ("address", "cause", "remedy"),
    [
        ("postgresql://ops:planted@127.0.0.1:9/x", "refused", "the server is up"),
        ("sqlite:////no/such/folder/routewatch.db", "no such file", "routewatch init"),
    ],
)
def test_an_unreachable_database_is_reported(tmp_path: Path, address: str, cause: str, remedy: str) -> None:
    context = of(tmp_path, database_url=SecretStr(address))
    result = found("database", context)
    assert (result.state, cause in result.found, remedy in result.remedy) == (CheckState.FAILED, True, True)
    assert "planted" not in result.found
    assert found("deliveries", context) == CheckResult(CheckState.SKIPPED, "the database cannot be used")


def test_a_database_of_another_revision_is_reported_with_which_of_the_two_to_upgrade(
    engine: Engine, tmp_path: Path
) -> None:
    context = check_context_of(context_of(engine, tmp_path))
    for revision, remedy in (("0001", "run `routewatch init`"), ("9999", "upgrade Routewatch")):
        with writing(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        result = found("database revision", context)
        assert (result.state, remedy in result.remedy) == (CheckState.FAILED, True)
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    assert "no tables" in found("database revision", context).found


def test_a_read_only_database_is_reported(postgres_engine: Engine, postgres_server: Any, tmp_path: Path) -> None:
    name = postgres_engine.url.database
    postgres_server.psql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    result = found("database writable", check_context_of(context_of(postgres_engine, tmp_path)))
    assert (result.state, "default_transaction_read_only" in result.remedy) == (CheckState.FAILED, True)


def test_a_user_without_write_access_is_reported_with_the_missing_grant(
    postgres_engine: Engine, postgres_server: Any, tmp_path: Path
) -> None:
    role = f"eye_{postgres_engine.url.database}"
    with writing(postgres_engine) as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        connection.execute(text(f"GRANT INSERT, UPDATE, DELETE ON alert TO {role}"))
    ctx = context_of(postgres_engine, tmp_path)
    url = postgres_engine.url.set(username=role).render_as_string(hide_password=False)
    result = found("database writable", check_context_of(changed(ctx, database_url=SecretStr(url))))
    postgres_server.psql(f"\\connect {postgres_engine.url.database}\nDROP OWNED BY {role}; DROP ROLE {role}")
    assert result.state is CheckState.FAILED
    assert result.remedy.startswith("GRANT SELECT, INSERT, UPDATE, DELETE ON alert_checkpoint")
    assert " alert," not in result.remedy


def test_a_read_only_file_and_a_locked_one_are_reported(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 50)
    ctx = context_of(sqlite_engine, tmp_path)
    file = sqlite_engine.url.database
    read_only = changed(ctx, database_url=SecretStr(f"sqlite:///file:{file}?mode=ro&uri=true"))
    result = found("database writable", check_context_of(read_only))
    assert (result.state, "the right to write" in result.remedy) == (CheckState.FAILED, True)
    other = sqlite3.connect(str(file), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = found("database writable", check_context_of(ctx))
    other.close()
    assert (held.state, "another process has been writing" in held.found) == (CheckState.WARNING, True)
    assert found("database writable", check_context_of(ctx)).state is CheckState.OK
