"""Nothing is remembered beyond the true now: whatever a wrong clock left ahead is set back, told, and work goes on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Table, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from dashboard.monitor import Monitor
from models.clock import not_ahead, true_now
from models.context import AppContext
from models.database import reading, writing
from models.documents import Filters
from models.environment import Environment
from models.period import Level, Period, floor_to
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
    ROLLUP,
    ROLLUP_CHECKPOINT,
    SELECTION_CHANGE,
    TRIAL,
    TRIAL_STEP,
)
from models.settings import parse_settings
from routewatch.selection import METADATA, SELECTION, UtcDateTime, instant_text
from tasks.alerts.evaluate import evaluate_alerts
from tasks.alerts.self_watch import reset_times_ahead
from tasks.delivery.queue import DEFAULT_RETRY_POLICY, JITTER, MOST_WAIT_ASKED_S, due_ids
from tasks.marks import LONGEST_LEASE, LONGEST_WAIT, MARKS, NO_MARKS, find_marks_ahead, reset_marks
from tasks.optimizer.apply import DecisionContext
from tasks.orchestration.missed_reports import missed
from tasks.reporting.publish import StoredReport, find_report, store_report
from tasks.reporting.request import scheduled
from tasks.retention.purge import retain
from tasks.rollups.checkpoint import MINUTES_KEPT, RollupSettings, counted_until, rollup_settings
from tasks.rollups.checkpoint_bounds import find_checkpoint_ahead, reset_checkpoint
from tasks.rollups.progress import read_backlog
from tasks.rollups.query import query_rollups
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import update_rollups
from tests.support import documents
from tests.support.clocks import Clock
from tests.support.factories import insert_selections, selections
from tests.support.rollups import UTC_SETTINGS

YEAR, DAY, HOUR, MINUTE = (timedelta(**{unit: count}) for unit, count in (
    ("days", 365), ("days", 1), ("hours", 1), ("minutes", 1),
))  # fmt: skip
COOL_DOWN = timedelta(minutes=30)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of_this_machine(monkeypatch)


def context(engine: Engine, home: Path, **alerting: Any) -> AppContext:
    address: Any = engine.url.render_as_string(hide_password=False)
    quick = {"thresholds": "fixed", "holdMinutes": 0, "groupWaitMinutes": 0, "groupIntervalMinutes": 0}
    settings = {"monitoring": {"alerting": {**quick, **alerting}}, "delivery": {"mode": "files"}}
    return AppContext(Environment(home=home, database_url=address), parse_settings(settings, "test"))


def instants(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if isinstance(column.type, UtcDateTime)]


def write_everywhere(connection: Connection, at: datetime) -> None:
    """A row with every instant at a time, in each table that has a mark."""
    base = dict.fromkeys
    rows: dict[Table, dict[str, Any]] = {
        PULL_STATE: {"source": f"s{at}", "kind": "litellm"},
        CONFIG: {"key": f"k{at}", "value": 1, "version": 1, "updated_by": "ada"},
        OPTIMIZATION: {"type": "t", "subject": f"{at}", "state": "kept", "recommendation": {}},
        MESSAGE: {"key": f"{at}", "content": {}},
        ALERT: {"rule": "errorRate", "subject": f"{at}", "severity": "warning", "state": "resolved"},
        ALERT_SILENCE: {"by": "ada", "reason": "r"},
        REPORT: {"kind": "daily", "template": "usage", "parameters_hash": f"{at}", "parameters": {}, "document": {}},
    }
    ids = {
        table: connection.execute(insert(table).values(base([it.name for it in instants(table)], at) | values)
                                  .returning(table.primary_key.columns[0])).scalar_one()
        for table, values in rows.items()
    }  # fmt: skip
    children: dict[Table, dict[str, Any]] = {
        CONFIG_CHANGE: {"key": f"k{at}", "version": 1, "to_value": 1, "changed_by": "ada", "reason": "r"},
        TRIAL: {"optimization_id": ids[OPTIMIZATION], "method": "split", "state": "promoted", "plan": {}, "step": 0},
        OPTIMIZATION_TRANSITION: {"optimization_id": ids[OPTIMIZATION], "to_state": "kept", "by": "a", "reason": "r"},
        DELIVERY: {"message_id": ids[MESSAGE], "channel": "console", "recipient": "console"},
    }
    for table, values in children.items():
        row = base([it.name for it in instants(table)], at) | values
        ids[table] = connection.execute(insert(table).values(row).returning(table.c.id)).scalar_one()
    step = {"trial_id": ids[TRIAL], "at": at, "action": "start", "by": "ada", "reason": "r"}
    connection.execute(insert(TRIAL_STEP).values(step))
    attempt = {"delivery_id": ids[DELIVERY], "at": at, "outcome": "failed", "answer": "503"}
    connection.execute(insert(DELIVERY_ATTEMPT).values(attempt))


def times_of(connection: Connection) -> dict[str, list[datetime]]:
    """Every instant that is stored in a table with a mark, by its column."""
    tables = {mark.column.table for mark in MARKS}
    return {
        f"{table.name}.{column.name}": [at for (at,) in connection.execute(select(column)) if at is not None]
        for table in tables
        for column in instants(table)
    }


def counted(engine: Engine, level: Level = Level.HOUR) -> int:
    with reading(engine) as connection:
        of_level = select(func.sum(ROLLUP.c["count"])).where(ROLLUP.c.level == level.value)
        return int(connection.scalar(of_level) or 0)


def checkpoint(engine: Engine) -> Any:
    with reading(engine) as connection:
        return connection.execute(select(ROLLUP_CHECKPOINT)).one()


def set_checkpoint(engine: Engine, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(ROLLUP_CHECKPOINT).values(values))


def calls(engine: Engine, times: Iterable[datetime], **values: Any) -> None:
    insert_selections(engine, selections(*({"timestamp": at, **values} for at in times)))


def fired(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        query = select(ALERT.c.rule, ALERT.c.state).where(ALERT.c.fired_at.is_not(None)).order_by(ALERT.c.rule)
        return [(row.rule, row.state) for row in connection.execute(query)]


# --- the list is whole ------------------------------------------------------------------------------------------------


def test_every_stored_instant_has_an_upper_bound_or_a_reason_for_none() -> None:
    """A new column with an instant fails here until somebody has decided what bounds it."""
    every = {f"{table.name}.{column.name}" for table in METADATA.sorted_tables for column in instants(table)}
    marks = {mark.name for mark in MARKS}
    assert marks | NO_MARKS.keys() == every
    assert not marks & NO_MARKS.keys()


def test_the_documentation_lists_every_mark() -> None:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    bounded = {mark.name for mark in MARKS} | {name for name, why in NO_MARKS.items() if "checkpoint_bounds" in why}
    assert [name for name in sorted(bounded) if f"`{name}`" not in page] == []


def test_no_right_wait_or_lease_counts_as_ahead() -> None:
    waits_s = [wait * (1 + JITTER) for wait in DEFAULT_RETRY_POLICY.back_off_s]
    assert timedelta(seconds=max(*waits_s, MOST_WAIT_ASKED_S)) < LONGEST_WAIT
    assert DEFAULT_RETRY_POLICY.lease < LONGEST_LEASE


# --- every mark -------------------------------------------------------------------------------------------------------


def test_every_mark_a_year_ahead_is_set_back_and_what_is_right_stays(engine: Engine) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    with writing(engine) as connection:
        write_everywhere(connection, now - HOUR)
        right = times_of(connection)
        write_everywhere(connection, now + YEAR)
        connection.execute(insert(ALERT_CHECKPOINT).values(id=1, evaluated_until=now + YEAR, notified_at=now + YEAR))
        state = {"last_id": 0, "zone": "UTC", "target_ms": 1.0, "rollups_updated_at": now + YEAR}
        connection.execute(insert(ROLLUP_CHECKPOINT).values(id=1, progressed_at=now + YEAR, **state))
    found = reset_marks(engine, now, COOL_DOWN)
    # An untried delivery stands for both of its waits.
    assert {mark.name for mark in found} == {mark.name for mark in MARKS}
    assert all(mark.furthest == now + YEAR for mark in found)
    evidence = {"optimization.period_start", "optimization.period_end", "report.period_start", "report.period_end"}
    with reading(engine) as connection:
        left = times_of(connection)
        assert {name for name, times in left.items() if max(times, default=now) > now} == evidence
        assert all(set(right[name]) <= set(left[name]) for name in right)
        assert find_marks_ahead(connection, now) == ()
        rested = select(ALERT.c.resolved_at).where(ALERT.c.started_at == ALERT.c.resolved_at).order_by(ALERT.c.id)
        assert connection.scalars(rested).all()[-1] == now - COOL_DOWN
        assert connection.execute(select(ALERT_CHECKPOINT.c.evaluated_until, ALERT_CHECKPOINT.c.notified_at)).one() == (
            None,
            None,
        )
    assert reset_marks(engine, now, COOL_DOWN) == ()


def test_a_delivery_that_waits_for_next_year_is_due_now(engine: Engine) -> None:
    """Queued by a clock that ran ahead, or held by a sender that died under one; a wait between attempts stays."""
    now = true_now()
    with writing(engine) as connection:
        for number, (state, attempts, at) in enumerate(
            (("queued", 0, now + HOUR), ("queued", 3, now + YEAR), ("sending", 1, now + YEAR), ("queued", 3, now + DAY))
        ):
            message = insert(MESSAGE).values(key=f"{number}", content={}, created_at=now).returning(MESSAGE.c.id)
            held = {"lease_until": at} if state == "sending" else {}
            row = {"message_id": connection.scalar(message), "channel": "console", "recipient": "console"}
            times = {"queued_at": now, "next_attempt_at": at}
            connection.execute(insert(DELIVERY).values(state=state, attempts=attempts, **row, **times, **held))
    assert due_ids(engine, now) == []
    reset_marks(engine, now, COOL_DOWN)
    assert [number for number, _ in due_ids(engine, now + MINUTE)] == [1, 2, 3]


# --- clocks that jump -------------------------------------------------------------------------------------------------


def test_alerting_resumes_at_once_when_a_clock_a_year_ahead_is_right_again(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    """Under the wrong clock an alert fired, was notified and was resolved, a year ahead."""
    monitor = Monitor(context(engine, tmp_path))
    clock.off = YEAR
    ahead = true_now()
    calls(engine, [ahead - 3 * MINUTE] * 200, error=True)
    monitor.evaluate(ahead)
    calls(engine, [ahead + 19 * MINUTE] * 200)
    for minutes in (22, 33):
        clock.off = YEAR + minutes * MINUTE
        monitor.evaluate(true_now())
    assert ("errorRate", "resolved") in fired(engine)

    clock.off = timedelta()
    monitor.watch(true_now())
    calls(engine, [true_now() - 3 * MINUTE] * 200, error=True)
    monitor.evaluate(true_now())
    assert ("errorRate", "firing") in fired(engine)
    assert ("timesAhead", "resolved") in fired(engine)
    with reading(engine) as connection:
        assert find_marks_ahead(connection, true_now()) == ()
        contents = connection.scalars(select(MESSAGE.c.content).order_by(MESSAGE.c.id)).all()
    told = [item for item in contents[-1]["notifications"] if item["rule"] == "timesAhead"]
    assert told[0]["detail"].startswith("rollup_checkpoint.")


def test_alerts_go_on_after_a_clock_that_was_a_year_behind(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    monitor = Monitor(context(engine, tmp_path))
    clock.off = -YEAR
    calls(engine, [true_now() - 3 * MINUTE] * 200)
    monitor.watch(true_now())
    monitor.evaluate(true_now())
    clock.off = timedelta()
    calls(engine, [true_now() - 3 * MINUTE] * 200, error=True)
    monitor.watch(true_now())
    monitor.evaluate(true_now())
    assert ("errorRate", "firing") in fired(engine)
    assert all(rule != "timesAhead" for rule, _ in fired(engine))


def test_a_run_as_of_next_year_moves_no_mark_beyond_now(engine: Engine, tmp_path: Path) -> None:
    """What is evaluated, counted and shown as fresh stays; alerts of today fire after it."""
    ctx, now = context(engine, tmp_path), true_now()
    calls(engine, [now - 3 * MINUTE] * 200, error=True)
    update_rollups(engine, rollup_settings(ctx.settings), now=now + YEAR)
    evaluate_alerts(engine, ctx.settings, now + YEAR, flush=True)
    with reading(engine) as connection:
        assert (*find_marks_ahead(connection, true_now()), *find_checkpoint_ahead(connection, true_now())) == ()
    assert ("errorRate", "firing") in fired(engine)


def test_times_ahead_are_told_once_an_hour_however_often_another_machine_sets_them(
    engine: Engine, tmp_path: Path
) -> None:
    ctx, now = context(engine, tmp_path), true_now()
    for minutes in (0, 1, 59, 61):
        at = now + minutes * MINUTE
        with writing(engine) as connection:
            connection.execute(insert(MESSAGE).values(key=f"{minutes}", content={}, created_at=at + YEAR))
        assert [mark.name for mark in reset_times_ahead(ctx, at)] == ["message.created_at"]
    assert fired(engine) == [("timesAhead", "resolved")] * 2


# --- counting ---------------------------------------------------------------------------------------------------------


def test_a_row_dated_ahead_defers_no_optimization_and_is_not_the_newest_selection(engine: Engine) -> None:
    now = true_now().replace(microsecond=0)
    calls(engine, [now - HOUR, now + 2 * DAY, now + YEAR])
    assert update_rollups(engine, UTC_SETTINGS, now=now).last_selection_at == now - HOUR
    # As an earlier release left it.
    set_checkpoint(engine, last_selection_at=now + YEAR)
    reset_checkpoint(engine, now)
    yesterday = query_rollups(engine, Period(now - DAY, now), Filters())
    assert yesterday.last_selection_at == now - HOUR
    assert not DecisionContext(yesterday.period, yesterday.last_selection_at, now).is_stale


def test_minutes_are_counted_after_a_first_run_by_a_clock_a_year_ahead(engine: Engine) -> None:
    """Without minutes no alert is evaluated."""
    now = true_now()
    calls(engine, [now - number * HOUR for number in range(24)])
    set_minutes = floor_to(Level.HOUR, now + YEAR - MINUTES_KEPT, "UTC")
    update_rollups(engine, UTC_SETTINGS, now=now)
    with writing(engine) as connection:
        connection.execute(delete(ROLLUP).where(ROLLUP.c.level == Level.MINUTE.value))
    set_checkpoint(engine, minutes_from=set_minutes)
    assert counted(engine, Level.MINUTE) == 0
    assert [mark.name for mark in reset_checkpoint(engine, now)] == ["rollup_checkpoint.minutes_from"]
    update_rollups(engine, UTC_SETTINGS, now=now)
    assert (counted(engine, Level.MINUTE), counted(engine)) == (24, 24)
    assert checkpoint(engine).minutes_from == floor_to(Level.HOUR, now - MINUTES_KEPT, "UTC")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_retention_by_a_clock_a_year_ahead_does_not_go_on_once_it_is_right(engine: Engine, zone: str) -> None:
    """What it took is gone; what is recorded after it is kept, and counted once."""
    settings, now = RollupSettings(zone, 2000.0), true_now()
    calls(engine, [now - number * DAY for number in range(5)])
    update_rollups(engine, settings, now=now)
    assert retain(engine, raw_kept=30 * DAY, now=now + YEAR).selections == 5
    reset_checkpoint(engine, now)
    calls(engine, [now, now - DAY])
    update_rollups(engine, settings, now=now)
    assert retain(engine, raw_kept=30 * DAY, now=now).selections == 0
    update_rollups(engine, settings, now=now)
    # Its hours are gone as well; a day is kept for ever.
    assert counted(engine, Level.DAY) == 7
    assert checkpoint(engine).raw_from <= now + HOUR
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(SELECTION)) == 2
        assert find_checkpoint_ahead(connection, now) == ()


def test_counting_goes_on_where_it_was_ahead_of_every_id(engine: Engine) -> None:
    """As where a table was restored without its ids: rows that have come since count once, as do the others."""
    now = true_now()
    calls(engine, [now - number * 7 * MINUTE for number in range(30)])
    update_rollups(engine, UTC_SETTINGS, now=now)
    set_checkpoint(engine, **counted_until(10**12))
    calls(engine, [now - number * 5 * MINUTE for number in range(30)])
    assert update_rollups(engine, UTC_SETTINGS, now=now).rows == 0
    # PostgreSQL notes rows that are written below the checkpoint, also those with ids that it issued.
    assert counted(engine) == (30 if engine.dialect.name == "sqlite" else 60)
    assert [mark.name for mark in reset_checkpoint(engine, now)] == ["rollup_checkpoint.last_id"]
    update_rollups(engine, UTC_SETTINGS, now=now)
    assert counted(engine) == 60
    calls(engine, [now])
    update_rollups(engine, UTC_SETTINGS, now=now)
    assert counted(engine) == 61
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(SELECTION_CHANGE)) == 0


@pytest.mark.parametrize("is_earlier_release", [False, True])
def test_an_id_written_by_hand_keeps_no_later_row_from_being_counted(
    postgres_engine: Engine, is_earlier_release: bool
) -> None:
    """As where a table was copied without its sequence. SQLite issues no id below one that was there."""
    now, far = true_now(), 10**9
    calls(postgres_engine, [now] * 3)
    with writing(postgres_engine) as connection:
        connection.execute(insert(SELECTION).values(id=far, timestamp=now, model_id="m"))
    update_rollups(postgres_engine, UTC_SETTINGS, now=now)
    assert counted(postgres_engine) == 3
    if is_earlier_release:
        # It counted whatever was there, and remembered the largest id.
        set_checkpoint(postgres_engine, **counted_until(far))
    calls(postgres_engine, [now] * 5)
    names = {mark.name for mark in reset_checkpoint(postgres_engine, now)}
    assert names == {"selection.id"} | ({"rollup_checkpoint.last_id"} if is_earlier_release else set())
    calls(postgres_engine, [now] * 7)
    update_rollups(postgres_engine, UTC_SETTINGS, now=now)
    assert counted(postgres_engine) == 16
    assert reset_checkpoint(postgres_engine, now) == ()


def guards(engine: Engine, *, are_there: bool) -> None:
    """Drop or create what keeps SQLite's table from ids by hand, as in a file from before it had that."""
    if engine.dialect.name == "sqlite":
        migration: Any = import_module("models.migrations.versions.0013_guard_ids")
        drops = "DROP TRIGGER selection_id_written", "DROP TRIGGER selection_id_changed"
        with writing(engine) as connection:
            for statement in migration.SQLITE if are_there else drops:
                connection.exec_driver_sql(statement)


