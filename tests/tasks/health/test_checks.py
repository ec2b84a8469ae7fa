"""`routewatch doctor`: each fault, provoked for real, is found and told with what to do."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import sqlite3
import subprocess
import sys
import textwrap
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, text, update

from deployments.cli.doctor_output import tell_check_up
from models.context import Workplace
from models.database import writing
from models.environment import Environment
from models.errors import SettingsError
from models.settings import parse_settings
from models.tables import Delivery, PullState, Report, table_of
from reports.assets import fonts
from tasks.alerts.flow_failures import note_failure
from tasks.delivery.channels import http
from tasks.health.check import Check, Finding, NotLooked, State, ok
from tasks.health.checks import database
from tasks.health.checks import prefect_server as orchestration
from tasks.health.checks import smtp as mail_check
from tasks.health.checks import webhooks as webhook_check
from tasks.health.context import Scene, scene_here
from tasks.health.runner import checks_of, examine
from tasks.rollups.checkpoint import basis_of
from tasks.rollups.update import fold
from tests.support.commands import call
from tests.support.contexts import NOW, SECRET, place_of, told
from tests.support.databases import migrated_sqlite
from tests.support.factories import insert_selections, selections
from tests.support.page_server import TOKENS
from tests.support.servers import HOST, LOGIN, Hook, Mailbox, mailbox, serving

DELIVERY, REPORT = table_of(Delivery), table_of(Report)


@pytest.fixture(autouse=True)
def _short_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mail_check, webhook_check, orchestration):
        monkeypatch.setattr(module, "TIMEOUT_S", 1.0)


def scene_of(place: Workplace, now: datetime = NOW) -> Scene:
    return Scene(place.environment, place.settings, clock=lambda: now)


def changed(place: Workplace, **environment: Any) -> Workplace:
    return Workplace(place.environment.model_copy(update=environment), place.settings)


def found(name: str, scene: Scene) -> Finding:
    """What the check of that name finds."""
    (checked,) = examine([it for it in checks_of(scene) if it.name == name])
    return checked.finding


def of(home: Path, settings: dict[str, Any] | None = None, **environment: Any) -> Scene:
    """A scene without a database."""
    return Scene(Environment(home=home, **environment), parse_settings(settings or {}, "test"), clock=lambda: NOW)


# --- all of it --------------------------------------------------------------------------------------------------------


@pytest.fixture
def well(tmp_path: Path, inbox: Mailbox, receiver: Hook) -> dict[str, str]:
    """The environment of a place where all is well, with a secret wherever there can be one."""
    entries = [f"http://{HOST}:{receiver.port}/hook?key=planted-in-url", "mailto:ops@example.org"]
    named = dict.fromkeys(("email", "webhook", "management"), entries)
    settings = {"delivery": {"allowPrivateAddresses": True, "recipients": named}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    migrated_sqlite(tmp_path)
    place = Workplace(Environment(home=tmp_path), parse_settings(settings, "test"))
    fold(place.engine, basis_of(place.settings), now=datetime.now(UTC))
    return {
        "ROUTEWATCH_SETTINGS": str(tmp_path / "settings.json"), "ROUTEWATCH_SMTP_HOST": HOST,
        "ROUTEWATCH_SMTP_PORT": str(inbox.port), "ROUTEWATCH_SMTP_SECURITY": "none",
        "ROUTEWATCH_SMTP_PASSWORD": "planted-smtp-password", "ROUTEWATCH_WEBHOOK_SECRET": SECRET,
        "ROUTEWATCH_TOKENS": "ada:admin:planted-token-secret",
        "PREFECT_API_URL": f"http://{HOST}:9/api", "PREFECT_API_AUTH_STRING": "ops:planted-prefect-password",
    }  # fmt: skip


def test_each_check_is_a_line_without_colour_in_a_pipe_and_nothing_is_sent(
    tmp_path: Path, well: dict[str, str], inbox: Mailbox, receiver: Hook
) -> None:
    done = call(tmp_path, "doctor", env=well)
    assert (done.returncode, done.stderr) == (1, "")
    *lines, summary = done.stdout.splitlines()
    states = [line.split()[0] for line in lines]
    assert set(states) <= set(State)
    assert summary.startswith(f"{len(lines)} checks: {states.count('ok')} ok")
    # Prefect's server is away, and told as such; all that was set up is well.
    failures = [line for line in lines if line.startswith("failed")]
    assert len(failures) == 1
    assert "start the server, or correct PREFECT_API_URL" in failures[0]
    assert not any(line.startswith("ok ") and "→" in line for line in lines)
    assert "\x1b" not in done.stdout
    assert "planted" not in done.stdout
    assert SECRET.removeprefix("whsec_") not in done.stdout
    assert (inbox.messages, receiver.requests) == ([], [])


def test_programs_get_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROUTEWATCH_HOME", str(tmp_path))
    assert tell_check_up(as_json=True) == 1
    told_all = json.loads(capsys.readouterr().out)
    by_name = {it["name"]: it for it in told_all["checks"]}
    assert told_all["ok"] is False
    assert by_name["database"]["state"] == "failed"
    assert by_name["database"]["remedy"].startswith("`routewatch init` makes it")
    assert by_name["PDF"] == by_name["PDF"] | {"state": "ok", "remedy": None}
    # To ask does not make one.
    assert not (tmp_path / "routewatch.db").exists()


def test_a_terminal_gets_colour_and_what_to_do_below(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    routewatch = Path(sys.executable).with_name("routewatch")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTEWATCH_", "NO_COLOR"))}
    environment = clean | {"ROUTEWATCH_HOME": str(tmp_path), "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen([str(routewatch), "doctor"], stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = _read_all(mine)
    assert process.returncode == 1
    assert "\x1b[1;31mfailed" in shown
    assert "→ `routewatch init` makes it" in shown
    assert "checks: " in shown


def _read_all(line: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(line, 4096)
        except OSError:
            part = b""
        if not part:
            os.close(line)
            return b"".join(parts).decode()
        parts.append(part)


def test_a_check_that_raises_or_does_not_end_stops_no_other() -> None:
    over = Event()

    def defect() -> Finding:
        raise ZeroDivisionError("planted")

    def endless() -> Finding:
        over.wait()
        return ok("")

    def not_here() -> Finding:
        raise NotLooked("not here")

    looks: tuple[Callable[[], Finding], ...] = (defect, endless, not_here, lambda: ok("well"))
    checked = examine([Check(str(number), look) for number, look in enumerate(looks)], timeout_s=0.5)
    over.set()
    assert [(it.name, it.finding.state.value) for it in checked] == [
        ("0", "failed"), ("1", "failed"), ("2", "skipped"), ("3", "ok"),
    ]  # fmt: skip
    assert checked[0].finding.found == "the check ended with a ZeroDivisionError"
    assert "not done within 0.5 s" in checked[1].finding.found


def test_no_secret_of_the_environment_is_told_even_where_a_server_repeats_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted = {
        "ROUTEWATCH_SMTP_PASSWORD": "planted password", "ROUTEWATCH_WEBHOOK_SECRET": f"{SECRET} whsec_cGxhbnRlZDI=",
        "ROUTEWATCH_TOKENS": f"{TOKENS} x:planted:planted:planted", "PREFECT_API_KEY": "planted-key",
        "ROUTEWATCH_DATABASE_URL": "postgresql://ops:planted%20db@h/x", "PREFECT_API_AUTH_STRING": "ops:planted-auth",
    }  # fmt: skip
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    repeated = f"{planted} planted db planted%20db"
    (checked,) = examine([Check("parrot", lambda: Finding(State.FAILED, repeated, repeated))])
    for text_ in (checked.finding.found, checked.finding.remedy):
        for secret in ("planted", SECRET[6:], "cGxhbnRlZDI", *(it.split(":")[2] for it in TOKENS.split())):
            assert secret not in text_.replace("x:planted:", "")


# --- environment and settings -----------------------------------------------------------------------------------------


def test_faults_of_the_environment_are_told_and_what_needs_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_SMTP_PORT", "smtp")
    monkeypatch.setenv("ROUTEWATCH_TOKENS", "ada:everything:planted-token-secret")
    by_name = {it.name: it.finding for it in examine(checks_of(scene_here()))}
    assert by_name["environment"].state is State.FAILED
    assert "ROUTEWATCH_SMTP_PORT" in by_name["environment"].found
    assert "no scopes such as" in by_name["environment"].found
    assert by_name["environment"].remedy.startswith("correct the variables")
    assert {by_name[name].state for name in ("settings", "database", "mail server", "webhooks")} == {State.SKIPPED}
    assert by_name["PDF"].state is State.OK
    assert "planted" not in str(by_name)


def test_a_variable_that_nobody_reads_is_told_with_the_one_that_is_perhaps_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROUTEWATCH_SMTP_HOTS", "mail.example.org")
    monkeypatch.setenv("ROUTEWATCH_OPS_CHAT", "https://hooks.slack.com/services/x")
    known = of(tmp_path, {"delivery": {"recipients": {"ops": ["secret:ROUTEWATCH_OPS_CHAT"]}}})
    finding = found("environment", known)
    assert finding.state is State.WARNING
    assert finding.found.startswith("ROUTEWATCH_SMTP_HOTS (perhaps ROUTEWATCH_SMTP_HOST): no such variable")
    assert "OPS_CHAT" not in finding.found


def test_faults_of_the_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"timezone": "Mars/Base"}, "settings.json")
    scene = Scene(Environment(home=tmp_path), caught.value)
    finding = found("settings", scene)
    assert (finding.state, "Mars/Base" in finding.found) == (State.FAILED, True)
    assert "docs/configuration.md" in finding.remedy
    assert found("time zone", scene) == Finding(State.SKIPPED, "the settings have faults")


def test_names_without_an_address_are_told_with_what_they_would_get(tmp_path: Path) -> None:
    finding = found("recipients", of(tmp_path, {"monitoring": {"alerting": {"channels": ["email"]}}}))
    assert finding.state is State.WARNING
    assert "email (daily reports, alerts)" in finding.found
    assert "delivery.recipients.management" in finding.remedy


def test_that_nothing_is_sent_in_the_dry_run_is_told(tmp_path: Path) -> None:
    recipients = {name: ["mailto:a@example.org"] for name in ("email", "webhook", "management")}
    scene = of(tmp_path, {"delivery": {"mode": "files", "recipients": recipients}})
    assert "nothing is sent" in found("recipients", scene).found
    assert found("mail server", scene).state is State.SKIPPED


def test_tokens_that_are_over_or_soon_will_be_are_told_by_name(tmp_path: Path) -> None:
    soon = NOW.date() + timedelta(days=5)
    assert found("page tokens", of(tmp_path)).found.startswith("none")
    over = found("page tokens", of(tmp_path, tokens=SecretStr(TOKENS)))
    assert (over.state, over.found) == (State.WARNING, "over: former")
    ending = found("page tokens", of(tmp_path, tokens=SecretStr(f"ada:admin:0123456789abcdef:{soon}")))
    assert (ending.state, ending.found) == (State.WARNING, "over within 14 days: ada")
    good = found("page tokens", of(tmp_path, tokens=SecretStr("ada:read+write:0123456789abcdef")))
    assert good == Finding(State.OK, "ada (read+write)")


# --- the machine ------------------------------------------------------------------------------------------------------


def test_a_home_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert found("home", of(tmp_path)).state is State.OK
    assert found("home", of(tmp_path / "new")).remedy == "`routewatch init` makes it"
    assert "is a file" in found("home", of(tmp_path / "file" / "home")).found
    # Not even root can.
    barred = found("home", of(Path("/proc/routewatch")))
    assert (barred.state, "the right to write there" in barred.remedy) == (State.FAILED, True)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    full = found("disk space", of(Path("/proc/routewatch")))
    assert (full.state, full.remedy.startswith("make room")) == (State.FAILED, True)
    assert found("disk space", of(tmp_path)).state in (State.OK, State.WARNING)


@pytest.fixture
def zone_data(tmp_path: Path) -> Iterator[Path]:
    """A folder of zone data that alone is read."""
    before = zoneinfo.TZPATH
    folder = tmp_path / "zoneinfo"
    (folder / "Europe").mkdir(parents=True)
    zoneinfo.reset_tzpath(to=[str(folder)])
    zoneinfo.ZoneInfo.clear_cache()
    yield folder
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()


def _source_of(name: str) -> Path:
    return Path(str(files("tzdata") / "zoneinfo" / name))


def test_zone_data_without_changes_of_the_clocks_are_told(zone_data: Path, tmp_path: Path) -> None:
    shutil.copy(_source_of("UTC"), zone_data / "Europe" / "Berlin")
    finding = found("time zone", of(tmp_path))
    assert finding.state is State.FAILED
    assert "know of no change of the clocks in Europe/Berlin" in finding.found
    assert "PYTHONTZPATH" in finding.remedy


def test_old_zone_data_are_told(zone_data: Path, tmp_path: Path) -> None:
    shutil.copy(_source_of("Europe/Berlin"), zone_data / "Europe" / "Berlin")
    (zone_data / "tzdata.zi").write_text("# version 2019a\n")
    finding = found("time zone", of(tmp_path, {"timezone": "Europe/Berlin"}))
    assert (finding.state, "2019a" in finding.found) == (State.WARNING, True)
    (zone_data / "tzdata.zi").write_text("# version 2026b\n")
    good = found("time zone", of(tmp_path, {"timezone": "Europe/Berlin"}))
    assert good.state is State.OK
    assert "next changes on 2026-10-25" in good.found


def test_a_clock_that_is_off_is_told(postgres_engine: Engine, tmp_path: Path) -> None:
    place = place_of(postgres_engine, tmp_path)
    assert found("clock", scene_of(place, datetime.now(UTC))).state is State.OK
    off = found("clock", scene_of(place, datetime.now(UTC) - timedelta(seconds=20)))
    assert (off.state, "behind the database server's" in off.found) == (State.WARNING, True)
    assert "timedatectl" in off.remedy
    assert found("clock", scene_of(place, datetime.now(UTC) + timedelta(hours=1))).state is State.FAILED


def test_a_font_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "DIRECTORY", tmp_path)
    finding = found("fonts", of(tmp_path))
    monkeypatch.undo()
    assert (finding.state, "make setup" in finding.remedy) == (State.FAILED, True)
    assert found("fonts", of(tmp_path)).state is State.OK


def test_a_library_that_is_missing_is_told_with_how_to_install_it() -> None:
    code = """
        import cffi
        load = cffi.FFI.dlopen
        def dlopen(self, name, flags=0):
            if "pango" in str(name):
                raise OSError(f"cannot load library '{name}'")
            return load(self, name, flags)
        cffi.FFI.dlopen = dlopen
        from tasks.health.checks.rendering import checks
        print([check.look() for check in checks(None) if check.name == "PDF"])
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert "State.FAILED" in done.stdout
    assert "libpango-1.0-0" in done.stdout
    assert "apt-get install" in done.stdout


