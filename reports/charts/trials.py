"""How changes were tried: effects over time with their confidence sequences, and the trial's steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import altair as alt

from models.documents import Document, Interval, MetricChange, TrialPoint, TrialSummary, Verdict
from models.metrics import METRICS, Better
from reports.charts.axes import epoch, time_ticks
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    SKY,
    VERMILLION,
    WIDE,
    Layer,
    at_x,
    at_y,
    layer,
    layered,
    number_labels,
    stacked,
    text_marks,
)
from reports.text.formatting import Formats
from reports.text.labels import bounds_text, metric_change, metric_label
from reports.text.verdicts import Trial, drawable_trials, method_label, series_of, state_label, step_text

MOST_TRIALS = 2
"""The newest of them."""

_LEFT, _RIGHT = 92, 150
_GOAL_HEIGHT, _GUARD_HEIGHT, _TITLE_HEIGHT = 104, 46, 30
_LEGEND = "line and band: new less old, with bounds that hold at every look; dashed: how much worse it may get"
_COLOURS = {"better": BLUE, "worse": VERMILLION}

_SCALED_FROM = 0.25
"""The first part of a trial, whose bounds are so wide that they would hide the rest, does not set the scale."""


def trials(document: Document, show: Formats, width: int = WIDE) -> Layer:
    """For each trial the goal's effect over time above those of its guards: estimate, bounds, margin and steps."""
    parts: list[Layer] = []
    for trial in shown_trials(document):
        verdict, summary = _tried(trial)
        parts.append(_title(trial, verdict, width, show))
        # Two pages are no room for the guardrail metrics' pictures; the table has them.
        guardrails = trial.guardrails if document.depth == "detailed" else ()
        metrics = (change for change in (trial.primary_metric, *guardrails) if change is not None)
        known = [(change, points) for change in metrics if (points := series_of(summary, change))]
        for index, (change, points) in enumerate(known):
            first, last = index == 0, index == len(known) - 1
            parts.append(_panel(change, points, summary, width, show, first=first, last=last))
    legend = [{"text": _LEGEND}]
    foot = text_marks(legend, at_x(-_LEFT + 2), at_y(8), fontSize=10, limit=width - 10)
    return stacked(*parts, layered(foot, width=width - _LEFT - _RIGHT, height=14), spacing=6)


# ----------------------------------------------------------------------------------------------------------------------


def shown_trials(document: Document) -> tuple[Trial, ...]:
    """The newest trials: a summary has room for one."""
    return drawable_trials(document)[-MOST_TRIALS if document.depth == "detailed" else -1 :]


def _tried(trial: Trial) -> tuple[Verdict, TrialSummary]:
    assert trial.verdict is not None  # noqa: S101 - as drawable_trials selects them
    assert trial.verdict.trial is not None  # noqa: S101
    return trial.verdict, trial.verdict.trial


def _title(trial: Trial, verdict: Verdict, width: int, show: Formats) -> Layer:
    """The change, and how it was tried, with room above for what stands before."""
    settings = trial.settings(show)
    named = f"{trial.number} {settings[0] if settings else ''}".strip()
    how = f"{method_label(verdict.method)}, {state_label(trial.state)}"
    rows = [{"text": named}], [{"text": how}]
    return layered(
        text_marks(rows[0], at_x(-_LEFT + 2), at_y(18), color=INK, fontWeight=600, limit=width - 250),
        text_marks(rows[1], at_x(width - _LEFT - 10), at_y(18), align="right", color=MUTED),
        width=width - _LEFT - _RIGHT,
        height=_TITLE_HEIGHT,
    )


def _panel(
    change: MetricChange,
    points: list[TrialPoint],
    summary: TrialSummary,
    width: int,
    show: Formats,
    *,
    first: bool,
    last: bool,
) -> Layer:
    """One metric: no change as a line, the margin dashed on the worse side, the bounds as a band."""
    reach = _reach(change, points)
    height = _GOAL_HEIGHT if first else _GUARD_HEIGHT
    ends = max(summary.started_at, points[0].at), max(points[-1].at, summary.started_at)
    x, y = _time(summary.started_at, ends[1], show, width, labels=last), _difference("d", change, reach, show)
    colour = _COLOURS.get(change.judgement, SKY)
    rows = [
        {
            "t": epoch(point.at),
            "estimate": _clamped(point.estimate, reach),
            "low": _clamped(-reach if point.low is None else point.low, reach),
            "high": _clamped(reach if point.high is None else point.high, reach),
        }
        for point in points
    ]
    band = layer(rows).mark_area(color=colour, opacity=0.22, interpolate="step-after")
    line = layer(rows).mark_line(color=colour, strokeWidth=1.7, interpolate="step-after")
    worse = -1 if METRICS[change.metric].better is Better.HIGHER else 1
    names = [{"text": metric_label(change.metric), "d": reach}]
    now = [{"text": f"{metric_change(change.metric, points[-1].estimate, show)}, {change.judgement}", "d": reach}]
    right = width - _LEFT - _RIGHT
    return layered(
        band.encode(x=x, y=_difference("low", change, reach, show), y2=alt.Y2("high:Q")),
        layer([{"d": 0.0}]).mark_rule(color=INK, strokeWidth=1).encode(y=y),
        layer([{"d": worse * change.margin}]).mark_rule(color=ORANGE, strokeDash=[3, 2], strokeWidth=1.4).encode(y=y),
        line.encode(x=x, y=_difference("estimate", change, reach, show)),
        *_steps(summary, x, show, named=first),
        text_marks(names, at_x(right + 8), at_y(10), color=INK, fontWeight=600 if first else 400, limit=_RIGHT - 14),
        text_marks(now, at_x(right + 8), at_y(25), fontSize=10, limit=_RIGHT - 14),
        width=right,
        height=height,
    )


