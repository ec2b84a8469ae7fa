"""A router that splits the requests of one class, as the rollups by arm that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert, select

from models.attribution import Attribution
from models.database import reading, writing
from models.documents import Verdict
from models.schema import ARM_ROLLUP, TRIAL, TRIAL_STEP
from models.settings import Settings, parse_settings
from tasks.optimizer.decisions import approve
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.optimizer.verify import verify
from tasks.rollups.arms import ARM_SUMS
from tests.support.factories import MONDAY
from tests.support.proposals import proposal, propose

HOUR = timedelta(hours=1)
STARTED_AT = MONDAY + timedelta(weeks=2)
ANNA = Attribution("anna", "saves money", STARTED_AT)
CONFIG = {
    "cache.max_entries": 1000,
    "routing.simple": "costly",
    "routing.complex": "strong",
    "router.trials": ["split"],
}


def settings_of(*steps: float, undecided: str = "revert", **rollout: Any) -> Settings:
    """Return settings with a rollout's, whose steps need no more than 100 requests each."""
    given = {"steps": steps or (20, 50, 100), "minimumRequests": 100} | rollout
    return parse_settings({"optimizer": {"rollout": given, "undecided": undecided}}, "test")


SPLIT_SETTINGS = settings_of()


@dataclass(frozen=True)
class Arm:
    """What one arm's requests are like."""

    usd: float = 0.05
    errors: float = 0.02
    slow: float = 0.2
    accuracy: float = 0.97
    rated: float = 1.0


COSTLY = Arm()
CHEAP = Arm(usd=0.03)


def set_up_router(engine: Engine, **config: Any) -> Engine:
    """Give the router its config, which declares that it can split."""
    for key, value in (CONFIG | config).items():
        set_by_hand(engine, key, value, by="router", reason="defaults", now=MONDAY)
    return engine


def started(engine: Engine, settings: Settings = SPLIT_SETTINGS, *, key: str = "routing.simple") -> int:
    """Propose a cheaper model and approve it; return the optimization's id."""
    [item] = propose(engine, proposal(key, "cheap", engine))
    approve(engine, item.optimization_id or 0, settings, ANNA)
    return item.optimization_id or 0


def let_pass(
    engine: Engine, start: datetime, hours: int, candidate: Arm, *, requests: int = 3_000, seed: int = 1,
    baseline: Arm = COSTLY,
) -> datetime:  # fmt: skip
    """Let hours pass in which the router obeys `rollout.simple` as it is now; return the time after them."""
    value = read_config(engine)["rollout.simple"].value
    share, experiment = float(value["percent"]) / 100, value["experiment"]
    draw = np.random.default_rng([seed, int(start.timestamp())])
    rows = []
    for hour in range(hours):
        chosen = int(draw.binomial(requests, share))
        for arm, count, kind in (("baseline", requests - chosen, baseline), ("candidate", chosen, candidate)):
            if count:
                bucket = start.replace(minute=0, second=0, microsecond=0) + hour * HOUR
                keys = {"bucket": bucket, "experiment": experiment, "arm": arm, "complexity": "simple"}
                rows.append(keys | {"unit_bucket": -1} | _sums(draw, count, kind))
    with writing(engine) as connection:
        connection.execute(insert(ARM_ROLLUP), rows)
    return start + hours * HOUR


def looked_at(engine: Engine, now: datetime, settings: Settings = SPLIT_SETTINGS) -> Verdict:
    """Return the verdict of an hourly look, ten minutes after the hour."""
    [verdict] = verify(engine, settings, now + timedelta(minutes=10), early=True)
    return verdict


def live(
    engine: Engine, candidate: Arm, *, days: int = 15, every_h: int = 6, settings: Settings = SPLIT_SETTINGS,
    requests: int = 3_000, seed: int = 1,
) -> Verdict:  # fmt: skip
    """Let a rollout live to its end with a look every few hours; return the last verdict."""
    now = STARTED_AT
    verdict = None
    for _ in range(days * 24 // every_h):
        now = let_pass(engine, now, every_h, candidate, requests=requests, seed=seed)
        verdict = looked_at(engine, now, settings)
        if verdict.state != "observing":
            break
    assert verdict is not None
    return verdict


def share_of(engine: Engine) -> float:
    return float(read_config(engine)["rollout.simple"].value["percent"])


def steps_taken(engine: Engine, optimization_id: int) -> list[tuple[str, float | None, str]]:
    """Return action, percent and author of every step of a rollout, oldest first."""
    query = (
        select(TRIAL_STEP.c.action, TRIAL_STEP.c.percent, TRIAL_STEP.c.by)
        .join(TRIAL, TRIAL.c.id == TRIAL_STEP.c.trial_id)
        .where(TRIAL.c.optimization_id == optimization_id)
        .order_by(TRIAL_STEP.c.id)
    )
    with reading(engine) as connection:
        return [(row.action, row.percent, row.by) for row in connection.execute(query)]


def trial_state(engine: Engine, optimization_id: int) -> str:
    with reading(engine) as connection:
        return str(connection.scalar(select(TRIAL.c.state).where(TRIAL.c.optimization_id == optimization_id)))


# ----------------------------------------------------------------------------------------------------------------------


def _sums(draw: np.random.Generator, count: int, kind: Arm) -> dict[str, float]:
    failed = int(draw.binomial(count, kind.errors))
    answered = count - failed
    rated = int(draw.binomial(answered, kind.rated))
    right = int(draw.binomial(rated, kind.accuracy))
    usd = draw.gamma(1.0, kind.usd, answered)
    known = {
        "count": count, "error_count": failed, "response_time_count": answered,
        "response_time_sum_ms": 900.0 * answered, "response_time_sum_sq": 900.0**2 * answered,
        "over_target_count": int(draw.binomial(answered, kind.slow)), "cost_count": answered,
        "cost_sum_usd": float(usd.sum()), "cost_sum_sq": float((usd**2).sum()), "accuracy_count": rated,
        "accuracy_sum": float(right), "accuracy_sum_sq": float(right),
    }  # fmt: skip
    return dict.fromkeys(ARM_SUMS, 0) | known
