"""Check that selections are rolled up, reports are on time, and flows succeed."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import func, select

from models.database import reading
from models.notifications import AlertRule
from models.period import Level, last_complete
from models.schema import ALERT, REPORT
from models.settings import Settings
from routewatch.quarantine import QUARANTINE_IS_FULL, count_dropped
from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext
from tasks.ingestion.quarantine import count_quarantined
from tasks.rollups.checkpoint import read_known_checkpoint
from tasks.rollups.checkpoint_bounds import newest_selection
from tasks.rollups.progress import STALLED_AFTER, read_backlog, stalled_after

LATE_PULL, LOST = timedelta(minutes=75), timedelta(hours=25)
"""Age of the last rollup update: longer than between hourly runs, and longer than between daily runs."""

AHEAD = timedelta(minutes=1)
"""How far in the future a selection may be before the router's clock is considered wrong."""

_DUE = {"hourly": (Level.HOUR, timedelta(minutes=35)), "daily": (Level.DAY, timedelta(hours=8)),
        "weekly": (Level.WEEK, timedelta(hours=8))}  # fmt: skip
"""Level of a schedule's reports, and time after a period's end until its report exists, with room for a slow run."""

_STALLED_REMEDY = (
    "see in the log of `routewatch serve` or `routewatch page` why; `routewatch run hourly` counts now, or says why not"
)
_SHOWN_REASONS = 3

_REMEDY = "see that `routewatch serve` or a worker runs"


def checks(context: CheckContext) -> list[Check]:
    """Return the checks of rollups, reports and flows."""
    return [
        Check("selections counted", partial(_counted, context)),
        Check("quarantine", partial(_set_aside, context)),
        Check("reports on time", partial(_on_time, context)),
        Check("failed runs", partial(_failed_runs, context)),
    ]


# ----------------------------------------------------------------------------------------------------------------------


def _set_aside(context: CheckContext) -> CheckResult:
    with context.tables() as engine, reading(engine) as connection:
        counts = count_quarantined(connection)
        dropped, since = count_dropped(connection)
    if not counts and since is None:
        return ok("no selection is set aside")
    reasons = "; ".join(f"{count:,} × {reason}" for reason, count in list(counts.items())[:_SHOWN_REASONS])
    remedy = (
        "see `routewatch quarantine list`, mend what writes them, then `routewatch quarantine retry --all` or `drop`"
    )
    found = f"{sum(counts.values()):,} selections are set aside and not counted: {reasons}" if counts else ""
    if since is not None:
        more = f"{dropped:,} were dropped since {since:%Y-%m-%d %H:00} UTC: {QUARANTINE_IS_FULL}"
        found = f"{found}; {more}" if found else more
    return warning(found, remedy)


def _counted(context: CheckContext) -> CheckResult:
    with context.tables() as engine, reading(engine) as connection:
        state = read_known_checkpoint(connection)
        backlog = read_backlog(connection)
        furthest = newest_selection(connection)
    now = context.clock()
    if state is None or state.rollups_updated_at is None:
        return warning("nothing has been counted yet", f"{_REMEDY}, or run `routewatch run hourly`")
    age, newest = now - state.rollups_updated_at, state.last_selection_at
    cause = "no selection yet" if newest is None else f"the newest selection is of {_shown(newest)}"
    found = f"last counted {_length(age)} ago; {cause}"
    settings = context.read_settings
    longest = stalled_after(settings) if isinstance(settings, Settings) else STALLED_AFTER
    if (stalled := backlog.stalled_for(now)) >= longest:
        return failed(f"{backlog.shown}, and none was counted for {_length(stalled)}; {cause}", _STALLED_REMEDY)
    if age > LOST:
        return failed(found, f"{_REMEDY}; `routewatch run hourly` counts now")
    if age > LATE_PULL:
        return warning(found, f"{_REMEDY}; `routewatch run hourly` counts now")
    if furthest is not None and furthest > now + AHEAD:
        ahead = f"a selection is of {_shown(furthest)}, {_length(furthest - now)} in the future"
        return warning(f"{found}; {ahead}", "set the clock of the router's machine right")
    return ok(found)


def _on_time(context: CheckContext) -> CheckResult:
    settings, now = context.settings, context.clock()
    kinds = [kind for kind in _DUE if getattr(settings.reporting.schedules, kind).enabled]
    if not kinds:
        raise CheckSkipped("the settings enable no schedule")
    with context.tables() as engine, reading(engine) as connection:
        over = REPORT.c.period_end <= now + AHEAD
        query = select(REPORT.c.kind, func.max(REPORT.c.period_end)).where(over).group_by(REPORT.c.kind)
        newest: dict[str, datetime] = {row[0]: row[1] for row in connection.execute(query)}
    late: dict[str, str] = {}
    for kind in kinds:
        level, room = _DUE[kind]
        required_end = last_complete(level, now - room, settings.timezone).end
        if kind not in newest:
            late[kind] = f"no {kind} report yet"
        elif newest[kind] < required_end:
            late[kind] = (
                f"the newest {kind} report ends at {_shown(newest[kind])}, one up to {_shown(required_end)} is due"
            )
    if late:
        remedy = f"{_REMEDY}; `routewatch run {next(iter(late))}` makes the newest now"
        return warning("; ".join(late.values()), remedy)
    return ok("; ".join(f"{kind} up to {_shown(newest[kind])}" for kind in kinds))


def _failed_runs(context: CheckContext) -> CheckResult:
    unresolved = (ALERT.c.rule == AlertRule.FAILED_FLOW.value) & ALERT.c.resolved_at.is_(None)
    query = select(ALERT.c.subject, ALERT.c.started_at, ALERT.c.detail).where(unresolved).order_by(ALERT.c.started_at)
    with context.tables() as engine, reading(engine) as connection:
        rows = connection.execute(query).all()
    if not rows:
        return ok("every flow's last run succeeded")
    found = "; ".join(f"{row.subject} since {_shown(row.started_at)}: {row.detail}" for row in rows)
    # The subject is a flow or, such as "pull litellm", the first step of an hourly run.
    command = rows[0].subject if rows[0].subject.startswith("pull ") else f"run {rows[0].subject}"
    return warning(found, f"fix the reported error, then `routewatch {command}`, or wait for the next run")


def _shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _length(time: timedelta) -> str:
    seconds = max(0.0, time.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
