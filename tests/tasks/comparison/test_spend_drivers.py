"""The driver of a change in spend is named only if one cause made most of it significantly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.documents import Direction, Filters, SpendCause, Trend
from models.period import Period
from reports.report_templates.view import headline
from reports.text.formatting import Formats
from reports.text.spend_drivers import because, cause_text
from tasks.comparison.spend_drivers import COSTING, Side, Spending, decompose_change, spend_cause
from tasks.comparison.trends import trends
from tasks.rollups.aggregate import empty, rollup_schema
from tasks.rollups.query import RollupSlice
from tests.support import documents
from tests.support.factories import MONDAY

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Flow:
    """One team's requests of one class in an hour of the day's height, and how they are answered.

    `shares` are by model; costs are in USD, a cache hit's is a hundredth.
    """

    team: str
    complexity: str
    hourly: float
    shares: tuple[tuple[str, float], ...]
    cached: float = 0.4
    known: float = 1.0


COSTS_USD = {"small": 0.002, "medium": 0.01, "large": 0.06}
USUAL = (
    Flow("search", "simple", 120, (("small", 0.9), ("medium", 0.1))),
    Flow("search", "complex", 30, (("medium", 0.8), ("large", 0.2))),
    Flow("support", "simple", 80, (("small", 0.8), ("medium", 0.2))),
    Flow("support", "complex", 10, (("medium", 0.8), ("large", 0.2))),
)


def side(
    start: datetime, days: int, flows: tuple[Flow, ...] = USUAL, seed: int = 1, costs: dict[str, float] = COSTS_USD
) -> Side:
    """Return so many days of hours with a rhythm and bursts."""
    chance = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for hour in range(24 * days):
        at = start + timedelta(hours=hour)
        busy = (0.2 + np.exp(-((at.hour - 14) ** 2) / 20)) * chance.gamma(20, 1 / 20)
        for flow in flows:
            for model, share in flow.shares:
                count = int(chance.poisson(flow.hourly * share * busy))
                hits, known = int(chance.binomial(count, flow.cached)), round(count * flow.known)
                hits = min(hits, known)
                usd = costs[model] * chance.gamma(2.0 * max(1, known - hits), 0.5) * (known > hits)
                if count:
                    row: dict[str, Any] = dict.fromkeys(rollup_schema(), 0)
                    rows.append(row | {
                        "bucket": at, "model_id": model, "complexity": flow.complexity, "team": flow.team,
                        "count": count, "cost_count": known, "cost_sum_usd": usd + hits * costs[model] / 100,
                        "cache_hit_cost_count": hits, "cache_hit_cost_sum_usd": hits * costs[model] / 100,
                        "latency_histogram": b"",
                    })  # fmt: skip
    frame = pl.DataFrame(rows, schema=rollup_schema(), orient="row")
    period = Period(start, start + days * DAY)
    by_model = frame.group_by("bucket", "model_id", "complexity").agg(pl.col(COSTING).sum())
    return Side(RollupSlice(period, period, Filters(), frame, frame, empty(), None, None), by_model)


def trend_of(now: Side, before: Side) -> Trend:
    found = trends(now.rollup_slice, before.rollup_slice, "samePeriodLastWeek")
    return next(trend for trend in found if trend.metric == "totalCost")


def cause_of(
    flows: tuple[Flow, ...], days: int = 7, seed: int = 1, costs: dict[str, float] = COSTS_USD
) -> SpendCause | None:
    """Return the change of a period against a baseline week before."""
    before = side(MONDAY - 7 * DAY, days, seed=seed + 1000)
    now = side(MONDAY, days, flows, seed, costs)
    return spend_cause(now, before, trend_of(now, before))


def changed(complexity: str, **fields: Any) -> tuple[Flow, ...]:
    """Return the baseline with some fields of a class changed."""
    return tuple(replace(flow, **fields) if flow.complexity == complexity else flow for flow in USUAL)


# --- planted causes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 7])
def test_a_model_that_took_over_a_class_is_the_cause(days: int) -> None:
    cause = cause_of(changed("complex", shares=(("medium", 0.1), ("large", 0.9))), days, seed=3)
    assert cause is not None
    assert (cause.kind, cause.complexity, cause.model_id, cause.from_model) == ("routing", "complex", "large", "medium")
    assert because(cause) == "because large took over complex requests from medium"
    assert cause.change_usd.low is not None
    assert 0 < cause.change_usd.low < cause.change_usd.estimate


def test_a_cheaper_model_that_took_over_is_the_cause_of_less() -> None:
    cause = cause_of(changed("complex", shares=(("medium", 1.0), ("large", 0.0))))
    assert cause is not None
    assert (cause.kind, cause.model_id, cause.from_model) == ("routing", "medium", "large")
    assert cause.change_usd.estimate < 0
    assert cause.share > 0.5


def test_more_requests_of_everybody_are_the_cause() -> None:
    cause = cause_of(tuple(replace(flow, hourly=flow.hourly * 1.5) for flow in USUAL))
    assert cause is not None
    assert (cause.kind, cause.complexity) == ("volume", None)
    assert because(cause).startswith("because more requests were made")


def test_more_hard_requests_of_one_team_are_the_cause() -> None:
    more = tuple(
        replace(flow, hourly=flow.hourly * 5) if (flow.team, flow.complexity) == ("support", "complex") else flow
        for flow in USUAL
    )
    cause = cause_of(more)
    assert cause is not None
    assert (cause.kind, cause.complexity, cause.team) == ("volume", "complex", "support")
    assert because(cause) == "because more complex requests were made, above all by team support"


def test_a_price_that_rose_is_the_cause() -> None:
    cause = cause_of(USUAL, costs=COSTS_USD | {"large": 0.12})
    assert cause is not None
    assert (cause.kind, cause.model_id, cause.complexity) == ("price", "large", "complex")
    assert because(cause) == "because complex requests to large cost more each"


def test_a_price_that_fell_everywhere_is_no_single_models_doing() -> None:
    cause = cause_of(USUAL, costs={model: usd * 0.6 for model, usd in COSTS_USD.items()})
    assert cause is not None
    assert (cause.kind, cause.model_id, cause.complexity) == ("price", None, None)
    assert because(cause) == "because requests cost less each"


def test_a_cache_that_answers_less_is_the_cause_and_no_price() -> None:
    cause = cause_of(tuple(replace(flow, cached=0.1) for flow in USUAL))
    assert cause is not None
    assert cause.kind == "cache"
    assert because(cause).startswith("because the cache answered fewer of the")


def test_a_class_that_is_new_is_more_volume() -> None:
    cause = cause_of((*USUAL, Flow("search", "extreme", 20, (("large", 1.0),))))
    assert cause is not None
    assert (cause.kind, cause.complexity, cause.team) == ("volume", "extreme", "search")


# --- no cause ---------------------------------------------------------------------------------------------------------


def test_a_change_that_is_noise_has_no_cause() -> None:
    reported = [cause_of(USUAL, seed=seed) for seed in range(30)]
    assert sum(cause is not None for cause in reported) <= 3


def test_a_change_of_many_small_parts_has_no_cause() -> None:
    """A third of it each from numbers of requests, the cache and prices."""
    flows = tuple(replace(flow, hourly=flow.hourly * 1.11, cached=0.33) for flow in USUAL)
    now = side(MONDAY, 14, flows, 1, {model: usd * 1.11 for model, usd in COSTS_USD.items()})
    before = side(MONDAY - 14 * DAY, 14, seed=2)
    assert trend_of(now, before).direction is Direction.MORE
    assert spend_cause(now, before, trend_of(now, before)) is None


def test_costs_that_became_known_are_not_more_spend() -> None:
    before = side(MONDAY - 7 * DAY, 7, tuple(replace(flow, known=0.5) for flow in USUAL))
    now = side(MONDAY, 7)
    assert trend_of(now, before).direction is Direction.MORE
    assert spend_cause(now, before, trend_of(now, before)) is None


def test_a_cause_is_of_the_period_that_the_trend_is_against() -> None:
    now, before = side(MONDAY, 1), side(MONDAY - 7 * DAY, 1, tuple(replace(flow, hourly=10) for flow in USUAL), 2)
    trend = trend_of(now, before)
    assert Spending(now, {"samePeriodLastWeek": before}).cause(trend) is not None
    assert Spending(now, {"previousPeriod": before}).cause(trend) is None


def test_a_few_hours_are_too_short_for_a_cause() -> None:
    """Of twelve intervals five have data: the jackknife would guess."""
    early = pl.col("bucket").dt.hour() < 10
    now, before = side(MONDAY, 1, changed("complex", hourly=400)), side(MONDAY - 7 * DAY, 1)
    trend = trend_of(now, before)
    assert spend_cause(now, before, trend) is not None
    cut, cut_before = (Side(it.rollup_slice, it.rows.filter(early)) for it in (now, before))
    assert spend_cause(cut, cut_before, trend) is None


# --- the parts --------------------------------------------------------------------------------------------------------


@given(npst.arrays(np.int64, (2, 3, 3, 2), elements=st.integers(0, 50)), st.integers(1, 9))
def test_the_parts_add_up_to_the_change(drawn: Any, dollars: int) -> None:
    """Whatever is missing on either side: classes, models, hits, own answers."""
    known, hits = drawn[:, 0] + drawn[:, 1], drawn[:, 1]
    hit_usd = hits * 0.01 * dollars
    sums = np.stack([known, drawn[:, 0] * (0.5 + drawn[:, 2]) + hit_usd, hits, hit_usd], axis=1).astype(float)
    parts = decompose_change(sums)
    added = sum(float(it.sum()) for it in (parts.volume, parts.routing, parts.cache, parts.price))
    assert added == pytest.approx(parts.change, abs=1e-6)


# --- in the report ----------------------------------------------------------------------------------------------------


TOOK_OVER = documents.cost().cause


def test_the_headline_says_why() -> None:
    reported = headline(documents.cost())
    assert reported.startswith(
        "Spend rose 13.7% to $1,183.42 (cost known for 93%), because atlas-large-2026-05 took over complex requests "
        "from atlas-medium; "
    )
    assert reported.endswith("one fix waits for a decision, worth about $465 a month by an observational estimate.")


def test_a_cause_of_most_of_a_change_is_stated_as_most() -> None:
    assert TOOK_OVER is not None
    assert because(TOOK_OVER.model_copy(update={"share": 0.6})).startswith("mostly because ")


def test_without_a_cause_the_headline_names_the_change_alone() -> None:
    assert headline(documents.cost().model_copy(update={"cause": None})).startswith(
        "Spend rose 13.7% to $1,183.42 (cost known for 93%) against the period before; "
    )


def test_the_share_of_the_change_is_stated_with_its_interval() -> None:
    assert TOOK_OVER is not None
    text = cause_text(TOOK_OVER, Formats("en_US", "UTC"))
    assert "That is +$120.00 (95% interval +$90.00 to +$150.00), 84.3% of it." in text
