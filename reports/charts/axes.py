"""The axes of what is drawn against the clock of the report's zone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import altair as alt

from models.documents import Document, PeriodPart
from reports.charts.style import number_labels
from reports.text.formatting import Formats


def time_axis(period: PeriodPart, ticks: dict[float, str], *, labels: bool = True, legend: str = "") -> alt.X:
    """The field `t` (epoch ms) over the period, with ticks as time_ticks has them; a "|" in a label begins a line."""
    values = list(ticks)
    axis = alt.Axis(values=values, labels=False, title=None, grid=True)
    if labels:
        text, title = number_labels(ticks.values()), f"time in {period.zone}{legend}"
        text = f"split({text}, '|')" if any("|" in label for label in ticks.values()) else text
        axis = alt.Axis(values=values, labelExpr=text, title=title, grid=True, labelOverlap=True, titlePadding=4)
    domain = [epoch(period.start), epoch(period.end)]
    return alt.X("t:Q", scale=alt.Scale(domain=domain, nice=False), axis=axis)


def value_axis(field: str, ticks: list[float], text: Callable[[float], str]) -> alt.Y:
    """A field from 0 to the last tick."""
    axis = alt.Axis(values=ticks, labelExpr=number_labels(map(text, ticks)), grid=True)
    return alt.Y(field, scale=alt.Scale(domain=[0, ticks[-1]], nice=False), title=None, axis=axis)


def time_ticks_for(document: Document, show: Formats, width: int) -> dict[float, str]:
    """As many ticks as a chart of this width has room for."""
    return time_ticks(document.period.start, document.period.end, show, width // 76)


def time_ticks(start: datetime, end: datetime, show: Formats, most: int = 9) -> dict[float, str]:
    """At most `most` ticks on the clock of the zone: midnights for days, full hours or quarters for less."""
    local = show.local(start)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for minutes in (5, 15, 30, 60, 180, 360, 720):
        wall = _walls(midnight.replace(tzinfo=None), timedelta(minutes=minutes), start, end, show)
        if len(wall) <= most:
            return {epoch(instant): _tick_text(instant, show) for instant in wall}
    for days in (1, 2, 7, 14, 28, 91, 182, 364):
        wall = _walls(midnight.replace(tzinfo=None), timedelta(days=days), start, end, show)
        if len(wall) <= most:
            break
    return {epoch(instant): show.short_day(instant) for instant in wall}


def epoch(instant: datetime) -> int:
    """Milliseconds since 1970, as the renderer has times."""
    return round(instant.timestamp() * 1000)


# ----------------------------------------------------------------------------------------------------------------------


def _walls(first: datetime, step: timedelta, start: datetime, end: datetime, show: Formats) -> list[datetime]:
    """Instants at even steps of the wall clock within [start, end)."""
    zone = show.local(start).tzinfo
    count = int((end - start) / step) + int(timedelta(days=2) / step) + 1
    if count > 2_000:  # noqa: PLR2004 - far too fine a step, which need not be counted out
        return [start] * count
    walls: Iterable[datetime] = ((first + step * index).replace(tzinfo=zone).astimezone(UTC) for index in range(count))
    return sorted({wall for wall in walls if start <= wall < end})


def _tick_text(instant: datetime, show: Formats) -> str:
    local = show.local(instant)
    return show.short_day(instant) if (local.hour, local.minute) == (0, 0) else show.clock(instant)
