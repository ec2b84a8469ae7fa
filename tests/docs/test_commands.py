"""Every command, setting, mapping and program in the documentation works."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]
from sqlalchemy import Engine
from typer._click.exceptions import MissingParameter  # Typer's own copy of click, which has no public name
from typer.core import TyperGroup

from deployments.cli.app import app
from models.context import close_engines
from models.database import open_database
from models.settings import parse_settings
from routewatch import RouterLog
from tasks.ingestion.column_mapping import load_mapping
from tests.support.databases import migrated_sqlite
from tests.support.doc_pages import Block, Command, blocks, commands, named_files
from tests.support.environment import clean_environment
from tests.support.factories import insert_selections, selections
from tests.support.paths import ROOT

BIN = Path(sys.executable).parent
START = ROOT / "docs" / "start.md"

OUR_TABLES = ("docs/router.md", "docs/api.md")
"""Pages whose SQL is for Routewatch's own database; that of the sources is tried where these are."""


def parse(words: tuple[str, ...]) -> None:
    """Parse a command line as the program would, without running it. Raises what a wrong one raises."""
    command = typer.main.get_command(app)
    context, name, rest = None, "routewatch", list(words)
    while isinstance(command, TyperGroup):
        context = command.make_context(name, rest, parent=context)
        found, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        assert inner is not None
        name, command = found, inner
    command.make_context(name, rest, parent=context)


def shown(item: Command | Block) -> str:
    return f"{item.page}: {item.line if isinstance(item, Command) else item.text.splitlines()[0]}"


@pytest.mark.parametrize("command", commands("routewatch"), ids=shown)
def test_the_command_line_takes_what_a_page_shows(command: Command) -> None:
    try:
        parse(command.words)
    except typer.Exit:
        assert command.words == ("--help",)
    except MissingParameter:
        assert not command.is_whole


@pytest.mark.parametrize(
    "words", [("nonsense",), ("report", "performance", "--lest", "7d"), ("alerts", "hush"), ("optimizations", "show")]
)
def test_the_command_line_refuses_what_it_does_not_know(words: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=r"No such|Missing") as refused:
        parse(words)
    assert hasattr(refused.value, "format_message")


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {command.words[0] for command in commands("make")}
    assert {"demo", "docs", "setup"} <= asked <= targets


def test_every_module_that_is_to_be_run_is_there() -> None:
    asked = {command.words[0] for command in commands("python -m")}
    assert "deployments.reference.json_schemas" in asked
    assert [name for name in asked if find_spec(name) is None] == []


@pytest.mark.parametrize("block", blocks("json"), ids=shown)
def test_settings_that_a_page_shows_are_right(block: Block) -> None:
    parse_settings(json.loads(block.text), block.page)


@pytest.mark.parametrize("block", blocks("toml"), ids=shown)
def test_mappings_that_a_page_shows_are_right(block: Block, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(block.text)
    assert load_mapping(tmp_path / "map.toml").columns


@pytest.mark.parametrize("block", blocks("python"), ids=shown)
def test_python_that_a_page_shows_can_be_read(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", [it for it in blocks("python") if "RouterLog" in it.text], ids=shown)
def test_python_that_records_a_selection_records_one(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = migrated_sqlite(tmp_path)
    monkeypatch.setenv("ROUTEWATCH_DATABASE_URL", address)
    names: dict[str, Any] = {}
    exec(compile(block.text, block.page, "exec"), names)  # noqa: S102 - it is the project's own
    log = names["log"]
    assert isinstance(log, RouterLog)
    assert (log.counts.written, log.counts.refused) == (1, 0)


@pytest.mark.parametrize("block", [it for it in blocks("sql") if it.page in OUR_TABLES], ids=shown)
def test_sql_that_a_page_shows_runs(block: Block, postgres_engine: Engine) -> None:
    with postgres_engine.begin() as connection:
        connection.exec_driver_sql(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=shown)
def test_yaml_that_a_page_shows_can_be_read(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("block", blocks("sh"), ids=shown)
def test_a_shell_can_read_what_a_page_shows(block: Block) -> None:
    done = subprocess.run(["sh", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_start_leads_to_a_report(tmp_path: Path) -> None:
    for name, text in named_files(START).items():
        (tmp_path / name).write_text(text)
    lines = [line for block in blocks("sh") if block.page == "docs/start.md" for line in block.text.splitlines()]
    # These tests have done the set-up; the demo and the flows have tests of their own.
    left_out = ("make ", ". .venv", "routewatch run daily", "ls ")
    script = "\n".join(line for line in lines if not line.startswith(left_out))
    done = subprocess.run(
        ["sh", "-eux", "-c", script], cwd=tmp_path, env=clean_environment() | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 added, 0 already there, 0 rejected" in done.stdout
    assert (tmp_path / "first.pdf").read_bytes().startswith(b"%PDF-")


LATELY = [datetime.now(UTC) - timedelta(minutes=15 * number) for number in range(1, 200)]

# What needs nothing but rows. The others need a decision that waits, a delivery, a server, a source's database, or
# a month that began more than an hour ago.
ALONE = re.compile(
    r"init|(alerts|deliveries|optimizations) list|alerts silences|alerts silence .*"
    r"|optimizations (preview|stop.*|resume)"
    r"|config (get|history|set .*)|pull --list|report (?!.*(--send-to|this month)).*|rebuild"
)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[tuple[str, ...]], int]]:
    """Run the command line within this process, on a database with two days of selections that end now."""
    for name in list(os.environ):
        if name.startswith("ROUTEWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROUTEWATCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    address = migrated_sqlite(tmp_path)
    insert_selections(open_database(address), selections(*({"timestamp": at} for at in LATELY)))
    yield lambda words: app(list(words), standalone_mode=False) or 0
    close_engines()


def test_commands_that_need_nothing_else_run(call: Callable[[tuple[str, ...]], int]) -> None:
    elsewhere = [command.words for command in commands("routewatch") if command.page != "docs/start.md"]
    alone = {words for words in elsewhere if ALONE.fullmatch(" ".join(words))}
    assert len(alone) > 15
    assert {words: call(words) for words in sorted(alone)} == dict.fromkeys(alone, 0)


# ----------------------------------------------------------------------------------------------------------------------


def clean(more: dict[str, str]) -> dict[str, str]:
    own = ("ROUTEWATCH_", "PREFECT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | more
