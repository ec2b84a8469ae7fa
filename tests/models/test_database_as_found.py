"""PostgreSQL databases and roles as others have set them up, and SQLite files as they are found."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, delete, func, insert, make_url, select, text

from dashboard.monitor import Monitor
from models.context import AppContext
from models.database import connect, migrate, open_database, reading, writing
from models.environment import Environment
from models.errors import DatabaseUnavailable, SchemaOutdated
from models.period import Period
from models.report_template import Template
from models.settings import parse_settings
from models.tables import Selection, StoredMessage, table_of
from routewatch.client import RouterLog
from routewatch.database_faults import explain
from routewatch.selection import METADATA
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.request import Request
from tasks.rollups.checkpoint_bounds import reset_checkpoint
from tasks.rollups.selection_reader import ADBC_FROM, scan_ids
from tasks.rollups.update import update_rollups
from tests.support.commands import Done, call
from tests.support.databases import PostgresServer
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of, traffic
from tests.support.waiting import until

SELECTION, MESSAGE = table_of(Selection), table_of(StoredMessage)
NAME = "модель-日本-é"

HOSTILE = {
    "DateStyle": "'German, DMY'", "IntervalStyle": "sql_standard", "TimeZone": "'Asia/Kathmandu'",
    "client_encoding": "LATIN1", "standard_conforming_strings": "off", "extra_float_digits": "-10",
    "bytea_output": "escape", "default_transaction_isolation": "serializable", "statement_timeout": "50",
    "lock_timeout": "50", "idle_in_transaction_session_timeout": "50", "transform_null_equals": "on",
}  # fmt: skip


def address_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def context_on(address: str, home: Path) -> AppContext:
    alerting = {"thresholds": "fixed", "holdMinutes": 0, "groupWaitMinutes": 0}
    settings = {"monitoring": {"updateInterval": 50, "alerting": alerting}, "delivery": {"mode": "files"}}
    database_url: Any = address
    return AppContext(Environment(home=home, database_url=database_url), parse_settings(settings, "test"))


@contextmanager
def role_on(server: PostgresServer, address: str, *statements: str) -> Iterator[str]:
    """The address of a new role in a database, after the statements, in which {role} is its name."""
    url = make_url(address)
    role = f"r_{url.database}"
    with psycopg.connect(address.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        for statement in statements:
            connection.execute(statement.format(role=role))
        try:
            yield url.set(username=role).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP OWNED BY {role} CASCADE")
    server.execute(f"DROP ROLE {role}")


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["database", "role"])
def test_settings_of_the_database_or_the_role_change_no_number_and_stop_nothing(
    postgres_server: PostgresServer, tmp_path: Path, of: str
) -> None:
    """Migrating, recording, folding through both drivers, a report and a turn of the monitor all go on as ever."""
    with postgres_server.database(migrated=False) as address:
        name = make_url(address).database
        target = f"DATABASE {name}" if of == "database" else "ROLE postgres"
        for setting, value in HOSTILE.items():
            postgres_server.execute(f"ALTER {target} SET {setting} = {value}")
        try:
            migrate(address)
            now = datetime.now(UTC)
            at = now - timedelta(minutes=3)
            with RouterLog(address) as log:
                for number in range(3):
                    log.record_selection(
                        model_id=NAME, complexity="simple", response_time_ms=0.1 + 1 / 3, cost_usd=0.1 + 0.2,
                        timestamp=at, request_id=f"{number}",
                    )  # fmt: skip
            ctx = context_on(address, tmp_path)
            insert_selections(ctx.engine, selections(*({"timestamp": at, "error": True} for _ in range(200))))
            read = [row for _, part in scan_ids(ctx.engine, 0, 10_000) for row in part.iter_rows(named=True)]
            Monitor(ctx).evaluate(now)
            period = Period(now - timedelta(days=1), now, "UTC")
            request = Request("custom", Template.PERFORMANCE, period, "detailed")
            document = compose(request, collect_material(ctx.engine, request, ctx.settings, now), ctx.settings, now)
            with writing(ctx.engine) as connection:
                connection.execute(select(func.pg_sleep(0.1)))
                notified = connection.scalar(select(func.count()).select_from(MESSAGE))
            assert _is_counted(ctx.engine)
        finally:
            if of == "role":
                postgres_server.execute("ALTER ROLE postgres RESET ALL")
    ours = [row for row in read if row["model_id"] == NAME]
    assert [(row["cost_usd"], row["response_time_ms"]) for row in ours] == [(0.1 + 0.2, 0.1 + 1 / 3)] * 3
    assert {row["timestamp"] for row in ours} == {at}
    assert NAME in document.model_dump_json()
    assert notified == 1


def test_a_time_out_that_the_address_itself_names_stays(postgres_address: str) -> None:
    engine = connect(postgres_address + "&options=-c%20statement_timeout%3D7000")
    with reading(engine) as connection:
        shown = (
            connection.execute(text("SHOW statement_timeout")).scalar(),
            connection.scalar(text("SHOW lock_timeout")),
        )
    engine.dispose()
    assert shown == ("7s", "0")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused_before_anything_is_written(
    postgres_server: PostgresServer, encoding: str
) -> None:
    options = f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
    with postgres_server.database(migrated=False, options=options) as address:
        with pytest.raises(DatabaseUnavailable) as caught:
            migrate(address)
        with psycopg.connect(address) as connection:
            tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert f"its encoding is {encoding}, and must be UTF8. Create another with `CREATE DATABASE" in str(caught.value)
    assert tables == (0,)


def test_tables_that_search_path_no_longer_leads_to_are_found_and_not_made_twice(
    postgres_engine: Engine, postgres_server: PostgresServer
) -> None:
    name = postgres_engine.url.database
    for path in ("elsewhere", "other"):
        with writing(postgres_engine) as connection:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS other"))
        postgres_server.execute(f"ALTER DATABASE {name} SET search_path = {path}")
        for use in (migrate, open_database):
            with pytest.raises(DatabaseUnavailable) as caught:
                use(address_of(postgres_engine))
            assert "which are in schema public" in str(caught.value)
            assert f"IN DATABASE {name} SET search_path = public`" in str(caught.value)
    named = address_of(postgres_engine) + "&options=-csearch_path%3Dother"
    with pytest.raises(SchemaOutdated):
        open_database(named)


def test_an_upgrade_goes_where_the_other_tables_are(postgres_address: str) -> None:
    """A schema with the role's own name goes before `public` in every search_path from the start."""
    migrate(postgres_address, "0005")
    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA postgres")
        migrate(postgres_address)
        found = connection.execute(
            "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname IN ('public', 'postgres')"
        ).fetchall()
        connection.execute("DROP SCHEMA postgres")
    assert found == [("public",)]


