"""The week as a grid of hours, each with its number written in."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from babel.dates import format_date

from models.documents import (
    Document,
    HeatmapCell,
)
from reports.assets.fonts import FAMILY, text_em
from reports.charts.spec import ChartSpec
from reports.charts.style import INK, MUTED, NARROW, NOTHING, WIDE
from reports.text.formatting import Formats

_SCALE = ["#eef5fa", "#c3dcec", "#8fbfdd", "#4f98c6", "#1f70a8", "#0b4a7a"]
_LIGHT_TEXT_FROM = 0.55
"""From this height on the scale, white is easier to read than ink."""

_THOUSANDS = ("", "k", "M", "G", "T", "P", "E")
"""What stands for each three digits that are left out."""

_LONG_SHADES = 36
"""Letters beyond which the shades' words leave no room for the zone, which the report names elsewhere."""

_LEAST_LEFT, _RIGHT, _APART = 28, 16, 5
"""Px beside the grid, and between it and the names of the days."""

_ROW, _LOW_ROW, _GAP, _FONT_PX = 22, 17, 0.05, 11
"""Px of a day with numbers and without; the part of an hour that is free before the next; px of the letters around."""

_A_MONDAY = date(2024, 1, 1)


def response_heatmap(document: Document, show: Formats, width: int = WIDE) -> str:
    """p95 response time in seconds per hour of the week."""
    times = {(cell.weekday, cell.hour): cell.p95_response_time for cell in document.charts.heatmap}
    return heatmap(Grid(times, lambda ms: short_number(ms / 1000, show), show.milliseconds), show, width)


def heatmap(grid: Grid, show: Formats, width: int = WIDE) -> str:
    """A grid of weekdays and hours in the zone of `show`; hours without data are grey and have a dash.

    An SVG as it stands: a grid needs no scales, and its two hundred texts take the chart renderer longer than the rest.
    """
    wide = width > NARROW
    names = [weekday_name(day, show) for day in range(7)]
    left = max(_LEAST_LEFT, round(max(map(text_em, names)) * _FONT_PX) + _APART + 2)
    across, down = (width - left - _RIGHT) / 24, float(_ROW if wide else _LOW_ROW)
    cells = [_cell(grid, day, hour, across, down, numbers=wide) for day in range(7) for hour in range(24)]
    days = [
        _text(name, -_APART, (day + 0.5) * down + 3, _FONT_PX, MUTED, anchor="end") for day, name in enumerate(names)
    ]
    hours = [
        _text(f"{hour:02d}", (hour + 0.5) * across, 7 * down + 14.5, _FONT_PX, MUTED)
        for hour in range(0, 24, 1 if wide else 3)
    ]
    shades = "" if wide else f" · light {grid.words(grid.least)}, dark {grid.words(grid.largest)}"
    where = f" in {show.zone}" if len(shades) <= _LONG_SHADES else ""
    title = _text(f"hour{where}{shades}", 12 * across, 7 * down + 29.5, _FONT_PX, MUTED)
    full, high = width - 10, round(7 * down + 37)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" class="marks" width="{full}" height="{high}" '
        f'viewBox="0 0 {full} {high}"><rect width="{full}" height="{high}" fill="#ffffff"/>'
        f'<g fill="none" transform="translate({left},4)"><g class="mark-rect">{"".join(cells)}</g>'
        f'<g class="role-axis-label">{"".join((*days, *hours, title))}</g></g></svg>'
    )


def weekday_name(weekday: int, show: Formats, width: str = "EEE") -> str:
    """A weekday in the report's locale; 0 is Monday."""
    return str(format_date(_A_MONDAY.replace(day=1 + weekday), width, locale=show.locale))


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
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


def _cell(grid: Grid, day: int, hour: int, across: float, down: float, *, numbers: bool) -> str:
    """One hour: its ground, and its number where there is room for `numbers`."""
    value = grid.values.get((day, hour))
    left, top = (hour + _GAP / 2) * across, (day + _GAP / 2) * down
    ground = NOTHING if value is None else _colour(_place(value, grid.least, grid.largest))
    drawn = (
        f'<rect x="{left:.2f}" y="{top:.2f}" width="{across * (1 - _GAP):.2f}" height="{down * (1 - _GAP):.2f}" '
        f'fill="{ground}"/>'
    )
    if not numbers:
        return drawn
    text, ink = "–" if value is None else grid.short(value), _ink(value, grid.least, grid.largest)
    return drawn + _text(text, (hour + 0.5) * across, (day + 0.5) * down + 3, 10, ink)


def _text(text: str, x: float, y: float, size: float, ink: str, *, anchor: str = "middle") -> str:
    return (
        f'<text text-anchor="{anchor}" transform="translate({x:.2f},{y:.2f})" font-family="{FAMILY}" '
        f'font-size="{size}px" fill="{ink}">{html.escape(text, quote=False)}</text>'
    )


def _place(value: float, least: float, largest: float) -> float:
    """Where on the scale, from 0 to 1."""
    return (value - least) / ((largest - least) or 1.0)


def _colour(place: float) -> str:
    """Between the two shades that are next to a place of the scale."""
    step, within = divmod(min(max(place, 0.0), 1.0) * (len(_SCALE) - 1), 1)
    low, high = (_SCALE[min(int(step) + further, len(_SCALE) - 1)] for further in (0, 1))
    parts = ((int(low[at : at + 2], 16), int(high[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(start + (end - start) * within):02x}" for start, end in parts)


def _ink(value: float | None, least: float, largest: float) -> str:
    if value is None:
        return MUTED
    return "#ffffff" if _place(value, least, largest) > _LIGHT_TEXT_FROM else INK


def short_number(number: float, show: Formats) -> str:
    """A number that fits in a cell of 25 px."""
    if number >= 10_000:  # noqa: PLR2004 - five digits do not fit
        power = min(len(_THOUSANDS) - 1, math.floor(math.log10(number * 1.0005) / 3))
        return f"{show.count(number / 1000**power)}{_THOUSANDS[power]}"
    if number >= 10:  # noqa: PLR2004
        return show.count(number)
    return show.fixed(number, 1 if number >= 0.1 else 2)  # noqa: PLR2004


def response_week_text(document: Document, show: Formats) -> str:
    """The slowest hour of the week."""
    known = [cell for cell in document.charts.heatmap if cell.p95_response_time is not None]
    worst = max(known, key=lambda cell: cell.p95_response_time or 0)
    return (
        f"Grid of p95 response time per weekday and hour. Highest: "
        f"{show.milliseconds(worst.p95_response_time)}, {hour_words(worst, show)}."
    )


def hour_words(cell: HeatmapCell, show: Formats) -> str:
    """An hour of the week in the report's zone."""
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return f"{days[cell.weekday]} {cell.hour:02d}:00 to {cell.hour + 1:02d}:00 in {show.zone}"


def _has_week(document: Document) -> bool:
    """One hour alone makes no week."""
    return sum(cell.p95_response_time is not None for cell in document.charts.heatmap) > 1


RESPONSE_WEEK = ChartSpec(
    "p95 response time by hour of the week, in seconds", response_heatmap, response_week_text, _has_week
)