@pytest.mark.parametrize("ids", [[2**63 - 1], [0], [-1], [-(2**63), -5, 0, 2**62 + 1, 2**63 - 2, 2**63 - 1]])
@pytest.mark.parametrize("is_counted", [False, True])
def test_rows_with_ids_that_counting_never_reaches_get_the_next_ones_and_count_once(
    engine: Engine, ids: list[int], is_counted: bool
) -> None:
    now = true_now()
    calls(engine, [now] * 3)
    update_rollups(engine, UTC_SETTINGS, now=now)
    guards(engine, are_there=False)
    with writing(engine) as connection:
        for number, row_id in enumerate(ids):
            connection.execute(insert(SELECTION).values(id=row_id, timestamp=now - number * DAY, model_id="m"))
    guards(engine, are_there=True)
    if is_counted:
        # By an earlier release, or by reconcile.
        update_rollups(engine, UTC_SETTINGS, now=now)
        reconcile(engine)
    assert [mark.name for mark in reset_checkpoint(engine, now)] == ["selection.id"]
    for calls_more in (0, 2):
        calls(engine, [now] * calls_more)
        update_rollups(engine, UTC_SETTINGS, now=now)
        assert counted(engine) == 3 + len(ids) + calls_more
    assert reset_checkpoint(engine, now) == ()
    assert reconcile(engine) == 0
    with reading(engine) as connection:
        taken = list(connection.scalars(select(SELECTION.c.id)))
    assert min(taken) > 0
    assert max(taken) < 100


