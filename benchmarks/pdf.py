"""Measure a printed report of ten pages with eight charts, in a process that has just started."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.line import Goal, Line
from benchmarks.scene import Scene, in_own_process

PAGES, CHARTS = 10, 8
GOALS = {"seconds": Goal(3.0, at_least=False), "mb": Goal(1.0, at_least=False), "peak_mb": Goal(300.0, at_least=False)}
NAMES = {
    "seconds": (f"a PDF of {PAGES} pages with {CHARTS} charts", "s"),
    "mb": (f"size of a PDF of {PAGES} pages with {CHARTS} charts", "MB"),
    "peak_mb": ("peak memory of drawing it", "MB"),
}


def lines(scene: Scene) -> Iterator[Line]:
    scene.say("drawing a PDF")
    rounds = [in_own_process("pdf_once") for _ in range(scene.rounds)]
    for done in rounds:
        if (done["pages"], done["charts"]) < (PAGES, CHARTS):
            raise RuntimeError(f"only {done['pages']} pages with {done['charts']} charts were drawn")
    note = f"two reports, {rounds[0]['pages']} pages; with the start of the chart renderer, without imports"
    for what, (name, unit) in NAMES.items():
        values = tuple(float(done[what]) for done in rounds)
        yield Line(name, "none", 0, values, unit=unit, goal=GOALS[what], note=note)
