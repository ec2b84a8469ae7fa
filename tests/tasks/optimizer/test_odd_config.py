"""Whatever a router writes into `config`: one bad value is told, every other key works on, and a person can mend it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, bindparam, delete, text

from models.attribution import Attribution
from models.database import connect, reading, writing
from models.documents import Bottleneck, ConfigHistoryEntry, Recommendation
from models.errors import ConfigConflict, UsageError
from models.period import Period
from models.schema import CONFIG, CONFIG_CHANGE
from models.settings import NumericKnob, Optimizer, PerformanceMetrics, Settings
from tasks.bottlenecks.detect import detect_bottlenecks
from tasks.kpis.cost_efficiency import cheapest_adequate
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.decisions import resume
from tasks.optimizer.lifecycle import STOPPED_KEY, stop_reason
from tasks.optimizer.recommend import recommend
from tasks.optimizer.router_config import (
    LONGEST_CONFIG_KEY,
    ChangeOrigin,
    config_history,
    history,
    read_config,
    read_whole_config,
    set_by_hand,
    set_value,
)
from tasks.optimizer.router_values import ConfigContent, Setting, UnreadableSetting, decode
from tests.support.commands import call, fault
from tests.support.databases import migrated_sqlite
from tests.support.factories import MONDAY, hours

NOW = MONDAY + timedelta(days=1)
AUTO = Optimizer()
TTL, ENTRIES, POLICY, STRATEGY, ROUTING = (
    "cache.ttl_seconds", "cache.max_entries", "cache.eviction_policy", "cache.key_strategy", "routing.simple",
)  # fmt: skip
KEYS = (TTL, ENTRIES, POLICY, STRATEGY, ROUTING, STOPPED_KEY, "a.key of the router's own")
SLOW_AND_UNCACHED = hours(*[{"response_time_ms": 5000.0, "cache_hit": False, "complexity": "simple"}] * 200)
CONTEXT = DecisionContext(Period(MONDAY, NOW), last_selection_at=NOW, now=NOW)


def written(engine: Engine, key: str, value: Any, version: Any = 1) -> None:
    """Write a row as a router does by SQL: `value` is what stands there, so text is not JSON's but any."""
    is_sqlite = engine.dialect.name == "sqlite"
    stored = ":value" if is_sqlite else "CAST(:value AS json)"
    insertion = text(
        f"INSERT INTO config (key, value, version, updated_at, updated_by) VALUES (:key, {stored}, :version,"  # noqa: S608
        " '2026-09-07 00:00:00.000000', 'router')"
    )
    with writing(engine) as connection:
        connection.execute(delete(CONFIG).where(CONFIG.c.key == bindparam("k")), {"k": key})
        connection.execute(insertion, {"key": key, "value": value, "version": version})


@contextmanager
def empty(engine: Engine) -> Iterator[Engine]:
    """Return the same database without a config: hypothesis asks for many."""
    with writing(engine) as connection:
        connection.execute(delete(CONFIG_CHANGE))
        connection.execute(delete(CONFIG))
        connection.execute(text("DELETE FROM optimization_transition"))
        connection.execute(text("DELETE FROM optimization"))
    yield engine


@cache
def found_bottlenecks() -> Sequence[Bottleneck]:
    return detect_bottlenecks(SLOW_AND_UNCACHED, PerformanceMetrics(), "UTC")


def recommended(config: dict[str, ConfigContent], optimizer: Optimizer = AUTO) -> tuple[Recommendation, ...]:
    return recommend(found_bottlenecks(), SLOW_AND_UNCACHED, {}, config, optimizer)


def notes(config: dict[str, ConfigContent]) -> str:
    return " ".join(item.note or "" for item in recommended(config))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TEXT_OF_JSON = JSON.map(json.dumps)
