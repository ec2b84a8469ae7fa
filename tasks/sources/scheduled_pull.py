"""Pulling on the timetable: every source that the settings enable, each by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from models.context import Workplace
from models.errors import RoutewatchError
from tasks.alerts.flow_failures import note_failure, note_success, shown_cause
from tasks.delivery.worker import deliver_due
from tasks.ingestion.pull import pull
from tasks.ingestion.pull_stats import Tally
from tasks.run_logger import logger
from tasks.sources.registry import open_source


def pull_enabled(place: Workplace, now: datetime) -> dict[str, Tally]:
    """Pull from every enabled source; one that fails is alerted and keeps no other from being pulled."""
    pulled = {}
    for name, settings in place.settings.sources.items():
        if not settings.enabled:
            continue
        try:
            pulled[name] = pull(place.engine, name, open_source(name, settings), settings, now)
        except Exception as error:  # noqa: BLE001 - a source's fault must not keep the hour from being counted
            _tell_failure(place, name, error)
        else:
            _tell_success(place, name, pulled[name])
    return pulled


# ----------------------------------------------------------------------------------------------------------------------


def _tell_failure(place: Workplace, name: str, error: Exception) -> None:
    if isinstance(error, RoutewatchError):
        logger().error("%s", error)
    else:
        logger().error("pulling %s failed", name, exc_info=error)
    if note_failure(place, f"pull {name}", shown_cause(error), datetime.now(UTC)) is not None:
        deliver_due(place, now=datetime.now(UTC))


def _tell_success(place: Workplace, name: str, tally: Tally) -> None:
    told = "pulled %s: %s rows read, %s added, %s changed, %s late, %s rejected"
    counts = (tally.read, tally.added, tally.changed, tally.late, tally.rejected.total())
    logger().info(told, name, *(f"{count:,}" for count in counts))
    note_success(place, f"pull {name}", datetime.now(UTC))
