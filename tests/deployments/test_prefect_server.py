"""The locked versions work together: Prefect's server starts, runs a flow and schedules.

`pip check` passes for sets whose server does not start, or starts and never schedules: only a start shows that.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.support.environment import clean_environment
from tests.support.prefect_server import ask
from tests.support.waiting import a_free_port, status_of, until

# That it starts and schedules is seen of `routewatch serve` too.
pytestmark = pytest.mark.slow

PREFECT = Path(sys.executable).with_name("prefect")
BERLIN = ZoneInfo("Europe/Berlin")
FLOW = """
from prefect import flow, task

@task
def double(number: int) -> int:
    return 2 * number

@flow(name="tried")
def tried(number: int) -> int:
    return double(number)

assert tried(21) == 42
"""


@contextmanager
def started(home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A server of its own; the address of its API and a client."""
    port = a_free_port()
    own = clean_environment(PREFECT_HOME=str(home), PREFECT_SERVER_ANALYTICS_ENABLED="false")
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PREFECT), "server", "start", "--port", str(port)], env=own, stdout=log, stderr=log
        )
    api = f"http://127.0.0.1:{port}/api"
    try:
        until(lambda: httpx.get(f"{api}/ready").is_success)
        yield api, own | {"PREFECT_API_URL": api}
    finally:
        process.terminate()
        status_of(process)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """On SQLite: the PostgreSQL of the tests lacks the extension pg_trgm, which Prefect's tables need."""
    with started(tmp_path_factory.mktemp("prefect")) as server:
        yield server


def post(api: str, path: str, **asked: Any) -> Any:
    return ask("POST", f"{api}/{path}", json=asked)


def deployed(api: str, flow: str, **schedule: str) -> str:
    flow_id = post(api, "flows/", name=flow)["id"]
    schedules = [{"schedule": schedule, "active": True}]
    return str(post(api, "deployments/", name=flow, flow_id=flow_id, schedules=schedules)["id"])


def times_of(api: str, deployment: str) -> list[datetime]:
    found = post(
        api, "flow_runs/filter", sort="EXPECTED_START_TIME_ASC", deployments={"id": {"any_": [deployment]}}, limit=200
    )
    return [datetime.fromisoformat(run["expected_start_time"]) for run in found]


def test_a_flow_runs(server: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    api, environment = server
    (tmp_path / "tried.py").write_text(FLOW)
    subprocess.run([sys.executable, tmp_path / "tried.py"], env=environment, check=True, capture_output=True)
    (run,) = post(api, "flow_runs/filter", flows={"name": {"any_": ["tried"]}})
    assert run["state"]["type"] == "COMPLETED"


def test_a_cron_schedule_creates_its_runs_automatically(server: tuple[str, dict[str, str]]) -> None:
    api, _ = server
    deployment = deployed(api, "ahead", cron="15 6 * * *", timezone="Europe/Berlin")
    ahead = until(lambda: times_of(api, deployment))
    assert len(ahead) >= 3
    assert {(at.astimezone(BERLIN).hour, at.minute) for at in ahead} == {(6, 15)}
    assert ahead[0] - datetime.now(UTC) < timedelta(days=1, hours=1)


@pytest.mark.parametrize(
    ("cron", "first", "utc"),
    [
        ("15 6 * * *", datetime(2027, 10, 29, tzinfo=UTC), ["29 04:15", "30 04:15", "31 05:15", "01 05:15"]),
        ("30 6 * * 1", datetime(2027, 10, 23, tzinfo=UTC), ["25 04:30", "01 05:30", "08 05:30", "15 05:30"]),
        ("15 6 * * *", datetime(2028, 3, 25, tzinfo=UTC), ["25 05:15", "26 04:15", "27 04:15", "28 04:15"]),
    ],
    ids=["daily-autumn", "weekly-autumn", "daily-spring"],
)  # fmt: skip
def test_runs_are_at_the_same_hour_over_a_change_of_the_clocks(
    server: tuple[str, dict[str, str]], cron: str, first: datetime, utc: list[str]
) -> None:
    api, _ = server
    deployment = deployed(api, f"clocks {cron} {first:%B}", cron=cron, timezone="Europe/Berlin")
    until(lambda: times_of(api, deployment))
    asked = {"start_time": first.isoformat(), "min_runs": 4, "max_runs": 4}
    ask("POST", f"{api}/deployments/{deployment}/schedule", json=asked)
    there = [at.astimezone(UTC) for at in times_of(api, deployment) if at >= first]
    assert [f"{at:%d %H:%M}" for at in there] == utc
