"""Self-watch, told as alerts: does counting go on, is much left out of it, do stored times lie ahead of the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import func, select

from models.clock import TOLERANCE
from models.context import AppContext
from models.database import reading, writing
from models.errors import DatabaseUnavailable
from models.notifications import AlertMessage, AlertRule, Severity
from models.period import Level, Period, floor_to
from models.schema import ALERT, HOUR_TOTAL, ROLLUP
from tasks.alerts.evaluate import lock_alert_checkpoint
from tasks.alerts.lifecycle import Observation
from tasks.alerts.limits import Evaluation
from tasks.alerts.notify import AT_ONCE, enqueue_notification, update_alerts
from tasks.alerts.registry import record_event
from tasks.ingestion.intake import read_intake
from tasks.marks import MarkAhead, find_marks_ahead, replace_unreadable, reset_marks
from tasks.rollups.checkpoint_bounds import find_checkpoint_ahead, reset_checkpoint
from tasks.rollups.progress import Backlog, read_backlog, stalled_after
from tasks.run_logger import logger

NOTIFIED_EVERY = timedelta(hours=1)
"""Times ahead are an alert at most this often: a second machine with a wrong clock may set them again and again."""

LONGEST_GAP = timedelta(minutes=1)
"""Time between two looks beyond which the machine slept, or its clock was set: what happened meanwhile is unknown."""

LISTED = 5

SHARE_NOT_COUNTED, CRITICAL_SHARE_NOT_COUNTED = 0.01, 0.1
"""Shares of the rows that are rejected or set aside from which on that is an alert, and a critical one."""

LEAST_NOT_COUNTED = 5
"""Rows below which it is none, whatever their share."""


def reset_times_ahead(ctx: AppContext, now: datetime) -> tuple[MarkAhead, ...]:
    """Set every stored time that lies ahead of the true clock `now` back to its bound, and alert; return them."""
    cool_down = timedelta(minutes=ctx.settings.monitoring.alerting.cool_down_minutes)
    if unreadable := replace_unreadable(ctx.engine, now, cool_down):
        logger().warning("times that cannot be read are set like those ahead of the clock: %s", ", ".join(unreadable))
    with reading(ctx.engine) as connection:
        found = (*find_marks_ahead(connection, now), *find_checkpoint_ahead(connection, now))
    if not found:
        return ()
    detail = "; ".join(map(str, found[:LISTED]))
    if len(found) > LISTED:
        detail += f"; and {len(found) - LISTED} more"
    logger().warning("set back what was remembered from ahead of the clock: %s", "; ".join(map(str, found)))
    # Recorded before: a process that dies in between leaves them to the next one.
    with writing(ctx.engine) as connection:
        lock_alert_checkpoint(connection)
        recorded = (ALERT.c.rule == AlertRule.TIMES_AHEAD.value) & ALERT.c.fired_at.between(
            now - NOTIFIED_EVERY, now + TOLERANCE
        )
        if connection.execute(select(ALERT.c.id).where(recorded).limit(1)).first() is None:
            record_event(connection, AlertRule.TIMES_AHEAD, "", detail, sample=None, started_at=now, at=now)
    reset_marks(ctx.engine, now, cool_down)
    reset_checkpoint(ctx.engine, now)
    return found


def watch_intake(ctx: AppContext, now: datetime) -> AlertMessage | None:
    """Alert where many of the rows of this hour and the one before are rejected or set aside, or resolve the alert.

    Return the message; None if there is no news. It is told once while it lasts.
    """
    start = floor_to(Level.HOUR, now, "UTC") - timedelta(hours=1)
    with reading(ctx.engine) as connection:
        intake = read_intake(connection, Period(start, start + timedelta(hours=2), "UTC"))
        # Hours of some zones begin at half past.
        hours = (ROLLUP.c.level == HOUR_TOTAL) & (ROLLUP.c.bucket > start - timedelta(hours=1))
        counted = int(connection.scalar(select(func.sum(ROLLUP.c["count"])).where(hours)) or 0)
    share = intake.not_counted / max(1, intake.not_counted + counted)
    is_beyond = intake.not_counted >= LEAST_NOT_COUNTED and share >= SHARE_NOT_COUNTED
    if not is_beyond and not _is_open(ctx, AlertRule.ROWS_NOT_COUNTED):
        return None
    breach: Severity | None = None
    detail = ""
    if is_beyond:
        breach = "critical" if share >= CRITICAL_SHARE_NOT_COUNTED else "warning"
        most_often = next((it.reason for it in intake.reasons if it.outcome != "unknownField"), "unknown")
        detail = (
            f"{intake.rejected:,} rejected and {intake.set_aside:,} set aside since {start:%H:%M} UTC, "
            f"{intake.errors_not_counted:,} of them known to be failed calls; most often: {most_often}; "
            "`routewatch quarantine list` shows those that are set aside"
        )
    observation = Observation(now, breach, is_recovered=not is_beyond)
    of = intake.not_counted + counted
    rule = AlertRule.ROWS_NOT_COUNTED
    found = Evaluation(rule, "", observation, share, SHARE_NOT_COUNTED, of, detail=detail)
    return _notify(ctx, found, now)


class CountingWatch:
    """Compares how far counting is with the selections that are there, and alerts where it stands still.

    It needs nothing of the update itself, so that it tells of one that fails, hangs, or is run by nobody. What waited
    when the watch began, as after a stop of the page, is given as long as everything else.
    """

    def __init__(self, ctx: AppContext, started_at: datetime) -> None:
        self._ctx = ctx
        self._readable_at = self._since = self._looked_at = started_at
        self._failing_since: datetime | None = None

    def watch(self, now: datetime, cause: str = "") -> AlertMessage | None:
        """Raise the alert or resolve it, and return its message; None if there is no news.

        `cause` is what the last update ended with, if it failed.
        """
        if not timedelta() <= now - self._looked_at <= LONGEST_GAP:
            self._readable_at = self._since = now
        self._looked_at = now
        backlog = self._read(now)
        last_counted = backlog.since
        self._failing_since = (self._failing_since or now) if cause else None
        stalled_for = replace(backlog, since=max(last_counted or self._since, self._since)).stalled_for(now)
        if self._failing_since is not None and backlog.has_changes:
            # New selections may be counted meanwhile.
            stalled_for = max(stalled_for, now - max(self._failing_since, self._since))
        is_stalled = stalled_for >= stalled_after(self._ctx.settings)
        if not is_stalled and not _is_open(self._ctx, AlertRule.COUNTING_STALLED):
            return None
        # It resolves once the count goes on, not once it is a little less late.
        detail = ""
        if is_stalled:
            detail = f"{backlog.shown}; none was counted for {stalled_for.total_seconds():.0f} s"
            detail += f" ({cause})" if cause else ""
        observation = Observation(now, "critical" if is_stalled else None, is_recovered=not is_stalled)
        found = Evaluation(AlertRule.COUNTING_STALLED, "", observation, detail=detail)
        return _notify(self._ctx, found, now)

    def _read(self, now: datetime) -> Backlog:
        try:
            with reading(self._ctx.engine) as connection:
                backlog = read_backlog(connection)
        except DatabaseUnavailable as error:
            # A lock on a table holds up who counts, too. Where all of it is away, the alert cannot be stored either.
            logger().warning("could not see how far counting is: %s", error)
            return Backlog(None, self._readable_at)
        self._readable_at = now
        return backlog


# ----------------------------------------------------------------------------------------------------------------------


def _is_open(ctx: AppContext, rule: AlertRule) -> bool:
    is_open = (ALERT.c.rule == rule.value) & ALERT.c.resolved_at.is_(None)
    with reading(ctx.engine) as connection:
        return connection.execute(select(ALERT.c.id).where(is_open).limit(1)).first() is not None


def _notify(ctx: AppContext, found: Evaluation, now: datetime) -> AlertMessage | None:
    """Update the alert of an evaluation, and queue its message if there is news of it."""
    with writing(ctx.engine) as connection:
        lock_alert_checkpoint(connection)
        registry = update_alerts(connection, [(now, [found])], ctx.settings.monitoring.alerting, now, at_all=False)
        if not any(tracked.key[0] is found.rule for tracked in registry.pending()):
            return None
        return enqueue_notification(connection, registry, ctx.settings, now, AT_ONCE, notified_at=None)
