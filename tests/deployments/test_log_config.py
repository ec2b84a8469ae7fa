"""Logs are lines for people on a terminal and JSON elsewhere, with ids, without secrets."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml  # type: ignore[import-untyped]

from deployments.log_config import CONFIGURATION, IDS, formatter, use_logs
from models.environment import load_environment
from models.errors import SettingsError
from tests.support.commands import call_process
from tests.support.contexts import SECRET
from tests.support.databases import migrated_sqlite
from tests.support.environment import clean_environment
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what is set for the processes that are started."""
    names = ("PREFECT_LOGGING_SETTINGS_PATH", "PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_LOGGERS_ROUTEWATCH_LEVEL",
             "ROUTEWATCH_LOG_FORMAT", "ROUTEWATCH_LOG_LEVEL", "NO_COLOR")  # fmt: skip
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@contextmanager
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mine, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as line, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", line)
        yield
    os.close(mine)


def written(message: str, *args: object, **extra: Any) -> str:
    record = logging.getLogger("routewatch").makeRecord(
        "routewatch", logging.WARNING, "x.py", 1, message, args, extra.pop("exc_info", None), extra=extra
    )
    record.created = datetime(2026, 9, 7, 8, 30, 15, 123_000, tzinfo=UTC).timestamp()
    return formatter().format(record)


def test_elsewhere_than_on_a_terminal_a_line_is_json_with_its_ids() -> None:
    line = written("sent to %s\nat once", "ops", delivery_id=7, flow_name="daily", flow_run_id="r", other=object())
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-09-07T08:30:15.123Z", "level": "warning", "logger": "routewatch",
        "message": "sent to ops\nat once", "flow": "daily", "run_id": "r", "delivery_id": 7,
    }  # fmt: skip


def test_on_a_terminal_a_line_is_for_people_with_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_a_terminal(monkeypatch):
        line = written("sent to %s", "ops", delivery_id=7)
    assert line.startswith("\x1b")
    assert "2026-09-07T08:30:15.123Z" in line
    assert "sent to ops" in line
    assert "{" not in line


def test_the_format_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_LOG_FORMAT", "TEXT")
    line = written("sent", delivery_id=7)
    assert line == "2026-09-07T08:30:15.123Z [warning  ] sent [routewatch] delivery_id=7"


