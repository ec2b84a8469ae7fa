"""A database of any earlier revision, with data in it, is upgraded in full, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from polars.testing import assert_frame_equal
from sqlalchemy import DateTime, Engine, MetaData, func, insert, select, text

from models.database import MIGRATIONS, connect, migrate, reading, writing
from models.documents import PerformanceReport
from models.errors import SchemaOutdated
from models.period import Level, Period
from models.report_template import Template
from models.schema import HOUR_TOTAL, DeliveryState
from models.settings import Settings
from routewatch.quarantine import QUARANTINE
from routewatch.selection import SELECTION, UtcDateTime, instant_text
from tasks.delivery.queue import due_ids
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.request import Request
from tasks.rollups.aggregate import ROLLUP_KEYS, merge, roll_up
from tasks.rollups.arms import ARM_SUMS
from tasks.rollups.update import update_rollups
from tests.support.commands import call, fault
from tests.support.factories import MONDAY, insert_selections
from tests.support.optimizations import KEPT
from tests.support.paths import ROOT
from tests.support.release import mostly_slow
from tests.support.rollups import NOW, UTC_SETTINGS, stored, totals_of, traffic

SECRET_ADDRESS = "https://hooks.slack.com/services/T0/B0/planted"

REVISIONS = [it.revision for it in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
*EARLIER, HEAD = REVISIONS

RAW = traffic(200)
ROLLED = roll_up(RAW, "UTC", 2000.0)
TOTALS_SINCE = "0004"

RECOMMENDED = {
    "type": "cache_optimization", "bottleneck": "slow_response", "description": "Increase cache size and TTL",
    "impact": "high", "effort": "low", "autoApply": True,
    "moves": [{"key": "cache.max_entries", "fromValue": 1000, "toValue": 2000, "version": 1}],
}  # fmt: skip
"""Written like this since the first revision."""

ROWS: dict[str, list[dict[str, Any]]] = {
    "selection": RAW.to_dicts(),
    "rollup": [{"level": level.value, **row} for level, rows in ROLLED.items() for row in rows.to_dicts()],
    "rollup_checkpoint": [{"id": 1, "last_id": 200, "zone": "UTC", "target_ms": 2000.0, "rollups_updated_at": NOW,
                           "last_selection_at": MONDAY, "minutes_from": None, "raw_from": None,
                           "change_batches_processed": 3}],
    "selection_change": [{"at": MONDAY + timedelta(hours=2)}],
    "config": [{"key": "cache.max_entries", "value": 2000, "version": 2, "updated_at": NOW, "updated_by": "ada"}],
    "optimization": [{"type": "cache_optimization", "subject": "cache", "state": "applied",
                      "recommendation": RECOMMENDED, "verdict": KEPT.model_dump(mode="json", by_alias=True),
                      "period_start": MONDAY, "period_end": NOW, "created_at": MONDAY, "updated_at": NOW,
                      "applied_at": NOW}],
    "optimization_transition": [{"optimization_id": 1, "at": NOW, "from_state": "proposed", "to_state": "applied",
                                 "by": "ada", "reason": "slow", "evidence": {"share": 0.3}}],
    "config_change": [
        {"key": "cache.max_entries", "version": version, "from_value": before, "to_value": after, "changed_at": NOW,
         "changed_by": "ada", "reason": "slow", "optimization_id": optimization}
        for version, before, after, optimization in ((1, None, 1000, None), (2, 1000, 2000, 1))
    ],
    "alert": [
        {"rule": "errorRate", "subject": "m1", "severity": "critical", "state": "firing", "value": 0.3, "sample": 40,
         "threshold": 0.1, "started_at": NOW, "fired_at": NOW, "detail": "d", "notified_at": NOW,
         "recovering_since": NOW + timedelta(minutes=1), "no_data_since": NOW + timedelta(minutes=2),
         "pending_event": "resolved", "pending_since": NOW + timedelta(minutes=3)},
        {"rule": "failedFlow", "subject": "daily", "severity": "critical", "state": "resolved", "started_at": MONDAY,
         "fired_at": MONDAY, "resolved_at": NOW},
    ],
    "alert_checkpoint": [{"id": 1, "evaluated_until": NOW, "notified_at": NOW + timedelta(minutes=1)}],
    "alert_silence": [{"rule": None, "subject": "m1", "starts_at": NOW, "ends_at": NOW, "by": "ada", "reason": "r"}],
    "message": [{"key": "sample-1", "content": {"kind": "sample"}, "created_at": NOW}],
    "report": [{"kind": "daily", "template": "performance", "period_start": MONDAY, "period_end": NOW, "document": {},
                "parameters_hash": "h", "parameters": {"a": 1}, "created_at": NOW}],
    "delivery": [
        {"report_id": 1, "channel": channel, "recipient": recipient, "state": state, "attempts": 1, "queued_at": NOW,
         "next_attempt_at": NOW, "sent_at": NOW if state == "sent" else None}
        for channel, recipient, state in (
            ("email", "a@example.org", "sent"), ("email", "b@example.org", "queued"),
            ("webhook", "https://example.org/hook", "dead"), ("webhook", SECRET_ADDRESS, "sent"),
        )
    ],
    "delivery_attempt": [{"delivery_id": 1, "at": NOW, "outcome": "sent", "answer": "250 kept"}],
    "overhead": [{"request_id": "r-1", "timestamp": NOW, "source": "litellm", "kind": "embedding", "model_id": "e",
                  "cost_usd": 0.01, "cost_priced_on": date(2026, 9, 1)}],
    "quarantine": [{"request_id": "later", "set_aside_at": NOW, "entrance": "http", "reason": "timestamp is missing",
                    "content": {"model_id": "m"}}],
    "intake_count": [{"hour": MONDAY, "entrance": "http", "outcome": "setAside", "reason": "timestamp is missing",
                      "rows": 1, "errors": 0}],
    "arm_rollup": [{**dict.fromkeys(ARM_SUMS, 1), "bucket": MONDAY, "experiment": "rollout-1", "arm": "candidate",
                    "complexity": "simple", "unit_bucket": -1}],
    "trial": [{"optimization_id": 1, "method": "split", "state": "running", "plan": {"salt": "s"}, "step": 0,
               "step_at": NOW, "started_at": NOW, "deadline": NOW + timedelta(days=14)}],
    "trial_step": [{"trial_id": 1, "at": NOW, "action": "start", "percent": 5.0, "by": "ada", "reason": "approved"}],
    "trial_block": [{"trial_id": 1, "number": 0, "is_candidate": True, "starts_at": NOW, "state": "planned",
                     "ends_at": NOW + timedelta(hours=2)}],
    "pull_state": [{"source": "litellm", "kind": "litellm", "cursor": "c", "pulled_at": NOW, "last": {"read": 1}}],
}  # fmt: skip
"""The content of a database, as far as its revision has these tables and columns."""

TABLES = {"fold_state": "rollup_checkpoint", "alert_watch": "alert_checkpoint"}
COLUMNS = {
    "rollup_checkpoint": {"folded_at": "rollups_updated_at", "notes_taken": "change_batches_processed"},
    "alert_checkpoint": {"judged_until": "evaluated_until", "told_at": "notified_at"},
    "alert": {"well_since": "recovering_since", "unknown_since": "no_data_since", "news": "pending_event",
              "news_since": "pending_since", "told_at": "notified_at"},
    "delivery": {"death_told": "dead_letter_notified"},
}  # fmt: skip
"""The present names of tables and columns by their names before revision 0008."""


def present(table: str, column: str | None = None) -> str:
    """Return the present name of a table, or of a column of it."""
    table = TABLES.get(table, table)
    return table if column is None else COLUMNS.get(table, {}).get(column, column)


@contextmanager
def connected(address: str) -> Iterator[Engine]:
    engine = connect(address)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'routewatch.db'}"
    return str(request.getfixturevalue("postgres_address"))


def fill(engine: Engine) -> None:
    """Insert rows in every table that this revision has."""
    tables = MetaData()
    tables.reflect(engine)
    totals = [{"level": HOUR_TOTAL, **row} for row in totals_of(ROLLED[Level.HOUR]).to_dicts()]
    later = {"rollup": totals if (revision_of(engine) or "") >= TOTALS_SINCE else []}
    with writing(engine) as connection:
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            name = present(table.name)
            assert name in ROWS, f"ROWS lacks the table {table.name}, which a later revision is to keep"
            for column in table.columns:
                if isinstance(column.type, DateTime):
                    column.type = UtcDateTime()
            columns = {present(table.name, column): column for column in table.columns.keys()}  # noqa: SIM118
            for row in ROWS[name] + later.get(name, []):
                values = {columns[column]: value for column, value in row.items() if column in columns}
                connection.execute(insert(table), values)


def content(engine: Engine, columns: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    """Return every row of every table as text, restricted to these columns where some are given."""
    tables = MetaData()
    tables.reflect(engine)
    found = {}
    with reading(engine) as connection:
        for table in tables.sorted_tables:
            if table.name == "alembic_version" or (columns is not None and table.name not in columns):
                continue
            names = sorted(table.columns.keys()) if columns is None else columns[table.name]
            rows = connection.execute(select(*(table.columns[name] for name in names)))
            found[table.name] = sorted(str(tuple(row)) for row in rows)
    return found


def columns_of(engine: Engine) -> dict[str, list[str]]:
    """Return the present names of each table's columns, in the order of `content`."""
    tables = MetaData()
    tables.reflect(engine)
    return {
        present(table.name): [present(table.name, column) for column in sorted(table.columns.keys())]
        for table in tables.sorted_tables
        if present(table.name) in ROWS
    }


