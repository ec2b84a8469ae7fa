"""The hourly dashboard: one wide page that asks for itself again, for a screen on the wall or a phone."""

from __future__ import annotations

from models.documents import Document
from reports.assets.fonts import web_faces
from reports.assets.template_engine import fill, style
from reports.report_templates.drawing import draw
from reports.report_templates.view import view_of
from reports.text.unicode_names import readable
from reports.view.blocks import capped

DASHBOARD_MOST_ROWS = 50


def render_dashboard(document: Document, *, refresh_s: int = 60) -> str:
    """Render a complete page in light and dark; the browser reloads it every `refresh_s` seconds."""
    document = readable(document)
    return fill(
        "dashboard.html.j2",
        view=capped(view_of(document), DASHBOARD_MOST_ROWS),
        drawn=draw(document, "board"),
        refresh_s=max(1, refresh_s),
        css=web_faces() + style("look.css", "dashboard.css"),
    )
