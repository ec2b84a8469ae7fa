"""How much is asked against what is usual, by whom, and what changed most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import altair as alt

from models.documents import GroupUsage, Mover, UsageReport, VolumePoint
from reports.charts.axes import epoch, time_axis, time_ticks_for, value_axis
from reports.charts.bars import Bar, bars
from reports.charts.change_markers import change_marks, marks_of
from reports.charts.distributions import MOST_MODELS
from reports.charts.heatmap import Grid, heatmap, short_number, weekday_name
from reports.charts.spec import ChartSpec
from reports.charts.style import (
    BLUE,
    INK,
    NARROW,
    ORANGE,
    WIDE,
    Layer,
    at_x,
    from_zero,
    layer,
    layered,
    room_beside,
    text_marks,
    ticks_to,
)
from reports.report_templates.usage.sentences import change_text, signed_count
from reports.text.formatting import Formats

_HEIGHT, _LOW_HEIGHT = 170, 150
_MARGIN = 62
"""Of the width, for the axis on the left."""
_NUMBER_PX = 40
"""A narrower bar has no room for its number."""
_LEAST_FOR_NUMBER = 0.12
"""Of the tallest bar: on a lower one no number has room."""
_GAP = 0.08
"""Between days, as a part of each."""

_MOVER_ROW, _MOVER_FOOT = 32, 18

_WHOLE_FROM = 10
"""From here on a count needs no digits behind the point."""


def is_unusual(point: VolumePoint) -> bool:
    """Return whether a count deviates significantly from the baseline."""
    expected = point.usual
    if expected is None or expected.low is None or expected.high is None:
        return False
    return not expected.low <= point.count <= expected.high


# --- volume -----------------------------------------------------------------------------------------------------------


def volume_timeline(document: UsageReport, show: Formats, width: int = WIDE) -> Layer:
    """Requests per hour or day as bars; over them what is usual, and in another colour what is outside of that."""
    rows = [_volume(point, end, document, show) for point, end in _spans(document)]
    expected = [row for row in rows if row["high"] is not None]
    top = max([row["n"] for row in rows] + [row["high"] for row in expected])
    height = _HEIGHT if width > NARROW else _LOW_HEIGHT
    legend = " · line and band: what is usual" if expected else ""
    x = time_axis(document.period, _ticks(rows, document, show, width), legend=legend)
    y = value_axis("n:Q", ticks_to(top * 1.08), show.count)
    to, colour = alt.X2("to:Q"), alt.Color("colour:N", scale=None, legend=None)
    layers = [layer(rows).mark_rect().encode(x=x, x2=to, y=y, y2=from_zero("y"), color=colour)]
    if expected:
        low, middle = alt.Y("low:Q", title=None), alt.Y("usual:Q", title=None)
        band = layer(expected).mark_rect(color=INK, opacity=0.16)
        layers.append(band.encode(x=x, x2=to, y=low, y2=alt.Y2("high:Q")))
        layers.append(layer(expected).mark_rule(color=INK, strokeWidth=1.6).encode(x=x, x2=to, y=middle))
    if len(rows) * _NUMBER_PX <= width - _MARGIN:
        layers.append(_numbers(rows, top, x))
    layers += change_marks(document, x, 7, width - _MARGIN)
    return layered(*layers, width=width - _MARGIN, height=height)


def _numbers(rows: list[dict[str, Any]], top: float, x: alt.X) -> Layer:
    """Each bar's number at its foot, where neither its end nor what is usual stands."""
    inks = [INK if row["colour"] == ORANGE or row["n"] < top * _LEAST_FOR_NUMBER else "#ffffff" for row in rows]
    feet = [{**row, "t": row["mid"], "ink": ink} for row, ink in zip(rows, inks, strict=True)]
    text, colour = alt.Text("text:N"), alt.Color("ink:N", scale=None, legend=None)
    return layer(feet).mark_text(fontSize=10.5, dy=-8).encode(x=x, y=alt.YDatum(0), text=text, color=colour)


def _spans(document: UsageReport) -> list[tuple[VolumePoint, datetime]]:
    """Each point with its end."""
    points = document.volume
    return list(zip(points, [*(point.start for point in points[1:]), document.period.end], strict=True))


