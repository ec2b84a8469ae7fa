"""Prefect's own server, one for all tests of a process that need one: it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx

from tests.support.waiting import until

START_TIMEOUT_S = 600
"""However busy the machine is; the server starts long before."""
KINDS = {"flows": "id", "block_documents": "id", "artifacts": "id", "work_pools": "name"}
"""What the server stores, with what distinguishes the records."""


def ask(method: str, address: str, **options: Any) -> Any:
    """Return what Prefect's API answers to a request, asked again while it says that it is busy.

    While another writes to its SQLite file the server answers 503, which Prefect's own client retries too.
    """

    def answers() -> list[httpx.Response]:
        found = httpx.request(method, address, timeout=START_TIMEOUT_S, **options)
        return [] if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else [found]

    return until(answers)[0].raise_for_status().json()


class PrefectServer:
    """Starts on request, and ends with the first test that must not find it."""

    def __init__(self) -> None:
        self._started: ExitStack | None = None

    def start(self) -> None:
        """Start it; Prefect's settings name it from here on."""
        if self._started is None:
            from prefect.logging.configuration import setup_logging  # noqa: PLC0415 - importing Prefect takes seconds
            from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

            # A process's first run sets logging up, and takes away the handler that a test reads its records from.
            setup_logging()
            self._started = ExitStack()
            self._started.enter_context(prefect_test_harness(server_startup_timeout=START_TIMEOUT_S))

    def clear(self) -> None:
        """Delete every flow with its deployments and runs, and other records made by hand."""
        from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

        with httpx.Client(base_url=str(PREFECT_API_URL.value()), timeout=START_TIMEOUT_S) as client:
            for kind, key in KINDS.items():
                for found in until(partial(_listed, client, kind)):
                    until(partial(_is_gone, client, f"{kind}/{found[key]}"))

    def end(self) -> None:
        """Stop it; Prefect's settings are restored."""
        if self._started is not None:
            started, self._started = self._started, None
            started.close()


# ----------------------------------------------------------------------------------------------------------------------

# While it still writes earlier data, the server answers that it is busy.


def _listed(client: httpx.Client, kind: str) -> Iterator[dict[str, Any]]:
    return iter(client.post(f"{kind}/filter", json={}).raise_for_status().json())


def _is_gone(client: httpx.Client, path: str) -> bool:
    answer = client.delete(path)
    return answer.is_success or answer.status_code == httpx.codes.NOT_FOUND
