"""A printed report can be read aloud: its structure names every part, in every template (PDF/UA-1)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject, IndirectObject

from models.documents import Document
from reports.renderers.pdf import render_pdf
from tests.support import documents
from tests.support.pdf_text import Sheet, sheets_of

REPORTS = (
    documents.performance(),
    documents.cost(),
    documents.usage(),
    documents.optimization("summary"),
    documents.empty(),
)
BLOCK_KIDS = {
    "/L": {"/LI", "/L", "/Caption"},
    "/LI": {"/Lbl", "/LBody"},
    "/Table": {"/THead", "/TBody", "/TFoot", "/TR", "/Caption"},
    "/THead": {"/TR"},
    "/TBody": {"/TR"},
    "/TR": {"/TH", "/TD"},
}
"""The elements that an element may contain (ISO 32000-1, 14.8.4.3)."""


class Structure:
    """A rendered report with its tree of elements, in reading order."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.pdf = render_pdf(document)
        self.reader = PdfReader(io.BytesIO(self.pdf))
        self.root: Any = cast(Any, self.reader.trailer["/Root"])
        self.elements = list(_walked(self.root["/StructTreeRoot"]))
        self.sheets: list[Sheet] = sheets_of(self.pdf)

    def named(self, *names: str) -> list[Any]:
        return [element for element in self.elements if element.get("/S") in names]


@pytest.fixture(scope="module", params=REPORTS, ids=lambda it: f"{it.template}-{it.kind}-{it.depth}")
def structure(request: pytest.FixtureRequest) -> Structure:
    return Structure(request.param)


def test_it_says_its_standard_language_and_title_and_shows_the_title(structure: Structure) -> None:
    metadata = structure.root["/Metadata"].get_object().get_data().decode()
    assert "pdfuaid:part" in metadata
    assert structure.root["/Lang"] == "en"
    assert structure.root["/MarkInfo"]["/Marked"]
    assert structure.root["/ViewerPreferences"]["/DisplayDocTitle"]
    title = structure.reader.metadata.title if structure.reader.metadata else ""
    assert structure.document.template in str(title)


def test_every_picture_says_what_it_shows(structure: Structure) -> None:
    figures = structure.named("/Figure")
    assert len(figures) == sum(len(sheet.painted) for sheet in structure.sheets)
    assert all(len(str(figure.get("/Alt", ""))) > 30 for figure in figures)


def test_headings_are_nested_without_leaving_out_a_level(structure: Structure) -> None:
    levels = [int(element["/S"][2:]) for element in structure.named("/H1", "/H2", "/H3", "/H4", "/H5", "/H6")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_head_of_a_table_says_which_cells_it_is_of(structure: Structure) -> None:
    for table in structure.named("/Table"):
        inside = list(_walked(table))
        heads = [cell["/A"]["/Scope"] for cell in inside if cell.get("/S") == "/TH"]
        columns = max(len(_kids(row)) for row in inside if row.get("/S") == "/TR")
        assert heads.count("/Column") == columns
        assert heads.count("/Row") == sum(row.get("/S") == "/TR" for row in inside) - 1


def test_lists_and_tables_consist_of_what_they_may(structure: Structure) -> None:
    for element in structure.named(*BLOCK_KIDS):
        kinds = {kid["/S"] for kid in _kids(element)}
        assert kinds <= BLOCK_KIDS[str(element["/S"])], element["/S"]


def test_nothing_is_read_aloud_that_says_nothing(structure: Structure) -> None:
    assert [it["/S"] for it in structure.named("/Span", "/P", "/Div", "/NonStruct") if not it.get("/K")] == []


def test_whatever_is_on_a_page_is_either_content_or_what_comes_with_paging(structure: Structure) -> None:
    texts = [text for sheet in structure.sheets for text in sheet.texts]
    assert [text.words for text in texts if text.tag == "None"] == []
    running = [text.words for text in texts if text.tag == "Artifact"]
    assert sum(words.startswith("page ") for words in running) == len(structure.sheets)
    assert not any(text.words.startswith("page 1 of") for text in texts if text.tag == "Text")


def test_every_link_says_where_it_leads_and_is_printed_too(structure: Structure) -> None:
    notes = [note.get_object() for page in structure.reader.pages for note in page.get("/Annots", [])]
    links = [note for note in notes if note["/Subtype"] == "/Link"]
    assert all(link.get("/Contents") and link["/F"] & 4 for link in links)
    if structure.document.depth == "detailed":
        assert len(links) >= 5


def test_bookmarks_and_contents_lead_to_the_sections(structure: Structure) -> None:
    titles = [entry.title for entry in _flat(structure.reader.outline)]
    headings = len(structure.named("/H1", "/H2"))
    contents = 1 if structure.document.depth == "detailed" else 0
    assert len(titles) == headings - contents
    assert "About this report" in titles


# ----------------------------------------------------------------------------------------------------------------------


def _walked(element: Any) -> Iterator[Any]:
    found = element.get_object()
    yield found
    for kid in _kids(found):
        yield from _walked(kid)


def _kids(element: Any) -> list[Any]:
    """Return the elements within one; anything else is content of a page, or a link's reference."""
    kids = element.get("/K", [])
    each = kids if isinstance(kids, list) else [kids]
    found = [kid.get_object() for kid in each if isinstance(kid, IndirectObject | DictionaryObject)]
    return [kid for kid in found if isinstance(kid, DictionaryObject) and "/S" in kid]


def _flat(outline: Any) -> Iterator[Any]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _flat(entry)
        else:
            yield entry
