"""The charts of a report, drawn: which there are and in which order, as its template describes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from altair.utils.schemapi import debug_mode

from models.documents import Document
from models.settings import ChartName
from reports.charts.build import Chart, svg_of_plan
from reports.charts.spec import ChartSpec
from reports.charts.style import DASHBOARD_WIDTH, NARROW, WIDE
from reports.report_templates.registry import template_of
from reports.text.formatting import Formats

Layout = Literal["page", "halves", "board"]

WIDE_CHARTS = frozenset({ChartName.TIMELINE, ChartName.HEATMAP})
"""These take the whole width of a page; of the others two stand side by side."""

_ORDER = (ChartName.TIMELINE, ChartName.DISTRIBUTION, ChartName.COMPARISON, ChartName.HEATMAP)

_drawing = Lock()
"""Altair's options are per process, not per thread: of two concurrent renderings one would fail."""


def draw(document: Document, layout: Layout = "page") -> tuple[Chart, ...]:
    """The charts that the document shows: the template's own, then timeline, distribution, comparison, heatmap.

    One for which nothing is known is left out, as are all of them without selections. On a page, the
    timeline and the heatmap take its whole width; of the others, and in halves and on a board, two stand side by side.
    """
    if document.selection_count == 0:
        return ()
    return _drawn(type(document), document.model_dump_json(by_alias=True), layout)


@lru_cache(maxsize=8)
def _drawn(kind: type[Document], content: str, layout: Layout) -> tuple[Chart, ...]:
    # One report becomes a page, a PDF and several mails: its charts are drawn once.
    document = kind.model_validate_json(content)
    show, charts = Formats(document.locale, document.period.zone), []
    # Without it altair checks every argument against its schema, which takes longer than the drawing.
    with _drawing, debug_mode(False):
        for name, spec, width, wide in _shown(document, layout):
            if spec.has_data(document):
                plan, text = spec.plan(document, show, width), spec.alt_text(document, show)
                charts.append(Chart(name, spec.title, text, svg_of_plan(plan, name, text), wide))
    return tuple(charts)


def _shown(document: Document, layout: Layout) -> Iterator[tuple[str, ChartSpec[Any], int, bool]]:
    """Each chart with its name, its width in px, and whether it takes a page's whole width."""
    charts = template_of(document).charts()
    for own, spec in charts.own.items():
        # As wide as there is room for: it may have names on the left and numbers on the right.
        yield own, spec, DASHBOARD_WIDTH if layout == "board" else WIDE, True
    for name in _ORDER:
        if name in document.charts.shown and name in charts.chosen:
            wide = layout == "page" and name in WIDE_CHARTS
            yield (
                name.value,
                charts.chosen[name],
                DASHBOARD_WIDTH if layout == "board" else WIDE if wide else NARROW,
                wide,
            )
