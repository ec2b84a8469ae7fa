"""Each command imports only what it needs: slow imports are listed here, or fail the test."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import Engine, insert
from typer.core import TyperGroup

from deployments.cli.app import app
from models.attribution import Attribution
from models.database import connect, writing
from models.documents import ConfigChangeProposal, Recommendation
from models.notifications import SampleMessage
from models.schema import ALERT, DELIVERY, MESSAGE, DeliveryState
from models.settings import Settings
from tasks.optimizer.decisions import approve
from tasks.optimizer.lifecycle import Step, propose
from tasks.optimizer.router_config import read_config, set_by_hand
from tests.support.databases import migrated_sqlite
from tests.support.environment import clean_environment
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.paths import ROOT
from tests.support.release import mostly_slow
from tests.support.waiting import a_free_port

HEAVY = frozenset({
    "PIL", "adbc_driver_postgresql", "adbc_driver_sqlite", "aiosmtpd", "alembic", "altair", "babel", "css_inline",
    "email_validator", "fastapi", "fontTools", "genai_prices", "httpx", "jinja2", "numpy", "opentelemetry", "polars",
    "prefect", "prometheus_client", "pyarrow", "pydantic", "rich", "sqlalchemy", "sqlalchemy.orm", "sqlmodel",
    "structlog", "trio", "uvicorn", "vl_convert", "weasyprint",
})  # fmt: skip
"""Modules that take some hundredths of a second to import, or more."""

ROWS = {"pydantic", "sqlalchemy"}
"""Of whatever reads some rows by the settings."""

LISTS = ROWS | {"rich"}
DECIDES = ROWS | {"numpy", "polars"}
REPORTS = DECIDES | {"babel"}
DRAWS = REPORTS | {"altair", "fontTools", "jinja2", "vl_convert"}
PRINTS = DRAWS | {"PIL", "weasyprint"}
SENDS = LISTS | {"babel", "httpx", "trio"}
PREFECTS = {"opentelemetry", "prefect", "prometheus_client"}
"""What Prefect brings along."""

PERIOD = "--from 2026-09-07 --to 2026-09-08"

COMMANDS: dict[str, set[str]] = {
    "--help": set(),
    "report --help": {"pydantic"},
    "init": ROWS | {"alembic"},
    "import rows.csv": ROWS | {"polars"},
    "pull --list": LISTS | {"polars"},
    "rebuild": REPORTS,
    f"report performance {PERIOD} --format json": REPORTS,
    f"report cost {PERIOD} --format csv -o out": REPORTS,
    f"report usage {PERIOD} --format html": DRAWS,
    f"report performance {PERIOD} --format pdf -o out.pdf": PRINTS,
    f"report performance {PERIOD} --summary --format json --send-to console": REPORTS | SENDS,
    "doctor": SENDS - {"babel"} | PREFECTS | {"PIL", "fontTools", "weasyprint"},
    # Nothing is set to sign with, so that Prefect is asked.
    "deliveries test http://127.0.0.1:9/": SENDS | PREFECTS,
    "test-delivery http://127.0.0.1:9/": SENDS | PREFECTS,
    "deliveries list": LISTS,
    "deliveries retry 1": ROWS,
    "deliveries test console": SENDS,
    "deliveries sample console": SENDS,
    "alerts list": LISTS | {"babel"},
    "alerts silence --reason work": ROWS,
    "alerts silences": ROWS,
    "alerts unsilence 1": ROWS,
    "config get": ROWS,
    "config set routing.simple small": ROWS,
    "config history": LISTS,
    "optimizations list": LISTS,
    "optimizations show 1": LISTS,
    "optimizations approve 2": DECIDES,
    "optimizations reject 2": DECIDES,
    "optimizations revert 1": DECIDES,
    "optimizations stop": DECIDES,
    "optimizations resume": DECIDES,
    "rollouts list": LISTS | {"numpy", "polars"},
    "rollouts show 1": LISTS | {"numpy", "polars"},
    "rollouts approve-step 1": DECIDES,
    "rollouts hold 1": DECIDES,
    "rollouts resume 1": DECIDES,
    "rollouts jump 1 50": DECIDES,
    "rollouts abort 1": DECIDES,
    "optimizations preview": REPORTS | {"rich"},
    "quarantine list": LISTS,
    "quarantine retry --all": ROWS,
    "quarantine drop --all": ROWS,
}
"""The modules of HEAVY that each command may hold when it ends, on a database that has rows of everything."""

OFTEN = {
    "--help", f"report performance {PERIOD} --format json", f"report performance {PERIOD} --format pdf -o out.pdf",
    "doctor", "deliveries list", "config get", "optimizations list",
}  # fmt: skip
"""The commands that are tried at every change: one of each set of imports, and those that people wait for."""

STATUSES = {
    "doctor": (0, 1),
    "deliveries test http://127.0.0.1:9/": (1,),
    "test-delivery http://127.0.0.1:9/": (1,),
    "alerts unsilence 1": (2,),
    "optimizations revert 1": (2,),
    **{f"rollouts {it}": (2,) for it in ("show 1", "approve-step 1", "hold 1", "resume 1", "jump 1 50", "abort 1")},
}
"""Expected exit status where it is not 0: no server to answer, no silence yet, and nothing applied yet."""

SERVING = {"page"}
"""Tried below."""

WHOLE = {"run", "demo", "serve", "deploy", "worker"}
"""They run flows, or speak with Prefect's server: nothing of it can be left out."""

