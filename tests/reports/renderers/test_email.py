"""A mail is readable in every program: plain, narrow, dark, old, and shortened where it would grow too long."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path

import pytest

from models.documents import Document
from models.environment import Environment
from models.file_format import FileFormat
from reports.file_names import file_stem
from reports.notices.mime import build_mail
from reports.renderers.email import EMAIL_MOST_BYTES, MailContent, render_mail
from tasks.reporting.publish import StoredReport, write_files
from tests.support import documents

LINK = "https://reports.example.org/weekly/routewatch-weekly-performance-2026-09-28.html"
REPORTS = (documents.performance("summary"), documents.cost(), documents.optimization(), documents.usage())


class Elements(HTMLParser):
    """The elements of a page with their attributes, in order, and the words of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.words: dict[int, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words[len(self.all)] = self.words.get(len(self.all), "") + data

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.all if name == tag]


@pytest.fixture(scope="module")
def mail() -> MailContent:
    return render_mail(documents.performance("summary"), link=LINK)


@pytest.fixture(scope="module", params=REPORTS, ids=lambda it: it.template)
def page(request: pytest.FixtureRequest) -> str:
    """The HTML of each template's mail."""
    return render_mail(request.param).html


def endless(document: Document, length: int) -> Document:
    """Return the same document with so long a note, so often that no mail has room."""
    return document.model_copy(update={"notes": tuple(f"{number} " + "x" * length for number in range(60))})


def custom(*formats: FileFormat) -> Document:
    return documents.cost().model_copy(update={"kind": "custom", "formats": formats})


def built(document: Document) -> bytes:
    date = datetime(2026, 10, 5, tzinfo=UTC)
    return build_mail(document, report_id=3, sender="r@example.org", recipient="a@b.c", date=date)


# --- what old programs need -------------------------------------------------------------------------------------------


def test_it_is_laid_out_with_tables_and_what_cannot_be_inlined_is_two_rules_for_the_screen(page: str) -> None:
    assert {tag for tag, _ in Elements(page).all}.isdisjoint({"svg", "script", "link", "video", "form", "input"})
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert re.findall(r"@media \(([a-z-]+)", style) == ["max-width", "prefers-color-scheme"]
    assert not re.search(r"display: ?(flex|grid)|position: ?(absolute|fixed)|url\(|var\(", page)


def test_every_cell_with_text_has_inline_styles(page: str) -> None:
    elements = Elements(page)
    assert all(attrs.get("style") for attrs in elements.named("th") + elements.named("h2"))
    assert all(attrs.get("style") for attrs in elements.named("td") if attrs.get("class"))


def test_outlook_gets_a_width_and_no_gaps_between_tables(mail: MailContent) -> None:
    assert re.search(r"<!--\[if mso\]><table[^>]* width=\"640\"", mail.html)
    assert mail.html.count("<!--[if mso]>") == mail.html.count("<![endif]-->")
    tables = Elements(mail.html).named("table")
    assert all("mso-table-lspace" in table["style"] for table in tables if "class" in table)
    assert all(table.get("cellspacing") == "0" and table.get("border") == "0" for table in tables)


def test_pictures_say_their_width_and_what_they_show(mail: MailContent) -> None:
    pictures = Elements(mail.html).named("img")
    assert len(pictures) == 4
    assert all(picture["width"].isdigit() and len(picture["alt"]) > 30 for picture in pictures)


def test_the_character_set_is_known_before_anything_else(mail: MailContent) -> None:
    assert mail.html.index('<meta charset="utf-8">') < 200


# --- the preview text -------------------------------------------------------------------------------------------------


def test_beside_the_subject_a_reader_sees_the_headline_and_nothing_of_what_follows(mail: MailContent) -> None:
    elements = Elements(mail.html)
    at = next(index for index, (_, attrs) in enumerate(elements.all, 1) if attrs.get("class") == "preheader")
    words = elements.words[at]
    assert words.startswith("Spend ")
    assert len(words) > 200
    assert words.rstrip("\u00a0\u200c\u034f\n ").endswith(".")