# --- the database -----------------------------------------------------------------------------------------------------


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


# --- what runs --------------------------------------------------------------------------------------------------------


def test_selections_that_nobody_counts_any_more_are_told(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    assert "nothing has been counted" in found("selections counted", scene_of(place)).found
    insert_selections(engine, selections({"timestamp": NOW - timedelta(minutes=1)}))
    fold(engine, basis_of(place.settings), now=NOW)
    states = [
        found("selections counted", scene_of(place, NOW + timedelta(minutes=minutes))).state
        for minutes in (0, 70, 80, 60 * 26)
    ]
    assert states == [State.OK, State.OK, State.WARNING, State.FAILED]
    stale = found("selections counted", scene_of(place, NOW + timedelta(days=3)))
    assert stale.found.startswith("last counted 3 days ago; the newest selection is of 2026-09-08 05:59 UTC")
    assert "routewatch serve" in stale.remedy


def test_a_router_whose_clock_is_ahead_is_told(sqlite_engine: Engine, tmp_path: Path) -> None:
    place = place_of(sqlite_engine, tmp_path)
    insert_selections(sqlite_engine, selections({"timestamp": NOW + timedelta(hours=3)}))
    fold(sqlite_engine, basis_of(place.settings), now=NOW)
    finding = found("selections counted", scene_of(place))
    assert (finding.state, "3 h in the future" in finding.found) == (State.WARNING, True)
    assert "the router's machine" in finding.remedy


def test_reports_that_did_not_come_are_told(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    missing = found("reports on time", scene_of(place))
    assert missing.found == "no hourly report yet; no daily report yet; no weekly report yet"
    midnight = NOW.replace(hour=0)
    ends = {
        "hourly": NOW.replace(hour=5),
        "daily": midnight - timedelta(days=1),
        "weekly": midnight - timedelta(days=1),
    }
    base = {"template": "performance", "parameters_hash": "h", "parameters": {}, "document": {}, "created_at": NOW}
    with writing(engine) as connection:
        rows = [base | {"kind": kind, "period_start": end, "period_end": end} for kind, end in ends.items()]
        connection.execute(insert(REPORT), rows)
    assert found("reports on time", scene_of(place, NOW)).state is State.OK
    late = found("reports on time", scene_of(place, NOW + timedelta(minutes=40)))
    assert late.found == "the newest hourly report ends at 2026-09-08 05:00 UTC, one up to 2026-09-08 06:00 UTC is due"
    assert "routewatch run hourly" in late.remedy
    assert "daily report" in found("reports on time", scene_of(place, NOW + timedelta(hours=3))).found


def test_flows_that_fail_are_told_with_why(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    assert found("failed runs", scene_of(place)).state is State.OK
    note_failure(place, "daily", "the disk is full", NOW)
    finding = found("failed runs", scene_of(place))
    assert (finding.state, finding.found) == (State.WARNING, "daily since 2026-09-08 06:00 UTC: the disk is full")
    assert "routewatch run daily" in finding.remedy


def test_a_source_that_cannot_be_opened_or_was_not_pulled_is_told(engine: Engine, tmp_path: Path) -> None:
    def scene(**sources: Any) -> Scene:
        place = place_of(engine, tmp_path)
        settings = parse_settings({"sources": sources}, "test")
        return Scene(place.environment, settings, clock=lambda: NOW)

    mine = {"kind": "openrouter", "location": str(tmp_path / "activity.csv")}
    assert found("sources", scene(mine=mine | {"enabled": False})).state is State.SKIPPED
    unset = found("sources", scene(mine=mine, litellm={"location": "$LITELLM_IS_NOWHERE"}))
    assert (unset.state, "the variable LITELLM_IS_NOWHERE is not set" in unset.found) == (State.FAILED, True)
    never = found("sources", scene(mine=mine))
    assert (never.state, never.found) == (State.WARNING, "mine was never pulled")
    assert "routewatch pull mine" in never.remedy
    pulled = {"source": "mine", "kind": "openrouter", "pulled_at": NOW - timedelta(hours=1)}
    with writing(engine) as connection:
        connection.execute(table_of(PullState).insert(), pulled)
    assert found("sources", scene(mine=mine)).state is State.OK
    with writing(engine) as connection:
        connection.execute(update(table_of(PullState)).values(pulled_at=NOW - timedelta(hours=3)))
    assert found("sources", scene(mine=mine)).found == "mine was pulled 180 minutes ago"


def test_a_pull_that_failed_is_told_with_the_command_that_tries_it(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path)
    note_failure(place, "pull litellm", "it is away", NOW)
    assert "`routewatch pull litellm`" in found("failed runs", scene_of(place)).remedy


def test_what_waits_and_what_was_given_up_is_told(engine: Engine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path, "mailto:a@example.org", "mailto:b@example.org", "mailto:c@example.org")
    assert found("deliveries", scene_of(place)) == Finding(State.OK, "none yet")
    told(place)
    assert found("deliveries", scene_of(place)) == Finding(State.OK, "3 queued")
    late = found("deliveries", scene_of(place, NOW + timedelta(hours=2)))
    assert (late.state, "routewatch serve" in late.remedy) == (State.WARNING, True)
    with writing(engine) as connection:
        for number, state in ((1, "dead"), (2, "uncertain")):
            connection.execute(update(DELIVERY).where(DELIVERY.c.id == number).values(state=state))
    finding = found("deliveries", scene_of(place))
    assert finding.found == "1 queued, 1 uncertain, 1 dead"
    assert "retry --all-dead" in finding.remedy
    assert "retry ID" in finding.remedy


# --- mail -------------------------------------------------------------------------------------------------------------


def mail_of(engine: Engine, home: Path, box: Mailbox, **environment: Any) -> Finding:
    return found(
        "mail server", scene_of(changed(place_of(engine, home, "mailto:a@example.org", box=box), **environment))
    )


def test_a_mail_server_that_would_take_mail_gets_none(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    finding = mail_of(sqlite_engine, tmp_path, inbox)
    assert finding.state is State.OK
    assert finding.found.endswith("takes mail from routewatch@example.org, not encrypted, without a login")
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("serve", "security", "told_as"),
    [
        (None, "none", ("cannot reach", "start the server")),
        (lambda _line, over: over.wait(), "starttls", ("not done within 1 s", "465 is mostly tls")),
        (lambda line, _over: line.sendall(b"220 here\r\n"), "tls", ("WRONG_VERSION", "SMTP_SECURITY to starttls")),
        (lambda line, _over: line.sendall(b"554 go away\r\n"), "none", ("554 go away", "ask whoever runs")),
    ],
)  # fmt: skip
def test_a_mail_server_that_does_not_answer_as_one_is_told(
    sqlite_engine: Engine, tmp_path: Path, serve: Any, security: str, told_as: tuple[str, str]
) -> None:
    cause, remedy = told_as
    with serving(serve or (lambda line, _over: line.close())) as port:
        at = 9 if serve is None else port
        finding = mail_of(sqlite_engine, tmp_path, Mailbox(at), smtp_security=security)
    assert (finding.state, cause in finding.found, remedy in finding.remedy) == (State.FAILED, True, True), finding


def test_a_mail_server_without_starttls_is_told(sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    finding = mail_of(sqlite_engine, tmp_path, inbox, smtp_security="starttls")
    assert (finding.state, "STARTTLS" in finding.found) == (State.FAILED, True)
    assert "ROUTEWATCH_SMTP_SECURITY to tls" in finding.remedy


def test_a_mail_server_with_a_certificate_of_its_own_is_told(
    sqlite_engine: Engine, tmp_path: Path, unknown_issuer: Any
) -> None:
    with mailbox(tls_context=unknown_issuer) as box:
        finding = mail_of(sqlite_engine, tmp_path, box, smtp_security="starttls")
    assert (finding.state, "not trusted" in finding.found) == (State.FAILED, True)
    assert "SSL_CERT_FILE" in finding.remedy


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(
    ("username", "password", "remedy"),
    [
        (None, None, "set ROUTEWATCH_SMTP_USERNAME and _PASSWORD"),
        ("ops", None, "set ROUTEWATCH_SMTP_PASSWORD"),
        ("ops", "wrong", "check ROUTEWATCH_SMTP_USERNAME and _PASSWORD"),
        ("ops", "right", ""),
    ],
)
def test_a_login_is_made_and_told_where_it_is_refused(
    sqlite_engine: Engine, tmp_path: Path, username: str | None, password: str | None, remedy: str
) -> None:
    with mailbox(**LOGIN) as box:
        secret = None if password is None else SecretStr(password)
        finding = mail_of(sqlite_engine, tmp_path, box, smtp_username=username, smtp_password=secret)
    assert finding.state is (State.FAILED if remedy else State.OK)
    assert finding.remedy.startswith(remedy)
    assert remedy or "logged in" in finding.found


# --- webhooks ---------------------------------------------------------------------------------------------------------


def hook_of(home: Path, url: str, *, private: bool = True, **environment: Any) -> Finding:
    scene = of(home, {"delivery": {"allowPrivateAddresses": private, "recipients": {"ops": [url]}}}, **environment)
    (name,) = [it.name for it in checks_of(scene) if it.name.startswith("webhook ") and it.name != "webhook secret"]
    return found(name, scene)


def test_a_receiver_is_reached_and_gets_nothing(tmp_path: Path, receiver: Hook) -> None:
    assert hook_of(tmp_path, receiver.url) == Finding(State.OK, "127.0.0.1 answers, not encrypted")
    assert receiver.requests == []


def test_a_private_address_is_refused_as_it_is_when_sending(tmp_path: Path, receiver: Hook) -> None:
    finding = hook_of(tmp_path, f"https://{HOST}:{receiver.port}/hook", private=False)
    assert (finding.state, "not public" in finding.found) == (State.FAILED, True)
    assert "delivery.allowPrivateAddresses" in finding.remedy


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (f"http://{HOST}:9/hook", "see that the receiver listens there"),
        ("https://nowhere.invalid/hook", "name server"),
        ("secret:NOBODY_SET_THIS", "set the variable"),
    ],
)
def test_a_receiver_that_cannot_be_reached_is_told(tmp_path: Path, url: str, remedy: str) -> None:
    finding = hook_of(tmp_path, url)
    assert (finding.state, remedy in finding.remedy) == (State.FAILED, True), finding


def test_what_is_secret_in_an_address_is_not_told(tmp_path: Path) -> None:
    finding = hook_of(tmp_path, f"https://ops:planted@{HOST}:9/hook?key=planted")
    assert "planted" not in str(finding)


def test_a_certificate_is_checked_and_its_end_told(
    tmp_path: Path, unknown_issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shake_hands(line: socket.socket, over: Event) -> None:
        with unknown_issuer.wrap_socket(line, server_side=True):
            over.wait()

    with serving(shake_hands) as port:
        url = f"https://{HOST}:{port}/hook"
        distrusted = hook_of(tmp_path, url)
        trusting = httpx.create_ssl_context()
        trusting.check_hostname = False
        trusting.load_verify_locations(cadata=_certificate_of(unknown_issuer))
        monkeypatch.setattr(http, "trusted_context", lambda: trusting)
        finding = hook_of(tmp_path, url)
    assert (distrusted.state, "SSL_CERT_FILE" in distrusted.remedy) == (State.FAILED, True)
    assert (finding.state, "TLSv1.3, with a certificate until" in finding.found) == (State.OK, True)


def _certificate_of(context: Any) -> bytes:
    """What a server with this context shows, to trust it."""
    import ssl  # noqa: PLC0415

    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Thread(target=lambda: context.wrap_socket(theirs, server_side=True).close())
        server.start()
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with anybody.wrap_socket(ours) as line:
            shown = line.getpeercert(binary_form=True)
        server.join()
    assert shown is not None
    return shown


@pytest.mark.parametrize("secret", [None, "whsec_!"])
def test_that_nothing_can_be_signed_is_told(tmp_path: Path, secret: str | None) -> None:
    settings = {"delivery": {"recipients": {"ops": ["https://example.org/hook"]}}}
    finding = found("webhook secret", of(tmp_path, settings, webhook_secret=secret and SecretStr(secret)))
    assert (finding.state, "ROUTEWATCH_WEBHOOK_SECRET" in finding.remedy) == (State.FAILED, True)
    signing = of(tmp_path, settings, webhook_secret=SecretStr(SECRET))
    assert found("webhook secret", signing).state is State.OK


# --- Prefect ----------------------------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the server's name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/api"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def prefect_at(address: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> Finding:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - takes seconds

    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(httpx.URL(address).port))
    with temporary_settings({PREFECT_API_URL: None}):
        return found("Prefect API", of(home))


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, b'{"exception_message": "Unauthorized"}', "PREFECT_API_AUTH_STRING"),
        (200, b'"2.20.1"', "for the server too"),
        (200, b"welcome", "correct PREFECT_API_URL"),
        (500, b"{}", "start the server"),
    ],
)
def test_a_server_that_refuses_or_does_not_fit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, remedy: str
) -> None:
    with answering(status, body) as address:
        finding = prefect_at(address, monkeypatch, tmp_path)
    assert (finding.state, remedy in finding.remedy) == (State.FAILED, True), finding


