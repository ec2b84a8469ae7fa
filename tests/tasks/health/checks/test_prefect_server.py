"""Each fault of Prefect's server and of its schedules is reported with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tasks.health.check import CheckResult, CheckState
from tasks.health.checks import prefect_server as orchestration
from tests.support.health import found, of
from tests.support.servers import HOST
from tests.support.waiting import until


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that answers every request alike."""

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


def prefect_at(address: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> CheckResult:
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
def test_a_server_that_refuses_or_is_incompatible_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, remedy: str
) -> None:
    with answering(status, body) as address:
        result = prefect_at(address, monkeypatch, tmp_path)
    assert (result.state, remedy in result.remedy) == (CheckState.FAILED, True), result


def test_without_a_server_nothing_is_asked_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "9")
    assert "`routewatch serve` starts one" in found("Prefect API", of(tmp_path)).found


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_schedule_that_is_missing_paused_or_without_a_runner_is_reported(tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - importing Prefect takes seconds

    from deployments.service.deployments import scheduled_deployments  # noqa: PLC0415

    context = of(tmp_path)
    assert found("Prefect API", context).state is CheckState.OK
    missing = found("timetable", context)
    assert (missing.state, missing.found) == (CheckState.FAILED, "not deployed: hourly, daily, weekly")
    ids = [str(it.apply()) for it in scheduled_deployments(context.settings) if it.flow_name in orchestration.TIMED]
    idle = found("timetable", context)
    assert (idle.state, idle.found) == (
        CheckState.WARNING,
        "deployed, but nobody takes the runs of hourly, daily, weekly",
    )
    assert "routewatch serve" in idle.remedy
    with get_client(sync_client=True) as client:
        client.request("POST", "/deployments/get_scheduled_flow_runs", json={"deployment_ids": ids})
        # The server records the request once it has answered.
        until(lambda: found("timetable", context).state is CheckState.OK)
        assert found("timetable", context).found == "deployed and taken care of: hourly, daily, weekly"
        client.pause_deployment(ids[1])
    paused = found("timetable", context)
    assert (paused.state, paused.found, "resume" in paused.remedy) == (CheckState.WARNING, "paused: daily", True)
