"""The week as a grid of hours, each with its number written in."""

from __future__ import annotations

from datetime import date
from typing import Any

import altair as alt
from babel.dates import format_date

from models.document import CostReport, Document, HeatmapCell
from reports.chart_style import INK, MUTED, NARROW, NOTHING, WIDE, Layer, layer, layered
from reports.formats import Formats

_SCALE = ["#eef5fa", "#c3dcec", "#8fbfdd", "#4f98c6", "#1f70a8", "#0b4a7a"]
_LIGHT_TEXT_FROM = 0.55
"""From this height on the scale, white is easier to read than ink."""

_A_MONDAY = date(2024, 1, 1)


def heatmap(document: Document, show: Formats, width: int = WIDE) -> Layer:
    """p95 in seconds, or spend in USD, per hour of the week; hours without data are grey and say so with a dash."""
    known = {(cell.weekday, cell.hour): value_of(document, cell) for cell in document.charts.heatmap}
    largest = max((value for value in known.values() if value is not None), default=0.0) or 1.0
    least = min((value for value in known.values() if value is not None), default=0.0)
    money = isinstance(document, CostReport)
    hours = [(day, hour) for day in range(7) for hour in range(24)]
    rows = [_row(day, hour, known.get((day, hour)), show, money=money) for day, hour in hours]
    for row in rows:
        row["ink"] = _ink(row["value"], least, largest)
    wide = width > NARROW
    x = alt.X(
        "hour:O",
        title=f"hour in {document.period.zone}" + ("" if wide else f" · {_shades(least, largest, show, money=money)}"),
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


def _shades(least: float, largest: float, show: Formats, *, money: bool) -> str:
    """What the lightest and the darkest cell stand for, where there is no room for numbers."""
    low, high = (show.rough_money(end) if money else show.milliseconds(end) for end in (least, largest))
    return f"light {low}, dark {high}"


def value_of(document: Document, cell: HeatmapCell) -> float | None:
    """What the week's chart shows of an hour."""
    return cell.cost_usd if isinstance(document, CostReport) else cell.p95_response_time


def weekday_name(weekday: int, show: Formats, width: str = "EEE") -> str:
    """A weekday in the report's locale; 0 is Monday."""
    return str(format_date(_A_MONDAY.replace(day=1 + weekday), width, locale=show.locale))


def _row(day: int, hour: int, value: float | None, show: Formats, *, money: bool) -> dict[str, Any]:
    text = "–" if value is None else _short(value if money else value / 1000, show)
    return {"day": weekday_name(day, show), "hour": f"{hour:02d}", "value": value, "text": text}


def _ink(value: float | None, least: float, largest: float) -> str:
    if value is None:
        return MUTED
    return "#ffffff" if (value - least) / ((largest - least) or 1.0) > _LIGHT_TEXT_FROM else INK


def _short(number: float, show: Formats) -> str:
    """A number that fits in a cell of 25 px."""
    if number >= 10_000:  # noqa: PLR2004 - five digits do not fit
        return f"{show.count(number / 1000)}k"
    if number >= 10:  # noqa: PLR2004
        return show.count(number)
    return show.fixed(number, 1 if number >= 0.1 else 2)  # noqa: PLR2004
