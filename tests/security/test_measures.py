"""Each measure of docs/security.md, attacked."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from jinja2.exceptions import SecurityError
from sqlalchemy import Engine, select
from weasyprint import HTML
from weasyprint.urls import FatalURLFetchingError

from models.database import reading, writing
from models.documents import Document, Filters, OptimizationReport
from models.environment import load_environment
from models.errors import SettingsError
from models.period import Period
from models.report_template import Template
from models.settings import Settings, parse_settings
from models.tables import Delivery, Selection, table_of
from reports.assets import template_engine as pages
from reports.assets.fonts import FONT_SCHEME
from reports.notices.alert_notice import notice_of
from reports.notices.chat import render_discord, render_slack, render_teams
from reports.notices.mime import build_mail, build_message_mail
from reports.renderers.dashboard_page import render_dashboard
from reports.renderers.email import render_mail
from reports.renderers.html_page import render_html
from reports.renderers.pdf import render_pdf
from reports.renderers.pdf_fonts import OwnFontsOnly
from tasks.delivery.outbox import enqueue_message
from tasks.delivery.queue import enqueue
from tasks.delivery.worker import deliver_due
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.reporting.collect import collect_material
from tasks.reporting.compose import compose
from tasks.reporting.publish import store_report, write_files
from tasks.reporting.request import Request
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support import documents, messages
from tests.support.contexts import NOW, context_of, enqueue_to_ops
from tests.support.factories import MONDAY, insert_selections, selections
from tests.support.release import mostly_slow
from tests.support.servers import Mailbox

DELIVERY = table_of(Delivery)
TEMPLATES = (documents.performance(), documents.cost(), documents.optimization(), documents.usage())

a_template_at_every_change = pytest.mark.parametrize(
    "document", mostly_slow(TEMPLATES, lambda it: isinstance(it, OptimizationReport), lambda it: type(it).__name__)
)
"""The one that has names of models in most places."""


# --- headers ----------------------------------------------------------------------------------------------------------

INJECTED = "m\r\nBcc: victim@example.org\r\n\r\nbody"


@pytest.mark.parametrize("entry", [f"mailto:a@example.org{INJECTED}", "mailto:a@example.org, victim@example.org"])
def test_a_recipient_that_carries_another_header_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match="not a mail address"):
        parse_settings({"delivery": {"recipients": {"ops": [entry]}}}, "settings.json")


def test_a_sender_that_carries_another_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWATCH_MAIL_FROM", "R <r@example.org>\r\nBcc: victim@example.org")
    with pytest.raises(SettingsError, match="ROUTEWATCH_MAIL_FROM"):
        load_environment()


def test_a_model_that_carries_another_header_adds_none_to_an_alert(
    sqlite_engine: Engine, tmp_path: Path, inbox: Mailbox
) -> None:
    ctx = context_of(sqlite_engine, tmp_path, "mailto:a@example.org", box=inbox)
    enqueue_to_ops(ctx, messages.alerts(messages.alert_notification(subject=INJECTED)))
    deliver_due(ctx, now=NOW)
    ((recipient, content),) = inbox.messages
    mail = message_from_bytes(content, policy=default)
    assert (recipient, mail["To"], mail["Bcc"]) == ("a@example.org", "a@example.org", None)
    assert "Bcc: victim@example.org" in mail["Subject"]
    assert mail.get_content_type() == "multipart/alternative"


@a_template_at_every_change
def test_a_model_that_carries_another_header_adds_none_to_a_report(document: Document) -> None:
    filtered = _with_names(document, INJECTED).model_copy(update={"filters": Filters(models=(INJECTED,))})
    mail = message_from_bytes(
        build_mail(filtered, report_id=1, sender="r@example.org", recipient="a@example.org", date=NOW), policy=default
    )
    assert mail["Bcc"] is None
    assert [mail["To"], mail["From"]] == ["a@example.org", "r@example.org"]


class Tags(HTMLParser):
    """The elements of a page, and every address in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action", "poster")]


# --- names from data --------------------------------------------------------------------------------------------------

DECIDE = "http://127.0.0.1:4200/deployments/"
"""When the documents' recommendations are decided on."""

FILE = "file:///etc/passwd"
NASTY = f'"><img src="{FILE}"><link rel=stylesheet href="http://169.254.169.254/"><style>@import "{FILE}";</style>'


JINJA = "{{ 7*7 }}{% include '/etc/passwd' %}"


@a_template_at_every_change
@pytest.mark.parametrize(
    "names",
    [
        pytest.param((FILE, NASTY, JINJA), id="by turns"),
        *(pytest.param((name,), marks=pytest.mark.slow) for name in (FILE, NASTY, JINJA)),
    ],
)
def test_no_name_makes_a_page_mail_or_pdf_open_anything(document: Document, names: tuple[str, ...]) -> None:
    nasty = _with_names(document, *names)
    assert render_pdf(nasty).startswith(b"%PDF")
    for page in (render_html(nasty), render_mail(nasty).html, render_dashboard(nasty, refresh_s=10)):
        tags = Tags(page)
        assert [it for it in tags.addresses if not it.startswith(("data:", "cid:", "#", DECIDE))] == []
        assert tags.names.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})
        assert "root:" not in page
        assert "49{%" not in page


