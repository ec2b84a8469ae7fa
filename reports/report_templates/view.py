"""A report document as a view: its title and headline, and the sections that its template has."""

from __future__ import annotations

from models.documents import Document
from reports.report_templates.registry import template_of
from reports.text.formatting import Formats
from reports.view.blocks import View


def view_of(document: Document) -> View:
    """The whole report as blocks; a section without blocks is left out."""
    show = Formats(document.locale, document.period.zone)
    return View(
        title=f"{document.kind.capitalize()} {document.template} report",
        period=show.period(document.period),
        facts=_facts(document, show),
        headline=headline(document),
        sections=tuple(section for section in template_of(document).sections(document, show) if section.blocks),
    )


def headline(document: Document) -> str:
    """The one sentence that a manager reads; without selections, that there were none."""
    show = Formats(document.locale, document.period.zone)
    if document.selection_count == 0:
        return (
            f"No requests were recorded in this period, {show.period(document.period)}: "
            "nothing can be concluded about speed, quality or cost."
        )
    sentence = "; ".join(clause for clause in template_of(document).clauses(document, show) if clause)
    return sentence[0].upper() + sentence[1:] + "."


def _facts(document: Document, show: Formats) -> tuple[tuple[str, str], ...]:
    facts = [("Period", show.period(document.period))]
    if document.period.rounded:
        asked = show.range(document.period.requested_start, document.period.requested_end)
        facts.append(("Asked for", f"{asked}; rounded outward to what is stored"))
    return (
        *facts,
        ("Models", ", ".join(document.filters.models) or "all"),
        ("Teams", ", ".join(document.filters.teams) or "all"),
        ("Complexities", ", ".join(document.filters.complexities) or "all"),
        ("Newest request", show.instant(document.freshness.last_selection_at)),
        ("Made", show.instant(document.generated_at)),
    )