HOSTILE = st.sampled_from(
    ["-1", "0", "1", "1e400", "-1e400", "1" * 400, "9" * 5_000, "[" * 3_000, "[" * 40 + "]" * 40, '"\\ud800"',
     '"\\u0000"', "{}", "null", "true", '""', '"' + "x" * 2_000 + '"', "5e-324", "604800", "59.999", "60"]
)  # fmt: skip
ONLY_SQLITE = (
    st.sampled_from(["lru", "NaN", "-Infinity", "Infinity", "", " ", "{'a': 1}", "'lru'", "[1,", "\ufeff5"])
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
)
VERSIONS = st.integers(0, 5) | st.sampled_from([-1, 2**31 - 1, 1_000_000_000])
SQLITE_VERSIONS = VERSIONS | st.text("0123456789abc.", max_size=4) | st.floats(allow_nan=False) | st.binary(max_size=3)


def is_valid(raw: Any) -> bool:
    """Return whether PostgreSQL takes it as JSON; it says no to a router before anything is stored."""
    try:
        parsed = json.loads(raw, parse_constant=lambda _: math.nan) if len(raw) < 4_000 else raw
    except (ValueError, RecursionError):
        return False
    return "NaN" not in json.dumps(parsed) and "Infinity" not in raw


def check_everything(engine: Engine, rows: dict[str, tuple[Any, Any]]) -> None:
    """Read, recommend, preview, apply and mend, and hold each to what it promises."""
    found = read_whole_config(engine)
    assert found.keys() == rows.keys()
    for content in found.values():
        if isinstance(content, Setting):
            orjson.dumps(content.value)
            json.dumps(content.value, allow_nan=False, ensure_ascii=False).encode()
        else:
            assert content.key in str(content)
            assert str(content).isprintable()
            assert len(str(content)) < 500
    items = recommended(found)
    for item in items:
        for move in item.moves:
            setting = found[move.key]
            assert isinstance(setting, Setting)
            knob = {TTL: AUTO.cache_ttl_seconds, ENTRIES: AUTO.cache_max_entries}.get(move.key)
            if isinstance(knob, NumericKnob):
                assert knob.minimum <= setting.value < move.to_value <= knob.maximum
                assert move.to_value <= setting.value * knob.factor
    for is_preview in (True, False):
        assert len(apply(engine, items, Settings(), CONTEXT, dry_run=is_preview)) == len(items)
    for entry in config_history(engine, MONDAY, NOW):
        assert isinstance(entry, ConfigHistoryEntry)
        entry.model_dump_json()
    for number, key in enumerate(rows):
        set_by_hand(engine, key, number, by="ops", reason="mended", now=NOW)
    assert {key: setting.value for key, setting in read_config(engine).items()} == {
        key: number for number, key in enumerate(rows)
    }
    versions = [(row.key, row.version) for row in history(engine)]
    assert len(set(versions)) == len(versions)


many = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@many
@given(st.dictionaries(st.sampled_from(KEYS), st.tuples(TEXT_OF_JSON | HOSTILE | ONLY_SQLITE, SQLITE_VERSIONS)))
def test_no_value_in_a_sqlite_file_stops_anything(sqlite_engine: Engine, rows: dict[str, tuple[Any, Any]]) -> None:
    with empty(sqlite_engine) as engine:
        for key, (value, version) in rows.items():
            written(engine, key, value, version)
        check_everything(engine, rows)


@many
@given(st.dictionaries(st.sampled_from(KEYS), st.tuples((TEXT_OF_JSON | HOSTILE).filter(is_valid), VERSIONS)))
def test_no_value_in_postgresql_stops_anything(postgres_engine: Engine, rows: dict[str, tuple[Any, Any]]) -> None:
    with empty(postgres_engine) as engine:
        for key, (value, version) in rows.items():
            written(engine, key, value, version)
        check_everything(engine, rows)