def _steps(summary: TrialSummary, x: Any, show: Formats, *, named: bool) -> list[Layer]:
    """A dashed line at each step, with the share from then on."""
    rows = [{"t": epoch(step.at), "text": step_text(step, show)} for step in summary.steps]
    if not rows:
        return []
    rule = layer(rows).mark_rule(color=MUTED, strokeDash=[2, 2], strokeWidth=1).encode(x=x)
    if not named:
        return [rule]
    return [rule, text_marks(_apart(rows), x, at_y(-6), fontSize=10, align="center")]


def _apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The names that do not run into the one before: what ends a trial may follow a step at once."""
    if not rows:
        return []
    span = max(row["t"] for row in rows) - min(row["t"] for row in rows) or 1
    kept: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: row["t"], reverse=True):
        if not kept or kept[-1]["t"] - row["t"] > span * 0.09:
            kept.append(row)
    return kept[::-1]


def _reach(change: MetricChange, points: list[TrialPoint]) -> float:
    """How far the plot reaches to either side of no change, in the metric's unit."""
    later = points[int(len(points) * _SCALED_FROM) :]
    ends = [abs(end) for point in later for end in (point.estimate, point.low, point.high) if end is not None]
    ends.sort()
    typical = ends[int(len(ends) * 0.8)] if ends else 0.0
    return max(typical, abs(points[-1].estimate) * 1.2, change.margin * 1.5) or 1e-9


def _clamped(value: float, reach: float) -> float:
    return min(reach, max(-reach, value))


def _difference(field: str, change: MetricChange, reach: float, show: Formats) -> alt.Y:
    ticks = [-reach * 0.8, 0.0, reach * 0.8]
    labels = [metric_change(change.metric, tick, show) if tick else "no change" for tick in ticks]
    axis = alt.Axis(values=ticks, labelExpr=number_labels(labels), grid=False, minExtent=_LEFT - 8, maxExtent=_LEFT - 8)
    return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[-reach, reach], nice=False), title=None, axis=axis)


def _time(start: datetime, end: datetime, show: Formats, width: int, *, labels: bool) -> alt.X:
    ticks = time_ticks(start, end, show, (width - _LEFT - _RIGHT) // 70)
    axis = alt.Axis(values=list(ticks), labels=False, title=None, grid=True)
    if labels:
        text = number_labels(ticks.values())
        text = f"split({text}, '|')" if any("|" in label for label in ticks.values()) else text
        axis = alt.Axis(values=list(ticks), labelExpr=text, title=None, grid=True, labelOverlap=True)
    return alt.X("t:Q", scale=alt.Scale(domain=[epoch(start), epoch(end)], nice=False), axis=axis)


def trials_text(document: Document, show: Formats) -> str:
    """Each trial's last effect on its goal with its bounds, and its steps."""
    parts: list[str] = []
    for trial in shown_trials(document):
        verdict, summary = _tried(trial)
        goal = trial.primary_metric
        points = series_of(summary, goal) if goal else []
        effect = ""
        if goal and points:
            point = points[-1]
            found = Interval(estimate=point.estimate, low=point.low, high=point.high)
            bounds = bounds_text(goal.metric, found, show)
            effect = f": {metric_label(goal.metric).lower()} {metric_change(goal.metric, point.estimate, show)}"
            effect += f" ({bounds})" if bounds else ""
        steps = ", ".join(step_text(step, show) for step in summary.steps)
        parts.append(f"{trial.number}, {method_label(verdict.method)}{effect}{f'; steps: {steps}' if steps else ''}.")
    return "Effects of the tried changes over time, with bounds that hold at all times at once. " + " ".join(parts)


TRIALS = ChartSpec(
    "How changes were tried: the new against the old over time",
    trials,
    trials_text,
    lambda document: bool(drawable_trials(document)),
)
