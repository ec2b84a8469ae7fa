"""Migrations create the tables that the models describe, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from models.database import connect, migrate, open_database, reading, writing
from models.errors import DatabaseUnavailable, SchemaOutdated
from models.tables import Selection, table_of

SELECTION = table_of(Selection)
ROW = {"timestamp": datetime(2026, 9, 7, tzinfo=UTC), "model_id": "m", "error": False}


@pytest.fixture(params=["sqlite", "postgres"])
def engine_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'routewatch.db'}"
    return str(request.getfixturevalue("postgres_address"))


def test_migrations_and_models_agree(engine: Engine) -> None:
    """The migrated schema differs in nothing from the models."""
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Selection.metadata) == []


def test_what_is_on_record_outlives_an_upgrade(engine_address: str) -> None:
    """Deliveries and their attempts are still there, and still belong together, after the table was rebuilt."""
    migrate(engine_address, "0005")
    engine = connect(engine_address)
    report = (
        "INSERT INTO report (kind, template, period_start, period_end, parameters_hash, parameters, document, "
        "created_at) VALUES ('daily', 'performance', :at, :at, 'h', '{}', '{}', :at)"
    )
    delivery = (
        "INSERT INTO delivery (report_id, channel, recipient, state, attempts, queued_at, next_attempt_at) "
        "VALUES (1, 'email', 'a@example.org', 'sent', 1, :at, :at)"
    )
    attempt = "INSERT INTO delivery_attempt (delivery_id, at, outcome, answer) VALUES (1, :at, 'sent', '250 kept')"
    with writing(engine) as connection:
        for statement in (report, delivery, attempt):
            connection.execute(text(statement), {"at": "2026-09-07 00:00:00+00:00"})
    engine.dispose()
    migrate(engine_address)
    engine = open_database(engine_address)
    with reading(engine) as connection:
        reported = "SELECT d.recipient, a.answer FROM delivery d JOIN delivery_attempt a ON a.delivery_id = d.id"
        assert [tuple(row) for row in connection.execute(text(reported))] == [("a@example.org", "250 kept")]
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(text(attempt.replace("VALUES (1", "VALUES (99")), {"at": "2026-09-07 00:00:00+00:00"})
    engine.dispose()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """The second `init` finds the database up to date; its folder is created if missing."""
    address = f"sqlite:///{tmp_path}/new/folder/routewatch.db"
    before, after = migrate(address)
    assert before is None
    assert migrate(address) == (after, after)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cost_usd": -0.01},
        {"cost_usd": float("inf")},
        {"response_time_ms": -1.0},
        {"accuracy": 1.01},
        {"user_satisfaction": -0.1},
        {"prompt_tokens": -1},
        {"model_id": ""},
        {"model_id": "m" * 201},
        {"timestamp": None},
    ],
    ids=str,
)
def test_the_database_refuses_what_cannot_be(engine: Engine, wrong: dict[str, object]) -> None:
    """Constraints hold for every writer."""
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(SELECTION), ROW | wrong)


def test_a_request_counts_once(engine: Engine) -> None:
    """Two rows cannot share a request id; any number can be without one."""
    with writing(engine) as connection:
        connection.execute(insert(SELECTION), [ROW | {"request_id": request_id} for request_id in (None, None, "r")])
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(SELECTION), ROW | {"request_id": "r"})


def test_instants_come_back_as_utc(engine: Engine) -> None:
    """A time with any offset is stored as its instant; one without is refused."""
    local = datetime(2026, 9, 7, 8, 30, 15, 123456, tzinfo=timezone(timedelta(hours=8)))
    with writing(engine) as connection:
        connection.execute(insert(SELECTION), ROW | {"timestamp": local})
    with reading(engine) as connection:
        stored = connection.scalar(select(SELECTION.c.timestamp))
    assert stored == local
    assert stored is not None
    assert stored.utcoffset() == timedelta(0)
    with pytest.raises(StatementError, match="has no offset"), writing(engine) as connection:
        connection.execute(insert(SELECTION), ROW | {"timestamp": local.replace(tzinfo=None)})


def test_an_unmigrated_database_says_what_to_do(tmp_path: Path) -> None:
    """Without tables the error names the command that creates them."""
    (tmp_path / "empty.db").touch()
    with pytest.raises(SchemaOutdated, match="routewatch init"):
        open_database(f"sqlite:///{tmp_path}/empty.db")


def test_connecting_creates_no_database(tmp_path: Path) -> None:
    """Only a migration does: neither a router's log nor a command leaves an empty file where there was none."""
    address = f"sqlite:///{tmp_path}/home/routewatch.db"
    for use in (open_database, lambda address: connect(address).connect()):
        with pytest.raises(DatabaseUnavailable, match=r"there is no such file\. `routewatch init` creates it"):
            use(address)
    assert list(tmp_path.iterdir()) == []
    migrate(address)
    open_database(address).dispose()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://someone:hunter2@127.0.0.1:1/none",
        "sqlite:////no/such/folder/routewatch.db",
        "mysql://someone:hunter2@127.0.0.1/none",
    ],
    ids=["refused", "no folder", "unsupported"],
)
def test_an_unreachable_database_is_reported_without_its_password(address: str) -> None:
    """An unreachable or unusable database is one error, which never shows the password."""
    with pytest.raises(DatabaseUnavailable) as caught:
        open_database(address)
    assert "hunter2" not in str(caught.value)
    assert "ROUTEWATCH_DATABASE_URL" in str(caught.value)
