"""Monitor: periodically updates rollups, evaluates alerts and delivers while the page's server runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Thread

from models.context import AppContext
from tasks.alerts.evaluate import evaluate_alerts
from tasks.delivery.worker import deliver_due, log_receipts
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups

logger = logging.getLogger("routewatch")

SLOWEST_S = 60.0
"""Maximum wait before a failed turn is retried."""

STOP_TIMEOUT_S = 10.0


class Monitor:
    """Runs every `monitoring.updateInterval`: rollups and alerts in one thread, delivery in another that may wait.

    Each of the three holds its own lock in the database, so that the hourly flow and other monitors may run
    concurrently without repeating work. After a sleep of the machine the next turn catches up.
    """

    def __init__(self, ctx: AppContext) -> None:
        self._ctx = ctx
        self._interval_s = ctx.settings.monitoring.update_interval / 1_000
        self._stopping = Event()
        self._threads: list[Thread] = []

    def start(self) -> None:
        """Start, in threads that end with the process."""
        for turn in (self.evaluate, self.deliver):
            thread = Thread(target=self._repeat, args=(turn,), name=f"monitor {turn.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop after the current turns, or without waiting if they take too long."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    def evaluate(self, now: datetime) -> None:
        """Roll up new selections, evaluate final minutes, and queue notifications."""
        update_rollups(
            self._ctx.engine, rollup_settings(self._ctx.settings), now=now, ingestion=self._ctx.settings.ingestion
        )
        evaluate_alerts(self._ctx.engine, self._ctx.settings, now)

    def deliver(self, now: datetime) -> None:
        """Send due deliveries."""
        log_receipts(deliver_due(self._ctx, now=now))

    def _repeat(self, turn: Callable[[datetime], None]) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                turn(datetime.now(UTC))
                failures = 0
            except Exception as error:  # noqa: BLE001 - an unavailable database comes back; the page must not stop
                failures += 1
                log_args = turn.__name__, type(error).__name__, error
                logger.warning("the monitor failed to %s, will retry: %s: %s", *log_args)
            self._stopping.wait(min(SLOWEST_S, self._interval_s * 2 ** min(failures, 10)))
