"""Read the router overhead of a period, and which sources have imputed values."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from models.period import Period
from models.schema import OVERHEAD, PULL_STATE
from routewatch.selection import SELECTION

MOST_KINDS = 100
OTHER_KINDS = "(other kinds)"


@dataclass(frozen=True)
class OverheadCost:
    """Calls of one kind that are not selections. `cost_usd` sums the `priced` calls, whose cost is known."""

    kind: str
    count: int
    priced: int
    cost_usd: float


@dataclass(frozen=True)
class Imputation:
    """Whether some costs of a period are list prices, and the sources whose complexities are derived from tokens."""

    has_list_prices: bool = False
    by_tokens: tuple[str, ...] = ()


NO_IMPUTATION = Imputation()


def overhead_costs(connection: Connection, period: Period) -> tuple[OverheadCost, ...]:
    """The router overhead of a period, the most expensive kind first; the rest beyond MOST_KINDS as one of its own."""
    cost = func.coalesce(func.sum(OVERHEAD.c.cost_usd), 0.0)
    query = (
        select(OVERHEAD.c.kind, func.count(), func.count(OVERHEAD.c.cost_usd), cost)
        .where(OVERHEAD.c.timestamp >= period.start, OVERHEAD.c.timestamp < period.end)
        .group_by(OVERHEAD.c.kind)
        .order_by(cost.desc(), OVERHEAD.c.kind)
    )
    # One by one: kinds are whatever a router writes.
    found: list[OverheadCost] = []
    rest = OverheadCost(OTHER_KINDS, 0, 0, 0.0)
    for kind, count, priced, usd in connection.execute(query):
        if len(found) < MOST_KINDS and kind != OTHER_KINDS:
            found.append(OverheadCost(kind, count, priced, usd))
        else:
            rest = OverheadCost(OTHER_KINDS, rest.count + count, rest.priced + priced, rest.cost_usd + usd)
    return (*found, rest) if rest.count else tuple(found)


def find_imputation(connection: Connection, period: Period) -> Imputation:
    """The imputed values, as far as known without counting selections."""
    priced = exists().where(
        SELECTION.c.cost_priced_on.is_not(None),
        SELECTION.c.timestamp >= period.start,
        SELECTION.c.timestamp < period.end,
    )
    states = connection.execute(select(PULL_STATE.c.source, PULL_STATE.c.last).order_by(PULL_STATE.c.source)).all()
    by_tokens = tuple(source for source, last in states if (last or {}).get("complexityDerived"))
    return Imputation(bool(connection.scalar(select(priced))), by_tokens)
