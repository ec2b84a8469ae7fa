"""The week as a grid of hours, each with its number written in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import altair as alt
from babel.dates import format_date

from models.document import CostReport, Document, UsageReport
from reports.chart_style import INK, MUTED, NARROW, NOTHING, WIDE, Layer, layer, layered
from reports.formats import Formats

_SCALE = ["#eef5fa", "#c3dcec", "#8fbfdd", "#4f98c6", "#1f70a8", "#0b4a7a"]
_LIGHT_TEXT_FROM = 0.55
"""From this height on the scale, white is easier to read than ink."""

_THOUSANDS = ("", "k", "M", "G", "T", "P", "E")
"""What stands for each three digits that are left out."""

_WHOLE_FROM = 10
"""From here on a count needs no digits behind the point."""

_A_MONDAY = date(2024, 1, 1)


def heatmap(document: Document, show: Formats, width: int = WIDE) -> Layer:
    """p95 in seconds, spend in USD or requests per hour of the week; hours without data are grey with a dash."""
    grid = _grid(document, show)
    least, largest = grid.least, grid.largest
    hours = [(day, hour) for day in range(7) for hour in range(24)]
    rows = [_row(day, hour, grid, show) for day, hour in hours]
    wide = width > NARROW
    shades = f" · light {grid.words(least)}, dark {grid.words(largest)}"
    x = alt.X(
        "hour:O",
        title=f"hour in {document.period.zone}{'' if wide else shades}",
        scale=alt.Scale(paddingInner=0.04),
        axis=alt.Axis(labelAngle=0, titlePadding=4, values=[f"{hour:02d}" for hour in range(0, 24, 1 if wide else 3)]),
    )
    days = [row["day"] for row in rows[::24]]
    y = alt.Y("day:N", title=None, sort=days, scale=alt.Scale(paddingInner=0.06))
    filled = [row for row in rows if row["value"] is not None]
    colour = alt.Color("value:Q", scale=alt.Scale(domain=[least, largest], range=_SCALE), legend=None)
    base = layer([row for row in rows if row["value"] is None]).mark_rect(color=NOTHING).encode(x=x, y=y)
    cells = layer(filled).mark_rect().encode(x=x, y=y, color=colour)
    ink = alt.Color("ink:N", scale=None, legend=None)
    texts = layer(rows).mark_text(fontSize=10).encode(x=x, y=y, text=alt.Text("text:N"), color=ink)
    layers = [base, cells, texts] if wide else [base, cells]
    own_colours = {"scale": {"color": "independent"}}
    return layered(*layers, width=width - 44, height=7 * (22 if wide else 17), resolve=own_colours)


def weekday_name(weekday: int, show: Formats, width: str = "EEE") -> str:
    """A weekday in the report's locale; 0 is Monday."""
    return str(format_date(_A_MONDAY.replace(day=1 + weekday), width, locale=show.locale))


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    """What is shown of each hour of the week: `short` as a cell has room for it, `words` where there is more."""

    values: dict[tuple[int, int], float | None]
    short: Callable[[float], str]
    words: Callable[[float], str]

    @property
    def known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def least(self) -> float:
        return min(self.known, default=0.0)

    @property
    def largest(self) -> float:
        return max(self.known, default=0.0) or 1.0


def _grid(document: Document, show: Formats) -> _Grid:
    cells = document.charts.heatmap
    match document:
        case CostReport():
            spent = {(cell.weekday, cell.hour): cell.cost_usd for cell in cells}
            return _Grid(spent, lambda usd: _short(usd, show), show.rough_money)
        case UsageReport():
            asked: dict[tuple[int, int], float | None]
            asked = {(hour.weekday, hour.hour): hour.selections for hour in document.hours_of_week}
            return _Grid(
                asked, lambda count: show.number(count, 1) if count < _WHOLE_FROM else _short(count, show), show.number
            )
        case _:
            times = {(cell.weekday, cell.hour): cell.p95_response_time for cell in cells}
            return _Grid(times, lambda ms: _short(ms / 1000, show), show.milliseconds)


def _row(day: int, hour: int, grid: _Grid, show: Formats) -> dict[str, Any]:
    value = grid.values.get((day, hour))
    text = "–" if value is None else grid.short(value)
    ink = _ink(value, grid.least, grid.largest)
    return {"day": weekday_name(day, show), "hour": f"{hour:02d}", "value": value, "text": text, "ink": ink}


def _ink(value: float | None, least: float, largest: float) -> str:
    if value is None:
        return MUTED
    return "#ffffff" if (value - least) / ((largest - least) or 1.0) > _LIGHT_TEXT_FROM else INK


def _short(number: float, show: Formats) -> str:
    """A number that fits in a cell of 25 px."""
    if number >= 10_000:  # noqa: PLR2004 - five digits do not fit
        power = min(len(_THOUSANDS) - 1, math.floor(math.log10(number * 1.0005) / 3))
        return f"{show.count(number / 1000**power)}{_THOUSANDS[power]}"
    if number >= 10:  # noqa: PLR2004
        return show.count(number)
    return show.fixed(number, 1 if number >= 0.1 else 2)  # noqa: PLR2004
