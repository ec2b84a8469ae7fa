"""Changes of the router's config, proposed to the optimizer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from models.documents import ConfigChangeProposal, Recommendation
from models.period import Period
from models.settings import Optimizer, Settings
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.router_config import read_config
from tests.support.factories import MONDAY

SETTINGS = Settings()
KEEPS_UNDECIDED = Settings(optimizer=Optimizer(undecided="keep"))
"""Under which a change is made though too little is known to judge it."""

APPLIED_AT = MONDAY + timedelta(weeks=2)


def proposal(key: str, to_value: Any, engine: Engine) -> Recommendation:
    setting = read_config(engine)[key]
    kind: Any = "model_selection" if key.startswith("routing.") else "cache_optimization"
    return Recommendation(
        type=kind, bottleneck="high_cost", description="d", impact="high", effort="low",
        auto_apply=kind != "model_selection", complexity=key.removeprefix("routing.") if "routing." in key else None,
        moves=(ConfigChangeProposal(key=key, from_value=setting.value, to_value=to_value, version=setting.version),),
        status="waiting" if kind == "model_selection" else "proposed",
    )  # fmt: skip


def propose(engine: Engine, *items: Recommendation, now: datetime = APPLIED_AT) -> list[Recommendation]:
    return list(apply(engine, items, KEEPS_UNDECIDED, DecisionContext(Period(now - timedelta(days=1), now), now, now)))
