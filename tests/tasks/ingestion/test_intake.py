"""A report says what is in none of its numbers, and what its error rate would be with it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from models.database import reading, writing
from models.documents import Document, Filters
from models.kpis import KpiName
from models.period import Period
from models.report_template import Template
from models.settings import parse_settings
from reports.renderers.email import render_mail
from reports.renderers.html_page import render_html
from reports.renderers.json_document import render_json
from reports.renderers.markdown import render_markdown
from reports.renderers.webhook_payload import render_webhook
from reports.text.formatting import Formats
from reports.view.tiles import kpi_tile
from routewatch.quarantine import IntakeCounts, IntakeOutcome, set_aside
from tasks.ingestion.intake import MOST_REASONS, read_intake
from tasks.ingestion.quarantine import drop_quarantined
from tasks.reporting.collect import document_of
from tasks.reporting.request import Request
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.rollups import NOW, UTC_SETTINGS

HOUR = timedelta(hours=1)
DAY = Period(MONDAY, MONDAY + timedelta(days=1), "UTC")
MISSING = "timestamp is missing"


def count(
    engine: Engine, outcome: IntakeOutcome, rows: int, errors: int = 0, *, at: datetime = MONDAY, reason: str = MISSING
) -> None:
    with writing(engine) as connection:
        counts = IntakeCounts("a source")
        counts.add(outcome, reason, at, rows=rows, errors=errors)
        counts.write(connection)


def recorded(engine: Engine, good: int, failed: int = 0) -> None:
    rows = [{"timestamp": MONDAY + timedelta(seconds=it), "error": it < failed} for it in range(good)]
    insert_selections(engine, selections(*rows))
    update_rollups(engine, UTC_SETTINGS, now=NOW)


def document(engine: Engine, template: Template = Template.PERFORMANCE, filters: Filters | None = None) -> Document:
    request = Request("custom", template, DAY, filters=filters or Filters())
    return document_of(engine, request, parse_settings({}, "test"), NOW)


def notes(engine: Engine, filters: Filters | None = None) -> str:
    return " ".join(document(engine, filters=filters).notes)


def test_failures_that_were_rejected_are_told_beside_the_error_rate_that_lacks_them(engine: Engine) -> None:
    recorded(engine, good=80)
    count(engine, IntakeOutcome.REJECTED, 20, 20)
    found = document(engine)
    assert found.intake is not None
    assert (found.intake.rejected, found.intake.rejected_errors) == (20, 20)
    assert found.notes[0] == (
        "20 rows of this period are in no number of this report (20 rejected; most often: timestamp is missing). Known "
        "to be failed calls: 20 of them; with all of them the error rate is at least 20.0%, not 0.0%."
    )


@pytest.mark.parametrize("template", Template)
def test_every_template_tells_of_it_in_every_form(sqlite_engine: Engine, template: Template) -> None:
    recorded(sqlite_engine, good=80)
    count(sqlite_engine, IntakeOutcome.REJECTED, 20, 20)
    found = document(sqlite_engine, template)
    mail = render_mail(found)
    forms = (
        render_html(found), mail.html, mail.text, render_markdown(found), render_webhook(found, report_id=1).decode(),
        render_json(found).decode(),
    )  # fmt: skip
    for form in forms:
        assert "the error rate is at least 20.0%, not 0.0%" in " ".join(form.split())


def test_the_tile_of_the_error_rate_says_that_failed_calls_are_missing(sqlite_engine: Engine) -> None:
    def tile(filters: Filters | None = None) -> str:
        found = document(sqlite_engine, filters=filters)
        return kpi_tile(found, KpiName.ERROR_RATE, Formats("en_US", "UTC")).note

    recorded(sqlite_engine, good=80)
    count(sqlite_engine, IntakeOutcome.REJECTED, 5)
    assert tile() == "known for 100%"
    count(sqlite_engine, IntakeOutcome.REJECTED, 15, 15)
    assert tile() == "at least 15.0% with failed calls that are not counted: see the notes"
    assert tile(Filters(teams=("nobody",))) != tile()


def test_a_report_without_selections_does_not_hide_that_all_were_rejected(engine: Engine) -> None:
    count(engine, IntakeOutcome.REJECTED, 20, 20)
    assert "20 rows of this period are in no number of this report" in notes(engine)
    assert notes(engine).endswith("Known to be failed calls: 20 of them.")


def test_rows_that_cannot_change_what_is_shown_are_told_without_alarm(engine: Engine) -> None:
    recorded(engine, good=100)
    assert "in no number" not in notes(engine)
    count(engine, IntakeOutcome.REJECTED, 1)
    assert "1 row of this period is in no number of this report (1 rejected; most often" in notes(engine)
    assert "None of them is known to be a failed call." in notes(engine)


def test_what_became_unknown_is_told_from_a_share_on_and_unreadable_error_flags_always(engine: Engine) -> None:
    recorded(engine, good=100, failed=10)
    count(engine, IntakeOutcome.UNKNOWN_FIELD, 5, reason="error is neither true nor false")
    assert "failed: 5." in notes(engine)
    assert "had all of them failed, the error rate would be 15.0%, not 10.0%" in notes(engine)
    assert "Fields that could not be read" not in notes(engine)
    count(engine, IntakeOutcome.UNKNOWN_FIELD, 1, reason="team is not text")
    assert "Fields that could not be read and are unknown: 1; most often" in notes(engine)


def test_a_filtered_report_says_that_the_rows_may_be_of_any_model(engine: Engine) -> None:
    recorded(engine, good=10)
    count(engine, IntakeOutcome.REJECTED, 5, 5)
    assert "of any model and team: the error rate of this report may be too low" in notes(
        engine, Filters(models=("m",))
    )


def test_only_the_hours_of_the_period_count_also_where_it_begins_amid_one(engine: Engine) -> None:
    for hour in range(-2, 4):
        count(engine, IntakeOutcome.REJECTED, 10 ** (hour + 2), at=MONDAY + hour * HOUR + HOUR / 2)
    with reading(engine) as connection:
        assert read_intake(connection, Period(MONDAY, MONDAY + 2 * HOUR, "UTC")).rejected == 1_100
        assert read_intake(connection, Period(MONDAY + HOUR / 2, MONDAY + HOUR, "UTC")).rejected == 100


def test_the_reasons_are_bounded_and_the_counts_are_of_all(engine: Engine) -> None:
    for number in range(3 * MOST_REASONS):
        count(engine, IntakeOutcome.REJECTED, number + 1, reason=f"reason {number}")
    with reading(engine) as connection:
        found = read_intake(connection, DAY)
    assert found.rejected == sum(range(1, 3 * MOST_REASONS + 1))
    assert [it.rows for it in found.reasons] == [3 * MOST_REASONS - it for it in range(MOST_REASONS)]


def test_rows_that_were_dropped_from_the_quarantine_stay_told(engine: Engine) -> None:
    rows = [({"timestamp": MONDAY, "error": True, "request_id": str(it)}, "an odd row") for it in range(3)]
    with writing(engine) as connection:
        set_aside(connection, rows, "http", MONDAY)
    drop_quarantined(engine, None, NOW)
    with reading(engine) as connection:
        found = read_intake(connection, DAY)
    assert (found.set_aside, found.set_aside_errors) == (3, 3)
