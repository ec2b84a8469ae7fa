"""Charts that another process draws are the same, and are drawn even if that process dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from reports.charts.vega import own_process, svg_of

BARS = json.dumps(
    {
        "data": {"values": [{"model": "swift", "ms": 412}, {"model": "atlas", "ms": 930}]},
        "mark": "bar",
        "encoding": {"x": {"field": "model", "type": "nominal"}, "y": {"field": "ms", "type": "quantitative"}},
    }
)


def drawers() -> list[int]:
    """Return our processes that draw."""
    ours = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(child) for child in ours if b"reports.charts.vega" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_chart_looks_the_same_wherever_it_is_drawn() -> None:
    here = svg_of(BARS)
    with own_process():
        assert drawers() == []
        assert svg_of(BARS) == here
        assert len(drawers()) == 1
    assert drawers() == []


def test_a_chart_is_drawn_although_the_process_that_should_has_died() -> None:
    here = svg_of(BARS)
    with own_process():
        svg_of(BARS)
        [first] = drawers()
        os.kill(first, signal.SIGKILL)
        assert svg_of(BARS) == here
        assert svg_of(BARS) == here
        [second] = drawers()
        assert second != first


def test_two_servers_in_a_process_share_it_until_the_last_has_ended() -> None:
    with own_process():
        with own_process():
            svg_of(BARS)
        assert svg_of(BARS)
        assert len(drawers()) == 1
    assert drawers() == []
