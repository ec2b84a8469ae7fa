"""Alert evaluation: evaluate each final minute once, and queue notifications of alert changes.

Checkpoint, alert states and queued notification are committed in one transaction, which is skipped if another
evaluator got there first: neither a restart nor a second process notifies twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, func, select, update

from models.database import insert_into, reading, writing
from models.notifications import AlertMessage
from models.period import Level, Period, floor_to
from models.schema import ALERT_CHECKPOINT, ROLLUP
from models.settings import Settings
from tasks.alerts.history import known_at
from tasks.alerts.limits import Evaluation
from tasks.alerts.notify import AT_ONCE, enqueue_notification, update_alerts
from tasks.alerts.registry import grouping_policy_of, read_registry
from tasks.alerts.rules import WindowInputs, evaluate_budget, evaluate_minutes
from tasks.alerts.windows import COST_WINDOWS, MINUTE
from tasks.forecasting.budget import SPENT, basis, project_budget
from tasks.rollups.aggregate import limit_names
from tasks.rollups.checkpoint import read_known_checkpoint
from tasks.rollups.query import total_hours
from tasks.rollups.store import between, read_rollups

LATE_ARRIVAL_GRACE = timedelta(minutes=1)
"""A minute is evaluated this long after its end: routers write their rows a moment later."""

OLDEST_EVALUATED = timedelta(hours=24)
"""After a pause, older minutes are not evaluated: the reports cover them."""


@dataclass(frozen=True)
class EvaluationResult:
    """Result of one evaluation: minutes evaluated, notification (None: none), and number of firing alerts."""

    minutes: int
    message: AlertMessage | None
    firing: int


def evaluate_alerts(engine: Engine, settings: Settings, now: datetime, *, flush: bool = False) -> EvaluationResult:
    """Evaluate every minute that became final since the last evaluation, and queue due notifications.

    `flush`: notify at once without grouping, as the next evaluation may be an hour away.
    """
    alerting = settings.monitoring.alerting
    with reading(engine) as connection:
        evaluated_until = _state(connection)[0]
        span = _span(connection, evaluated_until, now)
        found = list(_evaluations(connection, settings, *span)) if span else []
    with writing(engine) as connection:
        before_until, notified_at = lock_alert_checkpoint(connection)
        if before_until != evaluated_until:
            return EvaluationResult(0, None, len(read_registry(connection, now).firing()))
        at = span[1] if span else evaluated_until or now
        registry = update_alerts(connection, found, alerting, since=span[0] if span else now)
        grouping = AT_ONCE if flush else grouping_policy_of(alerting)
        message = enqueue_notification(connection, registry, settings, at, grouping, notified_at=notified_at)
        notified = notified_at if message is None else at
        connection.execute(
            update(ALERT_CHECKPOINT).values(evaluated_until=span[1] if span else evaluated_until, notified_at=notified)
        )
    return EvaluationResult(len(found), message, len(registry.firing()))


def lock_alert_checkpoint(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """Lock alerts until the transaction ends; return the end of the evaluated windows, and the last notification."""
    connection.execute(insert_into(connection, ALERT_CHECKPOINT).values(id=1).on_conflict_do_nothing())
    row = connection.execute(
        select(ALERT_CHECKPOINT.c.evaluated_until, ALERT_CHECKPOINT.c.notified_at).with_for_update()
    ).one()
    return row.evaluated_until, row.notified_at


# ----------------------------------------------------------------------------------------------------------------------


def _state(connection: Connection) -> tuple[datetime | None, datetime | None]:
    row = connection.execute(select(ALERT_CHECKPOINT.c.evaluated_until, ALERT_CHECKPOINT.c.notified_at)).one_or_none()
    return (None, None) if row is None else (row.evaluated_until, row.notified_at)


def _span(connection: Connection, evaluated_until: datetime | None, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the first and last minute to evaluate (inclusive); None if there is none."""
    checkpoint = read_known_checkpoint(connection)
    if checkpoint is None or checkpoint.rollups_updated_at is None:
        return None
    last = floor_to(Level.MINUTE, min(now, checkpoint.rollups_updated_at) - LATE_ARRIVAL_GRACE, "UTC")
    first = last if evaluated_until is None else max(evaluated_until + MINUTE, last - OLDEST_EVALUATED)
    return (first, last) if first <= last else None


def _evaluations(
    connection: Connection, settings: Settings, first: datetime, last: datetime
) -> list[tuple[datetime, list[Evaluation]]]:
    alerting, zone = settings.monitoring.alerting, settings.timezone
    start = first - COST_WINDOWS * timedelta(minutes=alerting.window_minutes)
    minutes = limit_names(read_rollups(connection, between(Level.MINUTE, start, last)), over=())
    earlier = select(func.max(ROLLUP.c.bucket)).where(between(Level.MINUTE, start - OLDEST_EVALUATED, start))
    last_before = connection.scalar(earlier)
    hours = {floor_to(Level.HOUR, at, zone) for at in _each_hour(first, last)}
    histories = {hour: known_at(connection, hour, settings) for hour in sorted(hours)}
    found = list(evaluate_minutes(WindowInputs(minutes, last_before, histories), first, last, settings))
    # The budget is evaluated once an hour.
    if settings.budget.monthly_usd is not None and floor_to(Level.HOUR, last, zone) >= first:
        found[-1][1].extend(_budget(connection, last, settings))
    return found


def _each_hour(first: datetime, last: datetime) -> list[datetime]:
    """Return an instant of every half hour from first to last, as some zones are half an hour off."""
    half = timedelta(minutes=30)
    return [first + half * step for step in range(int((last - first) / half) + 1)] + [last]


def _budget(connection: Connection, at: datetime, settings: Settings) -> list[Evaluation]:
    hours = total_hours(connection, Period(basis(at, settings.timezone).start, at, settings.timezone), SPENT)
    return evaluate_budget(at, project_budget(hours, at, settings.timezone, settings.budget.monthly_usd))
