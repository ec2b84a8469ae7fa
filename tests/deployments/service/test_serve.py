"""`routewatch serve` runs the schedule, prints every address, restarts what dies, and ends clean."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.commands import fault
from tests.support.databases import migrated_sqlite
from tests.support.environment import clean_environment
from tests.support.prefect_server import ask
from tests.support.waiting import a_free_port, status_of, until

ROUTEWATCH = Path(sys.executable).with_name("routewatch")
EVERYWHERE = "0.0.0.0"  # noqa: S104
TOKEN, PASSWORD = "reader-0123456789abcdef", "admin:horse-staple"


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    log: Path
    ui_port: int
    page_port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.ui_port}/api"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.page_port}"

    def said(self) -> str:
        return self.log.read_text()

    def parts(self) -> dict[str, int]:
        """Return the processes of the parts, by the name in their command lines."""
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout
        children = [line.split(None, 2) for line in listed.splitlines() if line.split()[1] == str(self.process.pid)]
        names = {"prefect server": "server", "processes timetable": "timetable", "processes page": "page"}
        return {name: int(pid) for pid, _, args in children for words, name in names.items() if words in args}


@contextmanager
def serving(home: Path, *arguments: str, **environment: str) -> Iterator[Served]:
    ui_port, page_port = a_free_port(), a_free_port()
    ports = {"PREFECT_SERVER_API_PORT": str(ui_port), "ROUTEWATCH_HOME": str(home)}
    log = home / f"log-{ui_port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(ROUTEWATCH), "serve", "--page-port", str(page_port), *arguments],
            env=clean_environment(**ports, **environment),
            stdout=out,
            stderr=out,
        )
    served = Served(process, log, ui_port, page_port)
    try:
        yield served
    finally:
        process.terminate()
        status_of(process)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("served")
    migrated_sqlite(home)
    (home / "settings.json").write_text('{"timezone": "Europe/Berlin"}')
    return home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    with serving(home, ROUTEWATCH_SETTINGS=str(home / "settings.json")) as served:
        until(lambda: "weekly" in served.said())
        yield served


def last_polled(api: str) -> str:
    """Return the last time when the runner polled for scheduled runs."""
    return str(ask("GET", f"{api}/deployments/name/hourly/routewatch")["last_polled"])


def scheduled_runs(api: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = ask("POST", f"{api}/flow_runs/filter", json={"limit": 200})
    return runs


def test_it_says_where_everything_is_once_everything_is_up(served: Served, home: Path) -> None:
    """What it prints is true by then: the pages answer, and Prefect has the next run of each schedule."""
    said = served.said()
    assert f"http://127.0.0.1:{served.ui_port}  no password: this machine only" in said
    assert f"http://127.0.0.1:{served.page_port}  no token: this machine only" in said
    assert f"sqlite:///{home}/routewatch.db" in said
    assert "Europe/Berlin" in said
    assert re.search(r"hourly +next at \d{4}-\d\d-\d\d \d\d:05 CES?T\n", said)
    assert re.search(r"daily +next at \d{4}-\d\d-\d\d 06:15 CES?T\n", said)
    assert re.search(r"weekly +next at \d{4}-\d\d-\d\d 06:30 CES?T\n", said)
    assert "What the router does right now" in httpx.get(served.page, timeout=30).text
    assert {run["expected_start_time"][14:16] for run in scheduled_runs(served.api)} == {"05", "15", "30"}


def test_its_ui_asks_the_server_that_served_it_and_no_other_page_may(served: Served) -> None:
    """Otherwise each page in the user's browser could start runs."""
    ui = served.api.removesuffix("/api")
    assert httpx.get(f"{ui}/ui-settings", follow_redirects=True).json()["api_url"] == "/api"
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{served.api}/flow_runs/filter", headers=asked)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("page", "the live page"),
        pytest.param("server", "the Prefect server", marks=pytest.mark.slow),
        pytest.param("timetable", "the scheduler", marks=pytest.mark.slow),
    ],
)
def test_a_part_that_is_killed_is_up_again(served: Served, part: str, name: str) -> None:
    before = served.parts()
    killed_at = datetime.now(UTC).isoformat()
    os.kill(before[part], signal.SIGKILL)
    until(lambda: served.parts().get(part, before[part]) != before[part])
    until(lambda: httpx.get(f"{served.page}/healthz").is_success)
    until(lambda: last_polled(served.api) > killed_at)
    assert f"{name} was ended by SIGKILL; restarting in 1 s" in served.said()
    assert {key: pid for key, pid in served.parts().items() if key != part} == {
        key: pid for key, pid in before.items() if key != part
    }


def test_a_second_one_says_which_port_is_taken(served: Served, home: Path) -> None:
    second = fault(home, "serve", "--ui-port", str(served.ui_port), status=1)
    assert f"port {served.ui_port} is in use; choose another with --ui-port" in second
    assert f"PREFECT_API_URL={served.api}" in second


def test_it_ends_clean(served: Served) -> None:
    """The last of this server's tests."""
    parts = until(lambda: served.parts() if len(served.parts()) == 3 else {})
    before = len(served.said())
    served.process.send_signal(signal.SIGTERM)
    assert status_of(served.process) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in parts.values())
    assert served.said()[before:] == ""
    for address in (served.api, served.page):
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)


@pytest.mark.parametrize("how", [("--host", EVERYWHERE), ("--proxied",)])
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ROUTEWATCH_TOKENS": f"eye:read:{TOKEN}"}, "Set PREFECT_SERVER_API_AUTH_STRING=user:password"),
        ({"PREFECT_SERVER_API_AUTH_STRING": PASSWORD}, "Set ROUTEWATCH_TOKENS"),
        ({"PREFECT_SERVER_API_AUTH_STRING": "horse-staple"}, "expected user:password"),
    ],
    ids=["no password", "no tokens", "no user"],
)
def test_nothing_is_served_to_others_without_passwords(
    home: Path, how: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    # The page's port is taken, so that nothing is served even if this test fails.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = ("--ui-port", str(a_free_port()), "--page-port", str(taken.getsockname()[1]))
        error = fault(home, "serve", *ports, *how, status=2, env=environment)
    assert said in error
    assert "horse" not in error


@pytest.mark.slow
def test_served_to_others_it_asks_who_they_are_and_ends_with_whoever_started_it(home: Path) -> None:
    """Its own parts know the password."""
    secrets = {"ROUTEWATCH_TOKENS": f"eye:read:{TOKEN}", "PREFECT_SERVER_API_AUTH_STRING": PASSWORD}
    with serving(home, "--host", EVERYWHERE, **secrets) as served:
        until(lambda: "weekly" in served.said())
        assert "password of admin required" in served.said()
        assert "token required: eye" in served.said()
        assert not any(secret in served.said() for secret in (TOKEN, PASSWORD.partition(":")[2]))
        asked = {"limit": 1}
        assert httpx.post(f"{served.api}/flow_runs/filter", json=asked).status_code == 401
        assert httpx.post(f"{served.api}/flow_runs/filter", json=asked, auth=("admin", "wrong")).status_code == 401
        auth = httpx.BasicAuth(*PASSWORD.split(":"))
        assert httpx.post(f"{served.api}/flow_runs/filter", json=asked, auth=auth).status_code == 200
        assert httpx.get(f"{served.page}/summary").status_code == 401
        assert httpx.get(f"{served.page}/summary", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        parts = served.parts()
        served.process.kill()
        served.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in parts.values()))
