"""The flows on a real Prefect server: they report each period once, whatever the period contains."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select, text, update

from models.context import load_context
from models.database import reading, writing
from models.errors import UsageError
from models.file_format import FileFormat
from models.report_template import Template
from models.schema import TRIAL, TRIAL_BLOCK
from models.tables import Alert, Config, ConfigChange, Report, Rollup, table_of
from tasks.marks import find_marks_ahead
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.optimizer.router_values import Setting
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.checkpoint_bounds import find_checkpoint_ahead
from tasks.rollups.update import update_rollups
from tests.support import spend_logs
from tests.support.databases import migrated_sqlite
from tests.support.factories import insert_selections, selections
from tests.support.servers import Hook, Mailbox
from tests.support.switchbacks import KEY, NEW, OLD, blocks, started

MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
MORNING = MONDAY + timedelta(days=1, hours=6, minutes=15)
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ="

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def engine(tmp_path: Path, inbox: Mailbox, receiver: Hook, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A context from the environment, with a router's config; its database."""
    settings = {
        # A day of traffic is too little to judge a change by what was before it.
        "optimizer": {"undecided": "keep"},
        "delivery": {
            "allowPrivateAddresses": True,
            "recipients": {
                "email": ["mailto:ops@example.org"],
                "webhook": [receiver.url],
                "management": ["mailto:head@example.org"],
            },
        },
    }
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    environment = {
        "HOME": tmp_path, "SETTINGS": path, "SMTP_HOST": "127.0.0.1", "SMTP_PORT": inbox.port,
        "SMTP_SECURITY": "none", "MAIL_FROM": "r@example.org", "WEBHOOK_SECRET": SECRET,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(f"ROUTEWATCH_{name}", str(value))
    migrated_sqlite(tmp_path)
    engine = load_context().engine
    for key, value in {"cache.max_entries": 1000, "cache.ttl_seconds": 600}.items():
        set_by_hand(engine, key, value, by="router", reason="default", now=MONDAY)
    return engine


def slow_day(day: datetime, count: int = 600) -> Any:
    rows = (
        {"timestamp": day + timedelta(seconds=120 * number), "response_time_ms": 2500.0 if number % 4 == 0 else 500.0}
        for number in range(count)
    )
    return selections(*rows)


def count(engine: Engine, model: Any) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table_of(model))).scalar_one()


def test_a_day_is_reported_once_however_often_its_flow_runs(engine: Engine, inbox: Mailbox, receiver: Hook) -> None:
    from flows.daily import daily  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    first, second = daily(as_of=MORNING), daily(as_of=MORNING)
    assert [receipt.state for receipt in first.receipts] == ["sent", "sent"]
    assert second.receipts == ()
    assert first.report == second.report
    assert (count(engine, Report), len(inbox.messages), len(receiver.requests)) == (1, 1, 1)
    assert sorted(first.files) == ["html", "json", "pdf", "zip"]
    assert first.files["pdf"].read_bytes().startswith(b"%PDF")


def test_a_slow_day_raises_the_caches_limits_once_and_says_so(engine: Engine) -> None:
    from flows.daily import daily  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    outcome = daily(as_of=MORNING)
    with reading(engine) as connection:
        config = {row.key: row.value for row in connection.execute(select(table_of(Config)))}
    assert config == {"cache.max_entries": 2000, "cache.ttl_seconds": 1200}
    document = outcome.report.document.model_dump(mode="json", by_alias=True)
    (reported,) = document["recommendations"]
    assert (reported["type"], reported["status"], reported["autoApply"]) == ("cache_optimization", "applied", True)
    assert {item["key"] for item in document["appliedOptimizations"]} == set(config)
    daily(as_of=MORNING + timedelta(hours=1))
    assert count(engine, ConfigChange) == 4


def test_a_day_is_reported_and_the_readable_keys_are_moved_whatever_the_router_wrote(engine: Engine) -> None:
    from flows.daily import daily  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    with writing(engine) as connection:
        connection.execute(text("UPDATE config SET value = 'for ever' WHERE key = 'cache.ttl_seconds'"))
        for number, value in enumerate(("lru", "Infinity", "[", b"\xff")):
            row = {"k": f"own.{number}", "v": value}
            connection.execute(text("INSERT INTO config VALUES (:k, :v, 1, 'yesterday', 'router')"), row)
    outcome = daily(as_of=MORNING)
    assert read_config(engine).items() == {"cache.max_entries": Setting(2000, 2)}.items()
    document = outcome.report.document.model_dump(mode="json", by_alias=True)
    (reported,) = document["recommendations"]
    assert reported["status"] == "applied"
    assert "cache.ttl_seconds is unreadable: for ever is not JSON" in reported["note"]
    assert sorted(outcome.files) == ["html", "json", "pdf", "zip"]


