"""Render the live page as HTML sections that the browser updates one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.documents import MetricChange, PerformanceReport
from models.kpis import KPIS
from models.notifications import AlertRule
from reports.assets.fonts import web_faces
from reports.assets.template_engine import fill, style
from reports.report_templates.drawing import draw
from reports.report_templates.performance.sections import kpi_tiles
from reports.report_templates.view import view_of
from reports.text.alerts import amount, rule_label
from reports.text.formatting import Formats
from reports.text.labels import bounds_text, metric_change, metric_label, metric_value
from reports.text.unicode_names import readable
from reports.view.blocks import Section, View, capped

RANGES: Mapping[str, tuple[str, timedelta]] = {
    "15m": ("15 minutes", timedelta(minutes=15)),
    "1h": ("1 hour", timedelta(hours=1)),
    "6h": ("6 hours", timedelta(hours=6)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}
"""Ranges: label and length by name in the URL."""

SECTIONS = (
    "now", "tiles", "charts", "alerts", "decisions", "rollouts", "models", "found", "money", "quarantine", "deliveries",
)  # fmt: skip
SECTION_MOST_ROWS = 50
SPARK_WIDTH, SPARK_HEIGHT = 120, 26

_SPARKS = {
    **{kpi.label: kpi.timeline_field for kpi in KPIS.values() if kpi.timeline_field is not None},
    "p95 response time": "p95_response_time",
    "Requests": "count",
    "Spend": "cost_usd",
}
"""Number of the timeline in each tile's sparkline, by tile label."""


@dataclass(frozen=True)
class LiveAlert:
    """An open alert."""

    id: int
    rule: AlertRule
    subject: str
    state: str
    severity: str
    value: float | None
    threshold: float | None
    learned: bool
    since: datetime


@dataclass(frozen=True)
class LiveSilence:
    """A current silence; NULL rule or subject: every one."""

    id: int
    rule: str | None
    subject: str | None
    ends_at: datetime
    by: str
    reason: str


@dataclass(frozen=True)
class LiveOptimization:
    """An optimization with the possible actions: any of approve, reject, revert."""

    id: int
    label: str
    state: str
    reason: str
    actions: tuple[str, ...]


@dataclass(frozen=True)
class LiveRollout:
    """A rollout under way with the possible decisions: any of approve, hold, resume, jump, abort.

    `percent` is the candidate's share now, `steps` are all shares, and `proposed_percent` is one that waits for
    approval. `changes` are what the arms show, the goal first: before is the baseline, after the candidate.
    """

    id: int
    label: str
    state: str
    percent: float
    steps: tuple[float, ...]
    proposed_percent: float | None
    held_by: str | None
    step_at: datetime
    deadline: datetime
    reason: str
    changes: tuple[MetricChange, ...]
    asked_percent: float | None
    found_percent: float | None
    actions: tuple[str, ...]


@dataclass(frozen=True)
class LiveDelivery:
    id: int
    what: str
    channel: str
    recipient: str
    state: str
    answer: str


@dataclass(frozen=True)
class LiveRow:
    """A row in the quarantine."""

    id: int
    set_aside_at: datetime
    entrance: str
    model: str
    reason: str
    due_at: datetime | None


@dataclass(frozen=True)
class LiveQuarantine:
    """The quarantine: numbers of rows by reason, the most frequent first, and the newest rows."""

    reasons: Mapping[str, int]
    newest: Sequence[LiveRow] = ()


@dataclass(frozen=True)
class Live:
    """Data of the page: a report of the range up to now, and the open alerts, silences and optimizations."""

    document: PerformanceReport
    now: datetime
    range: str
    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    known_models: tuple[str, ...] = ()
    known_teams: tuple[str, ...] = ()
    alerts: Sequence[LiveAlert] = ()
    learning: str | None = None
    silences: Sequence[LiveSilence] = ()
    optimizations: Sequence[LiveOptimization] = ()
    rollouts: Sequence[LiveRollout] = ()
    deliveries: Sequence[LiveDelivery] = ()
    quarantine: LiveQuarantine = LiveQuarantine({})
    refresh_ms: int = 10_000


def render_sections(live: Live) -> dict[str, str]:
    """Render the content of each of SECTIONS as HTML."""
    document = readable(live.document)
    show = Formats(document.locale, document.period.zone)
    view = capped(view_of(document), SECTION_MOST_ROWS)
    given = {
        "live": live, "document": document, "view": view, "show": show, "sparks": _sparks(document),
        "drawn": draw(document, "board"), "tiles": kpi_tiles(document, show), "rule_words": rule_label,
        "amount": amount, "section": _section_of(view), "metric_label": metric_label, "metric_value": metric_value,
        "metric_change": metric_change, "bounds_text": bounds_text,
    }  # fmt: skip
    return {name: fill("live_section.html.j2", name=name, **given) for name in SECTIONS}


def render_page(live: Live, sections: Mapping[str, str]) -> str:
    """Render the complete page with its sections."""
    return fill("live.html.j2", live=live, sections=sections, ranges=RANGES, hashes=hashes(sections))


def live_style() -> str:
    """Return the page's style sheet including fonts."""
    return web_faces() + style("look.css", "dashboard.css", "live.css")


def hashes(sections: Mapping[str, str]) -> dict[str, str]:
    """Return a section's change tag."""
    return {name: hashlib.sha256(html.encode()).hexdigest()[:16] for name, html in sections.items()}


# ----------------------------------------------------------------------------------------------------------------------


def _section_of(view: View) -> Mapping[str, Section | None]:
    return {name: view.section(name) for name in ("found", "done", "money", "notes", "trends")}


def _sparks(document: PerformanceReport) -> dict[str, str]:
    """Return a sparkline's points by tile label; omits tiles with fewer than two known values."""
    lines = {
        label: _line([getattr(point, name) for point in document.charts.timeline]) for label, name in _SPARKS.items()
    }
    return {label: line for label, line in lines.items() if line}


def _line(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(values) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    low, high = min(known), max(known)
    span, step = (high - low) or 1.0, SPARK_WIDTH / (len(values) - 1)
    points = (
        f"{number * step:.1f},{(SPARK_HEIGHT - 2) - (value - low) / span * (SPARK_HEIGHT - 4):.1f}"
        for number, value in enumerate(values)
        if value is not None
    )
    return " ".join(points)
