"""The run monitor as a Prefect task; only flows import this."""

from __future__ import annotations

from datetime import datetime

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectHTTPStatusError

from models.clock import not_ahead
from models.context import AppContext
from tasks.orchestration.run_monitor import MonitorResult, monitor_runs


@task(name="monitor runs", cache_policy=NO_CACHE)
def monitor_flow_runs(ctx: AppContext, now: datetime) -> MonitorResult:
    """Monitor the runs of this server, at the time that the run acts as: none of them crashes by one still to come."""
    try:
        return monitor_runs(ctx, not_ahead(now))
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        get_run_logger().warning("could not monitor runs, the next run will retry: %s", error)
        return MonitorResult()
