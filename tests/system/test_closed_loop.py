"""The loop on the simulated router: it makes things better, and a harmful change does not stay.

docs/loop.md has the figures of twenty seeds over sixty days; this is a small part of it.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.closed_loop import PLANTED_ON, run, shortest_wait, worse_by
from models.kpis import KpiName


@pytest.mark.parametrize("seed", [0, 1], ids=["a weak model planted", "a forgetful cache planted"])
def test_the_loop_makes_it_better_and_takes_a_harmful_change_back(seed: int) -> None:
    told = run(seed, days=PLANTED_ON + 6)
    assert told.harm_state == "reverted"
    worse = worse_by(told)
    assert worse[KpiName.RESPONSE_TIME] < 0
    assert worse[KpiName.CACHE_HIT_RATE] < 0
    wait = shortest_wait(told)
    assert wait is None or wait >= timedelta(hours=24)