def _volume(point: VolumePoint, until: datetime, document: UsageReport, show: Formats) -> dict[str, Any]:
    start, end = epoch(max(point.start, document.period.start)), epoch(until)
    gap = (end - start) * (_GAP if document.volume_bucket == "day" else 0)
    expected = point.usual
    mark = "" if expected is None or not is_unusual(point) else " ▲" if point.count > expected.estimate else " ▼"
    return {
        "t": start + gap, "to": end - gap, "mid": (start + end) / 2, "n": point.count,
        "text": f"{show.count(point.count)}{mark}", "colour": ORANGE if mark else BLUE,
        "usual": expected.estimate if expected else None, "low": expected.low if expected else None,
        "high": expected.high if expected else None,
    }  # fmt: skip


def _ticks(rows: list[dict[str, Any]], document: UsageReport, show: Formats, width: int) -> dict[float, str]:
    """Days under the middles of their bars, with the weekday where there is room for it."""
    if document.volume_bucket == "hour":
        return time_ticks_for(document, show, width)
    every = math.ceil(len(rows) / (width // 48))
    return {row["mid"]: _day(row["mid"], show, with_weekday=every == 1) for row in rows[::every]}


def _day(middle_ms: float, show: Formats, *, with_weekday: bool) -> str:
    instant = datetime.fromtimestamp(middle_ms / 1000, UTC)
    day = show.short_day(instant)
    return f"{weekday_name(show.local(instant).weekday(), show)}|{day}" if with_weekday else day


# --- groups -----------------------------------------------------------------------------------------------------------


def usage_by_group(document: UsageReport, show: Formats, width: int = NARROW) -> Layer:
    """Requests per complexity class and team; per model where teams are not known."""
    second = ("by team", document.team_usage[:6]) if document.team_usage else ("by model", document.model_usage[:6])
    groups = [("by complexity", document.complexity_usage[:4]), second]
    return bars([(title, [_bar(group, show) for group in found]) for title, found in groups if found], width)


def _bar(group: GroupUsage, show: Formats) -> Bar:
    return Bar(group.name, group.count, f"{show.count(group.count)} · {show.percent(group.share)}")


# --- movers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MoverRow:
    mover: Mover
    y: int

    @property
    def change(self) -> int:
        return self.mover.count - self.mover.before


def movers(document: UsageReport, show: Formats, width: int = NARROW) -> Layer:
    """The largest changes to the left and right of none, each with its interval."""
    rows = [_MoverRow(mover, index * _MOVER_ROW) for index, mover in enumerate(document.top_movers[:MOST_MODELS])]
    height, full = len(rows) * _MOVER_ROW + _MOVER_FOOT, width - 8
    reach = max(abs(end) for row in rows for end in _ends(row.mover))
    x = alt.X("change:Q", scale=alt.Scale(domain=[-reach, reach], range=[4, full - 4], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height], nice=False), axis=None)
    low, high, to = alt.Y("low:Q", axis=None), alt.Y2("high:Q"), alt.X2("to:Q")
    rendered = [_row_marks(row) for row in rows]
    colour = alt.Color("colour:N", scale=None, legend=None)
    zero = layer([{"change": 0, "low": 0, "high": height - _MOVER_FOOT}]).mark_rule(color=INK)
    spans = [{**row, "change": row["from"], "to": row["upto"], "y": row["mid"]} for row in rendered]
    sizes: list[dict[str, Any]] = [{"text": _size(row, show), "y": row.y + 10} for row in rows]
    room = room_beside((size["text"] for size in sizes), full, 10.5)
    legend = [{"text": "thin line: 95% interval, of all groups at once", "y": height - 6}]
    return layered(
        layer(rendered).mark_rect().encode(x=x, x2=from_zero("x"), y=low, y2=high, color=colour),
        layer(spans).mark_rule(color=INK, strokeWidth=1).encode(x=x, x2=to, y=y),
        zero.encode(x=x, y=low, y2=high),
        text_marks([{"text": _name(row.mover), "y": row.y + 10} for row in rows], at_x(0), y, color=INK, limit=room),
        text_marks(sizes, at_x(full), y, align="right", fontSize=10.5),
        text_marks(legend, at_x(0), y, fontSize=10),
        width=full,
        height=height,
    )


def _row_marks(row: _MoverRow) -> dict[str, Any]:
    low, high = (end for end in (min(_ends(row.mover)), max(_ends(row.mover))))
    return {
        "change": row.change, "low": row.y + 18, "high": row.y + 27, "mid": row.y + 22.5, "from": low, "upto": high,
        "colour": BLUE if row.change > 0 else ORANGE,
    }  # fmt: skip


def _ends(mover: Mover) -> Sequence[float]:
    found = mover.change
    ends = (found.low, found.high) if found else ()
    return [end for end in ends if end is not None] or [mover.count - mover.before]


def _name(mover: Mover) -> str:
    return f"{mover.dimension} {mover.name}"


def _size(row: _MoverRow, show: Formats) -> str:
    return f"{signed_count(row.change, show)} · {change_text(row.mover, show)}"


# --- the week ---------------------------------------------------------------------------------------------------------


def request_heatmap(document: UsageReport, show: Formats, width: int = WIDE) -> str:
    """Requests per hour of the week, on average."""

    def short(count: float) -> str:
        return show.number(count, 1) if count < _WHOLE_FROM else short_number(count, show)

    values: dict[tuple[int, int], float | None]
    values = {(hour.weekday, hour.hour): hour.selections for hour in document.hours_of_week}
    return heatmap(Grid(values, short, show.number), show, width)


def timeline_text(document: UsageReport, show: Formats) -> str:
    """The busiest bucket, and what lies outside of what is usual."""
    most = max(document.volume, key=lambda point: point.count)
    text = (
        f"Bar chart of requests per {document.volume_bucket}, most at {show.count(most.count)}, {show.day(most.start)}."
    )
    unusual = [point for point in document.volume if is_unusual(point)]
    if unusual:
        found = "; ".join(f"{show.count(point.count)} on {show.instant(point.start)}" for point in unusual[:5])
        text += f" Outside of what is usual: {found}."
    elif any(point.usual for point in document.volume):
        text += " All are within what is usual."
    for at, change in marks_of(document):
        text += f" Marked: change {change}, {show.instant(at)}."
    return text


def groups_text(document: UsageReport, show: Formats) -> str:
    """How much each class and team asked."""
    named = [*document.complexity_usage[:4], *(document.team_usage or document.model_usage)[:6]]
    return "Bars of requests: " + ", ".join(f"{group.name} {show.count(group.count)}" for group in named) + "."


def movers_text(document: UsageReport, show: Formats) -> str:
    """The largest changes."""
    changes = [(mover, mover.count - mover.before) for mover in document.top_movers]
    found = (f"{it.dimension} {it.name} {signed_count(change, show)}" for it, change in changes)
    return f"Bars of the largest changes in requests: {', '.join(found)}."


def week_text(document: UsageReport, show: Formats) -> str:
    """The busiest hour of the week."""
    most = max(document.hours_of_week, key=lambda hour: hour.selections)
    hour = f"{weekday_name(most.weekday, show, 'EEEE')} {most.hour:02d}:00 to {most.hour + 1:02d}:00 in {show.zone}"
    return f"Grid of requests per weekday and hour. Most on average: {show.number(most.selections, 1)}, {hour}."


def _has_volume(document: UsageReport) -> bool:
    return any(point.count for point in document.volume)


def _has_groups(document: UsageReport) -> bool:
    return bool(document.complexity_usage or document.team_usage)


def _has_movers(document: UsageReport) -> bool:
    return bool(document.top_movers)


def _has_week(document: UsageReport) -> bool:
    """Return whether the hours span several days; the timeline shows a single day."""
    return len({hour.weekday for hour in document.hours_of_week}) > 1


TIMELINE = ChartSpec("Requests over time", volume_timeline, timeline_text, _has_volume)
GROUPS = ChartSpec("Who asked", usage_by_group, groups_text, _has_groups)
MOVERS = ChartSpec("What changed most", movers, movers_text, _has_movers)
WEEK = ChartSpec("Requests per hour, by hour of the week", request_heatmap, week_text, _has_week)