@pytest.mark.parametrize(
    ("granted", "advice"),
    [
        ("", "`GRANT SELECT, INSERT ON selection TO {role}`"),
        ("REVOKE USAGE ON SCHEMA public FROM public", "`GRANT USAGE ON SCHEMA public TO {role}`"),
    ],
    ids=["table", "schema"],
)
def test_a_missing_right_is_reported_as_the_grant_without_sql_or_values(
    postgres_engine: Engine, postgres_server: PostgresServer, granted: str, advice: str
) -> None:
    with role_on(postgres_server, address_of(postgres_engine), *([granted] if granted else [])) as address:
        engine = connect(address)
        row = {"timestamp": MONDAY, "model_id": "a-planted-name", "error": False}
        with pytest.raises(DatabaseUnavailable) as caught, writing(engine) as connection:
            connection.execute(insert(SELECTION), row)
        engine.dispose()
        role = make_url(address).username
    assert advice.format(role=role) in str(caught.value)
    chain = f"{caught.value!r} {caught.value.__cause__} {getattr(caught.value.__cause__, 'orig', '')}"
    assert not any(word in chain for word in ("INSERT INTO", "a-planted-name", "[SQL", "parameters:"))


def test_a_missing_right_to_read_is_reported_through_the_other_driver_too(
    postgres_engine: Engine, postgres_server: PostgresServer
) -> None:
    insert_selections(postgres_engine, traffic(3))
    with role_on(postgres_server, address_of(postgres_engine)) as address:
        engine = connect(address)
        with pytest.raises(DatabaseUnavailable) as caught:
            list(scan_ids(engine, 0, ADBC_FROM))
        engine.dispose()
    assert "permission denied for table selection" in caught.value.cause
    assert caught.value.advice.startswith("`GRANT SELECT ON selection TO r_")
    assert "COPY" not in str(caught.value)