@pytest.mark.parametrize(
    "value", [-1, 0, 1, 59, 59.9, -math.inf, math.inf, math.nan, 604_801, 10**18, 1e300, True, "600", None, [600]]
)
def test_a_value_outside_its_bounds_is_left_alone_and_told(value: Any) -> None:
    """-1 and 0 are settings of their own for many routers, and so may be what is beyond the upper bound."""
    items = recommended({TTL: Setting(value, 1)})
    assert [move for item in items for move in item.moves] == []
    [told] = [item.note for item in items if item.type == "cache_optimization"]
    assert told is not None
    assert f"{TTL} stays at" in told
    assert ("left alone" in told) is (isinstance(value, int | float) and value is not True and math.isfinite(value))


def test_a_value_at_the_upper_bound_is_told_as_such_and_a_factor_too_small_too() -> None:
    assert "is at the upper bound 604,800" in notes({TTL: Setting(604_800, 1)})
    knob = Optimizer(cache_ttl_seconds=NumericKnob(minimum=1, maximum=100, factor=1.01))
    assert "less than a whole number" in " ".join(it.note or "" for it in recommended({TTL: Setting(3, 1)}, knob))


def test_one_unreadable_key_keeps_no_other_from_being_changed(sqlite_engine: Engine) -> None:
    written(sqlite_engine, POLICY, "lru")
    written(sqlite_engine, STRATEGY, '"exact"')
    config = read_whole_config(sqlite_engine)
    [item] = [it for it in recommended(config) if it.type == "cache_strategy"]
    assert [move.key for move in item.moves] == [STRATEGY]
    assert "cache.eviction_policy is unreadable: lru is not JSON" in (item.note or "")
    assert "`routewatch config set cache.eviction_policy VALUE`" in (item.note or "")


@pytest.mark.parametrize("value", ["5", "[1]", "null", "true"])
def test_a_class_whose_key_names_no_model_is_told(engine: Engine, value: str) -> None:
    written(engine, ROUTING, value)
    rows = [
        {"model_id": model, "complexity": "simple", "cost_usd": usd, "accuracy": 1.0, "response_time_ms": 500.0}
        for model, usd in (("costly", 0.2), ("cheap", 0.01))
        for _ in range(100)
    ]
    rollups, limits = hours(*rows), PerformanceMetrics()
    bottlenecks = detect_bottlenecks(rollups, limits, "UTC")
    found = recommend(bottlenecks, rollups, cheapest_adequate(rollups, limits), read_whole_config(engine), AUTO)
    assert found
    [item] = [it for it in found if it.type == "model_selection"]
    assert item.moves == ()
    assert "which names no model" in (item.note or "")


def test_an_unreadable_kill_switch_stops_and_resuming_mends_it(sqlite_engine: Engine) -> None:
    written(sqlite_engine, STOPPED_KEY, "no")
    with reading(sqlite_engine) as connection:
        assert "unreadable: no is not JSON" in (stop_reason(connection, AUTO) or "")
    resume(sqlite_engine, Attribution("ops", "mended", NOW))
    with reading(sqlite_engine) as connection:
        assert stop_reason(connection, AUTO) is None


def test_a_value_that_the_router_changed_without_raising_the_version_is_the_routers(engine: Engine) -> None:
    set_by_hand(engine, TTL, 600, by="router", reason="default", now=MONDAY)
    config = read_whole_config(engine)
    [item] = [it for it in recommended(config) if it.moves]
    with writing(engine) as connection:
        connection.execute(text("UPDATE config SET value = '-1'"))
    [decided] = apply(engine, [item], Settings(), CONTEXT)
    assert "left alone: config key cache.ttl_seconds is now -1" in (decided.note or "")
    assert read_config(engine)[TTL].value == -1


