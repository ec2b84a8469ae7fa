"""`routewatch serve` keeps the timetable: the set of versions is one in which Prefect really schedules."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from models.database import migrate

ROUTEWATCH = Path(sys.executable).with_name("routewatch")
PATIENCE_S = 120


@pytest.fixture
def port() -> int:
    return a_free_port()


@pytest.fixture
def page_port() -> int:
    return a_free_port()


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found: int = listener.getsockname()[1]
        return found


@pytest.fixture
def serving(tmp_path: Path, port: int, page_port: int) -> Iterator[subprocess.Popen[bytes]]:
    migrate(f"sqlite:///{tmp_path}/routewatch.db")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTEWATCH_", "PREFECT_"))}
    environment = clean | {"ROUTEWATCH_HOME": str(tmp_path), "PREFECT_SERVER_API_PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(ROUTEWATCH), "serve", "--page-port", str(page_port)], env=environment, stdout=log, stderr=log
        )
    yield process
    process.kill()
    process.wait()


class NotYet(Exception):
    pass


@stamina.retry(on=(NotYet, httpx.HTTPError), attempts=None, timeout=PATIENCE_S, wait_max=1.0)
def scheduled_runs(port: int) -> list[dict[str, Any]]:
    answer = httpx.post(f"http://127.0.0.1:{port}/api/flow_runs/filter", json={"limit": 200})
    runs: list[dict[str, Any]] = answer.raise_for_status().json()
    if len({run["deployment_id"] for run in runs}) < 3:
        raise NotYet
    return runs


def test_hourly_daily_and_weekly_runs_are_scheduled_and_all_ends_with_it(
    serving: subprocess.Popen[bytes], port: int, page_port: int
) -> None:
    """And the live page is served beside them."""
    times = {run["expected_start_time"][14:16] for run in scheduled_runs(port)}
    assert times == {"05", "15", "30"}
    assert "What the router does right now" in httpx.get(f"http://127.0.0.1:{page_port}/", timeout=30).text
    serving.send_signal(signal.SIGTERM)
    serving.wait(60)
    for ended in (port, page_port):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{ended}/")
