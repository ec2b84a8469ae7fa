"""The loop on the simulated router: it improves routing, and reverts a harmful change.

docs/loop.md has the figures of twenty seeds over sixty days; this is a small part of it.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.closed_loop import PLANTED_ON, run, shortest_wait, worse_by
from models.kpis import KpiName

FEW_DAYS = 8
"""Enough for the loop to have improved routing before the harmful change."""


@pytest.mark.parametrize(
    ("seed", "planted_on"),
    [
        pytest.param(1, FEW_DAYS, id="a forgetful cache planted early"),
        pytest.param(0, PLANTED_ON, id="a weak model planted", marks=pytest.mark.slow),
        pytest.param(1, PLANTED_ON, id="a forgetful cache planted", marks=pytest.mark.slow),
    ],
)
def test_the_loop_improves_routing_and_reverts_a_harmful_change(seed: int, planted_on: int) -> None:
    reported = run(seed, days=planted_on + 6, planted_on=planted_on)
    assert reported.harm_state == "reverted"
    worse = worse_by(reported)
    assert worse[KpiName.RESPONSE_TIME] < 0
    assert worse[KpiName.CACHE_HIT_RATE] < 0
    wait = shortest_wait(reported)
    assert wait is None or wait >= timedelta(hours=24)
