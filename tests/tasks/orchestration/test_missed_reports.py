"""After an outage each daily and weekly report is created once, over a clock change too; hourly ones are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select

from deployments.embedded_prefect import without_heartbeat
from models.context import AppContext, load_context
from models.database import reading, writing
from models.period import Period
from models.settings import Settings, parse_settings
from models.tables import Alert, Report, table_of
from tasks.alerts.flow_failures import record_failure
from tasks.orchestration.missed_reports import FURTHEST, MissableKind, missed
from tasks.orchestration.run_monitor import NO_HEARTBEAT, age
from tasks.orchestration.schedules import SKIPPED, due_times, is_overdue
from tests.support.databases import migrated_sqlite
from tests.support.factories import insert_selections, selections
from tests.support.servers import Mailbox

BERLIN = ZoneInfo("Europe/Berlin")
REPORT = table_of(Report)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

FROM, UNTIL = (datetime(year, 1, 1) for year in (2020, 2035))  # noqa: DTZ001 - hypothesis adds the zone
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo")


def berlin(*when: int) -> datetime:
    return datetime(*when, tzinfo=BERLIN).astimezone(UTC)  # type: ignore[misc,arg-type] # year, month, day, and no zone


def settings(**reporting: Any) -> Settings:
    return parse_settings({"timezone": "Europe/Berlin", "reporting": reporting}, "test")


def notify(
    engine: Engine, kind: MissableKind, *firsts: date, days: int = 1, zone: ZoneInfo = BERLIN, hash_: str = "a"
) -> None:
    """Store reports of a kind that begin with these days, as though they were sent."""
    rows: list[dict[str, Any]] = []
    for first in firsts:
        start, end = (datetime.combine(day, datetime.min.time(), zone) for day in (first, first + timedelta(days)))
        period = Period(start, end, zone.key)
        rows.append({
            "kind": kind, "template": "performance", "period_start": period.start, "period_end": period.end,
            "parameters_hash": hash_, "parameters": {}, "document": {}, "created_at": period.end,
        })  # fmt: skip
    with writing(engine) as connection:
        connection.execute(insert(REPORT), rows)


def test_a_run_whose_start_or_heartbeat_is_still_to_come_is_not_waited_for() -> None:
    """A clock that is a year ahead left it; those of two machines may differ by some seconds."""
    now = berlin(2026, 3, 28, 12, 0)
    assert age(now + 365 * DAY, now) > NO_HEARTBEAT
    assert age(now + timedelta(seconds=20), now) < timedelta()
    assert age(now - HOUR, now) == HOUR


# --- what is missing --------------------------------------------------------------------------------------------------


@given(zone=st.sampled_from(ZONES), start=st.datetimes(FROM, UNTIL, timezones=st.just(UTC)), days=st.integers(1, 40))
def test_each_day_of_any_zone_is_due_once_at_the_same_time_of_its_clock(zone: str, start: datetime, days: int) -> None:
    tz = ZoneInfo(zone)
    dues = due_times("daily", start, start + timedelta(days=days), zone)
    local = [due.astimezone(tz) for due in dues]
    assert {(at.hour, at.minute) for at in local} <= {(6, 15)}
    assert len({at.date() for at in local}) == len(dues)
    assert all(later.date() - at.date() == DAY for at, later in pairwise(local))
    weekly = due_times("weekly", start, start + timedelta(days=days), zone)
    assert all(
        due.astimezone(tz).weekday() == 0 and (due.astimezone(tz).hour, due.astimezone(tz).minute) == (6, 30)
        for due in weekly
    )
    assert len(weekly) >= days // 7 - 1


def test_days_without_a_report_are_missing_oldest_first(engine: Engine) -> None:
    """A gap between reported days too; not the day whose own run has an hour yet."""
    notify(engine, "daily", date(2026, 3, 23), date(2026, 3, 25))
    now = berlin(2026, 3, 28, 7, 0)
    assert missed(engine, "daily", settings(), now) == [berlin(2026, 3, 25, 6, 15), berlin(2026, 3, 27, 6, 15)]
    assert missed(engine, "daily", settings(), now + HOUR)[-1] == berlin(2026, 3, 28, 6, 15)


def test_missed_weeks_are_found_separately(engine: Engine) -> None:
    notify(engine, "weekly", date(2026, 3, 9), days=7)
    now = berlin(2026, 3, 30, 12, 0)
    assert missed(engine, "weekly", settings(), now) == [berlin(2026, 3, 23, 6, 30), berlin(2026, 3, 30, 6, 30)]
    assert missed(engine, "daily", settings(), now) == []


def test_before_the_first_report_nothing_was_promised(engine: Engine) -> None:
    assert missed(engine, "daily", settings(), berlin(2026, 3, 28, 12, 0)) == []


def test_what_is_long_past_is_not_made_any_more(engine: Engine) -> None:
    notify(engine, "daily", date(2026, 1, 1))
    notify(engine, "weekly", date(2025, 12, 29), days=7)
    now = berlin(2026, 3, 28, 12, 0)
    assert len(missed(engine, "daily", settings(), now)) == FURTHEST["daily"].days
    assert len(missed(engine, "weekly", settings(), now)) == 4


def test_a_schedule_that_is_switched_off_misses_nothing(engine: Engine) -> None:
    notify(engine, "daily", date(2026, 3, 20))
    off = settings(schedules={"daily": {"enabled": False}})
    assert missed(engine, "daily", off, berlin(2026, 3, 28, 12, 0)) == []


def test_a_day_reported_in_another_zone_or_format_is_not_missing(engine: Engine) -> None:
    """Changed settings create no second report of past days."""
    notify(
        engine, "daily", *(date(2026, 3, day) for day in range(20, 28)), zone=ZoneInfo("America/New_York"), hash_="b"
    )
    assert missed(engine, "daily", settings(locale="de_DE"), berlin(2026, 3, 28, 12, 0)) == []


@pytest.mark.parametrize(("late", "overdue"), [(0, False), (59, False), (60, True), (3_000, True)])
def test_an_hourly_run_is_overdue_when_the_next_is_due(late: int, overdue: bool) -> None:
    due = berlin(2026, 3, 28, 12, 5)
    assert is_overdue(due, due + timedelta(minutes=late)) is overdue


# --- on a Prefect server ----------------------------------------------------------------------------------------------

on_prefect = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""Prefect's own clients leave sockets to the garbage collector."""


