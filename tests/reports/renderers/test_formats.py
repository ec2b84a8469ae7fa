"""Every format renders the same report: safely, plainly where nothing is known, and in the same bytes each time."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import textwrap
import zipfile
from html.parser import HTMLParser

import pytest

from models.documents import Document, PerformanceReport
from models.settings import ChartName
from reports.renderers.csv_tables import render_csv
from reports.renderers.dashboard_page import render_dashboard
from reports.renderers.email import MailContent, render_mail
from reports.renderers.html_page import render_html
from reports.renderers.json_document import render_json
from reports.renderers.markdown import render_markdown
from reports.renderers.webhook_payload import render_webhook
from reports.report_templates.drawing import draw
from reports.report_templates.view import headline
from reports.text.decisions import link_to
from tests.support import documents, optimizations
from tests.support.environment import clean_environment
from tests.support.golden_files import compared
from tests.support.paths import ROOT

REPORTS = (
    documents.performance(),
    documents.cost(),
    documents.optimization(),
    documents.usage(),
    documents.empty(),
    documents.empty_cost(),
    documents.empty_optimization(),
    documents.empty_usage(),
)
each_report = pytest.mark.parametrize("document", REPORTS, ids=lambda it: f"{it.template}-{it.depth}")


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
    compared("reports/performance.md", render_markdown(documents.performance("summary")))


def test_the_text_of_a_mail_reads_like_this(mail: MailContent) -> None:
    compared("reports/performance.txt", f"{mail.subject}\n\n{mail.text}")


def test_the_text_of_a_cost_report_reads_like_this() -> None:
    content = render_mail(documents.cost("summary"))
    compared("reports/cost.txt", f"{content.subject}\n\n{content.text}")


def test_the_text_of_an_optimization_report_reads_like_this() -> None:
    content = render_mail(documents.optimization("summary"))
    compared("reports/optimization.txt", f"{content.subject}\n\n{content.text}")


def test_the_text_of_a_usage_report_reads_like_this() -> None:
    content = render_mail(documents.usage("summary"))
    compared("reports/usage.txt", f"{content.subject}\n\n{content.text}")


# --- JSON -------------------------------------------------------------------------------------------------------------


@each_report
def test_json_is_the_document_itself(document: Document) -> None:
    reported = render_json(document)
    assert json.loads(reported) == document.model_dump(mode="json", by_alias=True)
    assert b"NaN" not in reported
    assert b"Infinity" not in reported


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
    optimization = json.loads(render_json(documents.optimization()))
    assert optimization.keys() >= {
        "summary", "bottlenecks", "recommendations", "appliedOptimizations", "savings", "baselines", "configHistory",
    }  # fmt: skip
    usage = json.loads(render_json(documents.usage()))
    assert usage.keys() >= {
        "usageSummary", "modelUsage", "teamUsage", "complexityUsage", "topMovers", "newModels", "vanishedModels",
        "usageTrend", "recommendations",
    }  # fmt: skip
    assert usage["usageSummary"].keys() >= {
        "period", "totalSelections", "models", "teams", "promptTokens", "completionTokens", "userSatisfaction",
    }  # fmt: skip


# --- CSV --------------------------------------------------------------------------------------------------------------


def tables_of(document: Document) -> dict[str, list[dict[str, str]]]:
    """The sections of the CSV export by name."""
    content, suffix = render_csv(document)
    assert suffix == "zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.removesuffix(".csv"): list(csv.DictReader(io.StringIO(archive.read(name).decode())))
            for name in archive.namelist()
        }


@each_report
def test_the_tables_of_a_report_are_the_same_bytes_each_time_and_can_be_read(document: Document) -> None:
    tables = tables_of(document)
    assert render_csv(document) == render_csv(document)
    assert all(None not in row for rows in tables.values() for row in rows)
    if isinstance(document, PerformanceReport) and document.model_breakdown:
        counts = [int(row["count"]) for row in tables["modelBreakdown"]]
        assert sum(counts) == document.summary.total_selections


def test_no_cell_is_taken_for_a_formula() -> None:
    document = documents.performance()
    stats = tuple(
        stats.model_copy(update={"model_id": name})
        for stats, name in zip(document.model_breakdown, ("=1+1", "+1", "-1", "@sum"), strict=True)
    )
    tables = tables_of(document.model_copy(update={"model_breakdown": stats}))
    names, trends = [row["modelId"] for row in tables["modelBreakdown"]], tables["performanceTrends"]
    assert names == ["'=1+1", "'+1", "'-1", "'@sum"]
    assert any(float(row["changeShare"]) < 0 for row in trends if row["changeShare"])


def test_the_tables_about_optimizations_have_a_column_for_each_number() -> None:
    tables = tables_of(documents.optimization())
    kept, taken_back = tables["appliedOptimizations"][0], tables["appliedOptimizations"][3]
    assert (kept["optimizationId"], kept["verdict.state"]) == ("9", "kept")
    assert float(kept["verdict.goal.change.low"]) == -0.064
    assert (kept["verdict.method"], kept["verdict.trial.pairs"]) == ("switchback", "24")
    observed = tables["appliedOptimizations"][5]
    assert observed["verdict.guards.selectionAccuracy.before"] == ""
    assert [row["percent"] for row in tables["trialSteps"] if row["optimizationId"] == "8"] == [
        "5.0",
        "20.0",
        "50.0",
        "100.0",
    ]
    assert len([row for row in tables["trialSeries"] if row["metric"] == "slowShare"]) == 83
    assert taken_back["verdict.guards.selectionAccuracy.judgement"] == "worse"
    assert [row["kind"] for row in tables["savings"]] == ["estimated", "routerCost", "net", "measured", "observed"]
    assert float(tables["savings"][3]["usd.estimate"]) == 97.64
    assert [row["name"] for row in tables["baselines"]] == ["router", "allCheapest", "shuffled"]
    assert tables["baselines"][1]["accuracy.estimate"] == ""
    assert tables["bottlenecks"][1]["modelId"] == "atlas-medium"
    assert tables["recommendations"][0]["decideUrl"] == optimizations.DECIDE_URL
    assert len(tables["configHistory"]) == 7


def test_the_tables_about_usage_have_a_column_for_each_number() -> None:
    tables = tables_of(documents.usage())
    nano, gone = tables["modelUsage"][3], tables["vanishedModels"][0]
    assert (nano["name"], nano["before"], nano["changeShare"], nano["userSatisfaction"]) == ("swift-nano", "0", "", "")
    assert (gone["modelId"], gone["before"]) == ("atlas-xs", "1838")
    assert [row["direction"] for row in tables["teamUsage"]] == ["more", *["no clear change"] * 4]
    assert {row["dimension"] for row in tables["topMovers"]} == {"model", "complexity", "team"}
    assert len(tables["volume"]) == 14
    assert float(tables["volume"][9]["usual.high"]) < int(tables["volume"][9]["count"])
    assert len(tables["hoursOfWeek"]) == 168
    assert tables["summary"][0]["daysBefore"] == "28"


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("render", [render_html, render_dashboard])
@each_report
def test_a_page_fetches_nothing_and_runs_nothing(render: object, document: Document) -> None:
    text = render(document)  # type: ignore[operator]
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    addresses = [
        value
        for tag, attrs in page.tags
        for name, value in attrs.items()
        # A link that a reader may click is not fetched automatically.
        if name in ("src", "href") and value and not (tag == "a" and value == optimizations.DECIDE_URL)
    ]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\((?![\"']?(?:data:|#))", text)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


@pytest.mark.parametrize(
    "document", [documents.with_markup(), documents.optimization_with_markup(), documents.usage_with_markup()]
)
def test_markup_in_a_name_is_text_everywhere(document: Document) -> None:
    mail = render_mail(document)
    for text in (render_html(document), render_dashboard(document), mail.html):
        page = Page(text)
        assert "script" not in {tag for tag, _ in page.tags}
        assert any("<script>alert(1)</script>" in words for words in page.words)
    assert "<script>" not in render_markdown(document)
    assert json.loads(render_webhook(document, report_id=1))["data"]["reportId"] == 1
    assert "\n" not in mail.subject


@pytest.mark.parametrize("document", [documents.performance(), documents.usage()])
def test_every_chart_says_in_words_what_it_shows(document: Document) -> None:
    drawn = draw(document)
    assert {chart.name for chart in drawn} == set(ChartName)
    page = Page(render_html(document))
    labels = [attrs.get("aria-label") for tag, attrs in page.tags if tag == "svg"]
    assert labels == [chart.alt_text for chart in drawn]
    assert all(chart.alt_text and len(chart.alt_text) > 30 for chart in drawn)


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [documents.performance(), documents.optimization()])
def test_the_link_to_decide_is_in_every_channel(document: Document) -> None:
    mail = render_mail(document)
    for text in (render_html(document), render_dashboard(document), mail.html):
        links = [attrs.get("href") for tag, attrs in Page(text).tags if tag == "a"]
        assert links.count(optimizations.DECIDE_URL) == 1
        assert "Decide on #12" in Page(text).words
    assert f"  Decide on #12: {optimizations.DECIDE_URL}\n" in mail.text
    assert f"[Decide on #12](<{optimizations.DECIDE_URL}>)" in re.sub(r"\\", "", render_markdown(document))
    reported = json.loads(render_webhook(document, report_id=1))["data"]["recommendations"]
    (waiting,) = (item for item in reported if item["optimizationId"] == 12)
    assert waiting["decideUrl"] == optimizations.DECIDE_URL
    assert waiting["text"].endswith(f"Decide on #12: {optimizations.DECIDE_URL}")


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://ui.example.org/run?parameters=%7B%7D", "https://ui.example.org/run?parameters=%7B%7D"),
        ("http://[::1]:4200/run", "http://[::1]:4200/run"),
        ("https://ui.example.org/a>(b) c", "https://ui.example.org/a%3E%28b%29%20c"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("/run", ""),
        ("https://[", ""),
        (None, ""),
    ],
)
def test_only_an_address_of_the_web_becomes_a_link(address: str | None, link: str) -> None:
    assert link_to(address) == link


def test_without_a_link_the_command_to_decide_is_shown() -> None:
    content = render_mail(documents.optimization())
    assert "routewatch optimizations approve 13, or reject 13" in content.text
    assert "routewatch optimizations approve 13, or reject 13" in " ".join(Page(content.html).words)


# --- mail and webhook -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        documents.performance("detailed"),
        documents.performance("detailed", models=300),
        documents.optimization("detailed"),
        documents.optimization("detailed", times=40),
        documents.usage("detailed", teams=40),
    ],
)
def test_a_mails_html_is_never_cut_off_by_a_mail_program(document: Document) -> None:
    content = render_mail(document)
    assert len(content.html.encode()) < 100_000
    assert "\n" not in content.subject


@each_report
def test_every_picture_of_a_mail_is_in_its_html_and_the_other_way_round(document: Document) -> None:
    mail = render_mail(document)
    shown = {attrs["src"] for tag, attrs in Page(mail.html).tags if tag == "img"}
    assert shown == {f"cid:{cid}" for cid, _ in mail.images}
    assert all(picture.startswith(b"\x89PNG") for _, picture in mail.images)
    assert all(attrs.get("alt") for tag, attrs in Page(mail.html).tags if tag == "img")


@pytest.mark.parametrize(
    "document",
    [
        documents.performance("detailed"),
        documents.performance("detailed", models=300),
        documents.optimization("detailed"),
        documents.optimization("detailed", times=40),
        documents.usage("detailed", teams=40),
    ],
)
def test_a_webhook_stays_under_the_standards_limit(document: Document) -> None:
    body = render_webhook(document, report_id=7)
    payload = json.loads(body)
    assert len(body) < 20_000
    assert payload["data"]["reportId"] == 7
    assert payload["type"] == f"report.{document.kind}"


# --- nothing known ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [documents.empty(), documents.empty_optimization(), documents.empty_usage()])
def test_a_period_without_requests_is_stated_plainly_and_not_as_an_improvement(document: Document) -> None:
    content = render_mail(document)
    page = " ".join(Page(render_html(document)).words)
    reported = (headline(document), content.subject, content.text, render_markdown(document), page)
    assert all(re.search(r"no requests", text, re.IGNORECASE) for text in reported)
    for text in reported:
        assert not re.search(r"\b0(\.0+)? (ms|s)\b|on target|\$0\.00|\b0(\.0)?%", text), text
    assert content.images == ()


def test_a_cost_report_without_requests_is_stated_plainly() -> None:
    document = documents.empty_cost()
    assert "no requests" in headline(document).lower()
    assert "no data" in render_markdown(document)


# --- locale -----------------------------------------------------------------------------------------------------------


def test_numbers_are_written_as_the_locale_writes_them() -> None:
    german = render_mail(documents.performance("summary", locale="de_DE")).text
    assert "50.268" in german
    assert "50,268" not in german


DIGESTS = """
    import hashlib
    from reports.renderers.email import render_mail
    from reports.renderers.html_page import render_html
    from reports.renderers.pdf import render_pdf
    from tests.support import documents

    document = documents.performance("summary")
    mail = render_mail(document)
    images = [png for _, png in mail.images]
    texts = [text.encode() for text in (render_html(document), mail.html, mail.text)]
    for part in (render_pdf(document), *texts, *images):
        print(hashlib.sha256(part).hexdigest())
"""


def test_equal_documents_give_equal_bytes_in_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    """With another hash seed, sets and dicts have another order."""
    code = textwrap.dedent(DIGESTS)
    environment = clean_environment(PYTHONHASHSEED="0" if sys.flags.hash_randomization else "1")
    theirs = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    exec(compile(code, "digests", "exec"), {})  # noqa: S102 - the same, here
    ours = capsys.readouterr().out
    assert len(ours.split()) > 4
    assert theirs == ours
