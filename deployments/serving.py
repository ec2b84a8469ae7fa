"""Serving the timetable on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.embedded import use_embedded_prefect
from deployments.paging import page_beside
from deployments.ports import is_free
from deployments.tell import say
from models.errors import RoutewatchError
from models.workplace import Workplace

SERVER_HOST = "127.0.0.1"
DEFAULT_PORT = 4200
"""Of the Prefect server, where PREFECT_SERVER_API_PORT names no other."""
START_TIMEOUT_S = 120

CONCURRENT_RUNS = 4


def serve_timetable(place: Workplace, page_port: int) -> None:
    """Run the timetable and the live page until stopped, beside a Prefect server where PREFECT_API_URL names none."""
    place.engine.dispose()
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    use_embedded_prefect(place.environment.home)
    with _server(), page_beside(place, page_port):
        from prefect import serve

        from deployments.timetable import timetable
        from tasks.decide import pending

        say(f"Prefect UI: {os.environ['PREFECT_API_URL'].removesuffix('/api')}")
        # Left running when stopped: a pause would have to be undone by hand at every start.
        serve(*timetable(place.settings, pending(place.engine)), limit=CONCURRENT_RUNS, pause_on_shutdown=False)


@contextmanager
def _server() -> Iterator[None]:
    if "PREFECT_API_URL" in os.environ:
        yield
        return
    port = int(os.environ.get("PREFECT_SERVER_API_PORT", DEFAULT_PORT))
    address = f"http://{SERVER_HOST}:{port}/api"
    if not is_free(SERVER_HOST, port):
        how = f"where it is a Prefect server that should be used, set PREFECT_API_URL={address}"
        raise RoutewatchError(f"port {port} is taken; {how}")
    os.environ["PREFECT_API_URL"] = address
    environment = os.environ | {"PREFECT_UI_API_URL": "/api"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", SERVER_HOST, "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 - no input in it
    try:
        _wait_until_ready(process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    import httpx
    import stamina

    # It would write a line at every try.
    stamina.instrumentation.set_on_retry_hooks([])

    class _Away(Exception):
        pass

    @stamina.retry(on=(httpx.TransportError, _Away), attempts=None, timeout=START_TIMEOUT_S, wait_max=1.0)
    def ready() -> None:
        if process.poll() is not None:
            raise RoutewatchError(f"the Prefect server ended at its start with status {process.returncode}")
        if httpx.get(f"{os.environ['PREFECT_API_URL']}/ready").status_code != httpx.codes.OK:
            raise _Away

    ready()