RECORDED = """
import atexit, json, sys
from pathlib import Path
out = Path(sys.argv.pop(1))
atexit.register(lambda: out.write_text(json.dumps(sorted(sys.modules))))
from deployments.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a day's selections, an alert, an approved and a proposed optimization, and a dead letter."""
    folder = tmp_path_factory.mktemp("filled")
    engine = connect(migrated_sqlite(folder))
    every = [MONDAY + timedelta(minutes=minute) for minute in range(0, 24 * 60, 5)]
    rows = [{"timestamp": at, "model_id": model, "response_time_ms": 900.0, "cost_usd": 0.01, "complexity": "simple"}
            for at in every for model in ("small", "large")]  # fmt: skip
    insert_selections(engine, selections(*rows))
    for key in ("cache.max_entries", "cache.ttl"):
        set_by_hand(engine, key, 1_000, by="ada", reason="first", now=MONDAY)
        _propose(engine, key)
    approve(engine, 1, Settings(), Attribution("ada", "", MONDAY))
    with writing(engine) as connection:
        alert = {"rule": "errorRate", "subject": "", "severity": "critical", "state": "firing", "started_at": MONDAY}
        connection.execute(insert(ALERT), [alert | {"value": 0.4, "threshold": 0.1}])
        content = SampleMessage(at=MONDAY, zone="UTC", locale="en_US").model_dump(mode="json", by_alias=True)
        connection.execute(insert(MESSAGE), [{"key": "sample", "content": content, "created_at": MONDAY}])
        dead = {"message_id": 1, "channel": "console", "recipient": "console", "state": DeliveryState.DEAD.value}
        connection.execute(insert(DELIVERY), [dead | {"queued_at": MONDAY, "next_attempt_at": MONDAY}])
    engine.dispose()
    return folder


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    (tmp_path / "rows.csv").write_text("timestamp,modelId\n2026-09-07T10:00:00Z,small\n", encoding="utf-8")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", mostly_slow(COMMANDS, OFTEN.__contains__))
def test_a_command_imports_nothing_heavy_that_it_does_not_need(command: str, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RECORDED, str(home / "modules.json"), *command.split()],
        env=_environment(home), cwd=home, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode in STATUSES.get(command, (0,)), done.stderr
    assert _heavy(home) <= COMMANDS[command]


def test_the_page_serves_without_prefect(home: Path) -> None:
    command = [sys.executable, "-c", RECORDED, str(home / "modules.json"), "page", "--port", str(a_free_port())]
    with subprocess.Popen(command, env=_environment(home), cwd=home, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Live page: ")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert not _heavy(home) & {"alembic", "prefect", "sqlalchemy.orm", "sqlmodel", "weasyprint"}


def test_every_command_is_tried() -> None:
    tried = {*COMMANDS, *SERVING, *WHOLE}
    missing = [
        path for path in _paths(typer.main.get_command(app)) if not any(f"{it} ".startswith(f"{path} ") for it in tried)
    ]
    assert missing == []


# ----------------------------------------------------------------------------------------------------------------------


def _heavy(home: Path) -> frozenset[str]:
    """Return the modules of HEAVY that a process held when it ended."""
    return HEAVY & set(json.loads((home / "modules.json").read_text(encoding="utf-8")))


def _environment(home: Path) -> dict[str, str]:
    return clean_environment(ROUTEWATCH_HOME=str(home), PYTHONPATH=str(ROOT))


def _propose(engine: Engine, key: str) -> None:
    setting = read_config(engine)[key]
    move = ConfigChangeProposal(key=key, from_value=setting.value, to_value=2_000, version=setting.version)
    item = Recommendation(
        type="cache_optimization", bottleneck="low_cache_hit_rate", description="Keep more.", impact="high",
        effort="low", auto_apply=False, moves=(move,),
    )  # fmt: skip
    row = {"type": item.type, "subject": key, "recommendation": item.model_dump(mode="json", by_alias=True)}
    with writing(engine) as connection:
        propose(
            connection,
            row | {"period_start": MONDAY, "period_end": MONDAY + timedelta(days=1)},
            Step("routewatch", "proposed", MONDAY),
        )


def _paths(command: Any, before: str = "") -> list[str]:
    """Return the words of every command."""
    if not isinstance(command, TyperGroup):
        return [before]
    return [path for name, inner in command.commands.items() for path in _paths(inner, f"{before} {name}".strip())]
