"""On demand: rebuild the rollups of many days from their raw rows, in parallel."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from prefect import State, flow, unmapped
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.run_time import time_of_run
from models.context import load_context
from models.errors import RoutewatchError, UsageError
from models.period import EARLIEST, LATEST, Period
from tasks.rollups.prefect_tasks import backfill_day, backfill_weeks, plan_backfill, roll_up_selections

DAYS_AT_ONCE = 4

ROUNDS = 2
"""How often a day is submitted. Dask repeats it if a worker dies, and fails it after several deaths."""


def task_runner() -> TaskRunner[Any]:
    """Return a runner of threads, or of the Dask cluster at ROUTEWATCH_DASK_ADDRESS ("local": one on this machine).

    Raises UsageError if Dask is configured and prefect-dask is not installed.
    """
    address = os.environ.get("ROUTEWATCH_DASK_ADDRESS")
    if not address:
        return ThreadPoolTaskRunner(max_workers=DAYS_AT_ONCE)
    try:
        from prefect_dask import DaskTaskRunner  # type: ignore[attr-defined] # noqa: PLC0415 - only where asked for
    except ImportError:
        raise UsageError(
            "ROUTEWATCH_DASK_ADDRESS is set, but prefect-dask is not installed: it is the extra [dask]"
        ) from None
    # Dask's dashboard would listen on every interface of the machine, and warn if its port is in use.
    local = {"cluster_kwargs": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    runner: TaskRunner[Any] = DaskTaskRunner(**(local if address == "local" else {"address": address}))
    return runner


def _usable_runner() -> TaskRunner[Any]:
    """Return a flow's runner; it is set on import, which must not fail, as all other flows are imported too."""
    try:
        return task_runner()
    except UsageError:
        return ThreadPoolTaskRunner(max_workers=DAYS_AT_ONCE)


@flow(name="backfill", flow_run_name="backfill", task_runner=_usable_runner())
def backfill(start: datetime | None = None, end: datetime | None = None) -> int:
    """Rebuild the rollups of whole days from their raw rows. Days without raw rows stay unchanged.

    Args:
        start: The first day contains this time. Empty: the oldest.
        end: The last day contains this time. Empty: the newest.
    """
    # It raises if Dask is configured but not installed.
    task_runner()
    ctx, now = load_context(), time_of_run(None)
    roll_up_selections(ctx, now)
    period = Period(start or EARLIEST, end or LATEST, ctx.settings.timezone)
    days, state = plan_backfill(ctx, period, now)
    ended, left = [], days
    for _ in range(ROUNDS):
        states = backfill_day.map(unmapped(ctx), left, unmapped(state), return_state=True)
        ended += [day_state for day_state in states if _has_ended(day_state)]
        left = [day for day, day_state in zip(left, states, strict=True) if not _has_ended(day_state)]
    # Before any failure is raised: even then, the weeks must match the rebuilt days.
    backfill_weeks(ctx, days)
    if left:
        shown = ", ".join(f"{day:%Y-%m-%d}" for day in left)
        raise RoutewatchError(f"the workers of {shown} died {ROUNDS} times: see why, then run the backfill again")
    return sum(day_state.result() for day_state in ended)


# ----------------------------------------------------------------------------------------------------------------------


def _has_ended(state: State[int]) -> bool:
    """Return whether the task itself ended, successfully or not; otherwise its worker died."""
    return state.is_completed() or state.is_failed()
