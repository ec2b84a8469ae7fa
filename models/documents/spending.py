"""Savings, baselines, the budget's projection, and what drove the spend."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.base import ApiModel
from models.documents.common import Interval


class SavingsByClass(ApiModel):
    """One complexity class: what was spent there on selections with a known cost, and what the baseline would have."""

    complexity: str
    selections: int
    spent_usd: float
    baseline_model: str | None
    baseline_usd: Interval | None
    savings_usd: Interval | None
    reason: str | None = None


class Savings(ApiModel):
    """Spend against the cheapest adequate model per complexity class; negative where that would have cost more.

    `covered_share` is the share of the known spend for which an adequate model is known.
    """

    baseline: str = "cheapest adequate model per complexity class"
    spent_usd: float | None
    savings_usd: Interval | None
    covered_share: float
    observational: bool = True
    classes: tuple[SavingsByClass, ...]
    reason: str | None = None


class Baseline(ApiModel):
    """One way of routing the same selections: what it would have cost, and how accurate it would have been.

    Of the router itself both are measured. `covered_share` is the share of the selections for which it can be told.
    `reason` says why a number is missing.
    """

    name: Literal["router", "allCheapest", "shuffled"]
    model: str | None = None
    cost_usd: Interval | None
    accuracy: Interval | None
    covered_share: float
    reason: str | None = None


class Baselines(ApiModel):
    """Whether routing adds anything: the router beside two that know nothing of the request.

    `all_cheapest` sends everything to the cheapest model. `shuffled` hands out models at random, in such shares that it
    costs what the router did. `accuracy_gained` is the router's accuracy minus that of `shuffled`.
    """

    router: Baseline
    all_cheapest: Baseline
    shuffled: Baseline
    accuracy_gained: Interval | None
    observational: bool = True
    reason: str | None = None


class OptimizationSavings(ApiModel):
    """What could be saved by estimate, and what was saved by measurement.

    `measured_usd` adds up the verdicts of the `measured_count` optimizations that were judged in the period, each over
    its observed hours. `router_cost_usd` is what the router itself cost, where that is known, and `net_usd` the
    estimate less that.
    """

    estimated: Savings
    measured_usd: Interval | None
    measured_count: int
    router_cost_usd: float | None = None
    net_usd: Interval | None = None


class BudgetProjection(ApiModel):
    """The calendar month of the period's end, in the report's zone. The interval is at 80 %.

    `runs_out_on` is when the budget is spent, by the hour once it is. While it is not, that happens before
    `runs_out_earliest` in one case of ten, and after `runs_out_latest` in another; None is "not in this month".
    `basis_days` is over how many whole days the daily spend was taken. `reason` says why there is no projection, or
    what makes it a weak one.
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
    """What carries most of a change of spend: `change_usd`, which is `share` of all of it.

    volume: more or fewer requests. routing: other models got the requests; `model_id` took over from `from_model`.
    cache: it answered fewer or more of them. price: those that a model answered itself cost more or less each.
    Where `complexity`, `model_id` or `team` is None, it is no single one that does.
    """

    kind: Literal["volume", "routing", "cache", "price"]
    compared_with: Literal["previousPeriod", "samePeriodLastWeek"]
    change_usd: Interval
    share: float
    complexity: str | None = None
    model_id: str | None = None
    from_model: str | None = None
    team: str | None = None
