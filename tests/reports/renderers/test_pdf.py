"""The printed report: tagged, titled, with embedded fonts, and no blank pages."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pypdf import PdfReader

from models.documents import Document
from reports.renderers.pdf import render_pdf
from reports.report_templates.view import view_of
from tests.support import documents, optimizations

MM = 72 / 25.4


@pytest.fixture(scope="module")
def pdf_warnings() -> Iterator[list[str]]:
    """The renderer's warnings while the module's PDFs were made."""
    reported: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reported.append(record.getMessage())

    keeper = Keep(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("weasyprint", "fontTools")]
    for logger in loggers:
        logger.addHandler(keeper)
    yield reported
    for logger in loggers:
        logger.removeHandler(keeper)


@pytest.fixture(scope="module")
def pdf(pdf_warnings: list[str]) -> PdfReader:
    assert pdf_warnings == []
    return PdfReader(io.BytesIO(render_pdf(documents.performance("detailed"))))


def texts(reader: PdfReader) -> list[str]:
    return [page.extract_text() for page in reader.pages]


def test_nothing_is_complained_of_in_drawing_it(pdf: PdfReader, pdf_warnings: list[str]) -> None:
    assert len(pdf.pages) > 1
    assert pdf_warnings == []


def test_it_is_tagged_and_says_its_language_title_and_standard(pdf: PdfReader) -> None:
    root: Any = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert "Performance" in str(pdf.metadata.title if pdf.metadata else "").title()
    assert re.search(rb"pdfuaid:part[=>\"']+1", root["/Metadata"].get_object().get_data())


def test_every_picture_has_an_alt_text(pdf: PdfReader) -> None:
    figures = [element for element in _elements(pdf) if element.get("/S") == "/Figure"]
    assert len(figures) == 4
    assert all(len(str(figure.get("/Alt", ""))) > 30 for figure in figures)


@pytest.fixture(scope="module")
def optimization() -> PdfReader:
    return PdfReader(io.BytesIO(render_pdf(documents.optimization("detailed"))))


def test_results_of_changes_are_drawn_and_have_an_alt_text(optimization: PdfReader) -> None:
    reported = [str(element.get("/Alt", "")) for element in _elements(optimization) if element.get("/S") == "/Figure"]
    (changes,) = (text for text in reported if text.startswith("Changes of the goals"))
    assert "#9 cache.max_entries: 10,000 → 20,000, kept: Slow responses 24.1% → 18.4%" in changes
    assert "#10 routing.moderate: atlas-large-2026-05 → atlas-medium, taken back" in changes
    (tried,) = (text for text in reported if text.startswith("Effects of the tried changes over time"))
    assert "#8, rollout to a random share of the requests" in tried
    assert "steps: 5%, 20%, 50%, promoted" in tried
    assert len(reported) == 5


def test_the_link_to_decide_can_be_clicked_on_and_says_where_it_leads(optimization: PdfReader) -> None:
    notes = [note.get_object() for page in optimization.pages for note in page.get("/Annots", [])]
    links = [note for note in notes if "/A" in note and "/URI" in note["/A"]]
    assert [link["/A"]["/URI"] for link in links] == [optimizations.DECIDE_URL]
    assert all(str(link.get("/Contents", "")) for link in links)


@pytest.mark.parametrize("document", [documents.optimization("summary"), documents.usage("summary")])
def test_a_summary_fits_on_two_pages(document: Document) -> None:
    """A note about rows that are in no number may push the last lines to a third."""
    usual = document.model_copy(update={"notes": tuple(it for it in document.notes if "are in no number" not in it)})
    assert len(PdfReader(io.BytesIO(render_pdf(usual))).pages) <= 2


def test_its_bookmarks_are_its_sections(pdf: PdfReader) -> None:
    titles = {entry.title for entry in _flat(pdf.outline)}
    assert {section.title for section in view_of(documents.performance("detailed")).sections} <= titles


def test_every_page_says_which_of_how_many_it_is(pdf: PdfReader) -> None:
    for number, text in enumerate(texts(pdf), start=1):
        assert f"page {number} of {len(pdf.pages)}" in " ".join(text.split())


def test_no_page_is_blank(pdf: PdfReader) -> None:
    assert all(len(text) > 150 for text in texts(pdf))


def test_its_fonts_are_inside(pdf: PdfReader) -> None:
    descriptors = [found for page in pdf.pages for found in _descriptors(page)]
    assert descriptors
    assert all({"/FontFile2", "/FontFile3"} & found.keys() for found in descriptors)


@pytest.mark.parametrize(("paper", "width", "height"), [("A4", 210, 297), ("Letter", 215.9, 279.4)])
def test_its_paper_size_is_the_requested_one(paper: Any, width: float, height: float) -> None:
    box = PdfReader(io.BytesIO(render_pdf(documents.performance("summary", paper=paper)))).pages[0].mediabox
    assert (float(box.width) / MM, float(box.height) / MM) == pytest.approx((width, height), abs=0.5)


def test_every_model_and_kpi_is_on_it(pdf: PdfReader) -> None:
    whole = " ".join(" ".join(texts(pdf)).split())
    document = documents.performance("detailed")
    assert all(stats.model_id in whole for stats in document.model_breakdown)


def test_markup_in_a_name_arrives_as_text() -> None:
    reader = PdfReader(io.BytesIO(render_pdf(documents.with_markup("summary"))))
    assert "<script>" in "".join("".join(texts(reader)).split())


def test_a_period_without_requests_says_so() -> None:
    whole = " ".join(" ".join(texts(PdfReader(io.BytesIO(render_pdf(documents.empty()))))).split())
    assert re.search("no requests", whole, re.IGNORECASE)
    assert "on target" not in whole


def test_a_long_table_is_cut_and_says_so() -> None:
    whole = " ".join(
        " ".join(texts(PdfReader(io.BytesIO(render_pdf(documents.performance("summary", models=40)))))).split()
    )
    assert re.search(r"of 40\b|30 more", whole)


def _flat(outline: Any) -> Iterator[Any]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _flat(entry)
        else:
            yield entry


def _elements(reader: PdfReader) -> Iterator[Any]:
    root: Any = reader.trailer["/Root"]
    waiting = [root["/StructTreeRoot"].get_object()]
    while waiting:
        element = waiting.pop()
        yield element
        children = element.get("/K", [])
        for child in children if isinstance(children, list) else [children]:
            found = child.get_object()
            if isinstance(found, dict):
                waiting.append(found)


def _descriptors(page: Any) -> Iterator[Any]:
    for font in page["/Resources"].get("/Font", {}).values():
        found = font.get_object()
        inner = found["/DescendantFonts"][0].get_object() if "/DescendantFonts" in found else found
        yield inner["/FontDescriptor"].get_object()
