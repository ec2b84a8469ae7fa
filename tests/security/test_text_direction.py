"""A name turns nothing around that stands beside it, in any format, subject or line, also if it was stored before."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine

from deployments import console
from models.documents import Document
from models.text_direction import END, ISOLATE, cut_off, kept_to_itself, with_directions_escaped, without_controls
from reports.notices.chat import render_discord, render_slack, render_teams
from reports.notices.mime import build_message_mail
from reports.notices.report_notice import notice_of_report
from reports.renderers.csv_tables import render_csv, safe_text
from reports.renderers.dashboard_page import render_dashboard
from reports.renderers.email import render_mail
from reports.renderers.html_page import render_html
from reports.renderers.json_document import render_json
from reports.renderers.markdown import render_markdown
from reports.renderers.pdf import render_pdf
from reports.renderers.webhook_payload import render_webhook
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support import documents, messages
from tests.support.contexts import NOW
from tests.support.factories import insert_selections, selections
from tests.support.page_server import READER, app_context, bearing, serving
from tests.support.pdf_text import sheets_of

TURNING = "\u05d0\u2069\u202e"
NAMES = (
    TURNING,
    "\u202em",
    "m\u2066\u2067",
    "\u0645\u2069\u2069",
    "a\u2028\u05d0",
    "\u2068\u2068m",
    "\u05d0\u2029\u202b",
)
CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
DOCUMENTS = (documents.performance(), documents.cost(), documents.optimization(), documents.usage())

any_text = st.text(st.sampled_from("ab5 $.-\n\t\x1b\u05d0\u0645\u0665é模" + CONTROLS), max_size=12)


def faults_in(text: str) -> list[str]:
    """Lines that have what forces a direction, or an isolation that has no beginning or no end."""
    wrong = [line for line in text.splitlines() if re.search("[\u202a-\u202e\u2066\u2067]", line)]
    for line in text.splitlines():
        depth = lowest = 0
        for character in line:
            depth += (character == ISOLATE) - (character == END)
            lowest = min(lowest, depth)
        if depth or lowest:
            wrong.append(line)
    return [ascii(line)[:300] for line in wrong]


def with_names(document: Document) -> Document:
    """Return the document with its models and teams named that way."""
    content = json.loads(document.model_dump_json(by_alias=True))
    known: dict[str, str] = {}

    def renamed(part: Any) -> Any:
        if isinstance(part, list):
            return [renamed(it) for it in part]
        if not isinstance(part, dict):
            return part
        for name in ("modelId", "team"):
            if isinstance(part.get(name), str) and part[name]:
                known.setdefault(part[name], f"{NAMES[len(known) % len(NAMES)]}{len(known)}")
        return {name: renamed(it) for name, it in part.items()}

    renamed(content)
    text = document.model_dump_json(by_alias=True)
    for old, new in known.items():
        text = text.replace(json.dumps(old), json.dumps(new))
    return type(document).model_validate_json(text)


# --- the rule ---------------------------------------------------------------------------------------------------------


@given(any_text)
@example(TURNING)
def test_a_name_within_a_line_changes_nothing_around_it(name: str) -> None:
    kept = kept_to_itself(name)
    assert faults_in(f"cost of {kept} is 5") == []
    assert kept_to_itself(kept) == kept
    assert "\x1b" not in kept
    plain = re.sub(f"[{CONTROLS}\n\t\x1b ]", "", name)
    assert re.sub(f"[{CONTROLS}\n\t ]", "", kept) == plain


@given(any_text, any_text, st.integers(4, 20))
def test_a_line_that_is_cut_off_keeps_the_ends_of_its_isolations(first: str, second: str, most: int) -> None:
    line = without_controls(" ".join(f"{kept_to_itself(first)} costs {kept_to_itself(second)}".split()))
    cut = cut_off(line, most)
    assert faults_in(cut) == []
    assert len(cut) <= max(most, 4)


@given(any_text)
def test_json_is_told_in_full_and_turns_nothing_around(name: str) -> None:
    written = with_directions_escaped(json.dumps({"name": name}, ensure_ascii=False))
    assert json.loads(written) == {"name": name}
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", written)


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document", [DOCUMENTS[3], *(pytest.param(it, marks=pytest.mark.slow) for it in DOCUMENTS[:3])],
    ids=lambda it: it.template,
)  # fmt: skip
def test_no_format_of_a_report_lets_a_name_turn_anything_around(document: Document) -> None:
    named = with_names(document)
    mail = render_mail(named)
    content, suffix = render_csv(named)
    tables = [content]
    if suffix == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            tables = [archive.read(name) for name in archive.namelist()]
    shown = {
        "HTML": unescape(render_html(named)),
        "page": unescape(render_dashboard(named, refresh_s=60)),
        "subject": mail.subject,
        "mail": mail.text,
        "mail as HTML": unescape(mail.html),
        "CSV": "\n".join(it.decode() for it in tables),
        "Markdown": unescape(render_markdown(named)),
        "JSON": render_json(named).decode(),
        "webhook": render_webhook(named, report_id=1).decode(),
    }
    notice = notice_of_report(named)
    for render in (render_slack, render_teams, render_discord):
        shown[render.__name__] = "\n".join(_texts(json.loads(render(notice))))
    assert {name: faults for name, text in shown.items() if (faults := faults_in(text))} == {}


@pytest.mark.slow
def test_no_page_of_a_pdf_lets_a_name_turn_anything_around() -> None:
    sheets = sheets_of(render_pdf(with_names(documents.performance("summary"))))
    assert not re.search("[\u202a-\u202e\u2066\u2067]", str(sheets))


@pytest.mark.parametrize("name", NAMES)
def test_no_alert_lets_a_name_turn_its_numbers_around(name: str) -> None:
    message = messages.alerts(messages.alert_notification(subject=name, detail=name))
    mail = message_from_bytes(
        build_message_mail(message, message_id=1, sender="r@example.org", recipient="a@example.org", date=NOW),
        policy=default,
    )
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    for text in (str(mail["Subject"]), plain.get_content(), unescape(page.get_content())):
        assert faults_in(text) == []


def test_the_live_page_shows_a_stored_name_within_its_bounds(sqlite_engine: Engine, tmp_path: Path) -> None:
    at = datetime.now(UTC) - timedelta(minutes=5)
    rows = ({"timestamp": at, "model_id": name, "team": name, "error": True} for name in NAMES for _ in range(30))
    insert_selections(sqlite_engine, selections(*rows))
    ctx = app_context(sqlite_engine, tmp_path)
    update_rollups(sqlite_engine, rollup_settings(ctx.settings), now=datetime.now(UTC))
    with serving(ctx) as client:
        answer = client.get("/", headers=bearing(READER))
    assert answer.status_code == 200
    assert "\u05d0" in answer.text
    # What a filter sends back has to be the name as it is stored.
    assert faults_in(unescape(re.sub(r'(value|data-subject)="[^"]*"', "", answer.text))) == []


def test_the_command_line_prints_a_stored_name_within_its_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*NAMES, "\x1b]0;title\x07m", "\x9b31mred"):
        console.say(f"model {name} cost 5")
        console.note(f"model {name} cost 5")
        console.table(("model", "cost"), [(name, "5")], "none")
    out, err = capsys.readouterr()
    assert faults_in(out) == faults_in(err) == []
    assert not re.search("[\x07\x1b\x9b]", out + err)


# --- spreadsheets -----------------------------------------------------------------------------------------------------


@given(st.sampled_from("=+-@＝＋－＠"), st.text(st.sampled_from(" \u200b\ufeff\u2060\t\n\x0b\xa0"), max_size=3))
def test_no_text_is_a_formula_whatever_invisible_stands_before_it(sign: str, before: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([safe_text(f"{before}{sign}1+1")])
    cell = next(csv.reader(io.StringIO(out.getvalue())))[0]
    assert cell.startswith("'")


@pytest.mark.parametrize("first", "\t\r\n")
def test_no_text_begins_with_a_tab_or_a_line_break(first: str) -> None:
    assert safe_text(f"{first}cmd") == f"'{first}cmd"


def _texts(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [text for it in inner for text in _texts(it)]
