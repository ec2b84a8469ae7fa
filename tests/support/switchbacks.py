"""Switchbacks for tests: one key, short blocks, a seed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, select

from models.database import reading, writing
from models.documents import ConfigChangeProposal, Recommendation
from models.schema import TRIAL, TRIAL_BLOCK
from models.settings import Settings, parse_settings
from tasks.optimizer.lifecycle import State as OptimizationState
from tasks.optimizer.lifecycle import Step, advance, propose
from tasks.optimizer.router_config import set_by_hand
from tasks.optimizer.switchback_timetable import start_switchback
from tests.support.factories import MONDAY

KEY, OLD, NEW = "cache.max_entries", 1_000, 2_000


def with_settings(**optimizer: Any) -> Settings:
    switchback = {"blockMinutes": 20, "washOutMinutes": 5, "minimumPairs": 6, "maximumPairs": 8}
    given = {"trial": "switchback", "switchback": switchback} | optimizer
    return parse_settings({"optimizer": given}, "test")


SETTINGS = with_settings()
TWELVE = with_settings(switchback={"blockMinutes": 20, "washOutMinutes": 5, "minimumPairs": 10, "maximumPairs": 12})


def recommended(*moves: tuple[str, Any, Any, int]) -> Recommendation:
    return Recommendation(
        type="cache_optimization", bottleneck="slow_response", description="d", impact="high", effort="low",
        auto_apply=True,
        moves=tuple(ConfigChangeProposal(key=k, from_value=a, to_value=b, version=v) for k, a, b, v in moves),
    )  # fmt: skip


def started(
    engine: Engine, key: str = KEY, *, settings: Settings = SETTINGS, seed: int = 3, at: datetime = MONDAY
) -> int:
    """Start a switchback of one key, and return the optimization's id."""
    version = set_by_hand(engine, key, OLD, by="router", reason="default", now=at)
    item = recommended((key, OLD, NEW, version))
    step = Step("routewatch", "because of slow_response", at)
    with writing(engine) as connection:
        made: dict[str, Any] = {
            "type": item.type, "subject": key, "recommendation": item.model_dump(mode="json", by_alias=True),
            "period_start": at, "period_end": at,
        }  # fmt: skip
        number = propose(connection, made, step)
        advance(connection, number, OptimizationState.AUTO_APPLIED, step)
        start_switchback(connection, number, item, settings, step, seed=seed)
    return number


def trial(engine: Engine, number: int) -> Row[Any]:
    with reading(engine) as connection:
        return connection.execute(select(TRIAL).where(TRIAL.c.optimization_id == number)).one()


def blocks(engine: Engine, number: int) -> list[Row[Any]]:
    query = select(TRIAL_BLOCK).join(TRIAL, TRIAL.c.id == TRIAL_BLOCK.c.trial_id)
    with reading(engine) as connection:
        found = connection.execute(query.where(TRIAL.c.optimization_id == number).order_by(TRIAL_BLOCK.c.number))
        return list(found.fetchall())
