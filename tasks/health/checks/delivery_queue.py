"""Check that queued deliveries are sent."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from functools import partial

from sqlalchemy import func, select

from models.database import reading
from models.schema import DELIVERY, DeliveryState
from tasks.health.check import Check, CheckResult, ok, warning
from tasks.health.context import CheckContext

OVERDUE = timedelta(minutes=75)
"""Time after which a due delivery is overdue: every sender runs at least once an hour."""


def checks(context: CheckContext) -> list[Check]:
    """Return the check of the delivery queue."""
    return [Check("deliveries", partial(_deliveries, context))]


# ----------------------------------------------------------------------------------------------------------------------


def _deliveries(context: CheckContext) -> CheckResult:
    queued = DELIVERY.c.state == DeliveryState.QUEUED.value
    late = queued & (DELIVERY.c.next_attempt_at < context.clock() - OVERDUE)
    with context.tables() as engine, reading(engine) as connection:
        by_state = select(DELIVERY.c.state, func.count()).group_by(DELIVERY.c.state)
        states = Counter({row[0]: row[1] for row in connection.execute(by_state)})
        overdue = connection.execute(select(func.count()).where(late)).scalar_one()
        failing = connection.execute(select(func.count()).where(queued, DELIVERY.c.attempts > 0)).scalar_one()
    cause = [f"{states[state.value]} {state.value}" for state in DeliveryState if states[state.value]]
    found = ", ".join(cause) or "none yet"
    remedies = []
    if overdue:
        found += f"; {overdue} should have been tried more than {OVERDUE.seconds // 60} min ago"
        remedies.append("see that `routewatch serve` or a worker runs")
    elif failing:
        found += f"; {failing} failed and will be tried again"
    if states[DeliveryState.DEAD.value]:
        remedies.append("`routewatch deliveries list` shows why some are dead-lettered; once that is fixed, "
                        "`routewatch deliveries retry --all-dead`")  # fmt: skip
    if states[DeliveryState.UNCERTAIN.value]:
        remedies.append("ask whether the uncertain ones arrived: `routewatch deliveries retry ID` sends one again")
    return warning(found, "; ".join(remedies)) if remedies else ok(found)
