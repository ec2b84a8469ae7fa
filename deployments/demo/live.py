"""The demo's live router: it serves in spans between flips, and Routewatch looks at its trials every hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from deployments.console import note
from examples.simulated_router import simulate
from models.errors import RoutewatchError

if TYPE_CHECKING:
    from models.context import AppContext
    from routewatch import RouterLog

LOOK_AFTER = timedelta(minutes=6)
"""After the hour, when its late rows have arrived: what a trial shows is looked at then."""


class LiveRouter:
    """A simulated router that serves up to a time, while what runs beside it flips and judges trials."""

    def __init__(self, ctx: AppContext, since: datetime, traffic: Mapping[str, Any]) -> None:
        self._ctx = ctx
        self._until = since
        self._traffic = traffic

    def serve_until(self, end: datetime, on_progress: Callable[[datetime], None] = lambda _: None) -> None:
        """Serve up to `end`: at every whole hour flip what is due, and soon after it look at the trials.

        The page's monitor and the hourly run do the same by the clock; `on_progress` hears of the time.
        """
        from routewatch import RouterLog

        with RouterLog(capacity=100_000) as log:
            while self._until < end:
                hour = self._until.replace(minute=0, second=0, microsecond=0)
                look, following = hour + LOOK_AFTER, hour + timedelta(hours=1)
                self._serve(log, min(look if self._until < look else following, end))
                if self._until == following:
                    self._flip()
                if self._until == look:
                    self._look()
                on_progress(self._until)
            if log.counts.written != log.counts.recorded:
                raise RoutewatchError(f"the router's log lost selections: {log.counts}")

    def _serve(self, log: RouterLog, end: datetime) -> None:
        """Read the config from the table, select models, and record each selection."""
        from tasks.optimizer.router_config import read_config

        config = {key: setting.value for key, setting in read_config(self._ctx.engine).items()}
        rows = simulate(self._until, end, config, **self._traffic)
        for row in rows.iter_rows(named=True):
            log.record_selection(**row)
        log.flush(timeout_s=60)
        self._until = end

    def _flip(self) -> None:
        from tasks.optimizer.switchback_timetable import flip_due

        flip_due(self._ctx.engine, self._ctx.settings, self._until)

    def _look(self) -> None:
        from tasks.optimizer.verify import verify
        from tasks.rollups.checkpoint import rollup_settings
        from tasks.rollups.update import update_rollups

        ctx, now = self._ctx, self._until
        update_rollups(ctx.engine, rollup_settings(ctx.settings), now=now, ingestion=ctx.settings.ingestion)
        for verdict in verify(ctx.engine, ctx.settings, now, early=True):
            if verdict.conclusion is not None:
                at = now.astimezone(ZoneInfo(ctx.settings.timezone))
                note(f"     {at:%A %d %B, %H:%M}: {verdict.state} ({verdict.reason})")
