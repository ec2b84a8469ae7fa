"""Recommendations become bounded, audited changes of the router's config, or give the reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.attribution import Attribution
from models.database import reading, writing
from models.documents import Recommendation
from models.period import Period
from models.schema import OptimizationState
from models.settings import ChoiceKnob, NumericKnob, Optimizer, PerformanceMetrics, Settings
from models.tables import ConfigChange, OptimizationTransition, OptimizationTrial, table_of
from reports.text.verdicts import trials_of
from tasks.bottlenecks.detect import detect_bottlenecks
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.optimizer.apply import DecisionContext, applied_in, apply
from tasks.optimizer.decisions import revert
from tasks.optimizer.lifecycle import Step, advance
from tasks.optimizer.queries import list_optimizations
from tasks.optimizer.recommend import recommend
from tasks.optimizer.router_config import config_history, history, read_config, set_by_hand
from tasks.optimizer.router_values import Setting
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.update import update_rollups
from tests.support.factories import MONDAY, hours, insert_selections, selections

DAY = timedelta(days=1)
NOW = MONDAY + DAY
CONTEXT = DecisionContext(Period(MONDAY, NOW), last_selection_at=NOW, now=NOW)
AUTO = Optimizer(undecided="keep")
SETTINGS = Settings(optimizer=AUTO)

CONFIG = {
    "cache.max_entries": 1000,
    "cache.ttl_seconds": 600,
    "cache.key_strategy": "exact",
    "cache.eviction_policy": "fifo",
    "routing.simple": "costly",
}
SLOW = [{"response_time_ms": 5000.0}] * 200
UNCACHED = [{"cache_hit": False}] * 200


def recommended(
    rows: list[dict[str, Any]], config: Mapping[str, Any] | None = None, optimizer: Optimizer = AUTO
) -> tuple[Recommendation, ...]:
    rollups, limits = hours(*rows), PerformanceMetrics()
    given = CONFIG if config is None else config
    settings = {key: value if isinstance(value, Setting) else Setting(value, 1) for key, value in given.items()}
    return recommend(
        detect_bottlenecks(rollups, limits, "UTC"), rollups, cheapest_adequate(rollups, limits), settings, optimizer
    )


def keep(router: Engine, optimization_id: int) -> None:
    """As the verification does once a change has proved itself."""
    with writing(router) as connection:
        advance(connection, optimization_id, OptimizationState.KEPT, Step("routewatch", "better", NOW))


@pytest.fixture
def router(engine: Engine) -> Engine:
    """A config, and a week under it as a baseline."""
    for key, value in CONFIG.items():
        set_by_hand(engine, key, value, by="router", reason="defaults", now=MONDAY)
    insert_selections(engine, selections(*({"timestamp": NOW - timedelta(hours=hour)} for hour in range(168))))
    update_rollups(engine, rollup_settings(SETTINGS), now=NOW)
    return engine


def values(engine: Engine) -> dict[str, Any]:
    return {key: setting.value for key, setting in read_config(engine).items()}


# --- recommending -----------------------------------------------------------------------------------------------------


def test_the_documents_recommendations() -> None:
    """Type, impact, effort and autoApply per bottleneck are the product document's."""
    costly = [
        {"model_id": m, "complexity": "simple", "cost_usd": usd, "accuracy": 1.0, "response_time_ms": 100.0}
        for m, usd in (("cheap", 0.01), ("costly", 0.2))
        for _ in range(100)
    ]
    found = recommended(SLOW + UNCACHED + costly)
    assert sorted((item.type, item.impact, item.effort, item.auto_apply) for item in found) == [
        ("cache_optimization", "high", "low", True),
        ("cache_strategy", "medium", "medium", True),
        ("model_selection", "high", "low", False),
    ]


def test_cache_size_and_ttl_are_raised_by_a_bounded_step() -> None:
    """One step doubles, and the upper bound cuts it."""
    [item] = recommended(SLOW, optimizer=Optimizer(cache_ttl_seconds=NumericKnob(minimum=60, maximum=900)))
    assert {move.key: (move.from_value, move.to_value) for move in item.moves} == {
        "cache.max_entries": (1000, 2000),
        "cache.ttl_seconds": (600, 900),
    }


def test_the_cache_strategy_moves_one_step() -> None:
    """Key strategy and eviction policy go one step along their lists."""
    [item] = recommended(UNCACHED)
    assert {move.key: move.to_value for move in item.moves} == {
        "cache.key_strategy": "normalized",
        "cache.eviction_policy": "lru",
    }


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({}, "the router's config has no cache.key_strategy"),
        ({"cache.key_strategy": "semantic", "cache.eviction_policy": "lfu"}, "is the strongest of the known choices"),
        ({"cache.key_strategy": "own", "cache.eviction_policy": 7}, "is none of exact, normalized, semantic"),
    ],
    ids=["no key", "at the end", "unknown value"],
)
def test_what_cannot_be_moved_is_said(config: dict[str, Any], note: str) -> None:
    """A recommendation without a possible change gives the reason, and what would make it possible."""
    [item] = recommended(UNCACHED, config)
    assert item.status == "impossible"
    assert item.note is not None
    assert note in item.note


