"""Where the router's config was changed, as marks on a timeline: what follows may be of the change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from models.documents import Document
from reports.assets.fonts import text_em
from reports.charts.style import MUTED, Layer, at_y, layer, text_marks
from reports.text.verdicts import trials_of

Mark = tuple[datetime, str]

_FONT_PX, _BESIDE_PX = 10, 3

_MOST_NAMES = 2

_BACK = " back"
"""Behind the name of a change that is taken back."""


def change_marks(document: Document, x: Any, at_px: int, width: int) -> list[Layer]:
    """A dashed line at each change within the period, with the optimization's number so far from the top.

    `width` is the plot's in px: marks whose names would run into one another share one.
    """
    marks = marks_of(document)
    if not marks:
        return []
    rule = layer([_row(at, text) for at, text in marks]).mark_rule(color=MUTED, strokeDash=[2, 2], strokeWidth=1)
    names = _names(marks, document, width)
    layers = [rule.encode(x=x)]
    for before, side in ((False, {"dx": _BESIDE_PX}), (True, {"dx": -_BESIDE_PX, "align": "right"})):
        rows = [_row(name.at, name.text) for name in names if name.before is before]
        if rows:
            layers.append(text_marks(rows, x, at_y(at_px), fontSize=_FONT_PX, **side))
    return layers


def marks_of(document: Document) -> list[Mark]:
    """Return by time when in the period each optimization changed the config, and when it was reverted."""
    marks: list[Mark] = []
    for trial in trials_of(document.config_changes):
        times = sorted({(change.applied_at, change.is_revert) for change in trial.changes})
        name = trial.number or trial.changes[0].key
        marks += [(at, name + _BACK * (is_revert or index > 0)) for index, (at, is_revert) in enumerate(times)]
    return sorted((at, text) for at, text in marks if document.period.start <= at < document.period.end)


# ----------------------------------------------------------------------------------------------------------------------


def _row(at: datetime, text: str) -> dict[str, Any]:
    return {"t": round(at.timestamp() * 1000), "text": text}


@dataclass(frozen=True)
class _Name:
    """What stands beside the first of some marks, from `left` to `right` in px."""

    marks: tuple[Mark, ...]
    first_px: float
    plot_px: float

    @property
    def at(self) -> datetime:
        return self.marks[0][0]

    @property
    def text(self) -> str:
        """Return the changes' names, or their number if neither side of the mark has room."""
        names = ", ".join(text for _, text in self.marks)
        room = max(self.first_px, self.plot_px - self.first_px)
        if len(self.marks) <= _MOST_NAMES and _width_px(names) < room:
            return names
        made = sum(not text.endswith(_BACK) for _, text in self.marks)
        if not made:
            return f"{len(self.marks)} back"
        return "change" if len(self.marks) == 1 else f"{made} {'change' if made == 1 else 'changes'}"

    @property
    def before(self) -> bool:
        """Return whether the label does not fit behind its mark: the lines' names are beyond the plot."""
        return self.first_px + _width_px(self.text) > self.plot_px

    @property
    def left(self) -> float:
        return self.first_px - _width_px(self.text) if self.before else self.first_px

    @property
    def right(self) -> float:
        return self.first_px if self.before else self.first_px + _width_px(self.text)


def _width_px(text: str) -> float:
    return text_em(text) * _FONT_PX + 2 * _BESIDE_PX


def _names(marks: list[Mark], document: Document, width: int) -> list[_Name]:
    """One name for each mark, or for some that have no room for one each."""
    period = document.period
    names: list[_Name] = []
    for mark in marks:
        share = (mark[0] - period.start) / (period.end - period.start)
        name = _Name((mark,), share * width, width)
        while names and name.left < names[-1].right:
            name = replace(names[-1], marks=(*names.pop().marks, *name.marks))
        names.append(name)
    return names
