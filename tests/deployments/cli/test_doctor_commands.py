"""`routewatch doctor`: a line for each check, JSON for programs, colour for a terminal; no secret in any."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.cli.doctor_output import print_check_up
from models.context import AppContext
from models.environment import Environment
from models.settings import parse_settings
from tasks.health.check import CheckState
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.commands import call_process
from tests.support.contexts import SECRET
from tests.support.databases import migrated_sqlite
from tests.support.servers import HOST, Hook, Mailbox


@pytest.fixture
def well(tmp_path: Path, inbox: Mailbox, receiver: Hook) -> dict[str, str]:
    """Return the environment of a working installation, with a secret wherever there can be one."""
    entries = [f"http://{HOST}:{receiver.port}/hook?key=planted-in-url", "mailto:ops@example.org"]
    named = dict.fromkeys(("email", "webhook", "management"), entries)
    settings = {"delivery": {"allowPrivateAddresses": True, "recipients": named}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    migrated_sqlite(tmp_path)
    ctx = AppContext(Environment(home=tmp_path), parse_settings(settings, "test"))
    update_rollups(ctx.engine, rollup_settings(ctx.settings), now=datetime.now(UTC))
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
    done = call_process(tmp_path, "doctor", env=well)
    assert (done.returncode, done.stderr) == (1, "")
    *lines, summary = done.stdout.splitlines()
    states = [line.split()[0] for line in lines]
    assert set(states) <= set(CheckState)
    assert summary.startswith(f"{len(lines)} checks: {states.count('ok')} ok")
    # Prefect's server is unreachable, and reported as such; everything that was set up is healthy.
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
    assert print_check_up(as_json=True) == 1
    told_all = json.loads(capsys.readouterr().out)
    by_name = {it["name"]: it for it in told_all["checks"]}
    assert told_all["ok"] is False
    assert by_name["database"]["state"] == "failed"
    assert by_name["database"]["remedy"].startswith("`routewatch init` creates it")
    assert by_name["PDF"] == by_name["PDF"] | {"state": "ok", "remedy": None}
    # A check does not create one.
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
    assert "→ `routewatch init` creates it" in shown
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
