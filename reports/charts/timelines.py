"""The timelines: response time and errors, or spend, against the clock of the report's zone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import altair as alt

from models.documents import (
    Document,
    ErrorBurst,
    Kpi,
    TimelinePoint,
)
from models.kpis import KpiName
from reports.charts.axes import epoch, time_axis, time_ticks_for, value_axis
from reports.charts.change_markers import change_marks, marks_of
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    AMBER,
    BLUE,
    NARROW,
    NOTHING,
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
    ticks_to,
    words,
)
from reports.text.formatting import Formats

BUCKET_LENGTHS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_MARGINS = 118
"""Of the width, for the axis on the left and the names of the lines on the right."""
_HEIGHT, _LOW_HEIGHT = 150, 110
_LABEL_SHARE = 0.1
"""Of the axis' height: limits closer than this have no room for a name each."""
_ABOVE, _LINE = 7, 13
"""Px from a limit's line up to its name, and of a line of text."""


def response_timeline(document: Document, show: Formats, width: int = WIDE) -> Layer:
    """Median and p95 over their limits, above the error rate; empty buckets are gaps, the incident is marked."""
    return stacked(_times(document, show, width), _errors(document, show, width), spacing=12)


# --- response time and errors -----------------------------------------------------------------------------------------


def _times(document: Document, show: Formats, width: int) -> Layer:
    points = document.charts.timeline
    limits = next((kpi for kpi in document.kpis if kpi.name is KpiName.RESPONSE_TIME), None)
    values = [value for point in points for value in (point.p50_response_time, point.p95_response_time) if value]
    ticks = ticks_to(max([*values, limits.target * 1.05 if limits else 0.0]))
    x, y, top = (
        time_axis(document.period, time_ticks_for(document, show, width), labels=False),
        value_axis("ms:Q", ticks, show.short_duration),
        ticks[-1],
    )
    height = _HEIGHT if width > NARROW else _LOW_HEIGHT
    named = _limits(limits, top, show) if limits else []
    layers = [*_bands(document, show, x), *([_limit_lines(limits, top, y)] if limits else [])]
    for field, colour in (("p50_response_time", SKY), ("p95_response_time", BLUE)):
        layers += _line(_runs(document, field, "ms"), x, y, colour)
    free = _free_line([height * (1 - row["ms"] / top) - _ABOVE for row in named], height)
    layers += change_marks(document, x, free, width - _MARGINS)
    for rows, dy in zip(_by_room(named, top, height), (-_ABOVE, _ABOVE), strict=True):
        layers += [words(rows, at_x(0), y, dx=3, dy=dy, fontSize=10, color=AMBER)] if rows else []
    return layered(*layers, *_line_names(document, top, x, y), width=width - _MARGINS, height=height)


def _errors(document: Document, show: Formats, width: int) -> Layer:
    rows = _runs(document, "error_rate", "rate")
    top = max([row["rate"] for row in rows], default=0.0) * 1.1 or 0.01
    peak = top / 1.1
    labels = number_labels((show.round_percent(0), show.percent(peak)))
    axis = alt.Axis(values=[0, peak], labelExpr=labels, grid=True)
    y = alt.Y("rate:Q", scale=alt.Scale(domain=[0, top], nice=False), title=None, axis=axis)
    x = time_axis(document.period, time_ticks_for(document, show, width))
    area = layer(rows).mark_area(color=VERMILLION, opacity=0.3)
    name = [{"t": epoch(document.period.end), "rate": top * 0.25, "text": "errors"}]
    layers = [
        *_bands(document, show, x, named=False),
        area.encode(x=x, y=y, detail=alt.Detail("run:N")),
        *_line(rows, x, y, VERMILLION),
    ]
    return layered(
        *layers, words(name, x, y, dx=6, color=VERMILLION), width=width - _MARGINS, height=44 if width > NARROW else 28
    )


def _limit_lines(kpi: Kpi, top: float, y: alt.Y) -> Layer:
    rows = [{"ms": limit} for limit in (kpi.target, kpi.warning, kpi.critical) if limit <= top]
    return layer(rows).mark_rule(color=ORANGE, strokeDash=[4, 3], strokeWidth=1.2).encode(y=y)


def _limits(kpi: Kpi, top: float, show: Formats) -> list[dict[str, Any]]:
    """The limits' names with the height of their lines; which stand behind the data, and the names before it."""
    rows = [
        {"ms": limit, "text": f"{name} {show.short_duration(limit)}"}
        for name, limit in (("target", kpi.target), ("warning", kpi.warning), ("critical", kpi.critical))
        if limit <= top
    ]
    return _joined(rows, top)


