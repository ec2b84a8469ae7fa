"""Runs: a flow that failed is an alert, until it succeeds again."""

from __future__ import annotations

from datetime import datetime

from models.context import Workplace
from models.database import writing
from models.errors import RoutewatchError
from models.notifications import AlertMessage, AlertRule
from tasks.alerts.lifecycle import Look
from tasks.alerts.limits import Finding
from tasks.alerts.notify import AT_ONCE, announced, moved


def note_failure(place: Workplace, flow_name: str, cause: str, now: datetime) -> AlertMessage | None:
    """Put a failed run on record and tell of it; None where it is known, or silenced."""
    return _note(place, flow_name, Look(now, "critical", is_well=False), cause)


def note_success(place: Workplace, flow_name: str, now: datetime) -> AlertMessage | None:
    """End the alert of a flow's failed runs, where there is one."""
    return _note(place, flow_name, Look(now, None, is_well=True), "")


def shown_cause(error: BaseException | None) -> str:
    """Why a run failed, as it may be shown: of errors that are not Routewatch's own only the kind, for their text may
    hold anything.
    """
    if isinstance(error, RoutewatchError):
        return str(error)
    return (
        "it ended without an error of its own" if error is None else f"a {type(error).__name__}; the run's log has it"
    )


def _note(place: Workplace, flow_name: str, look: Look, cause: str) -> AlertMessage | None:
    found = Finding(AlertRule.FAILED_FLOW, flow_name, look, detail=cause)
    with writing(place.engine) as connection:
        book = moved(connection, [(look.at, [found])], place.settings.monitoring.alerting, look.at, at_all=False)
        return announced(connection, book, place.settings, look.at, AT_ONCE, told_at=None)
