"""Check that every value in the router's config can be read."""

from __future__ import annotations

from functools import partial

from tasks.health.check import Check, CheckResult, CheckSkipped, ok, warning
from tasks.health.context import CheckContext
from tasks.optimizer.router_config import read_whole_config
from tasks.optimizer.router_values import UnreadableSetting

_MOST_NAMED = 5


def checks(context: CheckContext) -> list[Check]:
    """Return the check of the router's config."""
    return [Check("router's config", partial(_router_config, context))]


# ----------------------------------------------------------------------------------------------------------------------


def _router_config(context: CheckContext) -> CheckResult:
    with context.tables() as engine:
        config = read_whole_config(engine)
    if not config:
        raise CheckSkipped("the router's config has no keys yet")
    unreadable = [it for it in config.values() if isinstance(it, UnreadableSetting)]
    if not unreadable:
        return ok(f"{len(config):,} {'key' if len(config) == 1 else 'keys'}")
    more = f"; and {len(unreadable) - _MOST_NAMED:,} more" if len(unreadable) > _MOST_NAMED else ""
    found = "; ".join(f"{it.key}: {it.found} {it.reason}" for it in unreadable[:_MOST_NAMED])
    return warning(found + more, unreadable[0].remedy)