def test_without_a_server_nothing_is_asked_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "9")
    assert "`routewatch serve` starts one" in found("Prefect API", of(tmp_path)).found


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_timetable_that_is_missing_paused_or_that_nobody_runs_is_told(tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - importing Prefect takes seconds

    from deployments.service.deployments import timetable  # noqa: PLC0415

    scene = of(tmp_path)
    assert found("Prefect API", scene).state is State.OK
    missing = found("timetable", scene)
    assert (missing.state, missing.found) == (State.FAILED, "not deployed: hourly, daily, weekly")
    ids = [str(it.apply()) for it in timetable(scene.settings) if it.flow_name in orchestration.TIMED]
    idle = found("timetable", scene)
    assert (idle.state, idle.found) == (State.WARNING, "deployed, but nobody takes the runs of hourly, daily, weekly")
    assert "routewatch serve" in idle.remedy
    with get_client(sync_client=True) as client:
        client.request("POST", "/deployments/get_scheduled_flow_runs", json={"deployment_ids": ids})
        assert found("timetable", scene) == Finding(State.OK, "deployed and taken care of: hourly, daily, weekly")
        client.pause_deployment(ids[1])
    paused = found("timetable", scene)
    assert (paused.state, paused.found, "resume" in paused.remedy) == (State.WARNING, "paused: daily", True)
