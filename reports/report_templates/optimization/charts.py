"""What came of the changes: per optimization the goal and the guards after against before, in shares of before.

The goals have different units, so all are drawn as "so much better or worse than before", with their numbers beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from models.documents import MetricChange, OptimizationReport
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    AMBER,
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    VERMILLION,
    WIDE,
    Layer,
    at_x,
    layer,
    layered,
    text_marks,
)
from reports.text.formatting import Formats
from reports.text.labels import MARKS, metric_label
from reports.text.verdicts import (
    Trial,
    before_after,
    drawable,
    improvement,
    is_drawable,
    primary_metric_text,
    state_label,
    state_tone,
)

MOST_TRIALS = 8
"""The newest of them; more are no picture any more, and the table has them all."""

_HEAD, _TITLE, _ROW, _GAP, _FOOT = 22, 19, 18, 9, 20
_LEFT, _RIGHT = 150, 190
"""Px beside the plot, for the metrics' names and for their numbers."""

_ARROW = 8
"""What the arrow of an interval that goes on takes of the room for numbers, in px."""

_LEAST_SPAN, _MOST_SPAN = 0.05, 1.0
_COLOURS = {"better": BLUE, "worse": VERMILLION}
_STATE_COLOURS = {"good": "#00694f", "warning": AMBER}


@dataclass(frozen=True)
class _EffectRow:
    """One metric of one optimization, at `y` px from the top; shares are of the value before, positive is better."""

    change: MetricChange
    y: int
    is_goal: bool

    @property
    def colour(self) -> str:
        return _COLOURS.get(self.change.judgement, MUTED)

    def share(self, difference: float | None) -> float:
        return improvement(self.change, difference or 0.0) or 0.0


def changes(document: OptimizationReport, show: Formats, width: int = WIDE) -> Layer:
    """One block an optimization: its state, the goal with its interval, and in a detailed report the guards."""
    trials = drawable(document)[-MOST_TRIALS:]
    titles, rows, height = _placed(trials, show, guardrails=document.depth == "detailed")
    span = _span(rows)
    scale = alt.Scale(domain=[-span, span], range=[_LEFT, width - _RIGHT], nice=False, clamp=True)
    x = alt.X("share:Q", scale=scale, axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height], nice=False), axis=None)
    layers = [
        *_grid(span, height, x, y, show),
        *_margins(rows, x, y),
        *_spans(rows, span, x, y),
        *_texts(titles, rows, y, width, show),
        text_marks([{"text": _legend(rows), "y": height - 6}], at_x(0), y, fontSize=10),
    ]
    return layered(*layers, width=width - 8, height=height)


# ----------------------------------------------------------------------------------------------------------------------


def _placed(
    trials: tuple[Trial, ...], show: Formats, *, guardrails: bool
) -> tuple[list[dict[str, Any]], list[_EffectRow], int]:
    """The optimizations' titles and their metrics' rows from the top down, and the height of it all."""
    titles: list[dict[str, Any]] = []
    rows: list[_EffectRow] = []
    at = _HEAD
    for trial in trials:
        settings = trial.settings(show)
        more = f" and {len(settings) - 1} more" if len(settings) > 1 else ""
        tone = state_tone(trial.state)
        titles.append(
            {
                "y": at + 8,
                "text": f"{trial.number} {settings[0]}{more}".strip(),
                "state": f"{MARKS[tone]} {state_label(trial.state)}".strip(),
                "colour": _STATE_COLOURS.get(tone, MUTED),
            }
        )
        at += _TITLE
        for change in (trial.primary_metric, *(trial.guardrails if guardrails else ())):
            if change is not None:
                rows.append(_EffectRow(change, at + 8, change is trial.primary_metric))
                at += _ROW
        at += _GAP
    return titles, rows, at - _GAP + _FOOT


def _span(rows: list[_EffectRow]) -> float:
    """How far the plot reaches to either side: as far as the goals do; what reaches further is cut at the edge."""
    goals = [row for row in rows if row.is_goal and is_drawable(row.change)]
    shown = goals or [row for row in rows if is_drawable(row.change)]
    reach = [abs(row.share(end)) for row in shown for end in _ends(row.change)]
    margins = [abs(row.share(row.change.margin)) for row in rows if is_drawable(row.change)]
    return min(_MOST_SPAN, max([_LEAST_SPAN, *reach, *margins]) * 1.05)


def _ends(change: MetricChange) -> tuple[float, ...]:
    found = change.change
    ends = (found.estimate, found.low, found.high) if found else ()
    return tuple(end for end in ends if end is not None)


def _grid(span: float, height: int, x: Any, y: Any, show: Formats) -> list[Layer]:
    """The line of no change, one to either side, and what they stand for."""
    step = _step(span)
    sides = [
        {"share": -step, "text": f"{show.round_percent(step)} worse"},
        {"share": step, "text": f"{show.round_percent(step)} better"},
    ]
    ends = {"y": _HEAD - 4, "to": height - _FOOT}
    lines = layer([{**row, **ends} for row in sides]).mark_rule(color=GRID).encode(x=x, y=y, y2=alt.Y2("to:Q"))
    zero = layer([{"share": 0.0, **ends}]).mark_rule(color=INK, strokeWidth=1).encode(x=x, y=y, y2=alt.Y2("to:Q"))
    names = [*sides, {"share": 0.0, "text": "as before"}]
    return [lines, zero, text_marks([{**row, "y": 8} for row in names], x, y, align="center", fontSize=10.5)]


