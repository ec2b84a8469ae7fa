"""Where the router's config was changed, as marks on a timeline: what follows may be of the change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import altair as alt

from models.document import Document
from reports.chart_style import MUTED, Layer, layer, words
from reports.figures import applied_of
from reports.verdicts import trials_of


def change_marks(document: Document, x: Any, height: int) -> list[Layer]:
    """A dashed line at each change within the period, with the optimization's number at its foot."""
    rows = [{"t": round(at.timestamp() * 1000), "text": text} for at, text in marks_of(document)]
    if not rows:
        return []
    rule = layer(rows).mark_rule(color=MUTED, strokeDash=[2, 2], strokeWidth=1).encode(x=x)
    return [rule, words(rows, x, alt.value(height - 7), dx=3, fontSize=10)]


def marks_of(document: Document) -> list[tuple[datetime, str]]:
    """When in the period each optimization changed the config, and when it was taken back."""
    marks: list[tuple[datetime, str]] = []
    for trial in trials_of(applied_of(document)):
        times = sorted({change.applied_at for change in trial.changes})
        name = trial.number or trial.changes[0].key
        marks += [(at, name if index == 0 else f"{name} back") for index, at in enumerate(times)]
    return [(at, text) for at, text in marks if document.period.start <= at < document.period.end]
