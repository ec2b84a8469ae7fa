"""High-water marks: stored times that later work waits for, each with its upper bound.

A clock that ran ahead, or a row by hand, may leave one beyond the true now: whoever waits for it would then stand still
until that time comes. `reset_marks` moves such a mark back. Every column with an instant is here or in NO_MARKS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    case,
    func,
    literal,
    null,
    select,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.types import NullType, Text

from models.clock import TOLERANCE
from models.database import reading, writing
from models.schema import (
    ALERT,
    ALERT_CHECKPOINT,
    ALERT_SILENCE,
    CONFIG,
    CONFIG_CHANGE,
    DELIVERY,
    DELIVERY_ATTEMPT,
    MESSAGE,
    OPTIMIZATION,
    OPTIMIZATION_TRANSITION,
    PULL_STATE,
    REPORT,
    ROLLUP_CHECKPOINT,
    TRIAL,
    TRIAL_STEP,
)
from routewatch.selection import UtcDateTime

LONGEST_LEASE = timedelta(hours=24)
"""Far longer than any lease of a delivery: a machine whose clock is behind must not take one that is still sent."""

LONGEST_WAIT = timedelta(hours=29)
"""Longer than any wait between two attempts of a delivery."""

LONGEST_PLAN = timedelta(days=31)
"""How long before its start somebody may have written a silence."""


@dataclass(frozen=True)
class MarkAhead:
    """A mark that was found ahead of the clock: its name, in how many rows, and the furthest value (None: an id).

    `note` says of an id what is the matter with it.
    """

    name: str
    rows: int
    furthest: datetime | None
    note: str = ""

    def __str__(self) -> str:
        where = f" {self.note}" if self.note else ""
        where = where if self.furthest is None else f" was {self.furthest:%Y-%m-%d %H:%M} UTC"
        return f"{self.name}{where}{f' (in {self.rows:,} rows)' if self.rows > 1 else ''}"


@dataclass(frozen=True)
class Clock:
    """The true now, and the time before which a resolved alert no longer keeps new ones back."""

    now: datetime
    rested: datetime


Reset = Callable[[Clock], Any]


@dataclass(frozen=True)
class Mark:
    """A column whose values may lie at most `room` ahead of the clock, and what replaces one that lies further ahead.

    `tested` is the column that is compared, if it is another one; `among` limits the rows.
    """

    column: ColumnElement[Any]
    reset: Reset
    room: timedelta = timedelta()
    tested: ColumnElement[Any] | None = None
    among: ColumnElement[bool] | None = None

    @property
    def name(self) -> str:
        column: Any = self.column
        return f"{column.table.name}.{column.name}"

    def is_ahead(self, now: datetime) -> ColumnElement[bool]:
        tested: Any = self.column if self.tested is None else self.tested
        ahead: ColumnElement[bool] = tested > now + self.room + TOLERANCE
        return ahead if self.among is None else ahead & self.among


def _as_instant(stored: Any) -> datetime | None:
    """The instant that a column holds; None where it holds an id, or a text that a router wrote and that is none."""
    try:
        at = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    except ValueError:
        return None
    if not isinstance(at, datetime):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _now(clock: Clock) -> Any:
    return clock.now


def _unknown(_clock: Clock) -> Any:
    return null()


def _rested(clock: Clock) -> Any:
    return clock.rested


def _no_later_than_its_end(clock: Clock) -> Any:
    """Of an alert that was resolved ahead of the clock, the time of its end; else now."""
    now, rested = (literal(at, UtcDateTime()) for at in (clock.now, clock.rested))
    return case((ALERT.c.resolved_at > clock.now + TOLERANCE, rested), else_=now)


_ALERT_TIMES = ("started_at", "fired_at", "recovering_since", "no_data_since", "pending_since", "notified_at")

MARKS: tuple[Mark, ...] = (
    Mark(PULL_STATE.c.pulled_at, _unknown),
    Mark(ROLLUP_CHECKPOINT.c.rollups_updated_at, _unknown),
    Mark(ROLLUP_CHECKPOINT.c.progressed_at, _now),
    Mark(CONFIG.c.updated_at, _now),
    Mark(CONFIG_CHANGE.c.changed_at, _now),
    Mark(OPTIMIZATION.c.created_at, _now),
    Mark(OPTIMIZATION.c.updated_at, _now),
    Mark(OPTIMIZATION.c.applied_at, _now),
    Mark(OPTIMIZATION_TRANSITION.c.at, _now),
    # A trial that was started by a clock ahead ends: its hours are not those of its steps. The start comes after the
    # deadline, which asks for it.
    Mark(TRIAL.c.deadline, _now, tested=TRIAL.c.started_at),
    Mark(TRIAL.c.started_at, _now),
    Mark(TRIAL.c.step_at, _now),
    Mark(TRIAL.c.ended_at, _now),
    Mark(TRIAL_STEP.c.at, _now),
    *(Mark(ALERT.c[name], _no_later_than_its_end) for name in _ALERT_TIMES),
    # After the others, which ask for it. A warning is not to be kept back by an end that is still to come.
    Mark(ALERT.c.resolved_at, _rested),
    Mark(ALERT_CHECKPOINT.c.evaluated_until, _unknown),
    Mark(ALERT_CHECKPOINT.c.notified_at, _unknown),
    # It ends: alerting goes on. The start comes after the end, which asks for it.
    Mark(ALERT_SILENCE.c.ends_at, _now, LONGEST_PLAN, tested=ALERT_SILENCE.c.starts_at),
    Mark(ALERT_SILENCE.c.starts_at, _now, LONGEST_PLAN),
    Mark(MESSAGE.c.created_at, _now),
    Mark(REPORT.c.created_at, _now),
    Mark(DELIVERY.c.queued_at, _now),
    # One that was never tried is due as soon as it is queued.
    Mark(DELIVERY.c.next_attempt_at, _now, among=DELIVERY.c.attempts == 0),
    Mark(DELIVERY.c.next_attempt_at, _now, LONGEST_WAIT),
    Mark(DELIVERY.c.lease_until, _now, LONGEST_LEASE),
    Mark(DELIVERY.c.sent_at, _now),
    Mark(DELIVERY_ATTEMPT.c.at, _now),
)

_OF_THE_CHECKPOINT = ("last_selection_at", "minutes_from", "raw_from")
"""Columns of the checkpoint that tasks.rollups.checkpoint_bounds sets back."""

_FAR_AHEAD = datetime(9999, 1, 1, tzinfo=UTC)

NO_MARKS: dict[str, str] = {
    "selection.timestamp": "what a router says; bounded where rows come in",
    "overhead.timestamp": "what a source says",
    "quarantine.set_aside_at": "evidence; nothing waits for it",
    "quarantine.due_at": "the time of a selection; while it is ahead of the clock, the row waits",
    "intake_count.hour": "the time of selections; nothing waits for it",
    "rollup.bucket": "the time of selections; what asks for the newest one asks for it up to the clock",
    "arm_rollup.bucket": "the time of selections; a comparison asks for the hours of its own time",
    "selection_change.at": "the time of a selection; whatever it is, the next update takes it",
    "rollup_checkpoint.last_selection_at": "bounded by tasks.rollups.checkpoint_bounds",
    "rollup_checkpoint.minutes_from": "bounded by tasks.rollups.checkpoint_bounds",
    "rollup_checkpoint.raw_from": "bounded by tasks.rollups.checkpoint_bounds",
    "optimization.period_start": "the evidence of a recommendation; nothing waits for it",
    "optimization.period_end": "the evidence of a recommendation; nothing waits for it",
    **dict.fromkeys(
        ("trial_block.starts_at", "trial_block.ends_at", "trial_block.started_at", "trial_block.ended_at"),
        "a timetable; one that lies ahead of the clock is aborted by tasks.optimizer.switchback_timetable",
    ),
    "report.period_start": "what a report is about",
    "report.period_end": "what a report is about; one that was made before its period was over does not stand for it",
}
"""Columns with instants that are no marks, or that have a bound of their own elsewhere, with the reason."""


def is_unreadable(column: Any) -> ColumnElement[bool]:
    """Whether SQLite holds something in the column that is no instant in the form that is written."""
    stored = type_coerce(column, Text)
    form = "[0-9]" * 4 + "-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]"
    is_instant = stored.op("GLOB", is_comparison=True)(form) & func.strftime("%s", stored).is_not(None)
    return stored.is_not(None) & ~is_instant


def replace_unreadable(engine: Engine, now: datetime, cool_down: timedelta) -> tuple[str, ...]:
    """Replace each time that cannot be read by what one ahead of the clock becomes; return the columns that had some.

    SQLite takes any text as a time, and a query that reads one that is none ends: whoever waits for it stands still.
    Those of the checkpoint are moved far ahead, from where tasks.rollups.checkpoint_bounds sets them back.
    """
    if engine.dialect.name != "sqlite":
        return ()
    clock = Clock(now, now - cool_down)
    resets: list[tuple[Any, Any]] = [(mark.column, mark.reset(clock)) for mark in MARKS]
    resets += [(column, _FAR_AHEAD) for column in _checkpoint_columns()]
    with reading(engine) as connection:
        names = find_unreadable(connection)
    found = [it for it in resets if _name_of(it[0]) in names]
    if found:
        with writing(engine) as connection:
            for column, value in found:
                connection.execute(update(column.table).where(is_unreadable(column)).values({column.name: value}))
    return names


def find_unreadable(connection: Connection) -> tuple[str, ...]:
    """Return the columns of marks and of the checkpoint that hold a time that cannot be read; one query."""
    if connection.dialect.name != "sqlite":
        return ()
    # A column may be that of several marks.
    columns = {_name_of(it): it for it in (*(mark.column for mark in MARKS), *_checkpoint_columns())}
    parts = [
        select(literal(name)).where(select(1).select_from(column.table).where(is_unreadable(column)).exists())
        for name, column in columns.items()
    ]
    found = set(connection.scalars(union_all(*parts)))
    return tuple(name for name in columns if name in found)


def _checkpoint_columns() -> list[Any]:
    return [ROLLUP_CHECKPOINT.c[name] for name in _OF_THE_CHECKPOINT]


def _name_of(column: Any) -> str:
    return f"{column.table.name}.{column.name}"


def find_marks_ahead(connection: Connection, now: datetime) -> tuple[MarkAhead, ...]:
    """Return the marks that lie ahead of the true clock `now`, in the order of MARKS; one query."""
    parts = [
        select(literal(number).label("number"), func.count(), type_coerce(func.max(mark.column), NullType())).where(
            mark.is_ahead(now)
        )
        for number, mark in enumerate(MARKS)
    ]
    rows: list[Any] = sorted((tuple(row) for row in connection.execute(union_all(*parts)) if row[1]), key=itemgetter(0))
    return tuple(MarkAhead(MARKS[number].name, rows, _as_instant(furthest)) for number, rows, furthest in rows)


def reset_marks(engine: Engine, now: datetime, cool_down: timedelta) -> tuple[MarkAhead, ...]:
    """Move every mark that lies ahead of the true clock `now` back to its bound; return what was found.

    `cool_down` is how long a resolved alert keeps new ones back.
    """
    with reading(engine) as connection:
        if not find_marks_ahead(connection, now):
            return ()
    clock = Clock(now, now - cool_down)
    with writing(engine) as connection:
        found = find_marks_ahead(connection, now)
        for mark in MARKS:
            column: Any = mark.column
            change = update(column.table).where(mark.is_ahead(now)).values({column.name: mark.reset(clock)})
            connection.execute(change)
    return found