@pytest.mark.parametrize("address", [FILE, "http://169.254.169.254/", "https://example.org/a.png", "ftp://h/x"])
def test_page_layout_opens_no_file_and_no_network(address: str) -> None:
    for page in (
        f'<img src="{address}">',
        f'<link rel=stylesheet href="{address}">',
        f'<p style="background:url({address})">',
    ):
        with pytest.raises((FatalURLFetchingError, ValueError)):
            HTML(string=page, url_fetcher=OwnFontsOnly()).write_pdf()


def test_the_packaged_fonts_give_no_access_to_other_files() -> None:
    with pytest.raises(OSError, match="passwd"):
        OwnFontsOnly().fetch(f"{FONT_SCHEME}:../../../../etc/passwd")


def test_a_template_reaches_no_further_than_its_values() -> None:
    environment = pages.make_environment()
    with pytest.raises(SecurityError):
        environment.from_string("{{ ''.__class__.__mro__[1].__subclasses__() }}").render()
    with pytest.raises(UndefinedError):
        environment.from_string("{{ missing }}").render()
    assert environment.from_string("{{ name }}").render(name="<b>") == "&lt;b&gt;"


def test_a_chat_takes_nothing_in_a_name_for_a_call_or_a_link() -> None:
    name = "<!channel> <@U1> @everyone [x](https://evil.example) <https://evil.example|x>"
    notice = notice_of(messages.alerts(messages.alert_notification(subject=name)))
    assert b"<!" not in render_slack(notice)
    assert b"<https" not in render_slack(notice)
    discord = json.loads(render_discord(notice))
    assert discord["allowed_mentions"] == {"parse": []}
    assert re.search(r"(?<!\\)[\[\]]", discord["embeds"][0]["description"]) is None
    (attachment,) = json.loads(render_teams(notice))["attachments"]
    assert {block["type"] for block in attachment["content"]["body"]} == {"RichTextBlock"}


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/passwd", "a\0b", "..\\..\\x"])
def test_no_file_is_named_after_data(sqlite_engine: Engine, tmp_path: Path, name: str) -> None:
    document = documents.performance("summary").model_copy(
        update={"kind": "custom", "filters": Filters(models=(name,))}
    )
    ctx = context_of(sqlite_engine, tmp_path)
    request = Request("custom", Template.PERFORMANCE, Period(MONDAY, MONDAY + timedelta(days=1), "UTC"), "summary")
    stored = store_report(ctx, request, document, (), NOW, queued_at=NOW)
    paths = write_files(stored, tmp_path / "reports").values()
    assert all(path.parent == tmp_path / "reports" / "custom" for path in paths)
    assert all(re.fullmatch(r"routewatch-custom-performance-[0-9T-]+\.\w+", path.name) for path in paths)


# --- SQL --------------------------------------------------------------------------------------------------------------

BOBBY = "'; DROP TABLE selection; --\""


def test_sql_in_a_name_stays_a_name(engine: Engine, tmp_path: Path) -> None:
    insert_selections(engine, selections(*({"model_id": BOBBY, "team": BOBBY, "complexity": BOBBY} for _ in range(3))))
    settings = Settings()
    update_rollups(engine, rollup_settings(settings), now=MONDAY + timedelta(days=2))
    filters = Filters(models=(BOBBY,), teams=(BOBBY,), complexities=(BOBBY,))
    period = Period(MONDAY, MONDAY + timedelta(days=1), "UTC")
    request = Request("custom", Template.PERFORMANCE, period, "detailed", filters=filters)
    document = compose(request, collect_material(engine, request, settings, NOW), settings, NOW)
    set_by_hand(engine, BOBBY, BOBBY, by=BOBBY, reason=BOBBY, now=NOW)
    ctx = context_of(engine, tmp_path)
    store_report(ctx, request, document, (), NOW, queued_at=NOW)
    with writing(engine) as connection:
        enqueue_message(
            connection,
            messages.alerts(messages.alert_notification(subject=BOBBY)),
            BOBBY,
            ["console"],
            settings=settings,
            now=NOW,
        )
        enqueue(connection, 1, [(BOBBY, BOBBY)], NOW)
    deliver_due(ctx, now=NOW)
    with reading(engine) as connection:
        assert connection.execute(select(table_of(Selection).c.model_id)).scalars().all() == [BOBBY] * 3
        assert BOBBY in connection.execute(select(DELIVERY.c.recipient)).scalars().all()
    assert read_config(engine)[BOBBY].value == BOBBY


# --- the same of mail and chats, whatever is in a message -------------------------------------------------------------


def test_an_alerts_mail_opens_nothing() -> None:
    mail = build_message_mail(
        messages.alerts(messages.alert_notification(subject=NASTY, detail=NASTY)), message_id=1, sender="r@example.org",
        recipient="a@example.org", date=NOW,
    )  # fmt: skip
    page = message_from_bytes(mail, policy=default).get_body(("html",))
    assert page is not None
    assert re.findall(r"<(?:img|link|iframe|script|object)", page.get_content()) == []


# ----------------------------------------------------------------------------------------------------------------------


def _with_names(document: Document, *names: str) -> Document:
    """Return the document with all its models renamed to one of the names, in turn, and a number."""
    text = document.model_dump_json(by_alias=True)
    models = sorted({it["modelId"] for it in _dicts(json.loads(text)) if isinstance(it.get("modelId"), str)})
    for number, model in enumerate(models):
        text = text.replace(json.dumps(model), json.dumps(f"{names[number % len(names)]}{number}"))
    return type(document).model_validate_json(text)


def _dicts(part: Any) -> list[dict[str, Any]]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [*([part] if isinstance(part, dict) else []), *(it for one in inner for it in _dicts(one))]
