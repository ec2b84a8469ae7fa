"""Check that the sources in the settings can be opened, and were pulled on time."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from models.errors import RoutewatchError
from models.settings import SourceSettings
from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext

LATE_PULL = timedelta(minutes=75)
"""Age of the last pull: longer than between hourly runs."""


def checks(context: CheckContext) -> list[Check]:
    """Return one check for all sources."""
    return [Check("sources", partial(_sources, context))]


# ----------------------------------------------------------------------------------------------------------------------


def _sources(context: CheckContext) -> CheckResult:
    enabled = {name: source for name, source in context.settings.sources.items() if source.enabled}
    if not enabled:
        raise CheckSkipped("the settings name no source that is to be pulled")
    from tasks.ingestion.pull import states  # noqa: PLC0415 - takes long to import, and most have no sources

    faults = [fault for name, source in enabled.items() if (fault := _fault(name, source))]
    if faults:
        return failed("; ".join(faults), "correct sources in the settings, or set the variable that they name")
    with context.tables() as engine:
        pulled = {state.source: state.pulled_at for state in states(engine)}
    now = context.clock()
    late = {name: said for name in enabled if (said := _lateness(pulled.get(name), now))}
    if late:
        found = "; ".join(f"{name} {said}" for name, said in late.items())
        return warning(
            found, f"see that `routewatch serve` or a worker runs; `routewatch pull {next(iter(late))}` tries now"
        )
    return ok(f"{', '.join(enabled)}: pulled within the last {LATE_PULL.total_seconds() / 60:.0f} minutes")


def _fault(name: str, source: SourceSettings) -> str | None:
    from tasks.sources.registry import open_source  # noqa: PLC0415

    try:
        open_source(name, source)
    except RoutewatchError as error:
        return f"{name}: {error}"
    return None


def _lateness(pulled_at: datetime | None, now: datetime) -> str | None:
    if pulled_at is None:
        return "was never pulled"
    return (
        f"was pulled {(now - pulled_at).total_seconds() / 60:.0f} minutes ago" if now - pulled_at > LATE_PULL else None
    )
