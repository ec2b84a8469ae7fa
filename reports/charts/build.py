"""The charts of a report as SVG that is the same for the same document, each with a text that says what it shows."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import vl_convert
from altair.utils.schemapi import debug_mode

from models.documents import CostReport, Document, OptimizationReport, PerformanceReport, UsageReport
from models.settings import ChartName
from reports.assets.fonts import register_for_charts
from reports.assets.template_engine import svg_url
from reports.charts import distributions as chart_shape
from reports.charts import heatmap as chart_week
from reports.charts import style as chart_style
from reports.charts import timelines as chart_time
from reports.charts.alt_text import alt_text, changes_text
from reports.charts.print_svg import for_paper
from reports.charts.vega import svg_of
from reports.report_templates.optimization import charts as chart_change
from reports.report_templates.usage import charts as chart_usage
from reports.text.formatting import Formats
from reports.text.unicode_names import needs_shaping
from reports.text.verdicts import CHANGES_CHART, drawable

Layout = Literal["page", "halves", "board"]

_PERFORMANCE_TITLES = {
    ChartName.TIMELINE: "Response time and errors over time",
    ChartName.DISTRIBUTION: "How long requests took",
    ChartName.HEATMAP: "p95 response time by hour of the week, in seconds",
    ChartName.COMPARISON: "Models: median to p95 response time",
}
_COST_TITLES = {
    ChartName.TIMELINE: "Spend over time",
    ChartName.DISTRIBUTION: "Who spent it",
    ChartName.HEATMAP: "Spend by hour of the week, in US dollars",
    ChartName.COMPARISON: "Spend per model",
}
_USAGE_TITLES = {
    ChartName.TIMELINE: "Requests over time",
    ChartName.DISTRIBUTION: "Who asked",
    ChartName.HEATMAP: "Requests per hour, by hour of the week",
    ChartName.COMPARISON: "What changed most",
}

_Plans = Mapping[ChartName, Callable[..., Any]]

_PERFORMANCE_PLANS: _Plans = {
    ChartName.TIMELINE: chart_time.response_timeline,
    ChartName.DISTRIBUTION: chart_shape.distribution,
    ChartName.HEATMAP: chart_week.heatmap,
    ChartName.COMPARISON: chart_shape.comparison,
}
_COST_PLANS: _Plans = {
    ChartName.TIMELINE: chart_time.spend_timeline,
    ChartName.DISTRIBUTION: chart_shape.spend_by_group,
    ChartName.HEATMAP: chart_week.heatmap,
    ChartName.COMPARISON: chart_shape.spend_by_model,
}
_USAGE_PLANS: _Plans = {
    ChartName.TIMELINE: chart_usage.volume_timeline,
    ChartName.DISTRIBUTION: chart_usage.usage_by_group,
    ChartName.HEATMAP: chart_week.heatmap,
    ChartName.COMPARISON: chart_usage.movers,
}

WIDE_CHARTS = frozenset({ChartName.TIMELINE, ChartName.HEATMAP})
"""These take the whole width of a page; of the others two stand side by side."""


_PRINT_SCALE = 3.0
"""Px of a bitmap for one of the chart's: about 290 to the inch on paper."""


@dataclass(frozen=True)
class Chart:
    """One drawn chart. The SVG has its own white ground and carries `alt_text` as its label."""

    name: str
    title: str
    alt_text: str
    svg: str
    wide: bool

    @property
    def address(self) -> str:
        """A data: address for paper, whose renderer lays letters out one by one: a bitmap where that would be wrong."""
        if not needs_shaping(self.svg):
            return svg_url(for_paper(self.svg))
        return f"data:image/png;base64,{base64.b64encode(png(self, _PRINT_SCALE)).decode()}"


def draw(document: Document, layout: Layout = "page") -> tuple[Chart, ...]:
    """The charts that the document shows, in the order changes, timeline, distribution, comparison, heatmap.

    One for which nothing is known is left out, as are all of them without selections. On a page, the
    timeline and the heatmap take its whole width; of the others, and in halves and on a board, two stand side by side.
    """
    return (
        () if document.selection_count == 0 else _drawn(type(document), document.model_dump_json(by_alias=True), layout)
    )


@lru_cache(maxsize=8)
def _drawn(kind: type[Document], content: str, layout: Layout) -> tuple[Chart, ...]:
    # One report becomes a page, a PDF and several mails: its charts are drawn once.
    document = kind.model_validate_json(content)
    order = (ChartName.TIMELINE, ChartName.DISTRIBUTION, ChartName.COMPARISON, ChartName.HEATMAP)
    shown = [name for name in order if name in document.charts.shown and _has_data(document, name)]
    # Without it altair checks every argument against its schema, which takes longer than the drawing.
    with debug_mode(False):
        return (*_changes(document, layout), *(_draw(document, name, layout) for name in shown))