def test_a_number_is_never_lowered() -> None:
    """A value beyond the bound, or one that is not a number, is left unchanged."""
    [item] = recommended(SLOW, {"cache.max_entries": 5_000_000, "cache.ttl_seconds": "long"})
    assert item.status == "impossible"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{"response_time_ms": 5000.0}] * 20, "20 selections are known, 100 are needed"),
        ([{"response_time_ms": 5000.0}] * 13 + [{"response_time_ms": 1.0}] * 107, "within what chance would do"),
    ],
    ids=["few", "unclear"],
)
def test_thin_evidence_waits(rows: list[dict[str, Any]], why: str) -> None:
    """A bottleneck over few rows, or too near to its limit, is reported but not acted on."""
    [item] = recommended(rows)
    assert item.status == "deferred"
    assert item.note is not None
    assert why in item.note


def test_model_selection_names_models_savings_and_sample() -> None:
    """Per complexity class: from, to, the savings with an interval, and the accuracy afterwards."""
    rows = [
        {"model_id": m, "complexity": "simple", "cost_usd": usd, "accuracy": 1.0, "response_time_ms": 100.0}
        for m, usd in (("cheap", 0.01), ("costly", 0.2))
        for _ in range(100)
    ]
    [item] = recommended(rows)
    assert (item.complexity, item.from_model, item.to_model) == ("simple", "costly", "cheap")
    assert (item.sample, item.observational, item.status) == (100, True, "waiting")
    assert item.savings_usd is not None
    assert item.savings_usd.estimate == pytest.approx(19.0)
    assert item.accuracy_after is not None
    assert [(move.key, move.to_value) for move in item.moves] == [("routing.simple", "cheap")]


def test_without_an_adequate_model_nobody_is_sent_to_a_cheaper_one() -> None:
    """High cost with unknown accuracy: the recommendation stands, and says that it cannot be made concrete."""
    [item] = recommended([{"cost_usd": 0.2}] * 100)
    assert (item.type, item.status) == ("model_selection", "impossible")


# --- applying ---------------------------------------------------------------------------------------------------------


def test_nothing_is_changed_by_itself_that_would_only_be_reverted_as_undecided(router: Engine) -> None:
    [item] = apply(router, recommended(SLOW), Settings(), CONTEXT)
    assert item.status == "deferred"
    assert item.note is not None
    assert item.note.startswith("could not be judged: ")
    assert "under the present config, and before and after needs 17; a router that lists" in item.note
    assert values(router)["cache.max_entries"] == 1000


def test_a_router_that_declares_switchbacks_needs_no_past(router: Engine) -> None:
    set_by_hand(router, "router.trials", ["switchback"], by="router", reason="it can", now=MONDAY)
    [item] = apply(router, recommended(SLOW), Settings(), CONTEXT)
    assert item.status == "applied"
    assert [row.method for row in _trials(router)] == ["switchback"]


def _trials(engine: Engine) -> Sequence[Any]:
    with reading(engine) as connection:
        return connection.execute(select(table_of(OptimizationTrial))).fetchall()


def test_a_safe_optimization_is_applied_with_its_audit(router: Engine) -> None:
    """Value, version, audit row and transitions are written together, and the report can describe the change."""
    [item] = apply(router, recommended(SLOW), SETTINGS, CONTEXT)
    assert item.status == "applied"
    assert values(router)["cache.max_entries"] == 2000
    change = history(router, "cache.max_entries")[0]
    assert (change.from_value, change.to_value, change.version, change.changed_by) == (1000, 2000, 2, "routewatch")
    assert change.optimization_id == list_optimizations(router)[0].id
    assert [(row.key, row.to_value) for row in applied_in(router, MONDAY, NOW)] == [
        ("cache.max_entries", 2000),
        ("cache.ttl_seconds", 1200),
    ]
    with reading(router) as connection:
        steps = connection.execute(select(table_of(OptimizationTransition))).fetchall()
    assert [(step.from_state, step.to_state) for step in steps] == [
        (None, "proposed"),
        ("proposed", "autoApplied"),
        ("autoApplied", "applied"),
    ]


def test_nothing_is_applied_during_the_cool_down(router: Engine) -> None:
    """The same keys are left alone for a day, then changed by another step."""
    apply(router, recommended(SLOW), SETTINGS, CONTEXT)
    keep(router, 1)
    ready = recommended(SLOW, read_config(router))
    after = Period(NOW, NOW + timedelta(hours=12))
    [early] = apply(router, ready, SETTINGS, DecisionContext(after, NOW, NOW + timedelta(hours=23)))
    assert early.status == "deferred"
    assert early.note is not None
    assert "cools down until" in early.note
    assert values(router)["cache.max_entries"] == 2000
    [late] = apply(router, ready, SETTINGS, DecisionContext(after, NOW, NOW + timedelta(hours=24)))
    assert late.status == "applied"
    assert values(router)["cache.max_entries"] == 4000


