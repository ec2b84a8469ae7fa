"""A count that stands still is seen within two minutes, whatever the reason; a quiet router is no false alarm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text, update

from dashboard.monitor import WATCHED_EVERY_S, Monitor
from models.clock import true_now
from models.context import AppContext
from models.database import reading, writing
from models.environment import Environment
from models.schema import ALERT, MESSAGE, ROLLUP_CHECKPOINT
from models.settings import parse_settings
from routewatch.quarantine import IntakeCounts, IntakeOutcome
from routewatch.selection import SELECTION
from tasks.alerts.self_watch import CountingWatch, watch_intake
from tasks.rollups import progress, watermark
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.progress import BETWEEN_RUNS, STALLED_AFTER, Backlog, read_backlog, stalled_after
from tasks.rollups.update import update_rollups
from tests.support.clocks import Clock
from tests.support.factories import MONDAY, insert_selections, selections

SEEN_WITHIN = timedelta(minutes=2)
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of_this_machine(monkeypatch)


def context(engine: Engine, home: Path, **monitoring: Any) -> AppContext:
    address: Any = engine.url.render_as_string(hide_password=False)
    settings = {"monitoring": monitoring, "delivery": {"mode": "files"}}
    return AppContext(Environment(home=home, database_url=address), parse_settings(settings, "test"))


def record(engine: Engine, count: int = 1, at: datetime | None = None) -> None:
    insert_selections(engine, selections(*({"timestamp": at or true_now()} for _ in range(count))))


def count_all(ctx: AppContext) -> None:
    update_rollups(ctx.engine, rollup_settings(ctx.settings), now=true_now())


def stalled(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        query = select(ALERT.c.state, ALERT.c.detail).where(ALERT.c.rule == "countingStalled").order_by(ALERT.c.id)
        return [(row.state, row.detail) for row in connection.execute(query)]


def told(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        contents = connection.scalars(select(MESSAGE.c.content).order_by(MESSAGE.c.id)).all()
    return [item["event"] for content in contents for item in content["notifications"]]


def look_on(watch: CountingWatch | Monitor, clock: Clock, time: timedelta = SEEN_WITHIN) -> None:
    """Let a watch look, as often as it does, until some time has gone."""
    began = clock.off
    while clock.off <= began + time:
        watch.watch(true_now())
        clock.off += WATCHED_EVERY_S * SECOND
    clock.off -= WATCHED_EVERY_S * SECOND


@contextmanager
def refusing(engine: Engine, what: str, table: str) -> Iterator[None]:
    """Let the database refuse an INSERT or DELETE, as one row that cannot be counted would have it."""
    with writing(engine) as connection:
        if engine.dialect.name == "sqlite":
            refuse = f"CREATE TRIGGER refused BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END"
            connection.execute(text(refuse))
        else:
            body = "$$BEGIN RAISE EXCEPTION 'refused'; END$$"
            connection.execute(text(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS {body}"))
            connection.execute(text(f"CREATE TRIGGER refused BEFORE {what} ON {table} EXECUTE FUNCTION refuse()"))
    yield
    with writing(engine) as connection:
        connection.execute(text("DROP TRIGGER refused" + (f" ON {table}" if engine.dialect.name != "sqlite" else "")))


def test_a_count_that_fails_is_an_alert_within_two_minutes_and_resolves_once_it_goes_on(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    """The alert names how many wait, since when, and what the count ended with; nothing else notifies it."""
    ctx = context(engine, tmp_path)
    monitor = Monitor(ctx)
    record(engine)
    monitor.evaluate(true_now())
    record(engine, 3)
    with refusing(engine, "INSERT", "rollup"):
        looks = int(SEEN_WITHIN.total_seconds() / WATCHED_EVERY_S)
        for look in range(looks + 1):
            clock.off = look * WATCHED_EVERY_S * SECOND
            with pytest.raises(Exception, match="refused"):
                monitor.evaluate(true_now())
            monitor.watch(true_now())
            assert bool(stalled(engine)) == (clock.off >= STALLED_AFTER)
        [(state, detail)] = stalled(engine)
        assert (state, told(engine)) == ("firing", ["fired"])
        assert detail.startswith("3 selections wait; none was counted for ")
        assert detail.endswith("; the run's log has it)")
    monitor.evaluate(true_now())
    monitor.watch(true_now())
    assert [state for state, _ in stalled(engine)] == ["resolved"]
    assert told(engine) == ["fired", "resolved"]


def test_changed_selections_that_cannot_be_counted_again_are_an_alert_and_the_others_are_judged(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    """New selections are counted meanwhile, and what they show is notified."""
    alerting = {"thresholds": "fixed", "holdMinutes": 0}
    monitor = Monitor(context(engine, tmp_path, alerting=alerting))
    record(engine)
    monitor.evaluate(true_now())
    with writing(engine) as connection:
        connection.execute(update(SELECTION).values(cost_usd=1.0))
    at = true_now() - timedelta(minutes=3)
    insert_selections(engine, selections(*({"timestamp": at, "error": True} for _ in range(200))))
    with refusing(engine, "DELETE", "selection_change"):
        while clock.off <= SEEN_WITHIN:
            with pytest.raises(Exception, match="refused"):
                monitor.evaluate(true_now())
            monitor.watch(true_now())
            clock.off += WATCHED_EVERY_S * SECOND
    [(state, detail)] = stalled(engine)
    assert (state, detail.startswith("changed selections wait to be counted again")) == ("firing", True)
    with reading(engine) as connection:
        assert "errorRate" in connection.scalars(select(ALERT.c.rule)).all()
    monitor.evaluate(true_now())
    monitor.watch(true_now())
    assert [state for state, _ in stalled(engine)] == ["resolved"]


def test_a_count_that_nobody_runs_is_an_alert_whether_it_ever_ran_or_not(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    ctx = context(engine, tmp_path)
    watch = CountingWatch(ctx, true_now())
    record(engine, at=MONDAY)
    look_on(watch, clock)
    assert [state for state, _ in stalled(engine)] == ["firing"]
    count_all(ctx)
    watch.watch(true_now())
    record(engine, at=MONDAY)
    look_on(watch, clock)
    assert [state for state, _ in stalled(engine)] == ["resolved", "firing"]


def test_a_count_that_hangs_on_a_lock_is_an_alert(postgres_engine: Engine, tmp_path: Path, clock: Clock) -> None:
    ctx = context(postgres_engine, tmp_path)
    count_all(ctx)
    record(postgres_engine)
    monitor = Monitor(ctx)
    with postgres_engine.connect() as holder, holder.begin():
        holder.execute(select(ROLLUP_CHECKPOINT).with_for_update())
        thread = threading.Thread(target=monitor.evaluate, args=(true_now(),))
        thread.start()
        look_on(monitor, clock)
        assert [state for state, _ in stalled(postgres_engine)] == ["firing"]
    thread.join()
    monitor.watch(true_now())
    assert [state for state, _ in stalled(postgres_engine)] == ["resolved"]


def test_a_table_that_stays_locked_is_an_alert(
    postgres_engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody can see how many selections wait."""
    monkeypatch.setattr(progress, "LOCK_TIMEOUT_MS", 50)
    watch = CountingWatch(context(postgres_engine, tmp_path), true_now())
    with postgres_engine.connect() as holder, holder.begin():
        holder.execute(text("LOCK TABLE selection IN ACCESS EXCLUSIVE MODE"))
        watch.watch(true_now())
        assert stalled(postgres_engine) == []
        look_on(watch, clock)
    [(state, detail)] = stalled(postgres_engine)
    assert (state, detail.startswith("the selections cannot be read")) == ("firing", True)


