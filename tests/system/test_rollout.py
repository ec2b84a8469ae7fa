"""The simulated router obeys rollouts: a good, a harmful and an equal candidate each live to their end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.documents import Verdict
from models.settings import Settings
from tasks.optimizer.decisions import approve
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.optimizer.verify import verify
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, insert_selections
from tests.support.proposals import proposal, propose
from tests.support.rollouts import ANNA, settings_of, steps_taken, trial_state

START = MONDAY + timedelta(hours=6)
LOOK = timedelta(hours=2)


def lived(
    engine: Engine, key: str, candidate: str, *, days: float, requests_per_hour: float, settings: Settings
) -> tuple[int, Verdict, Counter[str]]:
    """Let the router live with a rollout until it ends; return its number, the last verdict, and who served."""
    for name, value in (DEFAULT_CONFIG | {"routing.explore_share": 0.0, "router.trials": ["split"]}).items():
        set_by_hand(engine, name, value, by="router", reason="default", now=START - timedelta(days=30))
    [item] = propose(engine, proposal(key, candidate, engine), now=START)
    number = item.optimization_id or 0
    assert approve(engine, number, settings, replace(ANNA, at=START)).startswith("Started #")
    now, served, verdict = START, Counter[str](), None
    while now < START + timedelta(days=days):
        verdict = passed(engine, now, served, requests_per_hour, settings)
        now += LOOK
        if verdict.state != "observing":
            break
    assert verdict is not None
    return number, verdict, served


def passed(
    engine: Engine, now: datetime, served: Counter[str], requests_per_hour: float, settings: Settings
) -> Verdict:
    """Let two hours pass under the config as it is, and look."""
    config: dict[str, Any] = {name: setting.value for name, setting in read_config(engine).items()}
    rows = simulate(now, now + LOOK, config, requests_per_hour=requests_per_hour)
    served.update(rows.filter(rows["arm"] == "candidate")["model_id"].to_list())
    insert_selections(engine, rows)
    update_rollups(engine, rollup_settings(settings), now=now + LOOK)
    [verdict] = verify(engine, settings, now + LOOK + timedelta(minutes=6), early=True)
    return verdict


@pytest.mark.slow
def test_a_good_candidate_is_promoted_by_itself(sqlite_engine: Engine) -> None:
    """Fallbacks stay in the arm that they were assigned to, and nothing is served by it before its share."""
    settings = settings_of(5, 20, 50, 100)
    number, verdict, served = lived(
        sqlite_engine, "routing.simple", "swift-mini", days=7, requests_per_hour=2_500, settings=settings
    )
    assert (verdict.state, verdict.conclusion) == ("kept", "better")
    assert [percent for _, percent, _ in steps_taken(sqlite_engine, number)] == [5, 20, 50, 100]
    assert read_config(sqlite_engine)["routing.simple"].value == "swift-mini"
    assert served["atlas-large"] > 0
    assert verdict.savings_usd is not None
    assert (verdict.savings_usd.low or 0.0) > 0
    assert verdict.trial is not None
    assert verdict.trial.arms_by == "assignment"


def test_a_harmful_candidate_is_found_out_and_gets_nothing_any_more(sqlite_engine: Engine) -> None:
    """A model that is wrong on every fourth complex question, though it is cheaper."""
    number, verdict, served = lived(
        sqlite_engine, "routing.complex", "swift-mini", days=3, requests_per_hour=800, settings=settings_of(20, 50, 100)
    )
    assert (verdict.state, verdict.conclusion, verdict.savings_usd) == ("reverted", "worse", None)
    assert "selection accuracy" in verdict.reason
    assert trial_state(sqlite_engine, number) == "rolledBack"
    config: dict[str, Any] = {name: setting.value for name, setting in read_config(sqlite_engine).items()}
    assert config["routing.complex"] == "titan-reason"
    rows = simulate(START + timedelta(days=9), START + timedelta(days=9, hours=1), config)
    assert rows.filter(rows["arm"] == "candidate").height == 0
    assert served["swift-mini"] > 0


@pytest.mark.slow
def test_a_candidate_that_changes_nothing_is_never_worse_nor_better(sqlite_engine: Engine) -> None:
    """The same model in both arms: no worse, or it cannot be told by the deadline; no saving beyond chance."""
    settings = settings_of(20, 50, 100, deadlineHours=48)
    _, verdict, _ = lived(
        sqlite_engine, "routing.simple", "atlas-large", days=3, requests_per_hour=1_000, settings=settings
    )
    assert verdict.conclusion in ("noWorse", "cannotBeTold")
    if verdict.savings_usd is not None:
        assert (verdict.savings_usd.low or 0.0) <= 0 <= (verdict.savings_usd.high or 0.0)