@pytest.mark.parametrize("version", [0, 1, 7])
def test_a_key_that_the_router_deleted_or_set_back_can_be_set_again(engine: Engine, version: int) -> None:
    for value in (1, 2, 3):
        set_by_hand(engine, TTL, value, by="ops", reason="r", now=MONDAY)
    with writing(engine) as connection:
        connection.execute(text("UPDATE config SET version = :v" if version else "DELETE FROM config"), {"v": version})
    assert set_by_hand(engine, TTL, 4, by="ops", reason="r", now=MONDAY) == max(3, version) + 1
    with writing(engine) as connection, pytest.raises(ConfigConflict, match="at version"):
        set_value(connection, TTL, 5, 3, ChangeOrigin("ops", "r", NOW))


@pytest.mark.parametrize(
    "value", [math.nan, [-math.inf], "\ud800", {"a\0": 1}, 10**30, json.loads("[" * 40 + "]" * 40)]
)
def test_a_value_that_could_not_be_read_back_is_not_set(engine: Engine, value: Any) -> None:
    with pytest.raises(UsageError, match="nothing was changed"):
        set_by_hand(engine, TTL, value, by="ops", reason="r", now=MONDAY)
    assert read_whole_config(engine) == {}


@pytest.mark.parametrize("length", [0, LONGEST_CONFIG_KEY, LONGEST_CONFIG_KEY + 1, 5_000])
def test_a_key_is_set_if_an_index_has_room_for_it(engine: Engine, length: int) -> None:
    key = "𠀀" * length
    if 0 < length <= LONGEST_CONFIG_KEY:
        set_by_hand(engine, key, 1, by="ops", reason="r", now=MONDAY)
        assert read_config(engine).keys() == {key}
    else:
        with pytest.raises(UsageError, match="expected 1 to 250 characters"):
            set_by_hand(engine, key, 1, by="ops", reason="r", now=MONDAY)


def test_a_row_of_sqlite_whose_key_is_no_text_is_told_beside_the_others(sqlite_engine: Engine) -> None:
    with writing(sqlite_engine) as connection:
        for key in (b"\xff", b"cache.ttl_seconds"):
            insertion = text("INSERT INTO config VALUES (:k, '1', 1, '2026-09-07 00:00:00', :k)")
            connection.execute(insertion, {"k": key})
    written(sqlite_engine, TTL, "600")
    found = read_whole_config(sqlite_engine)
    assert found[TTL] == Setting(600, 1)
    assert sum(isinstance(it, UnreadableSetting) for it in found.values()) == 2


def test_the_command_names_what_it_cannot_read_and_mends_it(tmp_path: Path) -> None:
    address = migrated_sqlite(tmp_path)
    engine = connect(address)
    written(engine, POLICY, "lru")
    written(engine, ENTRIES, "500")
    engine.dispose()
    env = {"ROUTEWATCH_DATABASE_URL": address}
    shown = call(tmp_path, "config", "get", env=env)
    assert (shown.returncode, json.loads(shown.stdout)) == (0, {ENTRIES: 500})
    assert "cache.eviction_policy is unreadable: lru is not JSON" in shown.stderr
    assert "config set cache.eviction_policy VALUE" in fault(tmp_path, "config", "get", POLICY, status=2, env=env)
    assert call(tmp_path, "config", "set", POLICY, "lru", env=env).returncode == 0
    assert call(tmp_path, "config", "set", TTL, "-1", env=env).returncode == 0
    assert "no finite number" in fault(tmp_path, "config", "set", TTL, "-Infinity", status=2, env=env)
    mended = call(tmp_path, "config", "get", env=env)
    assert json.loads(mended.stdout) == {POLICY: "lru", ENTRIES: 500, TTL: -1}
    assert '"unreadable": "lru"' in call(tmp_path, "config", "history", env=env).stdout


@given(st.binary(max_size=30) | st.text(max_size=30) | JSON)
def test_what_is_decoded_is_json_that_everybody_can_read(raw: Any) -> None:
    try:
        value = decode(raw)
    except ValueError:
        return
    assert json.loads(orjson.dumps(value)) == value