def test_an_open_transaction_that_holds_counting_up_is_an_alert(
    postgres_engine: Engine, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollups are updated again and again meanwhile, without any progress."""
    monkeypatch.setattr(watermark, "WRITERS_TIMEOUT_S", 0.0)
    monkeypatch.setattr(watermark.find_watermark, "__defaults__", (0.0,))
    ctx = context(postgres_engine, tmp_path)
    count_all(ctx)
    watch = CountingWatch(ctx, true_now())
    row = {"timestamp": true_now(), "model_id": "m", "error": False}
    with postgres_engine.connect() as writer, writer.begin():
        writer.execute(insert(SELECTION), [row])
        record(postgres_engine)
        clock.off = timedelta(seconds=30)
        count_all(ctx)
        look_on(watch, clock)
        count_all(ctx)
        watch.watch(true_now())
        assert [state for state, _ in stalled(postgres_engine)] == ["firing"]
    count_all(ctx)
    watch.watch(true_now())
    assert [state for state, _ in stalled(postgres_engine)] == ["resolved"]


@pytest.mark.parametrize("is_counting", [True, False], ids=["counting", "no count"])
def test_a_quiet_router_is_no_false_alarm(engine: Engine, tmp_path: Path, clock: Clock, is_counting: bool) -> None:
    """For a day nothing comes; what comes then waits for the next turn only."""
    ctx = context(engine, tmp_path)
    watch = CountingWatch(ctx, true_now())
    record(engine, 5)
    count_all(ctx)
    for hours in range(1, 25):
        clock.off = timedelta(hours=hours)
        if is_counting:
            count_all(ctx)
        for _ in range(2):
            watch.watch(true_now())
            clock.off += WATCHED_EVERY_S * SECOND
    if is_counting:
        record(engine, 5)
        watch.watch(true_now())
    assert stalled(engine) == []


def test_an_import_of_old_rows_is_no_false_alarm(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    ctx = context(engine, tmp_path)
    watch = CountingWatch(ctx, true_now())
    count_all(ctx)
    for seconds in range(0, 300, 30):
        clock.off = seconds * SECOND
        record(engine, 10, at=MONDAY)
        watch.watch(true_now())
        count_all(ctx)
    assert stalled(engine) == []


def test_a_start_after_a_stop_or_a_sleep_or_a_clock_that_is_set_is_no_false_alarm(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    """What came meanwhile is counted by the next turn, unless there is none."""
    ctx = context(engine, tmp_path)
    watch = CountingWatch(ctx, true_now())
    count_all(ctx)
    for is_new, hours in ((True, 1), (False, 2), (False, 30)):
        clock.off = timedelta(hours=hours)
        record(engine)
        watch = CountingWatch(ctx, true_now()) if is_new else watch
        look_on(watch, clock, timedelta(seconds=60))
        assert stalled(engine) == []
        count_all(ctx)
    record(engine)
    look_on(watch, clock)
    assert [state for state, _ in stalled(engine)] == ["firing"]


def test_a_progress_noted_by_a_clock_ahead_hides_no_standstill(engine: Engine, tmp_path: Path, clock: Clock) -> None:
    """A machine whose clock was a year ahead counted last."""
    monitor = Monitor(context(engine, tmp_path))
    clock.off = timedelta(days=365)
    monitor.evaluate(true_now())
    clock.off = timedelta()
    record(engine)
    look_on(monitor, clock)
    assert [state for state, _ in stalled(engine)] == ["firing"]


def test_selections_may_wait_for_who_counts_them(engine: Engine, tmp_path: Path) -> None:
    """Within two minutes, but for a monitor that turns more rarely, or an hourly run alone."""
    for monitoring, longest in (
        ({}, STALLED_AFTER),
        ({"updateInterval": 60_000}, timedelta(minutes=3)),
        ({"enabled": False}, BETWEEN_RUNS),
    ):
        assert stalled_after(context(engine, tmp_path, **monitoring).settings) == longest
    assert STALLED_AFTER + WATCHED_EVERY_S * SECOND < SEEN_WITHIN


def test_the_backlog_is_of_the_rows_after_the_checkpoint(engine: Engine, tmp_path: Path) -> None:
    ctx = context(engine, tmp_path)
    record(engine, 2)
    with reading(engine) as connection:
        assert read_backlog(connection) == Backlog(2, None)
    count_all(ctx)
    record(engine, 3)
    with reading(engine) as connection:
        backlog = read_backlog(connection)
    assert backlog.rows == 3
    assert backlog.since is not None
    assert timedelta() <= true_now() - backlog.since < timedelta(minutes=1)


# --- rows that are not counted ----------------------------------------------------------------------------------------


def refuse(engine: Engine, rows: int, errors: int = 0, outcome: IntakeOutcome = IntakeOutcome.REJECTED) -> None:
    with writing(engine) as connection:
        counts = IntakeCounts("http")
        counts.add(outcome, "timestamp is missing", true_now(), rows=rows, errors=errors)
        counts.write(connection)


def left_out(engine: Engine) -> list[tuple[str, str, float]]:
    with reading(engine) as connection:
        query = select(ALERT).where(ALERT.c.rule == "rowsNotCounted").order_by(ALERT.c.id)
        return [(row.state, row.severity, round(row.value, 3)) for row in connection.execute(query)]


def test_rows_that_are_left_out_are_told_once_while_it_lasts_and_when_it_is_over(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    ctx = context(engine, tmp_path)
    record(engine, 196)
    count_all(ctx)
    refuse(engine, 4, 4)
    assert watch_intake(ctx, true_now()) is None, "two in a hundred, but four only"
    refuse(engine, 2)
    message = watch_intake(ctx, true_now())
    assert message is not None
    assert left_out(engine) == [("firing", "warning", 0.03)]
    (item,) = message.notifications
    assert "6 rejected and 0 set aside" in item.detail
    assert "4 of them known to be failed calls; most often: timestamp is missing" in item.detail
    for _ in range(3):
        refuse(engine, 1)
        assert watch_intake(ctx, true_now()) is None
    clock.off = timedelta(hours=2)
    assert watch_intake(ctx, true_now()) is not None
    assert [state for state, _, _ in left_out(engine)] == ["resolved"]
    assert told(engine) == ["fired", "resolved"]
    assert watch_intake(ctx, true_now()) is None


@pytest.mark.parametrize("outcome", [IntakeOutcome.REJECTED, IntakeOutcome.SET_ASIDE])
def test_a_router_whose_rows_are_all_left_out_is_critical(
    sqlite_engine: Engine, tmp_path: Path, outcome: IntakeOutcome
) -> None:
    refuse(sqlite_engine, 30, 30, outcome)
    Monitor(context(sqlite_engine, tmp_path)).watch(true_now())
    assert left_out(sqlite_engine) == [("firing", "critical", 1.0)]


@pytest.mark.parametrize("outcome", [IntakeOutcome.UNKNOWN_FIELD, IntakeOutcome.DROPPED, IntakeOutcome.RESTORED])
def test_what_is_counted_after_all_or_was_told_before_alerts_nobody(
    sqlite_engine: Engine, tmp_path: Path, outcome: IntakeOutcome
) -> None:
    refuse(sqlite_engine, 500, 500, outcome)
    assert watch_intake(context(sqlite_engine, tmp_path), true_now()) is None
    assert left_out(sqlite_engine) == []
