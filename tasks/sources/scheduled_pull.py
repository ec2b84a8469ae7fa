"""Scheduled pulls: each source that the settings enable, independently."""

from __future__ import annotations

from datetime import UTC, datetime

from models.context import AppContext
from models.errors import RoutewatchError
from tasks.alerts.flow_failures import record_failure, record_success, shown_cause
from tasks.delivery.worker import deliver_due
from tasks.ingestion.pull import pull
from tasks.ingestion.pull_stats import PullStats
from tasks.run_logger import logger
from tasks.sources.registry import open_source


def pull_enabled(ctx: AppContext, now: datetime) -> dict[str, PullStats]:
    """Pull from every enabled source; a failure raises an alert and does not stop the others."""
    pulled = {}
    for name, settings in ctx.settings.sources.items():
        if not settings.enabled:
            continue
        try:
            pulled[name] = pull(
                ctx.engine, name, open_source(name, settings), settings, now, ingestion=ctx.settings.ingestion
            )
        except Exception as error:  # noqa: BLE001 - a source's fault must not stop the hour's rollup
            _notify_failure(ctx, name, error)
        else:
            _notify_recovery(ctx, name, pulled[name])
    return pulled


# ----------------------------------------------------------------------------------------------------------------------


def _notify_failure(ctx: AppContext, name: str, error: Exception) -> None:
    if isinstance(error, RoutewatchError):
        logger().error("%s", error)
    else:
        logger().error("pulling %s failed", name, exc_info=error)
    if record_failure(ctx, f"pull {name}", shown_cause(error), datetime.now(UTC)) is not None:
        deliver_due(ctx, now=datetime.now(UTC))


def _notify_recovery(ctx: AppContext, name: str, stats: PullStats) -> None:
    message = "pulled %s: %s rows read, %s added, %s changed, %s late, %s rejected, %s set aside"
    counts = (stats.read, stats.added, stats.changed, stats.late, stats.rejected.total(), stats.set_aside)
    logger().info(message, name, *(f"{count:,}" for count in counts))
    record_success(ctx, f"pull {name}", datetime.now(UTC))