def test_json_can_be_had_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_LOG_FORMAT", "json")
    with on_a_terminal(monkeypatch):
        assert json.loads(written("sent"))["message"] == "sent"


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_is_in_a_line_nor_in_the_error_beside_it(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_LOG_FORMAT", form)
    monkeypatch.setenv("ROUTEWATCH_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("ROUTEWATCH_SMTP_PASSWORD", "planted-password")
    error = _raised(f"the server said planted-password to {SECRET}")
    line = written("failed: planted-password", exc_info=(type(error), error, error.__traceback__), flow_name=SECRET)
    assert "the server said … to …" in line
    assert "Traceback" in line
    assert "planted" not in line
    assert SECRET not in line


def _raised(text: str) -> ValueError:
    unseen = "planted-local-value"
    try:
        int(text)
    except ValueError as error:
        assert unseen
        return error
    raise AssertionError


def test_the_users_own_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_SETTINGS_PATH", "/own.yml")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
    monkeypatch.setenv("ROUTEWATCH_LOG_LEVEL", "debug")
    use_logs("INFO")
    assert os.environ["PREFECT_LOGGING_SETTINGS_PATH"] == "/own.yml"
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "ERROR"
    assert os.environ["PREFECT_LOGGING_LOGGERS_ROUTEWATCH_LEVEL"] == "DEBUG"
    # The started processes write into a pipe, and must log as this one does.
    assert os.environ["ROUTEWATCH_LOG_FORMAT"] == "json"


def test_an_unknown_log_level_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match="ROUTEWATCH_LOG_LEVEL"):
        load_environment()


def test_prefect_logs_the_same_records_to_the_same_handlers() -> None:
    from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH  # noqa: PLC0415 - takes seconds

    ours, theirs = (yaml.safe_load(path.read_text()) for path in (CONFIGURATION, DEFAULT_LOGGING_SETTINGS_PATH))
    del ours["loggers"]["routewatch"]
    # It has a way of its own for its innermost.
    assert theirs["loggers"]["prefect._internal"].pop("handlers") == ["debug"]
    assert ours["loggers"]["prefect._internal"].pop("handlers") == ["console"]
    assert ours["loggers"] == theirs["loggers"]
    assert ours["root"] == theirs["root"]


@pytest.mark.parametrize("also", ["", "from prefect import flow"])
def test_the_pages_server_logs_like_everything_else(also: str) -> None:
    code = f"""
        from deployments.log_config import use_logs
        use_logs("INFO")
        import logging
        from fastapi import FastAPI
        {also}
        from dashboard.server_config import config_of
        config_of(FastAPI())
        logging.getLogger("uvicorn.error").error("gone")
        logging.getLogger("uvicorn.access").info("unheard of")
        logging.getLogger("routewatch").info("counted")
        logging.getLogger("httpx").info("unheard of")
    """
    lines = [json.loads(line) for line in _said(code).splitlines()]
    assert [(it["logger"], it["message"]) for it in lines] == [("uvicorn.error", "gone"), ("routewatch", "counted")]


def test_prefect_takes_over_from_what_logged_before_it_and_no_line_comes_twice() -> None:
    code = """
        from deployments.log_config import use_logs
        use_logs()
        import logging, sys
        logging.getLogger("routewatch").warning("before")
        assert "prefect" not in sys.modules
        (first,) = logging.root.handlers
        from prefect import flow
        (second,) = logging.root.handlers
        assert second is not first
        logging.getLogger("routewatch").warning("after")
    """
    lines = [json.loads(line) for line in _said(code).splitlines()]
    assert [(it["level"], it["message"]) for it in lines] == [("warning", "before"), ("warning", "after")]


def test_the_users_own_file_holds_for_what_imports_no_prefect_too(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(
        "{version: 1, disable_existing_loggers: false, formatters: {plain: {format: 'own: %(message)s'}},"
        " handlers: {all: {class: logging.StreamHandler, formatter: plain}}, root: {level: WARNING, handlers: [all]}}"
    )
    code = """
        from deployments.log_config import use_logs
        use_logs()
        import logging
        logging.getLogger("routewatch").warning("first")
        logging.getLogger("weasyprint").warning("second")
    """
    assert _said(code, {"PREFECT_LOGGING_SETTINGS_PATH": str(own)}).splitlines() == ["own: first", "own: second"]


def _said(code: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a process of its own writes to stderr."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environ = clean_environment(**(environment or {}))
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True).stderr


@pytest.mark.usefixtures("prefect_server")
def test_a_run_logs_json_and_prefects_ui_has_every_line_too(tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId  # noqa: PLC0415
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    migrated_sqlite(tmp_path)
    environment = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "ROUTEWATCH_LOG_LEVEL": "info"}
    done = call_process(tmp_path, "run", "hourly", env=environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) <= {"exception", *_NAMES} for line in lines)
    (run_id,) = {line["run_id"] for line in lines if "run_id" in line}
    stored = next(line for line in lines if line["message"].startswith("stored the hourly performance report"))
    assert (stored["flow"], stored["task"], stored["report_id"]) == ("hourly", "store report", 1)
    (delivered,) = [line for line in lines if "delivery_id" in line]
    assert (delivered["run_id"], delivered["delivery_id"], delivered["level"]) == (run_id, 1, "info")
    with get_client(sync_client=True) as client:
        of_it = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)]))
        in_ui = [it.message for it in client.read_logs(of_it)]
    of_run = [line["message"] for line in lines if line["logger"] in ("prefect.flow_runs", "prefect.task_runs")]
    assert sorted(in_ui) == sorted(message for message in of_run if not message.startswith("View at http"))


_NAMES = {"time", "level", "logger", "message", *IDS.values()}
