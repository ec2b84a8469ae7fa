"""Every format tells the same report: safely, plainly where nothing is known, and in the same bytes each time."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from models.document import CostReport, PerformanceReport
from models.settings import ChartName
from reports.as_csv import render_csv
from reports.as_html import render_html
from reports.as_json import render_json
from reports.as_mail import MailContent, render_mail
from reports.as_markdown import render_markdown
from reports.as_page import render_dashboard
from reports.as_webhook import render_webhook
from reports.charts import draw
from reports.headline import headline
from tests import documents

GOLDEN = Path(__file__).parent / "golden" / "reports"
Report = PerformanceReport | CostReport


def compared(name: str, text: str) -> None:
    """Compare with a golden file; ROUTEWATCH_REGOLD=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("ROUTEWATCH_REGOLD"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def mail() -> MailContent:
    return render_mail(documents.performance("summary"))


# --- golden -----------------------------------------------------------------------------------------------------------


def test_the_markdown_of_a_report_reads_like_this() -> None:
    compared("performance.md", render_markdown(documents.performance("summary")))


def test_the_text_of_a_mail_reads_like_this(mail: MailContent) -> None:
    compared("performance.txt", f"{mail.subject}\n\n{mail.text}")


def test_the_text_of_a_cost_report_reads_like_this() -> None:
    content = render_mail(documents.cost("summary"))
    compared("cost.txt", f"{content.subject}\n\n{content.text}")


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [documents.performance(), documents.cost(), documents.empty()])
def test_json_is_the_document_itself(document: Report) -> None:
    told = render_json(document)
    assert json.loads(told) == document.model_dump(mode="json", by_alias=True)
    assert b"NaN" not in told
    assert b"Infinity" not in told


def test_json_has_the_product_documents_names() -> None:
    performance = json.loads(render_json(documents.performance()))
    assert performance.keys() >= {
        "summary", "modelBreakdown", "performanceTrends", "optimizationOpportunities", "recommendations", "alerts",
        "schemaVersion", "generatedAt", "coverage", "freshness",
    }  # fmt: skip
    assert performance["summary"].keys() >= {
        "period", "totalSelections", "averageResponseTime", "cacheHitRate", "totalCost", "errorRate", "efficiency",
    }  # fmt: skip
    assert performance["modelBreakdown"][0].keys() >= {
        "modelId", "count", "avgResponseTime", "p50ResponseTime", "p95ResponseTime", "p99ResponseTime", "avgCost",
        "totalCost", "errorRate", "cacheHitRate", "efficiency",
    }  # fmt: skip
    cost = json.loads(render_json(documents.cost()))
    assert cost.keys() >= {
        "costSummary", "modelCostBreakdown", "costOptimizationSavings", "budgetProjection", "recommendations",
    }  # fmt: skip
    assert cost["costSummary"].keys() >= {"totalSpent", "budgetUsed", "averageCostPerRequest", "costTrend"}


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [documents.performance(), documents.cost(), documents.empty()])
def test_the_tables_of_a_report_are_the_same_bytes_each_time_and_can_be_read(document: Report) -> None:
    content, suffix = render_csv(document)
    assert (content, suffix) == render_csv(document)
    assert suffix == "zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        tables = {name: list(csv.DictReader(io.StringIO(archive.read(name).decode()))) for name in archive.namelist()}
    assert all(None not in row for rows in tables.values() for row in rows)
    if isinstance(document, PerformanceReport) and document.model_breakdown:
        counts = [int(row["count"]) for row in tables["modelBreakdown.csv"]]
        assert sum(counts) == document.summary.total_selections