def test_sqlite_takes_no_id_by_hand_after_which_few_are_left(sqlite_engine: Engine) -> None:
    """Not by a condition of the table: it sees the ids that are issued too, so that its bound would be the end."""
    now, largest = true_now(), 2**61
    calls(sqlite_engine, [now])
    for statement in (
        f"INSERT INTO selection (id, timestamp, model_id) VALUES ({largest + 1}, '{instant_text(now)}', 'm')",  # noqa: S608
        f"INSERT OR IGNORE INTO selection (id, timestamp, model_id) SELECT {2**63 - 1}, timestamp, 'm' FROM selection",  # noqa: S608
        f"INSERT OR REPLACE INTO selection (id, timestamp, model_id) VALUES ({2**62}, '{instant_text(now)}', 'm')",  # noqa: S608
        f"UPDATE selection SET id = {2**63 - 1}",  # noqa: S608
    ):
        with pytest.raises(IntegrityError, match="leave it out"), writing(sqlite_engine) as connection:
            connection.exec_driver_sql(statement)
    with writing(sqlite_engine) as connection:
        connection.execute(insert(SELECTION).values(id=largest, timestamp=now, model_id="m"))
    # One too many for a bound that held for issued ids as well.
    calls(sqlite_engine, [now] * 2)
    update_rollups(sqlite_engine, UTC_SETTINGS, now=now)
    assert counted(sqlite_engine) == 4
    assert reset_checkpoint(sqlite_engine, now) == ()


