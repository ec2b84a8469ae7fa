"""The report on paper: tagged, with bookmarks, fonts inside, and the same bytes for the same document."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO

from weasyprint import HTML
from weasyprint.text.fonts import FontConfiguration

from models.documents import Document
from reports.assets.fonts import print_faces
from reports.assets.template_engine import fill, style
from reports.renderers.pdf_accessibility import complete_tags
from reports.renderers.pdf_columns import laid_out
from reports.renderers.pdf_fonts import OwnFontsOnly
from reports.report_templates.drawing import draw
from reports.report_templates.view import view_of
from reports.text.unicode_names import printable
from reports.view.blocks import capped

PDF_MOST_ROWS = {"summary": 10, "detailed": 100}
"""A printed table's rows: laying out a thousand takes seconds, and nobody reads them."""

_OBJECTS_BETWEEN_SEARCHES = 50_000


def write_pdf(document: Document, out: BinaryIO) -> None:
    """The PDF into a file."""
    out.write(render_pdf(document))


def render_pdf(document: Document) -> bytes:
    """A PDF/UA-1 file on the document's paper. Anything but data: addresses in it is an error."""
    return _rendered(type(document), document.model_dump_json(by_alias=True))


@lru_cache(maxsize=4)
def _rendered(kind: type[Document], content: str) -> bytes:
    # The same file is written to disk and attached to every mail.
    document = printable(kind.model_validate_json(content))
    page = fill(
        "report.html.j2",
        view=laid_out(capped(view_of(document), PDF_MOST_ROWS[document.depth])),
        drawn=draw(document, "halves" if document.depth == "summary" else "page"),
        inline=False,
        depth=document.depth,
        generated_at=document.generated_at.isoformat(),
        css=f"{print_faces()}\n{style('look.css', 'print.css')}\n@page {{ size: {document.paper} }}",
    )
    with _rarely_collected():
        pdf: Any = HTML(string=page, url_fetcher=OwnFontsOnly()).write_pdf(
            pdf_variant="pdf/ua-1",
            font_config=FontConfiguration(),
            pdf_identifier=_identifier(page),
            finisher=complete_tags,
        )
    return bytes(pdf)


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Search for garbage seldom: a layout's many objects last, and to look through them takes a sixth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _identifier(page: str) -> bytes:
    """The file's id, from its content: a random one would make each copy another file."""
    return hashlib.sha256(page.encode()).hexdigest()[:32].encode()