def test_a_router_that_may_only_insert_has_its_rows_below_the_checkpoint_counted(
    postgres_engine: Engine, postgres_server: PostgresServer
) -> None:
    """It may neither read the checkpoint nor note a change, and no table of its own stands in for ours."""
    insert_selections(postgres_engine, traffic(3))
    with writing(postgres_engine) as connection:
        connection.execute(delete(SELECTION).where(SELECTION.c.id == 2))
    update_rollups(postgres_engine, UTC_SETTINGS, now=MONDAY)
    with role_on(postgres_server, address_of(postgres_engine), "GRANT INSERT ON selection TO {role}") as address:
        engine = connect(address)
        with writing(engine) as connection:
            connection.exec_driver_sql("CREATE TEMPORARY TABLE rollup_checkpoint (last_id bigint, counted_id bigint)")
            connection.exec_driver_sql(
                f"INSERT INTO selection (id, timestamp, model_id) VALUES (2, '{MONDAY.isoformat()}', 'm')"  # noqa: S608
            )
        engine.dispose()
    assert update_rollups(postgres_engine, UTC_SETTINGS, now=MONDAY).rebuilt_hours == 1


def test_a_full_disk_is_told_from_a_table_that_has_used_its_largest_id(tmp_path: Path) -> None:
    """SQLite says the same of both."""
    address = f"sqlite:///{tmp_path / 'routewatch.db'}"
    migrate(address)
    engine = connect(address)
    update_rollups(engine, UTC_SETTINGS, now=MONDAY)
    row = {"timestamp": MONDAY, "model_id": "m", "error": False}

    def refusal(table: str, values: dict[str, Any]) -> DatabaseUnavailable:
        with pytest.raises(DatabaseUnavailable) as caught, writing(engine) as connection:
            connection.execute(insert(METADATA.tables[table]), [values] * 200)
        return caught.value

    with reading(engine) as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    full = refusal("message", {"key": "k" * 9_000, "content": {}, "created_at": MONDAY})
    assert (full.cause, full.advice[:17]) == ("database or disk is full", "Make room on the ")
    with reading(engine) as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    for table in ("quarantine", "selection"):
        with writing(engine) as connection:
            connection.exec_driver_sql(f"DELETE FROM sqlite_sequence WHERE name = '{table}'")  # noqa: S608
            connection.exec_driver_sql(f"INSERT INTO sqlite_sequence VALUES ('{table}', {2**63 - 1})")  # noqa: S608
    ended = refusal("selection", row)
    assert ended.cause == "the table selection has used the largest id, and can issue none"
    assert "routewatch run hourly" in ended.advice
    reset_checkpoint(engine, MONDAY)
    insert_selections(engine, traffic(3))
    aside = {"set_aside_at": MONDAY, "entrance": "http", "reason": "r", "content": {}}
    assert refusal("quarantine", aside).cause.startswith("the table quarantine has used")
    engine.dispose()


def test_a_sequence_that_is_at_its_end_is_told_with_what_to_do(postgres_engine: Engine) -> None:
    with writing(postgres_engine) as connection:
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('selection', 'id'), {2**63 - 1})"))
    with pytest.raises(DatabaseUnavailable, match="RESTART WITH"):
        insert_selections(postgres_engine, traffic(1))


def test_a_row_that_is_refused_shows_no_value_in_its_error(engine: Engine) -> None:
    row = {"timestamp": MONDAY, "model_id": "a-planted-name", "error": False, "accuracy": 7.25}
    with pytest.raises(Exception, match="constraint") as caught, writing(engine) as connection:
        connection.execute(insert(SELECTION), row)
    said = f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__cause__!r}"
    assert not any(word in said for word in ("a-planted-name", "7.25", "INSERT INTO"))


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("connection failed: FATAL:  password authentication failed for user \"ops\"", "Check user and password"),
        ("connection failed: FATAL:  role \"ops\" does not exist", "may log in"),
        ("connection failed: FATAL:  no pg_hba.conf entry for host \"10.0.0.1\"", "pg_hba.conf"),
        ("connection failed: FATAL:  sorry, too many clients already", "max_connections"),
        ("connection failed: FATAL:  remaining connection slots are reserved for roles", "max_connections"),
        ("connection failed: FATAL:  too many connections for role \"ops\"", "CONNECTION LIMIT"),
        ("connection failed: FATAL:  the database system is starting up", "starting or stopping"),
        ("connection failed: FATAL:  the database system is shutting down", "starting or stopping"),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "Check the host"),
        ("connection timeout expired", "that the server is up"),
        ("server closed the connection unexpectedly", "opens a new one"),
        ("server does not support SSL, but SSL was required", "sslmode"),
    ],
)  # fmt: skip
def test_each_kind_of_refusal_has_advice_that_fits(said: str, advice: str) -> None:
    fault = explain(psycopg.OperationalError(said), make_url("postgresql://ops:x@db/routewatch"))
    assert fault is not None
    assert (fault.cause, advice in fault.advice) == (said, True)


