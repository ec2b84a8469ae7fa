"""Where the router's config was changed, as marks on a timeline: what follows may be of the change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models.document import Document
from reports.chart_style import MUTED, Layer, at_y, layer, words
from reports.figures import applied_of
from reports.verdicts import trials_of

Mark = tuple[datetime, str]

_NAME_SHARE = 0.05
"""Of the timeline's length: nearer marks have no room for a name each."""

_EDGE_SHARE = 0.1
"""So near to the end names stand before their marks: behind them are the names of the lines."""

_MOST_NAMES = 2


def change_marks(document: Document, x: Any, at_px: int) -> list[Layer]:
    """A dashed line at each change within the period, with the optimization's number so far from the top."""
    marks = marks_of(document)
    if not marks:
        return []
    rule = layer([_row(at, text) for at, text in marks]).mark_rule(color=MUTED, strokeDash=[2, 2], strokeWidth=1)
    groups = _close(marks, document)
    edge = document.period.end - (document.period.end - document.period.start) * _EDGE_SHARE
    layers = [rule.encode(x=x)]
    for at_edge, side in ((False, {"dx": 3}), (True, {"dx": -3, "align": "right"})):
        names = [_row(group[0][0], _name(group)) for group in groups if (group[0][0] > edge) is at_edge]
        if names:
            layers.append(words(names, x, at_y(at_px), fontSize=10, **side))
    return layers


def marks_of(document: Document) -> list[Mark]:
    """By time, when in the period each optimization changed the config, and when it was taken back."""
    marks: list[Mark] = []
    for trial in trials_of(applied_of(document)):
        times = sorted({change.applied_at for change in trial.changes})
        name = trial.number or trial.changes[0].key
        marks += [(at, name if index == 0 else f"{name} back") for index, at in enumerate(times)]
    return sorted((at, text) for at, text in marks if document.period.start <= at < document.period.end)


# ----------------------------------------------------------------------------------------------------------------------


def _row(at: datetime, text: str) -> dict[str, Any]:
    return {"t": round(at.timestamp() * 1000), "text": text}


def _close(marks: list[Mark], document: Document) -> list[list[Mark]]:
    """The marks in groups whose names would run into one another."""
    room = (document.period.end - document.period.start) * _NAME_SHARE
    groups: list[list[Mark]] = []
    for mark in marks:
        if groups and mark[0] - groups[-1][0][0] < room:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups


def _name(group: list[Mark]) -> str:
    return f"{len(group)} changes" if len(group) > _MOST_NAMES else ", ".join(text for _, text in group)
