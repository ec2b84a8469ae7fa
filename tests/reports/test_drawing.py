"""Charts are drawn by several threads of the live page at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from reports.report_templates.drawing import draw
from tests.support import documents


def test_threads_that_draw_at_once_draw_what_one_draws() -> None:
    reports = [documents.performance(models=count) for count in range(2, 10)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(draw, reports))
    assert [[chart.name for chart in charts] for charts in together] == [
        ["timeline", "distribution", "comparison", "heatmap"]
    ] * len(reports)
    assert together[0] == draw(documents.performance(models=2))