@pytest.fixture
def ctx(tmp_path: Path, inbox: Mailbox, monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Iterator[AppContext]:
    """Two weeks of selections in Berlin, and the schedule on a Prefect server."""
    path = tmp_path / "settings.json"
    addresses = {"email": ["mailto:ops@example.org"], "management": ["mailto:head@example.org"]}
    schedules = {"daily": {"recipients": ["email"]}}
    path.write_text(
        json.dumps({
            "timezone": "Europe/Berlin", "delivery": {"recipients": addresses}, "reporting": {"schedules": schedules},
        })
    )  # fmt: skip
    environment = {
        "HOME": tmp_path, "SETTINGS": path, "SMTP_HOST": "127.0.0.1", "SMTP_PORT": inbox.port, "SMTP_SECURITY": "none",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(f"ROUTEWATCH_{name}", str(value))
    migrated_sqlite(tmp_path)
    ctx = load_context()
    first = berlin(2026, 3, 16)
    rows = ({"timestamp": first + number * HOUR, "response_time_ms": 500.0} for number in range(14 * 24))
    insert_selections(ctx.engine, selections(*rows))
    from deployments.service.deployments import scheduled_deployments  # noqa: PLC0415 - importing Prefect takes seconds

    for deployment in scheduled_deployments(ctx.settings):
        deployment.apply()
    with without_heartbeat():
        yield ctx


def was_due(kind: str, at: datetime) -> None:
    """Create a run that Prefect has scheduled ahead, and that nobody has started."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.states import Scheduled  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{kind}/routewatch")
        client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=at))


def run_what_is_due() -> list[tuple[str, str]]:
    """Run every pending run, the oldest first, as a runner does; return the flows' names and their final states."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.objects import StateType  # noqa: PLC0415
    from prefect.flow_engine import run_flow  # noqa: PLC0415

    from flows.daily import daily  # noqa: PLC0415
    from flows.hourly import hourly  # noqa: PLC0415
    from flows.weekly import weekly  # noqa: PLC0415
    from tasks.orchestration.run_monitor import scheduled_runs  # noqa: PLC0415

    ended = []
    with get_client(sync_client=True) as client:
        for flow in (hourly, daily, weekly):
            for run in sorted(
                scheduled_runs(client, [StateType.SCHEDULED], flow.name), key=lambda it: str(it.expected_start_time)
            ):
                run_flow(flow, flow_run=run, parameters=run.parameters)
                state = client.read_flow_run(run.id).state
                ended.append((flow.name, str(state.name if state else None)))
    return ended


def reported(engine: Engine) -> list[tuple[str, datetime, datetime]]:
    with reading(engine) as connection:
        rows = connection.execute(select(REPORT.c.kind, REPORT.c.period_start, REPORT.c.period_end))
        return sorted((row.kind, row.period_start, row.period_end) for row in rows)


@pytest.mark.slow
@on_prefect
def test_after_three_days_over_a_change_of_the_clocks_each_report_is_made_once(ctx: AppContext, inbox: Mailbox) -> None:
    """Stopped on Friday; Prefect had scheduled Saturday's run, but not the others. On Sunday the clocks changed."""
    from flows.daily import daily  # noqa: PLC0415
    from flows.weekly import weekly  # noqa: PLC0415
    from tasks.orchestration.run_monitor import monitor_runs  # noqa: PLC0415

    weekly(as_of=berlin(2026, 3, 23, 6, 30))
    daily(as_of=berlin(2026, 3, 27, 6, 15))
    was_due("daily", berlin(2026, 3, 28, 6, 15))
    was_due("hourly", berlin(2026, 3, 27, 13, 5))
    returned = berlin(2026, 3, 30, 12, 0)
    asked = monitor_runs(ctx, returned).requested
    assert asked == (
        ("daily", berlin(2026, 3, 29, 6, 15)),
        ("daily", berlin(2026, 3, 30, 6, 15)),
        ("weekly", berlin(2026, 3, 30, 6, 30)),
    )
    assert monitor_runs(ctx, returned + HOUR).requested == ()
    assert run_what_is_due() == [("hourly", SKIPPED), *[("daily", "Completed")] * 3, ("weekly", "Completed")]
    days = [("daily", berlin(2026, 3, day), berlin(2026, 3, day + 1)) for day in (26, 27, 28, 29)]
    weeks = [("weekly", berlin(2026, 3, day), berlin(2026, 3, day + 7)) for day in (16, 23)]
    assert reported(ctx.engine) == [*days, *weeks]
    assert days[-1][2] - days[-1][1] == 23 * HOUR
    recipients = [recipient for recipient, _ in inbox.messages]
    assert (recipients.count("ops@example.org"), recipients.count("head@example.org")) == (4, 2)
    # Whatever runs again, nothing is sent again.
    was_due("daily", berlin(2026, 3, 29, 6, 15))
    assert monitor_runs(ctx, returned + DAY / 2).requested == ()
    assert run_what_is_due() == [("daily", "Completed")]
    assert reported(ctx.engine) == [*days, *weeks]
    assert len(inbox.messages) == len(recipients)


@on_prefect
def test_of_hourly_runs_that_were_missed_the_newest_alone_is_made(ctx: AppContext) -> None:
    """A skipped run says nothing about the flow: an alert stays."""
    now = datetime.now(UTC)
    record_failure(ctx, "hourly", "the database is away", now - DAY)
    for hours in (3, 2):
        was_due("hourly", now - hours * HOUR)
    assert run_what_is_due() == [("hourly", SKIPPED)] * 2
    assert reported(ctx.engine) == []
    assert alert_state(ctx) == "firing"
    was_due("hourly", now - HOUR / 2)
    assert run_what_is_due() == [("hourly", "Completed")]
    assert len(reported(ctx.engine)) == 1
    assert alert_state(ctx) == "resolved"


def alert_state(ctx: AppContext) -> str:
    alert = table_of(Alert)
    with reading(ctx.engine) as connection:
        return str(connection.execute(select(alert.c.state).where(alert.c.rule == "failedFlow")).scalar_one())
