"""Savings, baselines, the budget's projection, and the drivers of the spend."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.base import ApiModel
from models.documents.common import Evidence, Interval


class SavingsByClass(ApiModel):
    """One complexity class: the spend on selections with a known cost, and the baseline's spend on them."""

    complexity: str
    selections: int
    spent_usd: float
    baseline_model: str | None
    baseline_usd: Interval | None
    savings_usd: Interval | None
    reason: str | None = None


class Savings(ApiModel):
    """Spend against the cheapest adequate model per complexity class; negative if that would have cost more.

    `covered_share` is the share of the known spend for which an adequate model is known. The bounds of intervals hold
    chance alone. While `observational` is true that is the lesser part of what is not known: reports do not show them.
    """

    baseline: str = "cheapest adequate model per complexity class"
    spent_usd: float | None
    savings_usd: Interval | None
    covered_share: float
    observational: bool = True
    evidence: Evidence | None = None
    classes: tuple[SavingsByClass, ...]
    reason: str | None = None


class Baseline(ApiModel):
    """One way of routing the same selections: its cost and its accuracy.

    Both are measured for the router itself. `covered_share` is the share of the selections with an estimate. `reason`
    says why a number is missing.
    """

    name: Literal["router", "allCheapest", "shuffled"]
    model: str | None = None
    cost_usd: Interval | None
    accuracy: Interval | None
    covered_share: float
    reason: str | None = None


class Baselines(ApiModel):
    """Whether routing adds value: the router compared with two baselines that ignore the request.

    `all_cheapest` sends everything to the cheapest model. `shuffled` assigns models at random, in shares with the same
    cost as the router. `accuracy_gained` is the router's accuracy minus that of `shuffled`. The bounds hold chance
    alone: of what was not measured, reports do not show them while `observational` is true.
    """

    router: Baseline
    all_cheapest: Baseline
    shuffled: Baseline
    accuracy_gained: Interval | None
    observational: bool = True
    evidence: Evidence | None = None
    reason: str | None = None


class OptimizationSavings(ApiModel):
    """Estimated possible savings, and what changes saved.

    `measured_usd` sums the verdicts of the `measured_count` optimizations that a rollout or a switchback tried and that
    were assessed in the period, each over its observed hours. `observed_usd` sums those of the `observed_count` that
    were only compared before and after, where other causes are not ruled out. `router_cost_usd` is the cost of the
    router itself, if known, and `net_usd` the estimate less that cost.
    """

    estimated: Savings
    measured_usd: Interval | None
    measured_count: int
    observed_usd: Interval | None = None
    observed_count: int = 0
    router_cost_usd: float | None = None
    net_usd: Interval | None = None


class BudgetProjection(ApiModel):
    """The projection for the calendar month of the period's end, in the report's zone, with an 80 % interval.

    `runs_out_on` is when the budget is spent, to the hour once it has happened. Until then, it happens before
    `runs_out_earliest` in one case of ten, and after `runs_out_latest` in another; None is "not in this month".
    `basis_days` is the number of whole days behind the daily spend. `reason` says why there is no projection, or why it
    is a weak one.
    """

    month: str
    monthly_usd: float | None
    used_usd: float
    used_share: float | None
    projected_usd: Interval | None
    projected_share: float | None
    runs_out_on: datetime | None
    method: str
    basis_days: int
    reason: str | None = None
    runs_out_earliest: datetime | None = None
    runs_out_latest: datetime | None = None


class SpendCause(ApiModel):
    """The main driver of a change in spend: `change_usd`, which is `share` of the total change.

    volume: more or fewer requests. routing: other models got the requests; `model_id` took over from `from_model`.
    cache: it answered fewer or more requests. price: the cost per request answered by a model changed.
    A `complexity`, `model_id` or `team` of None means that no single one is responsible.
    """

    kind: Literal["volume", "routing", "cache", "price"]
    compared_with: Literal["previousPeriod", "samePeriodLastWeek"]
    change_usd: Interval
    share: float
    complexity: str | None = None
    model_id: str | None = None
    from_model: str | None = None
    team: str | None = None
