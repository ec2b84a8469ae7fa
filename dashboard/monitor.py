"""Monitor: periodically updates rollups, evaluates alerts, delivers, and watches that counting goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from threading import Event, Thread

from models.clock import true_now
from models.context import AppContext
from tasks.alerts.evaluate import evaluate_alerts
from tasks.alerts.flow_failures import shown_cause
from tasks.alerts.self_watch import CountingWatch, reset_times_ahead, watch_intake
from tasks.delivery.worker import deliver_due, log_receipts
from tasks.optimizer.switchback_timetable import advance_switchbacks, flip_due
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups

logger = logging.getLogger("routewatch")

WATCHED_EVERY_S = 15.0
"""Wait between two looks at how far counting is, and at times that lie ahead of the clock; also after a failure."""

FLIPPED_EVERY_S = 5.0
"""Wait between two looks at whether a switchback is due."""

SLOWEST_S = 60.0
"""Maximum wait before a failed turn is retried."""

STOP_TIMEOUT_S = 10.0


class Monitor:
    """Runs every `monitoring.updateInterval`: rollups and alerts in one thread, delivery in another that may wait.

    Each of the three holds its own lock in the database, so that the hourly flow and other monitors may run
    concurrently without repeating work. A third thread takes no part in it, and watches that it is done. A fourth flips
    switchbacks, which must not wait for the others. After a sleep
    of the machine the next turn catches up.
    """

    def __init__(self, ctx: AppContext) -> None:
        # Whoever asks the server for numbers, however many, takes no connection from these.
        self._ctx = replace(ctx, pool="monitor")
        self._interval_s = ctx.settings.monitoring.update_interval / 1_000
        self._stopping = Event()
        self._threads: list[Thread] = []
        self._counting = CountingWatch(self._ctx, true_now())
        self._cause = ""

    def start(self) -> None:
        """Start, in threads that end with the process."""
        for turn in (self.evaluate, self.deliver, self.watch, self.flip):
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
        try:
            settings = self._ctx.settings
            update_rollups(self._ctx.engine, rollup_settings(settings), now=now, ingestion=settings.ingestion)
        except Exception as error:
            self._cause = shown_cause(error)
            raise
        else:
            self._cause = ""
        finally:
            # What was counted is judged, also where something else cannot be.
            evaluate_alerts(self._ctx.engine, self._ctx.settings, now)

    def watch(self, now: datetime) -> None:
        """Set back what lies ahead of the clock, and alert where selections wait, or are not counted."""
        try:
            reset_times_ahead(self._ctx, now)
        finally:
            try:
                self._counting.watch(now, self._cause)
            finally:
                watch_intake(self._ctx, now)

    def deliver(self, now: datetime) -> None:
        """Send due deliveries."""
        log_receipts(deliver_due(self._ctx, now=now))

    def flip(self, now: datetime) -> None:
        """Flip the switchbacks whose next block is due, and judge those of which a pair is over."""
        try:
            flip_due(self._ctx.engine, self._ctx.settings, now)
        finally:
            advance_switchbacks(self._ctx.engine, self._ctx.settings, now)

    def _repeat(self, turn: Callable[[datetime], None]) -> None:
        failures = 0
        interval_s = WATCHED_EVERY_S if turn == self.watch else self._interval_s
        interval_s = FLIPPED_EVERY_S if turn == self.flip else interval_s
        while not self._stopping.is_set():
            try:
                turn(true_now())
                failures = 0
            except Exception as error:  # noqa: BLE001 - an unavailable database comes back; the page must not stop
                failures += 1
                log_args = turn.__name__, type(error).__name__, error
                logger.warning("the monitor failed to %s, will retry: %s: %s", *log_args)
            slowest_s = WATCHED_EVERY_S if turn in (self.watch, self.flip) else SLOWEST_S
            self._stopping.wait(min(slowest_s, interval_s * 2 ** min(failures, 10)))