def test_no_cell_is_taken_for_a_formula() -> None:
    document = documents.performance()
    stats = tuple(
        stats.model_copy(update={"model_id": name})
        for stats, name in zip(document.model_breakdown, ("=1+1", "+1", "-1", "@sum"), strict=True)
    )
    content, _ = render_csv(document.model_copy(update={"model_breakdown": stats}))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [row["modelId"] for row in csv.DictReader(io.StringIO(archive.read("modelBreakdown.csv").decode()))]
        trends = [*csv.DictReader(io.StringIO(archive.read("performanceTrends.csv").decode()))]
    assert names == ["'=1+1", "'+1", "'-1", "'@sum"]
    assert any(float(row["changeShare"]) < 0 for row in trends if row["changeShare"])


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("render", [render_html, render_dashboard])
@pytest.mark.parametrize("document", [documents.performance(), documents.cost(), documents.empty()])
def test_a_page_fetches_nothing_and_runs_nothing(render: object, document: Report) -> None:
    text = render(document)  # type: ignore[operator]
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href") and value]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\((?![\"']?(?:data:|#))", text)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_markup_in_a_name_is_text_everywhere() -> None:
    document = documents.with_markup()
    mail = render_mail(document)
    for text in (render_html(document), render_dashboard(document), mail.html):
        page = Page(text)
        assert "script" not in {tag for tag, _ in page.tags}
        assert any("<script>alert(1)</script>" in words for words in page.words)
    assert "<script>" not in render_markdown(document)
    assert json.loads(render_webhook(document, report_id=1))["data"]["reportId"] == 1
    assert "\n" not in mail.subject


def test_every_chart_says_in_words_what_it_shows() -> None:
    document = documents.performance()
    drawn = draw(document)
    assert {chart.name for chart in drawn} == set(ChartName)
    page = Page(render_html(document))
    labels = [attrs.get("aria-label") for tag, attrs in page.tags if tag == "svg"]
    assert labels == [chart.alt_text for chart in drawn]
    assert all(chart.alt_text and len(chart.alt_text) > 30 for chart in drawn)


# --- mail and webhook -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [4, 300])
def test_a_mails_html_is_never_cut_off_by_a_mail_program(models: int) -> None:
    content = render_mail(documents.performance("detailed", models=models))
    assert len(content.html.encode()) < 100_000
    assert "\n" not in content.subject


def test_every_picture_of_a_mail_is_in_its_html_and_the_other_way_round(mail: MailContent) -> None:
    shown = {attrs["src"] for tag, attrs in Page(mail.html).tags if tag == "img"}
    assert shown == {f"cid:{cid}" for cid, _ in mail.images}
    assert all(picture.startswith(b"\x89PNG") for _, picture in mail.images)
    assert all(attrs.get("alt") for tag, attrs in Page(mail.html).tags if tag == "img")


@pytest.mark.parametrize("models", [4, 300])
def test_a_webhook_stays_under_the_standards_limit(models: int) -> None:
    document = documents.performance("detailed", models=models)
    body = render_webhook(document, report_id=7)
    payload = json.loads(body)
    assert len(body) < 20_000
    assert payload["data"]["reportId"] == 7
    assert payload["type"] == f"report.{document.kind}"


# --- nothing known ----------------------------------------------------------------------------------------------------


def test_a_period_without_requests_is_told_plainly_and_is_no_good_news() -> None:
    document = documents.empty()
    content = render_mail(document)
    page = " ".join(Page(render_html(document)).words)
    told = (headline(document), content.subject, content.text, render_markdown(document), page)
    assert all(re.search(r"no requests", text, re.IGNORECASE) for text in told)
    for text in told:
        assert not re.search(r"\b0(\.0+)? (ms|s)\b|on target|\$0\.00|\b0(\.0)?%", text), text
    assert content.images == ()


def test_a_cost_report_without_requests_is_told_plainly() -> None:
    document = documents.empty_cost()
    assert "no requests" in headline(document).lower()
    assert "no data" in render_markdown(document)


# --- locale -----------------------------------------------------------------------------------------------------------


def test_numbers_are_written_as_the_locale_writes_them() -> None:
    german = render_mail(documents.performance("summary", locale="de_DE")).text
    assert "50.268" in german
    assert "50,268" not in german


def test_equal_documents_give_equal_bytes_in_another_process() -> None:
    code = (
        "import hashlib, sys\n"
        "from tests import documents\n"
        "from reports.as_html import render_html\n"
        "from reports.as_pdf import render_pdf\n"
        "document = documents.performance('summary')\n"
        "parts = render_html(document).encode(), render_pdf(document)\n"
        "print([hashlib.sha256(part).hexdigest() for part in parts])\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
