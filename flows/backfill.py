"""On demand: the rollups of many days anew from their raw rows, side by side."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from prefect import flow, unmapped
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.clock import time_of_run
from models.errors import UsageError
from models.period import EARLIEST, LATEST, Period
from models.workplace import load_workplace
from tasks.backfill import backfill_day, backfill_weeks, plan_backfill
from tasks.fold import fold_selections

DAYS_AT_ONCE = 4


def task_runner() -> TaskRunner[Any]:
    """Threads of this process, or the Dask cluster that ROUTEWATCH_DASK_ADDRESS names ("local": one of this machine).

    Raises UsageError where Dask is asked for and prefect-dask is not installed.
    """
    address = os.environ.get("ROUTEWATCH_DASK_ADDRESS")
    if not address:
        return ThreadPoolTaskRunner(max_workers=DAYS_AT_ONCE)
    try:
        from prefect_dask import DaskTaskRunner  # noqa: PLC0415 - only where it is asked for
    except ImportError:
        raise UsageError("ROUTEWATCH_DASK_ADDRESS is set, but prefect-dask is not installed") from None
    runner: TaskRunner[Any] = DaskTaskRunner() if address == "local" else DaskTaskRunner(address=address)
    return runner


@flow(name="backfill", flow_run_name="backfill")
def backfill(start: datetime | None = None, end: datetime | None = None) -> int:
    """Make the rollups of whole days anew from their raw rows. Days whose raw rows are gone stay as they are.

    Args:
        start: The first day is the one of this time. Empty: the oldest.
        end: The last day is the one of this time. Empty: the newest.
    """
    place, now = load_workplace(), time_of_run(None)
    fold_selections(place, now)
    period = Period(start or EARLIEST, end or LATEST, place.settings.timezone)
    days, state = plan_backfill(place, period, now)
    counts = backfill_day.map(unmapped(place), days, unmapped(state)).result()
    backfill_weeks(place, days)
    return sum(counts)
