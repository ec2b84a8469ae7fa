"""Draw false verdicts by method for docs/verdicts.md.

`python -m benchmarks.verdict_picture docs/verdicts.svg TABLE …`: tables are files of
`python -m benchmarks --only verdicts --table TABLE`; where two have the same line, the first is taken.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

ROWS = {
    "Routewatch: split": "split, nothing changed, real",
    "sequential t-test as GrowthBook's": "at 20 %, real: sequential t-test as GrowthBook's",
    "ville's test of arms": "at 20 %, real: ville.AsymptoticABTest",
    "95 % interval, daily": "at 20 %, real: 95 % interval, looked at daily",
    "95 % interval, hourly": "at 20 %, real: 95 % interval, looked at hourly",
    "20 requests beyond the margin": "at 20 %, real: point estimate over 20 requests beyond its margin, hourly",
    "Routewatch: switchback": "switchback, slow share, nothing changed, real",
    "paired t-test, every look": "paired t-test, every look, slow share, nothing changed, real",
    "requests as independent draws": "requests as draws, slow share, nothing changed, real",
    "Routewatch: before and after": "before and after, its days drawn in blocks, 26 weeks",
    "95 % interval, daily, before and after": "fixed 95 % daily, its days drawn in blocks, 26 weeks",
}
"""By label: how the lines of the table begin. The first of each method is Routewatch's."""

ENDINGS = {"false better": "called better", "false worse": "called worse", "anything firm": "either"}
COLOURS = {"called better": "#175cd3", "called worse": "#b42318", "either": "#667085"}
BUDGET = 5.0
_NOTE = re.compile(r"(\d+) of (\d+) lives: ([\d.]+) \(([\d.]+)–([\d.]+)\)")


def measured(tables: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """Return by name of a line how many of 100, and the binomial interval."""
    found: dict[str, tuple[float, float, float]] = {}
    for table in tables:
        for row in table.splitlines():
            note = _NOTE.search(row)
            if note is not None:
                name = row.split("|")[1].strip()
                found.setdefault(name, (float(note[3]), float(note[4]), float(note[5])))
    return found


def points(lines: Mapping[str, tuple[float, float, float]]) -> Iterator[dict[str, Any]]:
    """Yield a dot for each row and kind of false verdict that was measured."""
    for label, name in ROWS.items():
        for ending, told in ENDINGS.items():
            if (line := lines.get(f"{name}: {ending}")) is not None:
                yield {"rule": label, "kind": told, "of_100": line[0], "low": line[1], "high": line[2]}


def drawn(dots: list[dict[str, Any]]) -> str:
    """Return the picture as SVG."""
    ink, grey = "#1f2933", "#eaecf0"
    data = alt.Data(values=dots)  # type: ignore[no-untyped-call]
    shown = [label for label in ROWS if any(dot["rule"] == label for dot in dots)]
    row = alt.Y(
        "rule:N",
        title=None,
        sort=shown,
        axis=alt.Axis(labelLimit=260, labelFontSize=12, labelColor=ink, ticks=False, domain=False, labelPadding=12),
    )
    side = alt.YOffset("kind:N", sort=list(COLOURS))
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
        legend=alt.Legend(orient="top", labelFontSize=12),
    )
    across = alt.X(
        "of_100:Q",
        title="of 100 changes that do nothing, with the 95 % interval",
        scale=alt.Scale(domain=[0, 100]),
        axis=alt.Axis(gridColor=grey, domain=False, tickCount=10),
    )
    lines = alt.Chart(data).mark_rule(strokeWidth=2).encode(row, alt.X("low:Q"), alt.X2("high:Q"), colour, side)
    marks = alt.Chart(data).mark_circle(size=64, opacity=1).encode(row, across, colour, side)
    budget = alt.Data(values=[{"at": BUDGET}])  # type: ignore[no-untyped-call]
    limit = alt.Chart(budget).mark_rule(color=ink, strokeDash=[5, 4]).encode(x="at:Q")
    chart = alt.layer(limit, lines, marks).properties(width=520, height=34 * len(shown), background="white")
    return str(vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_json()))


def main(picture: str, *tables: str) -> None:
    dots = list(points(measured(Path(table).read_text(encoding="utf-8") for table in tables)))
    Path(picture).write_text(drawn(dots), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