def test_a_day_without_selections_is_reported_as_such(engine: Engine, inbox: Mailbox) -> None:
    from flows.daily import daily  # noqa: PLC0415

    outcome = daily(as_of=MORNING)
    document = outcome.report.document.model_dump(mode="json", by_alias=True)
    assert document["summary"]["totalSelections"] == 0
    assert document["summary"]["averageResponseTime"] is None
    assert {kpi["state"] for kpi in document["kpis"]} == {"no data"}
    assert (document["recommendations"], document["appliedOptimizations"]) == ([], [])
    ((_, mail),) = inbox.messages
    assert b"no requests" in mail.lower()


def test_the_hour_goes_to_the_dashboard_alone(engine: Engine, tmp_path: Path, inbox: Mailbox) -> None:
    from flows.hourly import hourly  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    outcome = hourly(as_of=MONDAY + timedelta(hours=9, minutes=5))
    assert [(receipt.channel, receipt.state) for receipt in outcome.receipts] == [("dashboard", "sent")]
    assert "30 requests" in (tmp_path / "dashboard.html").read_text()
    assert inbox.messages == []
    assert count(engine, ConfigChange) == 2


@pytest.mark.slow
def test_an_hour_as_of_next_year_leaves_no_mark_ahead_and_the_hour_of_now_follows(engine: Engine) -> None:
    """The incident of now fires, and the optimizer, the page and the next report wait for nothing."""
    from flows.hourly import hourly  # noqa: PLC0415

    now = datetime.now(UTC)
    incident = ({"timestamp": now - timedelta(seconds=600 - number), "error": True} for number in range(400))
    insert_selections(engine, selections(*incident))
    hourly(as_of=now + timedelta(days=365))
    with reading(engine) as connection:
        assert (*find_marks_ahead(connection, now), *find_checkpoint_ahead(connection, now)) == ()
    outcome = hourly(as_of=now)
    newest = outcome.report.document.freshness.last_selection_at
    assert newest is not None
    assert newest <= now
    assert [(receipt.channel, receipt.answer.split()[0]) for receipt in outcome.receipts] == [("dashboard", "written")]
    alert = table_of(Alert)
    with reading(engine) as connection:
        rules = connection.scalars(select(alert.c.rule).where(alert.c.started_at <= now)).all()
        assert "errorRate" in rules


@pytest.mark.slow
def test_the_hour_flips_a_switchback_by_the_clock_and_never_as_of_another_time(engine: Engine) -> None:
    """Where no monitor runs; a run of the past must not change what is in force now."""
    from flows.hourly import hourly  # noqa: PLC0415

    number, now = started(engine, at=MONDAY), datetime.now(UTC)
    with writing(engine) as connection:
        connection.execute(update(TRIAL).values(deadline=now + timedelta(days=7)))
        for block in blocks(engine, number):
            begins = now + timedelta(minutes=20 * block.number - 1)
            own = TRIAL_BLOCK.c.number == block.number
            times = {"starts_at": begins, "ends_at": begins + timedelta(minutes=20), "is_candidate": True}
            connection.execute(update(TRIAL_BLOCK).where(own).values(times))
    hourly(as_of=MONDAY + timedelta(hours=9, minutes=5))
    hourly(as_of=now + timedelta(minutes=30))
    assert (read_config(engine)[KEY].value, blocks(engine, number)[0].state) == (OLD, "planned")
    hourly()
    assert (read_config(engine)[KEY].value, blocks(engine, number)[0].state) == (NEW, "running")