def revision_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def lost(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """Return the rows that are missing or changed."""
    return [row for name, rows in before.items() for row in rows if row not in after[present(name)]]


def assert_works(engine: Engine) -> None:
    """An update rolls up new rows once, and a report has all of them."""
    new = traffic(50, start=MONDAY + timedelta(minutes=3))
    insert_selections(engine, new)
    assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == len(new)
    expected = roll_up(pl.concat([RAW, new]), "UTC", 2000.0)
    for level in Level:
        assert_frame_equal(stored(engine, level), expected[level].sort(ROLLUP_KEYS), check_exact=False, rel_tol=1e-9)
    # A migration's aggregates have their histograms concatenated, which is equivalent.
    totals = merge(stored(engine, HOUR_TOTAL)).sort(ROLLUP_KEYS)
    assert_frame_equal(totals, totals_of(expected[Level.HOUR]), check_exact=False, rel_tol=1e-9)
    request = Request("custom", Template.PERFORMANCE, Period(MONDAY, MONDAY + timedelta(days=2), "UTC"))
    document = compose(request, collect_material(engine, request, Settings(), NOW), Settings(), NOW)
    assert isinstance(document, PerformanceReport)
    assert document.summary.total_selections == len(RAW) + len(new)


@pytest.mark.parametrize("revision", mostly_slow(EARLIER, {EARLIER[0], EARLIER[-1]}.__contains__))
def test_nothing_is_lost_by_an_upgrade_and_all_works_afterwards(address: str, revision: str) -> None:
    migrate(address, revision)
    with connected(address) as engine:
        fill(engine)
        columns, before = columns_of(engine), content(engine)
    assert migrate(address) == (revision, HEAD)
    with connected(address) as engine:
        # A chat's address contains a secret, which a later revision removes.
        planted = [row for row in before["delivery"] if "planted" in row] if revision < "0006" else []
        assert lost(before, content(engine, columns)) == planted
        assert not planted or "planted" not in str(content(engine)["delivery"])
        assert [where for _, where in due_ids(engine, NOW)] == [("email", "b@example.org")]
        assert_works(engine)


def test_a_mail_that_was_being_handed_over_during_the_upgrade_still_is(address: str) -> None:
    """The state has another name since revision 0008."""
    migrate(address, "0007")
    with connected(address) as engine:
        fill(engine)
        with writing(engine) as connection:
            connection.execute(text("UPDATE delivery SET state = 'handing over' WHERE id = 2"))
    migrate(address)
    with connected(address) as engine, reading(engine) as connection:
        state = connection.execute(text("SELECT state FROM delivery WHERE id = 2")).scalar_one()
        assert state == DeliveryState.COMMITTING.value == "committing"


# --- in the middle ----------------------------------------------------------------------------------------------------


@contextmanager
def migrator() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.migrator"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def reported(process: subprocess.Popen[str], *lines: str) -> list[str]:
    """Return the results of the migrations that these lines start."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{line}\n" for line in lines))
    process.stdin.flush()
    return [process.stdout.readline().strip() for _ in lines]


def test_an_upgrade_that_is_killed_at_any_statement_has_changed_nothing_and_can_be_repeated(address: str) -> None:
    migrate(address, EARLIER[0])
    killed = 0
    with migrator() as process, connected(address) as engine:
        fill(engine)
        before = content(engine)
        for statement in range(4, 1_000, 17):
            engine.dispose()
            (said,) = reported(process, f"{address} {statement}")
            if said == "done":
                break
            os.kill(int(said.removeprefix("waits ")), signal.SIGKILL)
            killed += 1
            # PostgreSQL validates conditions after the upgrade: then all of it is there, and the rest is repeated.
            assert revision_of(engine) in (EARLIER[0], HEAD)
            assert revision_of(engine) == HEAD or content(engine) == before
        assert (said, killed >= 3, revision_of(engine)) == ("done", True, HEAD)
        assert_works(engine)


@pytest.mark.parametrize("revision", [None, EARLIER[0]])
def test_several_migrations_at_once_do_no_harm(address: str, revision: str | None) -> None:
    """Also where the database does not exist yet."""
    if revision is not None:
        migrate(address, revision)
        with connected(address) as engine:
            fill(engine)
    with migrator() as process:
        assert reported(process, *[f"{address} 0"] * 4) == ["done"] * 4
    with connected(address) as engine:
        assert revision_of(engine) == HEAD
        if revision is not None:
            assert_works(engine)


# --- migration output -------------------------------------------------------------------------------------------------


def test_init_prints_each_migration_step(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/routewatch.db", "0004")
    first_line, *steps = call(tmp_path, "init").stdout.splitlines()
    assert first_line == f"the database was migrated from revision 0004 to {HEAD}"
    assert steps[:2] == [
        "  0005 Add when an optimization was applied, and what was found of it since.",
        "  0006 Add the remaining alert lifecycle, silences, and messages that are delivered like reports.",
    ]
    assert len(steps) == len(REVISIONS) - 4


def test_a_command_says_whether_the_database_or_routewatch_is_to_be_upgraded(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/routewatch.db"
    migrate(address, EARLIER[-1])
    older = f"is at revision {EARLIER[-1]}, revision {HEAD} is needed: run `routewatch init`"
    assert older in fault(tmp_path, "config", "get", status=1)
    migrate(address)
    with connected(address) as engine, writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for arguments in (("config", "get"), ("init",)):
        assert "upgrade Routewatch, as a newer one made these tables" in fault(tmp_path, *arguments, status=1)


def test_a_newer_database_is_left_unchanged(address: str) -> None:
    migrate(address)
    with connected(address) as engine:
        with writing(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SchemaOutdated, match="upgrade Routewatch"):
            migrate(address)
        assert revision_of(engine) == "9999"


ODD_ROWS = {
    "sqlite": [
        ("no-time", "'soon'", "'m'", "0", "NULL"), ("1970", "'1970-01-21 08:52:48.000000'", "'m'", "1", "NULL"),
        ("offset", "'2026-09-07 10:00:00.250000+02:00'", "'m'", "1", "0.5"),
        ("short", "'2026-09-07T08:00:00Z'", "'m'", "'no'", "0.5"),
        ("model", "'2026-09-07 08:00:00.000000'", "'a' || char(10)", "'yes'", "0.5"),
    ],
    "postgresql": [
        ("no-time", "'infinity'", "'m'", "false", "NULL"), ("1970", "'1970-01-21 08:52:48+00'", "'m'", "true", "NULL"),
        ("offset", "'2026-09-07 10:00:00.25+02'", "'m'", "true", "0.5"),
        ("short", "'2026-09-07 08:00:00+00'", "'m'", "false", "0.5"),
        ("model", "'2026-09-07 08:00:00+00'", "E'a\\n'", "true", "0.5"),
    ],
}  # fmt: skip
"""Id, instant, model, error and cost, as SQL by hand could write them before there were conditions."""


def test_rows_that_break_the_conditions_are_repaired_or_set_aside_by_the_upgrade(address: str) -> None:
    migrate(address, "0008")
    with connected(address) as engine:
        for row in ODD_ROWS[engine.dialect.name]:
            values = f"'{row[0]}', {', '.join(row[1:])}"
            with writing(engine) as connection:
                connection.exec_driver_sql(
                    f"INSERT INTO selection (request_id, timestamp, model_id, error, cost_usd) VALUES ({values})"  # noqa: S608 - of this test
                )
    migrate(address)
    with connected(address) as engine:
        with reading(engine) as connection:
            kept = connection.execute(select(SELECTION).order_by(SELECTION.c.id)).all()
            aside = connection.execute(select(QUARANTINE.c.request_id, QUARANTINE.c.content)).all()
            ids = connection.scalars(select(SELECTION.c.id)).all()
        eight = MONDAY + timedelta(hours=8)
        assert [(it.request_id, it.timestamp, it.model_id, it.error, it.cost_usd) for it in kept] == [
            ("offset", eight + timedelta(milliseconds=250), "m", True, 0.5), ("short", eight, "m", False, 0.5),
            ("model", eight, "unknown", True, 0.5),
        ]  # fmt: skip
        assert sorted(it.request_id for it in aside) == ["1970", "no-time"]
        assert all(it.content["model_id"] == "m" for it in aside)
        assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 3
        insert_selections(engine, traffic(1))
        with reading(engine) as connection:
            # An id is never used again, not even that of a row that was set aside.
            assert connection.scalar(select(func.max(SELECTION.c.id))) == max(ids) + 1
            if engine.dialect.name == "postgresql":
                assert connection.scalar(text("SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'c'"))


def test_rows_that_were_set_aside_before_the_upgrade_return_too_once_the_clock_has_reached_them(address: str) -> None:
    migrate(address, "0010")
    contents = {
        "timestamp is ahead of the clock": ("2026-09-07T10:00:00+02:00", "2199-01-01T00:00:00+00:00", "soon", None),
        "timestamp is not an instant": ("2026-09-07T08:00:00+00:00",),
    }
    with connected(address) as engine:
        for reason, times in contents.items():
            for at in times:
                values = {
                    "at": f"{NOW:%Y-%m-%d %H:%M:%S.%f}",
                    "reason": reason,
                    "content": json.dumps({"timestamp": at}),
                }
                columns = "set_aside_at, entrance, reason, content"
                insertion = f"INSERT INTO quarantine ({columns}) VALUES (:at, 'x', :reason, :content)"  # noqa: S608
                with writing(engine) as connection:
                    connection.execute(text(insertion), values)
    migrate(address)
    with connected(address) as engine:
        with reading(engine) as connection:
            due = list(connection.scalars(select(QUARANTINE.c.due_at).order_by(QUARANTINE.c.id)))
        assert due == [MONDAY + timedelta(hours=8), None, None, None, None]
        assert update_rollups(engine, UTC_SETTINGS, now=NOW).rows == 1


@pytest.mark.parametrize("last_id", [3, 2**63 - 1])
def test_a_file_whose_largest_id_is_used_issues_ids_again_after_the_upgrade(tmp_path: Path, last_id: int) -> None:
    """Whether the row with that id was counted before or not, it counts once."""
    address = f"sqlite:///{tmp_path / 'routewatch.db'}"
    migrate(address, "0011")
    far = [*((number, MONDAY + timedelta(hours=number)) for number in (1, 2, 3)), (2**63 - 2, MONDAY), (2**63 - 1, NOW)]
    with connected(address) as engine, writing(engine) as connection:
        for number, at in far:
            row = "INSERT INTO selection (id, timestamp, model_id) VALUES (?, ?, 'm')"
            connection.exec_driver_sql(row, (number, instant_text(at)))
        connection.exec_driver_sql(
            "INSERT INTO rollup_checkpoint (id, last_id, zone, target_ms) VALUES (1, ?, 'UTC', 2000)", (last_id,)
        )
        connection.exec_driver_sql("INSERT INTO selection_change (at) SELECT timestamp FROM selection")
    migrate(address)
    with connected(address) as engine:
        insert_selections(engine, traffic(4))
        update_rollups(engine, UTC_SETTINGS, now=NOW)
        assert stored(engine, Level.HOUR)["count"].sum() == 9
        with reading(engine) as connection:
            assert list(connection.scalars(select(SELECTION.c.id).order_by(SELECTION.c.id))) == list(range(1, 10))
