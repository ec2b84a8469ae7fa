"""Flow failures: a failed flow is an alert until it succeeds again."""

from __future__ import annotations

from datetime import datetime

from models.bounded_key import bounded_key
from models.context import AppContext
from models.database import writing
from models.errors import RoutewatchError
from models.notifications import AlertMessage, AlertRule
from tasks.alerts.lifecycle import Observation
from tasks.alerts.limits import Evaluation
from tasks.alerts.notify import AT_ONCE, enqueue_notification, update_alerts


def record_failure(ctx: AppContext, flow_name: str, cause: str, now: datetime) -> AlertMessage | None:
    """Record a failed run and notify; return None if it is already known or silenced."""
    return _record(ctx, flow_name, Observation(now, "critical", is_recovered=False), cause)


def record_success(ctx: AppContext, flow_name: str, now: datetime) -> AlertMessage | None:
    """Resolve the alert of a flow's failed runs, if there is one."""
    return _record(ctx, flow_name, Observation(now, None, is_recovered=True), "")


def shown_cause(error: BaseException | None) -> str:
    """Return why a run failed, safe to show: of errors other than Routewatch's only the type, as their text may
    contain secrets.
    """
    if isinstance(error, RoutewatchError):
        return str(error)
    return (
        "it ended without an error of its own" if error is None else f"a {type(error).__name__}; the run's log has it"
    )


def _record(ctx: AppContext, flow_name: str, observation: Observation, cause: str) -> AlertMessage | None:
    found = Evaluation(AlertRule.FAILED_FLOW, bounded_key(flow_name), observation, detail=cause)
    with writing(ctx.engine) as connection:
        registry = update_alerts(
            connection, [(observation.at, [found])], ctx.settings.monitoring.alerting, observation.at, at_all=False
        )
        return enqueue_notification(connection, registry, ctx.settings, observation.at, AT_ONCE, notified_at=None)