def test_a_change_is_assessed_only_by_a_period_that_lies_wholly_after_it(router: Engine) -> None:
    """Slowness before a change is not evidence against it."""
    apply(router, recommended(SLOW), SETTINGS, CONTEXT)
    keep(router, 1)
    mixed = DecisionContext(Period(NOW - timedelta(hours=1), NOW + DAY), NOW + DAY, NOW + 2 * DAY)
    [item] = apply(router, recommended(SLOW, read_config(router)), SETTINGS, mixed)
    assert item.status == "deferred"
    assert item.note is not None
    assert "waits for a whole period after the last change" in item.note
    assert values(router)["cache.max_entries"] == 2000


def test_a_router_that_edited_the_key_meanwhile_wins(router: Engine) -> None:
    """Compare and set on the version: nothing of the optimization is written."""
    items = recommended(SLOW)
    set_by_hand(router, "cache.ttl_seconds", 30, by="router", reason="memory", now=NOW)
    [item] = apply(router, items, SETTINGS, CONTEXT)
    assert item.status == "deferred"
    assert item.note is not None
    assert "cache.ttl_seconds is at version 2" in item.note
    assert values(router)["cache.max_entries"] == 1000
    assert values(router)["cache.ttl_seconds"] == 30
    assert list_optimizations(router) == []


@pytest.mark.parametrize(
    ("optimizer", "evidence", "why"),
    [
        (Optimizer(mode="propose"), CONTEXT, "the optimizer only proposes"),
        (Optimizer(mode="off"), CONTEXT, "the optimizer is off"),
        (AUTO, DecisionContext(CONTEXT.period, NOW + timedelta(days=2), NOW), "much newer selections"),
    ],
    ids=["propose", "off", "stale"],
)
def test_a_change_that_may_not_be_applied_is_only_reported(
    router: Engine, optimizer: Optimizer, evidence: DecisionContext, why: str
) -> None:
    """By mode, or because the period is history, the config stays unchanged."""
    [item] = apply(router, recommended(SLOW), Settings(optimizer=optimizer), evidence)
    assert item.note is not None
    assert why in item.note
    assert values(router) == CONFIG


def test_the_same_proposal_is_recorded_once(router: Engine) -> None:
    """Runs that find the same again update the open proposal."""
    optimizer = Optimizer(mode="propose")
    for hour in range(3):
        apply(
            router,
            recommended(SLOW),
            Settings(optimizer=optimizer),
            DecisionContext(CONTEXT.period, NOW, NOW + timedelta(hours=hour)),
        )
    [row] = list_optimizations(router)
    assert (row.state, row.updated_at) == ("proposed", NOW + timedelta(hours=2))


def test_knobs_move_only_along_the_users_choices(router: Engine) -> None:
    """A choice list in the settings replaces the default one."""
    optimizer = Optimizer(undecided="keep", cache_key_strategy=ChoiceKnob(choices=("exact", "prefix")))
    apply(router, recommended(UNCACHED, optimizer=optimizer), Settings(optimizer=optimizer), CONTEXT)
    assert values(router)["cache.key_strategy"] == "prefix"


def test_every_change_has_its_audit_row(router: Engine) -> None:
    """Versions in the trail run from one without a gap, for each key."""
    apply(router, recommended(SLOW), SETTINGS, CONTEXT)
    keep(router, 1)
    apply(router, recommended(UNCACHED), SETTINGS, CONTEXT)
    with reading(router) as connection:
        rows = connection.execute(select(table_of(ConfigChange))).fetchall()
    for key, setting in read_config(router).items():
        assert sorted(row.version for row in rows if row.key == key) == list(range(1, setting.version + 1))


def test_a_revert_is_marked_and_is_no_second_change(router: Engine) -> None:
    """Two keys of one optimization are set and set back: four rows, of which two are the revert, and one change."""
    apply(router, recommended(SLOW), SETTINGS, CONTEXT)
    revert(router, 1, Attribution("Dana Cole", "no good", NOW + timedelta(hours=1)))
    rows = applied_in(router, MONDAY, NOW + DAY)
    assert sorted((row.key, row.is_revert) for row in rows) == [
        ("cache.max_entries", False),
        ("cache.max_entries", True),
        ("cache.ttl_seconds", False),
        ("cache.ttl_seconds", True),
    ]
    [trial] = trials_of(rows)
    assert trial.applied_at == NOW
    entries = [entry for entry in config_history(router, NOW, NOW + DAY) if entry.optimization_id == 1]
    assert [(entry.is_revert, entry.reverted) for entry in entries] == [(False, True)] * 2 + [(True, False)] * 2
