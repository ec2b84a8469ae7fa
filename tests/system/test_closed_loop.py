"""The loop on the simulated router: before and after alone takes back what it cannot tell, trials what is worse.

The router's past is shorter than twenty pretended changes need, so that before and after has no firm verdict.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.closed_loop import run, shortest_wait

LONGEST_DAYS = 7


@pytest.mark.parametrize(
    "seed", [pytest.param(1, id="a forgetful cache"), pytest.param(0, id="a weak model", marks=pytest.mark.slow)]
)
def test_a_harmful_change_that_is_planted_early_is_taken_back_within_its_observation(seed: int) -> None:
    reported = run(seed, days=LONGEST_DAYS + 2, planted_on=0, trials=(), requests_per_hour=110.0)
    assert reported.harm_state == "reverted"
    assert reported.harm_days is not None
    assert reported.harm_days <= LONGEST_DAYS
    assert reported.states["kept"] == 0
    wait = shortest_wait(reported)
    assert wait is None or wait >= timedelta(hours=24)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [pytest.param(0, id="a weak model, by a split"), pytest.param(1, id="a forgetful cache")]
)
def test_a_router_that_splits_and_takes_turns_finds_out_that_it_harms(seed: int) -> None:
    """Its levels drift from hour to hour, which both arms and both blocks of a pair share."""
    # Complex requests are few: with so many it is found well before its deadline.
    reported = run(seed, days=6, requests_per_hour=1_000.0)
    assert (reported.harm_state, reported.harm_verdict) == ("reverted", "worse")
    assert reported.conclusions["worse"] == 0
