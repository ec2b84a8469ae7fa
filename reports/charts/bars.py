"""Horizontal bars with a name and a text each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from reports.charts.style import (
    BLUE,
    GRID,
    INK,
    Layer,
    at_x,
    from_zero,
    layer,
    layered,
    room_beside,
    text_marks,
    to_x,
)


class Bar(NamedTuple):
    """A horizontal bar; an unknown value has no bar, and the text says so."""

    name: str
    value: float | None
    text: str


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], width: int) -> Layer:
    """Horizontal bars in groups under titles, with the name and the text above each."""
    rows, titles, height = _stacked(groups)
    largest = max((row["value"] for row in rows), default=0) or 1.0
    full = width - 8
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, largest], range=[0, full], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], range=[0, height], nice=False), axis=None)
    low = alt.Y("low:Q", axis=None)
    track = layer(rows).mark_rect(color=GRID).encode(x=at_x(0), x2=to_x(full), y=low, y2=alt.Y2("high:Q"))
    rendered = layer(rows).mark_rect(color=BLUE).encode(x=x, x2=from_zero("x"), y=low, y2=alt.Y2("high:Q"))
    room = room_beside((row["text"] for row in rows), full, 10.5)
    names = text_marks([{**row, "text": row["name"]} for row in rows], at_x(0), y, color=INK, limit=room)
    numbers = text_marks(rows, at_x(full), y, align="right", fontSize=10.5)
    heads = [text_marks(titles, at_x(0), y, fontSize=10.5)] if titles else []
    return layered(track, rendered, names, numbers, *heads, width=full, height=height)


def _stacked(
    groups: Sequence[tuple[str, Sequence[Bar]]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Bars and headings with their place from the top, and the height of it all, in px."""
    rows: list[dict[str, Any]] = []
    titles: list[dict[str, Any]] = []
    at = 0
    for title, group in groups:
        if title:
            titles.append({"text": title, "y": at + 8})
            at += 20
        for name, value, text in group:
            position = {"y": at + 9, "low": at + 17, "high": at + 24}
            rows.append({"name": name, "value": value or 0.0, "text": text, **position})
            at += 30
        at += 8
    return rows, titles, at