def png(chart: Chart, scale: float = 2.0) -> bytes:
    """The chart as a bitmap, `scale` times as many pixels as it is wide in CSS px."""
    register_for_charts()
    return bytes(vl_convert.svg_to_png(chart.svg, scale=scale))


def _changes(document: Document, layout: Layout) -> tuple[Chart, ...]:
    """What came of the changes: as wide as there is room, for each has a name on the left and numbers on the right."""
    if not isinstance(document, OptimizationReport) or not drawable(document):
        return ()
    show = Formats(document.locale, document.period.zone)
    width = chart_style.BOARD if layout == "board" else chart_style.WIDE
    text = changes_text(document, show)
    plan = chart_change.changes(document, show, width)
    title = "What came of each change, against matched hours before"
    return (Chart(CHANGES_CHART, title, text, _svg(plan, CHANGES_CHART, text), wide=True),)


def _draw(document: Document, name: ChartName, layout: Layout) -> Chart:
    show = Formats(document.locale, document.period.zone)
    titles, plans = _drawn_as(document)
    text = alt_text(document, name, show)
    wide = layout == "page" and name in WIDE_CHARTS
    width = chart_style.BOARD if layout == "board" else chart_style.WIDE if wide else chart_style.NARROW
    plan = plans[name](document, show, width)
    return Chart(name.value, titles[name], text, _svg(plan, name.value, text), wide)


def _drawn_as(document: Document) -> tuple[Mapping[ChartName, str], _Plans]:
    """The titles of a template's charts, and what makes their Vega-Lite specifications."""
    match document:
        case CostReport():
            return _COST_TITLES, _COST_PLANS
        case UsageReport():
            return _USAGE_TITLES, _USAGE_PLANS
        case _:
            return _PERFORMANCE_TITLES, _PERFORMANCE_PLANS


def _svg(plan: Any, name: str, label: str) -> str:
    """What a plan looks like: a specification, or an SVG already."""
    if isinstance(plan, str):
        return stable(plan, name, label)
    return stable(chart_style.edged(_rendered(json.dumps(chart_style.finished(plan)))), name, label)


@lru_cache(maxsize=32)
def _rendered(specification: str) -> str:
    """The SVG of a Vega-Lite specification; on a live page some charts look as they did a moment ago."""
    return svg_of(specification)


def stable(svg: str, name: str, label: str) -> str:
    """The SVG with ids that are numbered by their order under the chart's name, so that several fit in one page."""
    ids: dict[str, str] = {}
    for found in re.findall(r'\bid="([^"]+)"', svg):
        ids.setdefault(found, f"{name}-{len(ids)}")
    svg = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{ids[match[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{ids.get(match[1], match[1])})", svg)
    svg = re.sub(r'\b(aria-[a-z]+|role)="[^"]*" ?', "", svg)
    quoted = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{quoted}" ', 1)


def _has_data(document: Document, name: ChartName) -> bool:
    charts = document.charts
    if isinstance(document, CostReport):
        groups = (*document.complexity_cost_breakdown, *document.team_cost_breakdown)
        return {
            ChartName.TIMELINE: any(point.cost_usd is not None for point in charts.timeline),
            ChartName.DISTRIBUTION: any(group.total_cost is not None for group in groups),
            ChartName.HEATMAP: sum(cell.cost_usd is not None for cell in charts.heatmap) > 1,
            ChartName.COMPARISON: any(model.total_cost is not None for model in document.model_cost_breakdown),
        }[name]
    if isinstance(document, UsageReport):
        return {
            ChartName.TIMELINE: any(point.count for point in document.volume),
            ChartName.DISTRIBUTION: bool(document.complexity_usage or document.team_usage),
            # Of a single day the timeline tells as much.
            ChartName.HEATMAP: len({hour.weekday for hour in document.hours_of_week}) > 1,
            ChartName.COMPARISON: bool(document.top_movers),
        }[name]
    return {
        ChartName.TIMELINE: any(
            known is not None
            for point in charts.timeline
            for known in (point.p50_response_time, point.p95_response_time, point.error_rate)
        ),
        ChartName.DISTRIBUTION: any(item.count for item in charts.distribution),
        # One hour alone makes no week.
        ChartName.HEATMAP: sum(cell.p95_response_time is not None for cell in charts.heatmap) > 1,
        ChartName.COMPARISON: isinstance(document, PerformanceReport)
        and any(model.p95_response_time is not None for model in document.model_breakdown),
    }[name]
