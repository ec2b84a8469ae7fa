"""What a recommendation is worth from now on is extrapolated from after the last change of the same requests."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine

from models.documents import Recommendation
from models.period import Period
from models.report_template import Template
from models.settings import Optimizer, Settings
from reports.report_templates.view import headline
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.lifecycle import STOPPED_KEY
from tasks.optimizer.router_config import set_by_hand
from tasks.reporting.collect import collect_material, document_of
from tasks.reporting.request import Request
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import DEFAULTS, MONDAY, insert_selections

DAY = timedelta(days=1)
WEEK = Period(MONDAY, MONDAY + 7 * DAY, "UTC")
SETTINGS = Settings(optimizer=Optimizer(undecided="keep"))


def stored(engine: Engine, half_from: datetime | None = None) -> None:
    """Store a week of two requests an hour to each model; from then on half of the costly one's are cache hits at 0."""
    times = [MONDAY + timedelta(minutes=15 * number) for number in range(4 * 24 * 7)]
    number = range(len(times))
    is_costly = [it % 2 == 0 for it in number]
    is_hit = [half_from is not None and at >= half_from and it % 4 == 0 for it, at in zip(number, times, strict=True)]
    columns = {
        "timestamp": times,
        "model_id": ["costly" if it else "cheap" for it in is_costly],
        "complexity": "simple",
        "cost_usd": [0.0 if hit else 0.2 if costly else 0.01 for hit, costly in zip(is_hit, is_costly, strict=True)],
        "cache_hit": is_hit,
        "accuracy": 1.0,
        "response_time_ms": 100.0,
    }
    insert_selections(engine, pl.DataFrame(DEFAULTS | columns))
    update_rollups(engine, rollup_settings(SETTINGS), now=WEEK.end)


def set_key(engine: Engine, key: str, *values: object, at: datetime) -> None:
    """Set a key's first value before the week, and the others at once."""
    for value in values[:1]:
        set_by_hand(engine, key, value, by="router", reason="defaults", now=MONDAY - DAY)
    for value in values[1:]:
        set_by_hand(engine, key, value, by="Dana Cole", reason="tried", now=at)


def cheaper_model(engine: Engine, now: datetime = WEEK.end) -> Recommendation:
    request = Request("weekly", Template.COST, WEEK)
    [found] = [
        item
        for item in collect_material(engine, request, SETTINGS, now).recommendations
        if item.type == "model_selection"
    ]
    return found


def test_without_a_change_the_whole_period_counts(engine: Engine) -> None:
    """48 requests a day that cost 0.19 more each."""
    stored(engine)
    set_key(engine, "cache.max_entries", 1000, at=MONDAY)
    item = cheaper_model(engine)
    assert item.run_rate_usd_per_day == pytest.approx(48 * 0.19)
    assert (item.run_rate_since, item.run_rate_reason) == (None, None)


@pytest.mark.parametrize("key", ["cache.max_entries", "routing.simple"])
def test_after_a_change_of_the_same_requests_only_what_followed_counts(engine: Engine, key: str) -> None:
    """A cache that answers half of them leaves half to save, however the first five days were."""
    at = MONDAY + 5 * DAY
    stored(engine, half_from=at)
    set_key(engine, key, "a", "b", at=at)
    item = cheaper_model(engine)
    assert item.savings_usd is not None
    assert item.savings_usd.estimate / 7 == pytest.approx((48 * 5 + 24 * 2) / 7 * 0.19)
    assert item.run_rate_usd_per_day == pytest.approx(24 * 0.19)
    assert item.run_rate_since == at


@pytest.mark.parametrize(("key", "first"), [("routing.complex", "a"), ("routing.simple", None), (STOPPED_KEY, False)])
def test_a_change_of_other_requests_and_a_first_value_change_nothing(engine: Engine, key: str, first: object) -> None:
    at = MONDAY + 5 * DAY
    stored(engine)
    if first is None:
        set_by_hand(engine, key, "costly", by="router", reason="defaults", now=at)
    else:
        set_key(engine, key, first, True if key == STOPPED_KEY else "b", at=at)
    item = cheaper_model(engine)
    assert item.run_rate_usd_per_day == pytest.approx(48 * 0.19)
    assert item.run_rate_since is None


@pytest.mark.parametrize("before_end", [timedelta(hours=23), timedelta(0), -timedelta(hours=2)])
def test_where_too_little_is_after_the_change_there_is_a_reason_and_no_sum(
    engine: Engine, before_end: timedelta
) -> None:
    """Less than a day, nothing, or a change after the period's end and before the report."""
    at = WEEK.end - before_end
    stored(engine, half_from=at)
    set_key(engine, "cache.max_entries", 1000, 2000, at=at)
    item = cheaper_model(engine, now=WEEK.end + timedelta(hours=3))
    assert item.run_rate_usd_per_day is None
    assert "too little of the period is after the last change of the same requests" in (item.run_rate_reason or "")


def test_a_headline_gives_the_sum_of_after_the_change(engine: Engine) -> None:
    at = MONDAY + 5 * DAY
    stored(engine, half_from=at)
    set_key(engine, "cache.max_entries", 1000, 2000, at=at)
    document = document_of(engine, Request("weekly", Template.COST, WEEK), SETTINGS, WEEK.end)
    month = 24 * 0.19 * 365.25 / 12
    assert f"worth about ${month:,.0f} a month by an observational estimate" in headline(document)


def test_a_change_of_this_very_run_takes_the_worth_back(engine: Engine) -> None:
    """What waits is about the same requests as the cache that is enlarged with the report."""
    stored(engine)
    for key, value in {"cache.max_entries": 1000, "cache.ttl_seconds": 600, "routing.simple": "costly"}.items():
        set_key(engine, key, value, at=MONDAY)
    item = cheaper_model(engine)
    assert item.run_rate_usd_per_day is not None
    moves = [{"key": "cache.max_entries", "from_value": 1000, "to_value": 2000, "version": 1}]
    larger = Recommendation.model_validate(
        {
            "type": "cache_optimization", "bottleneck": "slow_response", "description": "Larger", "impact": "high",
            "effort": "low", "auto_apply": True, "moves": moves, "sample": 200,
        }
    )  # fmt: skip
    context = DecisionContext(WEEK, WEEK.end, WEEK.end)
    kept = apply(engine, [item], SETTINGS, context, dry_run=True)
    assert kept[0].run_rate_usd_per_day == item.run_rate_usd_per_day
    cache, model = apply(engine, [larger, item], SETTINGS, context)
    assert cache.status == "applied"
    assert (model.run_rate_usd_per_day, model.run_rate_reason) == (
        None,
        "the same requests are changed with this report",
    )