def _step(span: float) -> float:
    """The widest round share that leaves its name room within the plot."""
    return max(step for step in (0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 0.75) if step <= span * 0.8 or step == 0.02)  # noqa: PLR2004


def _margins(rows: list[_EffectRow], x: Any, y: Any) -> list[Layer]:
    """How much worse each guard may get."""
    marks = [
        {"share": -abs(row.share(row.change.margin)), "y": row.y - 7, "to": row.y + 7}
        for row in rows
        if not row.is_goal and is_drawable(row.change)
    ]
    if not marks:
        return []
    return [
        layer(marks).mark_rule(color=ORANGE, strokeDash=[3, 2], strokeWidth=1.4).encode(x=x, y=y, y2=alt.Y2("to:Q"))
    ]


def _spans(rows: list[_EffectRow], span: float, x: Any, y: Any) -> list[Layer]:
    """The intervals as lines and the estimates as dots: filled for a goal, hollow for a guard."""
    rendered = [row for row in rows if is_drawable(row.change)]
    lines = [_line(row) for row in rendered]
    colour = alt.Color("colour:N", scale=None, legend=None)
    width = alt.StrokeWidth("width:Q", scale=None, legend=None)
    rule = layer(lines).mark_rule().encode(x=x, x2=alt.X2("to:Q"), y=y, color=colour, strokeWidth=width)
    layers = [rule]
    for primary in (True, False):
        dots = [_dot(row) for row in rendered if row.is_goal is primary]
        point = layer(dots).mark_point(filled=True, size=70 if primary else 34, opacity=1, strokeWidth=1.4)
        fill = alt.Fill("fill:N", scale=None, legend=None)
        stroke = alt.Stroke("colour:N", scale=None, legend=None)
        if dots:
            layers.append(point.encode(x=x, y=y, fill=fill, stroke=stroke))
    cut = [mark for row in rendered for mark in _cut(row, span)]
    return [*layers, text_marks(cut, x, y, align="center", fontSize=9)] if cut else layers


def _line(row: _EffectRow) -> dict[str, Any]:
    low, high = (row.share(end) for end in (min(_ends(row.change)), max(_ends(row.change))))
    return {"share": low, "to": high, "y": row.y, "colour": row.colour, "width": 3 if row.is_goal else 1.6}


def _dot(row: _EffectRow) -> dict[str, Any]:
    estimate = row.change.change.estimate if row.change.change else 0.0
    fill = row.colour if row.is_goal else "#ffffff"
    return {"share": row.share(estimate), "y": row.y, "colour": row.colour, "fill": fill}


def _cut(row: _EffectRow, span: float) -> list[dict[str, Any]]:
    """Arrows where an interval goes on beyond the plot."""
    ends = [row.share(end) for end in _ends(row.change)]
    marks = [(-span, "◂") for _ in ends[:1] if min(ends) < -span] + [(span, "▸") for _ in ends[:1] if max(ends) > span]
    return [{"share": at, "y": row.y, "text": text} for at, text in marks]


def _texts(titles: list[dict[str, Any]], rows: list[_EffectRow], y: Any, width: int, show: Formats) -> list[Layer]:
    left, right = at_x(0), at_x(width - 8)
    states = [{**title, "text": title["state"]} for title in titles]
    state = layer(states).mark_text(align="right", baseline="middle", fontSize=11, fontWeight=600)
    colour = alt.Color("colour:N", scale=None, legend=None)
    named = [(row, {"text": metric_label(row.change.metric), "y": row.y}) for row in rows]
    numbers = [{"text": _numbers(row.change, show), "y": row.y} for row in rows]
    return [
        text_marks(titles, left, y, color=INK, fontWeight=600, limit=width - 130),
        state.encode(x=right, y=y, text=alt.Text("text:N"), color=colour),
        text_marks([name for row, name in named if row.is_goal], left, y, color=INK),
        *(
            [text_marks(guardrails, left, y, dx=10)]
            if (guardrails := [name for row, name in named if not row.is_goal])
            else []
        ),
        text_marks(numbers, right, y, align="right", fontSize=10.5, color=INK, limit=_RIGHT - 8 - _ARROW),
    ]


def _numbers(change: MetricChange, show: Formats) -> str:
    return "not known" if change.change is None else f"{before_after(change, show)}, {change.judgement}"


def _legend(rows: list[_EffectRow]) -> str:
    lines = "dot and line: the change with its 95% interval"
    hollow = "; hollow: what must not get worse, by no more than the dashed mark"
    return lines + hollow if any(not row.is_goal for row in rows) else lines


def changes_text(document: OptimizationReport, show: Formats) -> str:
    """Each optimization's goal before and after."""
    effects = [
        f"{trial.number} {trial.settings(show)[0]}, {state_label(trial.state)}: "
        f"{primary_metric_text(trial.primary_metric, show) if trial.primary_metric else 'no goal is known'}"
        for trial in drawable(document)
    ]
    return f"Changes of the goals of {len(effects)} optimizations against before. {'. '.join(map(str.strip, effects))}."


CHANGES = ChartSpec(
    "What came of each change, against the old value",
    changes,
    changes_text,
    lambda document: bool(drawable(document)),
)