@pytest.mark.parametrize("by_hand", [0, 1, 4, 7, 10**12, 2**63 - 1, -3])
def test_a_checkpoint_that_is_moved_by_hand_counts_no_row_twice_and_loses_none(engine: Engine, by_hand: int) -> None:
    """However long nobody looks: the update, changes, reconcile and retention go by what counting itself wrote."""
    now = true_now()
    calls(engine, [now - number * HOUR for number in range(5)])
    update_rollups(engine, UTC_SETTINGS, now=now)
    calls(engine, [now] * 4)
    set_checkpoint(engine, last_id=by_hand)
    assert reconcile(engine) == 0
    with reading(engine) as connection:
        (found,) = find_checkpoint_ahead(connection, now)
        assert read_backlog(connection).rows == 4
    assert str(found) == f"rollup_checkpoint.last_id was set to {by_hand} by hand: counting goes on from 5"
    with writing(engine) as connection:
        connection.execute(update(SELECTION).where(SELECTION.c.id <= 2).values(error=True))
    if by_hand % 2:
        assert [str(mark) for mark in reset_checkpoint(engine, now)] == [str(found)]
    update_rollups(engine, UTC_SETTINGS, now=now)
    assert counted(engine) == 9
    assert (checkpoint(engine).last_id, reset_checkpoint(engine, now), reconcile(engine)) == (9, (), 0)


