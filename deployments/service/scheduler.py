"""Scheduler: start each run when it is due, and monitor runs that crashed or are missing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event, Thread

from deployments.embedded_prefect import use_embedded_prefect
from deployments.service.deployments import NAME
from models.context import AppContext
from models.errors import RoutewatchError

logger = logging.getLogger("routewatch")

CONCURRENT_RUNS = 4
START_TIMEOUT_S = 120.0
CHECKS_EVERY_S = 300.0
POLL_S = 0.2


def run_scheduler(ctx: AppContext) -> None:
    """Apply the deployments to the Prefect server at PREFECT_API_URL and start due runs until stopped.

    Raises RoutewatchError if the server does not respond within two minutes.
    """
    use_embedded_prefect(ctx.environment.home)
    _wait_for_server(os.environ["PREFECT_API_URL"])
    import tasks.orchestration.run_monitor  # noqa: F401 - before its thread does: two that import at once can lock each other

    stopping = Event()
    signal.signal(signal.SIGTERM, partial(_stop, stopping))
    # In a separate thread: in the main one the runner installs a SIGTERM handler that fails half-way.
    with ThreadPoolExecutor(1, "scheduler") as pool:
        pool.submit(asyncio.run, _run(ctx, stopping)).result()


# ----------------------------------------------------------------------------------------------------------------------


def _stop(stopping: Event, *_: object) -> None:
    """Stop at SIGTERM. A second one inside `set` would wait for the event's lock forever, so it is ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stopping.set()


async def _run(ctx: AppContext, stopping: Event) -> None:
    from prefect.runner import Runner

    from deployments.service.deployments import scheduled_deployments
    from tasks.optimizer.queries import decidable

    # Not paused on stop: a pause would have to be undone by hand at every start.
    runner = Runner(name=NAME, limit=CONCURRENT_RUNS, pause_on_shutdown=False)
    for deployment in scheduled_deployments(ctx.settings, decidable(ctx.engine)):
        await runner.aadd_deployment(deployment)
    Thread(target=_monitor_runs, args=(ctx, stopping), name="monitor runs", daemon=True).start()
    running = asyncio.create_task(runner.start())
    while not (running.done() or (stopping.is_set() and runner.started)):
        await asyncio.sleep(POLL_S)
    if not running.done():
        # Current runs end as cancelled; the reports that they miss are backfilled.
        await runner.astop()
    await running


def _monitor_runs(ctx: AppContext, stopping: Event) -> None:
    from tasks.orchestration.run_monitor import monitor_runs

    while not stopping.is_set():
        try:
            monitor_runs(ctx, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - an unavailable server or database comes back
            logger.warning("could not monitor runs, will retry: %s: %s", type(error).__name__, error)
        stopping.wait(CHECKS_EVERY_S)


def _wait_for_server(api: str) -> None:
    import httpx
    import stamina

    # It would log a line at every attempt.
    stamina.instrumentation.set_on_retry_hooks([])

    @stamina.retry(on=httpx.HTTPError, attempts=None, timeout=START_TIMEOUT_S, wait_max=1.0)
    def ready() -> None:
        httpx.get(f"{api}/ready").raise_for_status()

    try:
        ready()
    except httpx.HTTPError as error:
        raise RoutewatchError(f"the Prefect server at {api} does not respond: {error}") from error
