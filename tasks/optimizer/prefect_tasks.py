"""The optimizer as Prefect tasks; only flows import this."""

from __future__ import annotations

from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.attribution import Attribution
from models.clock import not_ahead, true_now
from models.context import AppContext
from models.documents import Verdict
from tasks.optimizer.decision_form import update_form
from tasks.optimizer.decisions import Decision, decide
from tasks.optimizer.queries import decidable
from tasks.optimizer.switchback_timetable import flip_due
from tasks.optimizer.verify import verify


@task(name="verify", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def verify_optimizations(ctx: AppContext, now: datetime, *, early: bool = False) -> tuple[Verdict, ...]:
    """Assess applied changes, and revert those that are clearly harmful."""
    return verify(ctx.engine, ctx.settings, not_ahead(now), early=early)


@task(name="flip switchbacks", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
def flip_switchbacks(ctx: AppContext) -> tuple[str, ...]:
    """Flip what is due by the clock, where no monitor does; return what was done."""
    return flip_due(ctx.engine, ctx.settings, true_now())


@task(name="offer decisions", cache_policy=NO_CACHE)
def update_decision_form(ctx: AppContext) -> dict[int, str]:
    """Update the form's options; return the links to it by optimization."""
    return update_form(decidable(ctx.engine))


@task(name="decide", cache_policy=NO_CACHE)
def decide_on(
    ctx: AppContext,
    optimization_id: int,
    decision: Decision,
    attribution: Attribution,
    *,
    percent: float | None = None,
) -> str:
    """Carry out a decision; return the result as a sentence."""
    return decide(ctx.engine, optimization_id, decision, ctx.settings, attribution, percent=percent)