def test_a_row_that_is_written_below_the_checkpoint_is_counted_by_the_next_update(engine: Engine) -> None:
    now = true_now()
    calls(engine, [now - number * HOUR for number in range(5)])
    with writing(engine) as connection:
        connection.execute(delete(SELECTION).where(SELECTION.c.id.in_([2, 3])))
    update_rollups(engine, UTC_SETTINGS, now=now)
    assert counted(engine) == 3
    rows = [{"id": row_id, "timestamp": now - row_id * DAY, "model_id": "m"} for row_id in (2, 3)]
    with writing(engine) as connection:
        connection.execute(insert(SELECTION), rows)
    update_rollups(engine, UTC_SETTINGS, now=now)
    assert (counted(engine), reconcile(engine)) == (5, 0)


def test_a_right_checkpoint_is_left_as_it_is(engine: Engine) -> None:
    """Also where all rows are gone, and where retention keeps nothing but today."""
    now = true_now()
    calls(engine, [now - number * DAY for number in range(5)])
    update_rollups(engine, UTC_SETTINGS, now=now)
    retain(engine, raw_kept=DAY, now=now)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM selection"))
    before = checkpoint(engine)
    assert reset_checkpoint(engine, now) == ()
    assert checkpoint(engine) == before


# --- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_that_was_made_before_its_day_was_over_does_not_stand_for_it(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    """By a run as of tomorrow, or a clock ahead: the right one is made and sent, and the first stays on record."""
    ctx = context(engine, tmp_path)
    due = datetime(2026, 9, 8, 6, 15, tzinfo=UTC)
    request, _ = scheduled("daily", ctx.settings, due)
    clock.off = request.period.start + 12 * HOUR - datetime.now(UTC)
    document = documents.empty()

    def made(at: datetime) -> int:
        return store_report(ctx, request, document, ("console",), not_ahead(at), queued_at=true_now()).id

    first = made(due)
    assert (made(due), find_report(engine, request, ctx.settings)) == (first, StoredReport(first, document))
    clock.off += DAY
    assert find_report(engine, request, ctx.settings) is None
    second = made(due)
    assert second != first
    assert (made(due), find_report(engine, request, ctx.settings)) == (second, StoredReport(second, document))
    with reading(engine) as connection:
        assert connection.scalars(select(REPORT.c.id).order_by(REPORT.c.id)).all() == [first, second]


