"""Prefect's own server, one for all tests of a process that want one: it takes seconds to start."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

START_TIMEOUT_S = 600
"""However busy the machine is; the server is there long before."""
KINDS = {"flows": "id", "block_documents": "id", "artifacts": "id", "work_pools": "name"}
"""What the server keeps, with what tells one from another."""


class PrefectServer:
    """Starts when it is asked for, and ends with the first test that must not find it."""

    def __init__(self) -> None:
        self._started: ExitStack | None = None

    def start(self) -> None:
        """Prefect's settings name it from here on."""
        if self._started is None:
            from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415 - importing Prefect takes seconds

            self._started = ExitStack()
            self._started.enter_context(prefect_test_harness(server_startup_timeout=START_TIMEOUT_S))

    def clear(self) -> None:
        """Forget every flow with its deployments and runs, and whatever else was made by hand."""
        from prefect.client.orchestration import get_client  # noqa: PLC0415

        with get_client(sync_client=True) as client:
            # Its type names every path literally.
            request: Any = client.request
            for kind, key in KINDS.items():
                for found in request("POST", f"/{kind}/filter", json={}).raise_for_status().json():
                    request("DELETE", f"/{kind}/{found[key]}").raise_for_status()

    def end(self) -> None:
        """Prefect's settings are again what they were."""
        if self._started is not None:
            started, self._started = self._started, None
            started.close()
