"""Hooks of every flow: alert when it fails, resolve when it succeeds again, and never make things worse."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from models.context import load_context
from tasks.alerts.flow_failures import record_failure, record_success, shown_cause
from tasks.delivery.worker import deliver_due
from tasks.orchestration.schedules import SKIPPED

logger = logging.getLogger("routewatch")


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect hook for a failed or crashed run: send an alert at once."""

    def notify() -> None:
        ctx, now = load_context(), datetime.now(UTC)
        error = state.data if isinstance(state.data, BaseException) else _error_of(state)
        if record_failure(ctx, flow.name, shown_cause(error), now) is not None:
            deliver_due(ctx, now=datetime.now(UTC))

    _without_fail("could not send the alert of a failed run", notify)


def notify_recovery(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect hook for a completed run: resolve the alert of earlier failures."""

    def notify() -> None:
        if state.name == SKIPPED:
            return
        ctx = load_context()
        if record_success(ctx, flow.name, datetime.now(UTC)) is not None:
            deliver_due(ctx, now=datetime.now(UTC))

    _without_fail("could not resolve the alert of failed runs", notify)


def _error_of(state: State[Any]) -> BaseException | None:
    try:
        error = state.result(raise_on_failure=False)
    except Exception:  # noqa: BLE001 - a result that is not persisted is not an error
        return None
    return error if isinstance(error, BaseException) else None


def _without_fail(what: str, act: Callable[[], None]) -> None:
    """Log a hook's own error, which must not hide the run's."""
    try:
        act()
    except Exception:
        logger.exception("%s", what)
