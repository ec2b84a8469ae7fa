"""The command line as users call it: exit statuses, one clear line for every error, and nothing half-written."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.commands import ROUTEWATCH, call, call_process, fault, the_fault_of
from tests.support.databases import migrated_sqlite
from tests.support.environment import clean_environment
from tests.support.factories import insert_selections, selections


@pytest.fixture
def home(tmp_path: Path) -> Path:
    migrated_sqlite(tmp_path)
    return tmp_path


def test_init_creates_the_database_and_can_be_repeated(tmp_path: Path) -> None:
    first, second = call(tmp_path, "init"), call(tmp_path, "init")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "created" in first.stdout
    assert "up to date" in second.stdout


def test_from_a_terminal_no_telemetry_is_sent_to_prefect(home: Path) -> None:
    outer, inner = pty.openpty()
    # As on a desktop: on a build server Prefect sends no telemetry anyway.
    environment = {name: value for name, value in clean_environment().items() if name != "CI"}
    done = subprocess.run(
        [str(ROUTEWATCH), "optimizations", "list"],
        env=environment | {"HOME": str(home), "ROUTEWATCH_HOME": str(home), "HTTPS_PROXY": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=inner,
        timeout=120,
        check=False,
    )
    os.close(inner)
    os.close(outer)
    assert done.returncode == 0
    assert not (home / ".prefect" / ".sdk_telemetry").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, deployments.cli.app as cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'polars', 'prefect', 'altair', 'weasyprint', 'sqlalchemy', 'numpy', 'httpx'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deliveries" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run", "yearly"),
        ("report", "performance", "--from", "noon"),
        ("report", "performance", "--last", "x"),
        ("report", "performance", "--from", "2026-09-07", "--last", "7d"),
        ("report", "performance", "--format", "docx"),
        ("report", "performance", "-o", "week.docx"),
        ("report", "performance", "--send-to", "nobody"),
        ("import",),
        ("deliveries", "retry", "5"),
        ("deliveries", "retry"),
        ("deliveries", "retry", "5", "--all-dead"),
        ("deliveries", "test", "nobody"),
    ],
)
def test_a_wrong_call_ends_with_status_2_and_one_line(home: Path, arguments: tuple[str, ...]) -> None:
    fault(home, *arguments, status=2)


def test_a_former_command_name_is_answered_with_the_new_one(home: Path) -> None:
    done = call(home, "deliveries", "sample", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    former, wrong = done.stderr.splitlines()
    assert former.endswith("use `routewatch deliveries test`")
    assert wrong.startswith("routewatch: no address is set for nobody")


def test_a_process_of_a_wrong_call_ends_so_too(home: Path) -> None:
    the_fault_of(call_process(home, "run", "yearly"), 2)


def test_every_settings_error_is_reported_at_once_with_its_path(home: Path) -> None:
    path = home / "settings.json"
    path.write_text('{"timezone": "Mars/Base", "budgets": 3, "optimizer": {"mode": "yes"}}')
    line = fault(home, "config", "get", status=2, env={"ROUTEWATCH_SETTINGS": str(path)})
    assert all(part in line for part in ("timezone", "budgets: is not a known setting", "optimizer.mode"))


def test_an_unreachable_database_is_reported_without_its_password(home: Path) -> None:
    address = "postgresql://ops:hunter2@127.0.0.1:9/routewatch"
    for arguments in (("init",), ("run", "daily"), ("report", "performance"), ("import", str(home / "x.csv"))):
        line = fault(home, *arguments, status=1, env={"ROUTEWATCH_DATABASE_URL": address})
        assert "cannot use the database postgresql" in line
        assert "hunter2" not in line


def test_a_database_without_tables_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "routewatch.db").touch()
    assert "run `routewatch init`" in fault(tmp_path, "config", "get", status=1)


def test_a_missing_file_is_reported(home: Path) -> None:
    assert "nowhere.csv" in fault(home, "import", "nowhere.csv", status=1)


def test_valid_rows_are_kept_and_rejected_ones_reported(home: Path) -> None:
    path = home / "log.csv"
    path.write_text("timestamp,model_id,cost_usd\n2026-09-07T08:00:00Z,m,1\n2026-09-07T08:00:00Z,m,-1\nsoon,m,1\n")
    done = call(home, "import", str(path))
    assert done.returncode == 0
    assert "3 rows read, 2 added, 0 already there, 1 rejected" in done.stdout
    assert "1 × timestamp is not an ISO 8601 time" in done.stdout
    assert "1 × unknown field: cost_usd is negative" in done.stdout
    assert (home / "rejects" / "log.csv.rejects.csv").exists()


def test_a_report_goes_to_stdout_or_to_the_file_that_is_named(home: Path, sqlite_engine: Engine) -> None:
    insert_selections(sqlite_engine, selections({"response_time_ms": 100.0, "model_id": "<b>m</b>"}))
    period = ("--from", "2026-09-07", "--to", "2026-09-08")
    lines = call_process(home, "report", "performance", *period, "--format", "json")
    assert json.loads(lines.stdout)["summary"]["totalSelections"] == 1
    page = call(home, "report", "cost", *period)
    assert "<b>m</b>" not in page.stdout
    assert "&lt;b&gt;m&lt;/b&gt;" in page.stdout
    written = call(home, "report", "performance", *period, "-o", str(home / "r.pdf"))
    assert written.returncode == 0
    assert (home / "r.pdf").read_bytes().startswith(b"%PDF")
    assert "cannot write" in fault(home, "report", "performance", *period, "-o", "routewatch.db/r.pdf", status=2)


def test_of_several_formats_each_is_a_file_of_that_name(home: Path) -> None:
    period = ("--from", "2026-09-07", "--to", "2026-09-08")
    done = call(home, "report", "usage", *period, "--format", "json", "--format", "csv", "-o", "usage.csv")
    assert done.stdout.splitlines() == ["usage.zip", "usage.json"]
    assert json.loads((home / "usage.json").read_text())["formats"] == ["csv", "json"]
    (home / "out").mkdir()
    assert call(home, "report", "cost", *period, "-o", "out").returncode == 0
    assert {path.suffix for path in (home / "out").iterdir()} == {".html", ".pdf", ".zip", ".json"}


def test_a_report_is_sent_to_the_recipients_that_are_named_and_to_each_once(home: Path) -> None:
    """In the dry run; a recipient named later gets the stored report."""
    addresses = {"head": ["mailto:head@example.org"], "team": ["mailto:team@example.org"]}
    settings = {
        "delivery": {"mode": "files", "recipients": addresses},
        "reporting": {"customReports": {"exportFormats": ["csv"]}},
    }
    (home / "settings.json").write_text(json.dumps(settings))
    env = {"ROUTEWATCH_SETTINGS": str(home / "settings.json")}
    asked = ("report", "cost", "--from", "2026-09-07", "--to", "2026-09-08", "--send-to")
    first, again, second = (call(home, *asked, name, env=env) for name in ("head", "head", "team"))
    assert "email to head@example.org: sent" in first.stdout
    assert {path.suffix for path in (home / "reports" / "custom").iterdir()} == {".html", ".zip"}
    assert "email to" not in again.stdout
    assert "email to team@example.org: sent" in second.stdout
    assert "head@" not in second.stdout
    assert sorted(path.name for path in (home / "outbox").iterdir()) == [
        "report-1-delivery-1.eml", "report-1-delivery-2.eml",
    ]  # fmt: skip
    assert "no address is set for nobody" in fault(home, *asked, "nobody", status=2, env=env)


def test_a_test_message_is_sent_and_listed_and_dead_letters_are_requeued(home: Path) -> None:
    settings = {"delivery": {"mode": "files", "recipients": {"ops": ["mailto:ops@example.org"]}}}
    (home / "settings.json").write_text(json.dumps(settings))
    env = {"ROUTEWATCH_SETTINGS": str(home / "settings.json")}
    done = call(home, "deliveries", "test", "ops", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "email to ops@example.org: sent" in done.stdout
    assert "sample" in (home / "outbox" / "message-1-delivery-1.eml").read_text()
    assert re.search(r"1 +sample +email +ops@example.org +sent", call(home, "deliveries", "list").stdout)
    assert call(home, "deliveries", "retry", "--all-dead").stdout.startswith("0 deliveries requeued")


def test_the_config_is_shown_changed_and_its_history_kept(home: Path) -> None:
    assert call(home, "config", "set", "cache.max_entries", "500").returncode == 0
    assert call(home, "config", "set", "cache.max_entries", "900", "--reason", "more memory").returncode == 0
    assert json.loads(call(home, "config", "get").stdout) == {"cache.max_entries": 900}
    history = call(home, "config", "history").stdout
    assert "more memory" in history
    assert "500" in history
    assert "has no key 'nothing'" in fault(home, "config", "get", "nothing", status=2)


def test_an_empty_list_says_so(home: Path) -> None:
    assert call(home, "deliveries", "list").stdout == "no deliveries yet\n"
    assert call(home, "optimizations", "list").stdout == "no proposals yet\n"


@pytest.mark.parametrize(
    "command",
    [
        "config get", "config history", "config set cache.ttl_seconds 60", "alerts list", "alerts silences",
        "deliveries list", "deliveries retry --all-dead", "optimizations list", "optimizations preview",
        "quarantine list", "quarantine retry --all", "pull --list", "report performance", "rebuild", "import log.csv",
        "run hourly",
    ],
)  # fmt: skip
def test_a_command_on_a_fresh_home_says_what_is_missing_and_creates_nothing(tmp_path: Path, command: str) -> None:
    """An empty database would look like one without data, and hide that the home is not the one that was meant."""
    said = fault(tmp_path, *command.split(), status=1)
    assert f"sqlite:///{tmp_path}/routewatch.db: there is no such file. `routewatch init` creates it" in said
    assert "ROUTEWATCH_HOME" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        "alerts silence --reason x --hours nan", "alerts silence --reason x --hours inf",
        "alerts silence --reason x --hours 1e300", "alerts silence --reason x --hours -1", "alerts unsilence {}",
        "quarantine drop {}", "quarantine retry {}", "deliveries retry {}", "optimizations approve {}",
        "optimizations show {}",
    ],
)  # fmt: skip
def test_a_number_beyond_all_bounds_is_wrong_use(home: Path, command: str) -> None:
    for number in ("0", str(2**63), "9" * 60) if "{}" in command else ("",):
        assert "internal error" not in fault(home, *command.format(number).split(), status=2)