def test_a_dark_screen_gets_light_text_on_every_background(mail: MailContent) -> None:
    schemes = [meta["content"] for meta in Elements(mail.html).named("meta") if "color-scheme" in meta.get("name", "")]
    assert schemes == ["light dark", "light dark"]
    (dark,) = re.findall(r"prefers-color-scheme: dark\) \{(.*?)\n\}", mail.html, re.DOTALL)
    for grounded in (
        "sheet",
        "headline",
        "state.good",
        "state.warning",
        "state.critical",
        "state.off",
        "state.unknown",
    ):
        rules = re.findall(rf"\.{re.escape(grounded)}\b[^{{]*\{{([^}}]*)\}}", dark)
        assert any("background-color" in rule for rule in rules), grounded


# --- the stored report ------------------------------------------------------------------------------------------------


def test_a_mail_links_to_the_stored_report_where_it_can_be_opened(mail: MailContent) -> None:
    assert next(attrs["href"] for attrs in Elements(mail.html).named("a")) == LINK
    assert f"\nThe whole report: {LINK}\n" in mail.text


@pytest.mark.parametrize("link", ["", "javascript:alert(1)", "/reports/x.html"])
def test_without_an_address_of_the_web_there_is_no_link(link: str) -> None:
    content = render_mail(documents.empty(), link=link)
    assert "Open the whole report" not in content.html
    assert content.text.endswith("\nThe whole report is attached as a PDF.\n")


def test_the_link_names_the_file_that_is_written(tmp_path: Path) -> None:
    environment = Environment(home=tmp_path, reports_url="https://reports.example.org/routewatch/")
    document = documents.empty()
    written = write_files(StoredReport(7, document), environment.reports_folder)["html"]
    link = environment.address_of_report(document.kind, f"{file_stem(document, 7)}.html")
    assert link == f"https://reports.example.org/routewatch/{written.relative_to(environment.reports_folder)}"
    assert Environment(home=tmp_path).address_of_report("daily", "x.html") == ""


def test_a_custom_report_bears_what_was_chosen_and_says_so() -> None:
    chosen = custom(FileFormat.PDF, FileFormat.CSV, FileFormat.JSON)
    mail = message_from_bytes(built(chosen), policy=default)
    assert [part.get_filename() for part in mail.iter_attachments()] == [
        "routewatch-custom-cost-2026-09-28T0000.pdf",
        "routewatch-custom-cost-2026-09-28T0000.zip",
        "routewatch-custom-cost-2026-09-28T0000.json",
    ]
    assert [part.get_content_type() for part in mail.iter_attachments()] == [
        "application/pdf", "application/zip", "application/json",
    ]  # fmt: skip
    words = "The whole report is attached as a PDF, as tables (CSV) and as JSON."
    content = render_mail(chosen)
    assert content.text.endswith(f"\n{words}\n")
    assert words in content.html
    assert built(chosen) == built(chosen)


def test_where_only_a_page_was_chosen_nothing_is_attached() -> None:
    content = render_mail(custom(FileFormat.HTML), link=LINK)
    assert content.attachments == ()
    assert "attached" not in content.text + content.html
    assert f"\nThe whole report: {LINK}\n" in content.text


def test_where_no_page_was_chosen_no_link_leads_to_one() -> None:
    content = render_mail(custom(FileFormat.CSV), link=LINK)
    assert LINK not in content.text + content.html
    assert content.text.endswith("\nThe whole report is attached as tables (CSV).\n")


@pytest.mark.parametrize(
    ("formats", "written"),
    [
        ((FileFormat.JSON,), ["json"]),
        ((FileFormat.PDF, FileFormat.CSV), ["pdf", "zip"]),
        (tuple(FileFormat), ["html", "pdf", "zip", "json"]),
    ],
)
def test_only_what_was_chosen_is_written(tmp_path: Path, formats: tuple[FileFormat, ...], written: list[str]) -> None:
    paths = write_files(StoredReport(7, custom(*formats)), tmp_path)
    assert list(paths) == written
    assert sorted(paths.values()) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


# --- limits on size ---------------------------------------------------------------------------------------------------


def test_of_too_many_notes_the_first_are_shown_and_the_rest_counted() -> None:
    page = render_mail(endless(documents.performance("summary"), 3_000)).html
    assert len(page.encode()) < EMAIL_MOST_BYTES
    assert "20 of 60 shown; the whole report has all." in page


def test_where_not_even_the_first_fit_the_overview_remains_without_images() -> None:
    content = render_mail(endless(documents.performance("summary"), 30_000))
    assert len(content.html.encode()) < EMAIL_MOST_BYTES
    assert "At a glance" in content.html
    assert content.images == ()