def _by_room(named: list[dict[str, Any]], top: float, height: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The names that have room above their lines, and those that have not, for there is the name of an incident."""
    above = [row for row in named if height * (1 - row["ms"] / top) >= _LINE]
    return above, [row for row in named if row not in above]


def _free_line(taken_px: list[float], height: int) -> int:
    """The lowest line of text, from the top in px, in which no limit has its name."""
    lines = range(height - 7, 0, -_LINE)
    return next((line for line in lines if all(abs(line - taken) >= _LINE for taken in taken_px)), height - 7)


def _joined(rows: list[dict[str, Any]], top: float) -> list[dict[str, Any]]:
    """Names of limits that lie too close for a line each stand in one line, at the highest of them."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        is_close = bool(lines) and row["ms"] - lines[-1]["ms"] < top * _LABEL_SHARE
        lines.append({**row, "text": f"{lines.pop()['text']}, {row['text']}"} if is_close else row)
    return lines


def _bands(document: Document, show: Formats, x: Any, *, named: bool = True) -> list[Layer]:
    """Incidents and stretches without data, behind everything else."""
    first, last = epoch(document.period.start), epoch(document.period.end)
    bursts = [found for found in document.found_bottlenecks if isinstance(found, ErrorBurst)]
    rows = [
        {"t": max(first, start), "to": min(last, end), "text": f"{show.percent(burst.error_rate)} errors"}
        for burst in bursts
        if (start := epoch(burst.start)) < last and (end := epoch(burst.end)) > first
    ]
    gaps = [{"t": start, "to": end} for start, end in gaps_of(document)]
    layers: list[Layer] = []
    if gaps:
        layers.append(layer(gaps).mark_rect(color=NOTHING).encode(x=x, x2=alt.X2("to:Q")))
    if gaps and named:
        wide = [gap | {"t": (gap["t"] + gap["to"]) / 2, "text": "no data"} for gap in gaps if _is_wide(gap, document)]
        layers.append(words(wide, x, at_y(10), align="center", fontSize=10))
    if rows:
        layers.append(layer(rows).mark_rect(color=VERMILLION, opacity=0.14).encode(x=x, x2=alt.X2("to:Q")))
    if rows and named:
        layers.append(words(rows, x, at_y(-2), dx=-2, color=VERMILLION, fontWeight=600, baseline="bottom"))
    return layers


def gaps_of(document: Document) -> list[tuple[int, int]]:
    """Stretches of buckets without a selection, as epoch ms from and to."""
    length = BUCKET_LENGTHS[document.charts.bucket]
    gaps: list[tuple[int, int]] = []
    for point in document.charts.timeline:
        start, end = epoch(point.start), epoch(point.start + length)
        if point.count == 0 and gaps and gaps[-1][1] == start:
            gaps[-1] = (gaps[-1][0], end)
        elif point.count == 0:
            gaps.append((start, end))
    return gaps


def _is_wide(gap: dict[str, int], document: Document) -> bool:
    whole = epoch(document.period.end) - epoch(document.period.start)
    return (gap["to"] - gap["t"]) / whole * (WIDE - _MARGINS) > 44  # noqa: PLR2004 - the words' width in px


def _runs(document: Document, field: str, name: str) -> list[dict[str, Any]]:
    """The known values of one column at the middle of their buckets; a gap starts a new run."""
    half = BUCKET_LENGTHS[document.charts.bucket] / 2
    rows, run, was_known = [], 0, True
    for point in document.charts.timeline:
        value = getattr(point, field)
        run += int(value is not None and not was_known)
        was_known = value is not None
        if value is not None:
            rows.append({"t": epoch(point.start + half), name: value, "run": run})
    return rows


def _line(rows: list[dict[str, Any]], x: Any, y: Any, colour: str) -> list[Layer]:
    """The runs as lines, and a run of one value as a dot, which a line would not show."""
    runs = [row["run"] for row in rows]
    alone = [row for row in rows if runs.count(row["run"]) == 1]
    line = (
        layer(rows)
        .mark_line(color=colour, strokeWidth=1.7, strokeJoin="round")
        .encode(x=x, y=y, detail=alt.Detail("run:N"))
    )
    return [line, layer(alone).mark_point(color=colour, filled=True, size=22).encode(x=x, y=y)] if alone else [line]


def _line_names(document: Document, top: float, x: alt.X, y: alt.Y) -> list[Layer]:
    """The lines' names at their right ends, kept apart."""
    end = epoch(document.period.end)
    ends = [
        (name, colour, rows[-1]["ms"])
        for name, field, colour in (("median", "p50_response_time", "#2a7fb0"), ("p95", "p95_response_time", BLUE))
        if (rows := _runs(document, field, "ms"))
    ]
    if len(ends) == 2 and ends[1][2] - ends[0][2] < top * 0.1:  # noqa: PLR2004 - both lines, closer than a letter is high
        middle = (ends[0][2] + ends[1][2]) / 2
        low = max(middle - top * 0.05, 0)
        ends = [(*ends[0][:2], low), (*ends[1][:2], low + top * 0.1)]
    return [words([{"t": end, "ms": at, "text": name}], x, y, dx=6, color=colour) for name, colour, at in ends]


def response_timeline_text(document: Document, show: Formats) -> str:
    """The highest p95, and what is marked on the timeline."""
    points = document.charts.timeline
    worst = largest_point(points, "p95_response_time")
    text = f"Line chart of median and p95 response time per {document.charts.bucket}, with the error rate below."
    if worst is not None:
        text += f" The p95 was highest at {show.milliseconds(worst.p95_response_time)}, {show.instant(worst.start)}."
    for found in document.found_bottlenecks:
        if isinstance(found, ErrorBurst):
            text += f" Marked: {show.percent(found.error_rate)} errors, {show.range(found.start, found.end)}."
    for at, change in marks_of(document):
        text += f" Marked: change {change}, {show.instant(at)}."
    return text + gap_words(points, document.charts.bucket)


def gap_words(points: Iterable[TimelinePoint], bucket: str) -> str:
    """How many buckets have no requests; empty where all have some."""
    empty = sum(point.count == 0 for point in points)
    return f" {empty} {bucket}{'' if empty == 1 else 's'} without requests." if empty else ""


def largest_point(points: Iterable[TimelinePoint], field: str) -> TimelinePoint | None:
    """The point with the most of a field; None where it is known of none."""
    known = [point for point in points if getattr(point, field) is not None]
    return max(known, key=lambda point: float(getattr(point, field)), default=None)


def _has_timeline(document: Document) -> bool:
    return any(
        known is not None
        for point in document.charts.timeline
        for known in (point.p50_response_time, point.p95_response_time, point.error_rate)
    )


RESPONSE_TIMELINE = ChartSpec(
    "Response time and errors over time", response_timeline, response_timeline_text, _has_timeline
)