def test_the_hour_begins_with_what_its_sources_have(engine: Engine, tmp_path: Path, postgres_address: str) -> None:
    from flows.hourly import hourly  # noqa: PLC0415

    at = MONDAY + timedelta(hours=8, minutes=30)
    spend_logs.migrate(postgres_address)
    spend_logs.insert(postgres_address, [spend_logs.row("one", at), spend_logs.row("two", at)])
    path = tmp_path / "settings.json"
    sources = {"litellm": {"location": postgres_address}, "langfuse": {"location": "$LANGFUSE_IS_NOWHERE"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sources": sources}))

    outcome = hourly(as_of=MONDAY + timedelta(hours=9, minutes=5))
    assert outcome.report.document.selection_count == 2
    with reading(engine) as connection:
        (alert,) = connection.execute(select(table_of(Alert)).where(table_of(Alert).c.rule == "failedFlow")).all()
    assert (alert.subject, alert.detail) == (
        "pull langfuse",
        "the settings file has 1 fault: sources.langfuse.location: the variable LANGFUSE_IS_NOWHERE is not set",
    )


def test_the_week_goes_to_the_management(engine: Engine, inbox: Mailbox) -> None:
    from flows.weekly import weekly  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    outcome = weekly(as_of=MONDAY + timedelta(days=7, hours=6, minutes=30))
    assert outcome.report.document.depth == "detailed"
    assert [recipient for recipient, _ in inbox.messages] == ["head@example.org"]


def test_a_custom_report_is_built_from_its_form(engine: Engine, inbox: Mailbox) -> None:
    from flows.custom_report import Depth, custom_report  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    outcome = custom_report(
        Template.COST,
        start=MONDAY,
        end=MONDAY + timedelta(hours=6),
        complexities=["unclassified", " "],
        depth=Depth.SUMMARY,
        formats=[FileFormat.JSON, FileFormat.CSV],
        recipients=["management"],
    )
    assert outcome.report.document.template == "cost"
    assert outcome.report.document.filters.complexities == ("unclassified",)
    assert list(outcome.files) == ["zip", "json"]
    assert outcome.report.document.selection_count == 180
    assert [recipient for recipient, _ in inbox.messages] == ["head@example.org"]


def test_a_custom_report_needs_nothing_filled_in(engine: Engine) -> None:
    """The form's defaults work; half a period is refused with a reason."""
    from flows.custom_report import custom_report  # noqa: PLC0415

    outcome = custom_report()
    assert outcome.report.document.template == "performance"
    assert sorted(outcome.files) == ["html", "json", "pdf", "zip"]
    assert outcome.report.document.period.end - outcome.report.document.period.start == timedelta(days=7)
    with pytest.raises(UsageError, match="start and end go together"):
        custom_report(start=MONDAY)


def test_a_stored_custom_report_is_sent_to_recipients_that_lack_it(engine: Engine, inbox: Mailbox) -> None:
    from flows.custom_report import custom_report  # noqa: PLC0415

    end = MONDAY + timedelta(days=1)
    comparisons = custom_report(start=MONDAY, end=end)
    assert inbox.messages == []
    sent, again = (custom_report(start=MONDAY, end=end, recipients=["management"]) for _ in range(2))
    assert comparisons.report.id == sent.report.id == again.report.id
    assert [recipient for recipient, _ in inbox.messages] == ["head@example.org"]


def test_the_report_is_an_artifact_and_every_task_has_a_name(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.artifacts import Artifact  # noqa: PLC0415
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from flows.daily import daily  # noqa: PLC0415

    insert_selections(engine, slow_day(MONDAY))
    daily(as_of=MORNING)
    key = "daily-performance-report"
    artifact = Artifact.get(key)
    assert "requests" in str(getattr(artifact, "description", None))
    headline, files, first = (str(getattr(artifact, "data", None)).find(it) for it in ("**", "- PDF:", "\n## "))
    assert 0 <= headline < files < first
    pdf = tmp_path / "reports" / "daily" / "routewatch-daily-performance-2026-09-07.pdf"
    assert f"- PDF: `{pdf}`" in str(getattr(artifact, "data", None))
    monkeypatch.setenv("ROUTEWATCH_REPORTS_URL", "https://reports.example.org")
    daily(as_of=MORNING)
    address = f"https://reports.example.org/daily/{pdf.name}"
    assert f"- PDF: [{pdf.name}](<{address}>)" in str(getattr(Artifact.get(key), "data", None))
    with get_client(sync_client=True) as client:
        names = {run.name.rsplit("-", 1)[0] for run in client.read_task_runs(limit=200)}
    assert {"fold", "survey", "apply", "compose", "store report", "write report files", "deliver reports"} <= names


def test_a_backfill_rebuilds_whole_days(engine: Engine) -> None:
    from flows.backfill import backfill  # noqa: PLC0415

    raw = slow_day(MONDAY, 2_500)
    insert_selections(engine, raw)
    update_rollups(engine, RollupSettings("UTC", 2000.0), now=MONDAY + timedelta(days=4))
    with writing(engine) as connection:
        lost = table_of(Rollup).c.level.in_(["hour", "day", "week"])
        connection.execute(delete(table_of(Rollup)).where(lost))
    assert backfill() == 2_500
    with reading(engine) as connection:
        rows = connection.execute(select(table_of(Rollup).c.level, table_of(Rollup).c["count"])).all()
    assert {level: sum(row[1] for row in rows if row[0] == level) for level in ("hour", "day", "week")} == {
        "hour": 2_500, "day": 2_500, "week": 2_500,
    }  # fmt: skip
