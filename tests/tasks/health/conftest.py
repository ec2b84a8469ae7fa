"""Time enough for every check: a busy machine must not fail what they examine."""

from __future__ import annotations

import pytest

from tasks.health.checks import prefect_server, smtp, webhooks
from tests.support.health import TIMEOUT_S


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (smtp, webhooks, prefect_server):
        monkeypatch.setattr(module, "TIMEOUT_S", TIMEOUT_S)
