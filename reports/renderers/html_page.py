"""The report as one page for the screen: nothing in it is fetched from elsewhere, and nothing runs."""

from __future__ import annotations

from typing import BinaryIO

from models.documents import Document
from reports.assets.fonts import web_faces
from reports.assets.template_engine import fill, style
from reports.report_templates.drawing import draw
from reports.report_templates.view import view_of
from reports.text.unicode_names import readable
from reports.view.blocks import capped

HTML_MOST_ROWS = 500
"""More rows in one table make a page that no browser scrolls well."""


def write_html(document: Document, out: BinaryIO) -> None:
    """The page into a file."""
    out.write(render_html(document).encode())


def render_html(document: Document) -> str:
    """A complete HTML page with its style, font and charts inside."""
    document = readable(document)
    return fill(
        "report.html.j2",
        view=capped(view_of(document), HTML_MOST_ROWS),
        drawn=draw(document),
        inline=True,
        depth=document.depth,
        generated_at=document.generated_at.isoformat(),
        css=web_faces() + style("look.css", "screen.css"),
    )