def test_refused_logins_of_a_real_server_have_advice_that_fits(
    postgres_server: PostgresServer, postgres_address: str
) -> None:
    url = make_url(postgres_address)
    limit = f"ALTER DATABASE {url.database} CONNECTION LIMIT 1"
    grants = "GRANT ALL ON SCHEMA public TO {role}"
    with role_on(postgres_server, postgres_address, grants, limit, "ALTER ROLE {role} CONNECTION LIMIT 0") as address:
        expected = {
            address: "max_connections",
            url.set(username="nobody-known").render_as_string(): "may log in",
            url.set(database="no-such").render_as_string(): 'CREATE DATABASE "no-such" ENCODING',
            "postgresql://ops:planted@127.0.0.1:9/x": "that the server is up",
            "postgresql:///x?host=/no/such/socket": "that the server is up",
        }
        for wrong, advice in expected.items():
            with pytest.raises(DatabaseUnavailable) as caught:
                open_database(wrong)
            assert advice in caught.value.advice
            assert "planted" not in str(caught.value)


def test_a_restart_of_the_server_amid_a_turn_is_made_up_for_by_the_next(
    postgres_server: PostgresServer, postgres_engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The monitor's connections, those amid a transaction among them, die; nobody restarts the monitor."""
    ctx = context_on(address_of(postgres_engine), tmp_path)
    monitor = Monitor(ctx)
    monitor.start()
    try:
        insert_selections(ctx.engine, traffic(50))
        until(lambda: _is_counted(ctx.engine))
        with pytest.raises(DatabaseUnavailable, match="opens a new one"):
            _restart_within(ctx.engine, postgres_server)
        insert_selections(ctx.engine, traffic(50, MONDAY + timedelta(days=1)))
        until(lambda: _is_counted(ctx.engine))
    finally:
        monitor.stop()
    assert "[SQL" not in caplog.text


def test_a_fold_whose_connections_end_amid_it_counts_each_row_once_later(
    postgres_server: PostgresServer, postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read through another connection than the one that writes, which the next statement would replace."""
    monkeypatch.setattr("tasks.rollups.selection_reader.ADBC_FROM", 0)
    insert_selections(postgres_engine, traffic(200))
    name = postgres_engine.url.database
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608

    def lose(*_: object) -> None:
        postgres_server.execute(ended)

    # What was read and written before is there, and nothing is left to read.
    with suppress(DatabaseUnavailable):
        update_rollups(postgres_engine, UTC_SETTINGS, now=NOW, progress=lose)
    update_rollups(postgres_engine, UTC_SETTINGS, now=NOW)
    assert_rollups_are_of(postgres_engine, raw_of(postgres_engine))


def _restart_within(engine: Engine, server: PostgresServer) -> None:
    with writing(engine) as connection:
        connection.execute(text("SELECT 1"))
        server.restart()
        connection.execute(text("SELECT 1"))


def _is_counted(engine: Engine) -> bool:
    query = "SELECT (SELECT count(*) FROM selection) = (SELECT sum(count) FROM rollup WHERE level = 'hour')"
    with reading(engine) as connection:
        return bool(connection.scalar(text(query)))


# --- SQLite -----------------------------------------------------------------------------------------------------------


def test_a_full_a_read_only_and_a_locked_file_are_told_apart(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewatch.database.BUSY_TIMEOUT_MS", 20)
    sqlite_engine.dispose()
    other = sqlite3.connect(str(sqlite_engine.url.database), isolation_level=None)
    said = [
        _fault_of_writing(sqlite_engine, "PRAGMA max_page_count = 1"),
        _fault_of_writing(sqlite_engine, "PRAGMA query_only = ON"),
    ]
    other.execute("BEGIN IMMEDIATE")
    said.append(_fault_of_writing(sqlite_engine, "SELECT 1"))
    other.close()
    expected = ("Make room on the disk", "is not read-only", "fuser")
    assert [words in text for words, text in zip(expected, said, strict=True)] == [True] * 3
    assert not any(word in text for word in ("server", "planted", "INSERT") for text in said)


def _fault_of_writing(engine: Engine, pragma: str) -> str:
    row = {"timestamp": MONDAY, "model_id": "m" * 200, "error": False, "team": "a-planted-name"}
    with pytest.raises(DatabaseUnavailable) as caught:
        _write(engine, pragma, [row] * 500)
    engine.dispose()
    return str(caught.value)


def _write(engine: Engine, pragma: str, rows: list[dict[str, object]]) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql(pragma)
        connection.execute(insert(SELECTION), rows)


def test_a_damaged_file_another_kind_of_file_and_a_missing_folder_are_told_apart(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    path = Path(str(sqlite_engine.url.database))
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(byte ^ 0x5A for byte in content[4096:])
    (tmp_path / "damaged.db").write_bytes(content)
    (tmp_path / "other.db").write_bytes(b"ID,NAME\r\n" * 2_000)
    expected = {
        "damaged.db": "restore a backup",
        "other.db": "of another kind",
        "no/x.db": "`routewatch init` creates it",
    }
    for name, advice in expected.items():
        with pytest.raises(DatabaseUnavailable) as caught:
            open_database(f"sqlite:///{tmp_path}/{name}")
        assert advice in caught.value.advice
        assert "server" not in str(caught.value)
    assert (tmp_path / "other.db").read_bytes() == b"ID,NAME\r\n" * 2_000


def _call_as(server: PostgresServer, engine: Engine, home: Path, command: str, *grants: str) -> Done:
    with role_on(server, address_of(engine), *grants) as address:
        return call(home, *command.split(), env={"ROUTEWATCH_DATABASE_URL": address})


@pytest.mark.parametrize(
    "command",
    [
        "report performance --format json", "report cost --format json", "report usage --format json",
        "report optimization --format json", "config get", "config history", "alerts list", "alerts silences",
        "deliveries list", "optimizations list", "optimizations preview", "quarantine list", "pull --list",
    ],
)  # fmt: skip
def test_a_command_that_reads_works_for_a_role_that_may_only_read(
    postgres_engine: Engine, postgres_server: PostgresServer, tmp_path: Path, command: str
) -> None:
    insert_selections(postgres_engine, traffic(3))
    select_only = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    done = _call_as(postgres_server, postgres_engine, tmp_path, command, select_only)
    assert done.returncode == 0, done.stderr
    if command.startswith("report"):
        assert "selections that are not rolled up yet are not in this report: permission denied" in done.stderr
        assert '"schemaVersion"' in done.stdout
    else:
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "table_grants"),
    [
        ("config set cache.ttl 60", {"config": "SELECT, INSERT, UPDATE", "config_change": "SELECT, INSERT"}),
        ("alerts silence --reason rollout", {"alert_silence": "SELECT, INSERT, UPDATE"}),
    ],
)
def test_all_rights_that_a_command_lacks_are_named_at_once(
    postgres_engine: Engine, postgres_server: PostgresServer, tmp_path: Path, command: str, table_grants: dict[str, str]
) -> None:
    """Whoever grants what the error names has the command work: the server alone names one right at a time."""
    some = f"GRANT SELECT ON {next(iter(table_grants))} TO {{role}}"
    for before in ([], [some]):
        revision = "GRANT SELECT ON alembic_version TO {role}"
        refused = _call_as(postgres_server, postgres_engine, tmp_path, command, revision, *before)
        assert refused.returncode == 1
        named = re.findall("`(GRANT [^`]*) TO [^`]*`", refused.stderr)
        assert len([grant for grant in named if "SEQUENCE" not in grant]) == len(table_grants)
        grants = (f"{grant} TO {{role}}" for grant in named)
        done = _call_as(postgres_server, postgres_engine, tmp_path, command, revision, *before, *grants)
        assert done.returncode == 0, done.stderr