def test_a_day_that_only_a_premature_report_tells_of_is_missing(engine: Engine, tmp_path: Path) -> None:
    ctx, due = context(engine, tmp_path), datetime(2026, 9, 11, 6, 15, tzinfo=UTC)
    with writing(engine) as connection:
        for days in range(3):
            period = scheduled("daily", ctx.settings, due - days * DAY)[0].period
            made_at = period.end - (HOUR if days == 1 else -HOUR)
            row = {"kind": "daily", "template": "usage", "period_start": period.start, "period_end": period.end}
            rest = {"parameters_hash": "a", "parameters": {}, "document": {}, "created_at": made_at}
            connection.execute(insert(REPORT).values(row | rest))
    assert missed(engine, "daily", ctx.settings, due + 2 * HOUR) == [due - DAY]


@pytest.mark.parametrize("odd", ["garbage", "0", "2026-09-07", "2026-13-40 99:99:99.000000"])
def test_a_time_that_cannot_be_read_is_set_back_like_one_ahead(sqlite_engine: Engine, tmp_path: Path, odd: str) -> None:
    """SQLite takes any text as a time. Afterwards every time can be read, and counting goes on."""
    now = true_now()
    calls(sqlite_engine, [now - HOUR])
    update_rollups(sqlite_engine, UTC_SETTINGS, now=now)
    of_checkpoint = {f"rollup_checkpoint.{it}" for it in ("last_selection_at", "raw_from", "minutes_from")}
    with writing(sqlite_engine) as connection:
        write_everywhere(connection, now - HOUR)
        for name in {mark.name for mark in MARKS} | of_checkpoint:
            table, column = name.split(".")
            connection.execute(text(f"UPDATE {table} SET {column} = :odd"), {"odd": odd})  # noqa: S608 - from MARKS
    reset_times_ahead(context(sqlite_engine, tmp_path), now)
    with reading(sqlite_engine) as connection:
        ahead = {name for name, times in times_of(connection).items() if any(at > now + HOUR for at in times)}
    assert ahead == set()
    calls(sqlite_engine, [now])
    assert update_rollups(sqlite_engine, UTC_SETTINGS, now=now).rows == 1
    assert counted(sqlite_engine) == 2


@pytest.mark.parametrize("odd", ["", "2026-09-07", "0"])
def test_a_selection_whose_time_cannot_be_read_is_not_the_newest(
    sqlite_engine: Engine, tmp_path: Path, odd: str
) -> None:
    """It was written past the conditions of the table, beside a checkpoint that is ahead."""
    now = true_now()
    calls(sqlite_engine, [now - HOUR, now - 2 * HOUR])
    update_rollups(sqlite_engine, UTC_SETTINGS, now=now)
    with sqlite_engine.connect().execution_options(routewatch_writes=True) as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("UPDATE selection SET timestamp = ? WHERE id = 1", (odd,))
        connection.commit()
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
    set_checkpoint(sqlite_engine, last_selection_at=now + YEAR)
    reset_times_ahead(context(sqlite_engine, tmp_path), now)
    assert checkpoint(sqlite_engine).last_selection_at == now - 2 * HOUR
