"""The semantic router's replay records become selections with all nine columns, from files and from its own table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, text

from models.database import reading
from models.errors import SourceUnavailable
from models.tables import Overhead, table_of
from tests.support.databases import PostgresServer
from tests.support.pulls import MINUTE, START, bring, stored, write_jsonl


def record(name: str, **values: Any) -> dict[str, Any]:
    """A replay record as the router writes it."""
    usual = {
        "id": name, "timestamp": "2026-09-07T08:00:00.25Z", "request_id": f"request-{name}", "session_id": "s",
        "turn_index": 0, "recipe": "default", "decision": "code", "decision_tier": 2, "category": "computer science",
        "original_model": "auto", "selected_model": "qwen3-32b", "reasoning_mode": "on", "confidence_score": 0.91,
        "selection_method": "static", "signals": {"complexity": ["code:hard"], "domain": ["coding"]},
        "response_status": 200, "lifecycle_state": "completed", "duration_ms": 2310, "from_cache": False,
        "prompt": "what was asked", "prompt_tokens": 1200, "cached_prompt_tokens": 1000, "completion_tokens": 300,
        "total_tokens": 1500, "actual_cost": 0.0123, "baseline_cost": 0.05, "cost_savings": 0.0377, "currency": "USD",
        "baseline_model": "gpt-5",
    }  # fmt: skip
    return usual | values


def outcome(verdict: str, *, source: str = "operator", target: str = "model", **values: Any) -> dict[str, Any]:
    reported = {"timestamp": "2026-09-07T09:00:00Z", "source": source, "target": target, "verdict": verdict}
    return reported | values


def pulled(engine: Engine, tmp_path: Path, *records: dict[str, Any], **settings: Any) -> dict[str, dict[str, Any]]:
    write_jsonl(tmp_path / "replay.jsonl", *records)
    bring(engine, "semantic-router", tmp_path, **settings)
    return stored(engine)


WHOLE = {
    "request_id": "r1", "timestamp": START.replace(microsecond=250_000), "model_id": "qwen3-32b",
    "response_time_ms": 2310.0, "complexity": "complex", "cost_usd": 0.0123, "cache_hit": False, "accuracy": 1.0,
    "user_satisfaction": 0.75, "error": False, "prompt_tokens": 1200, "completion_tokens": 300, "team": "default",
}  # fmt: skip
JUDGED = [outcome("good_fit"), outcome("good_fit", source="user", score=0.75)]


def test_a_record_becomes_a_selection_field_by_field(engine: Engine, tmp_path: Path) -> None:
    assert pulled(engine, tmp_path, record("r1", outcomes=JUDGED), team_key="recipe") == {"r1": WHOLE}


@pytest.mark.parametrize(
    ("values", "assigned"),
    [
        ({"selection_method": "random"}, ("random:code", "qwen3-32b")),
        ({"selection_method": None, "route_diagnostics": {"selection_method": "random"}}, ("random:code", "qwen3-32b")),
        ({"selection_method": "random", "decision": ""}, (None, None)),
        ({"selection_method": "elo"}, (None, None)),
    ],
)
def test_a_model_chosen_at_random_is_the_arm(
    sqlite_engine: Engine, tmp_path: Path, values: dict[str, Any], assigned: tuple[str | None, str | None]
) -> None:
    """Whether it answered or failed."""
    for failed in (False, True):
        state = {"lifecycle_state": "failed"} if failed else {}
        rows = pulled(sqlite_engine, tmp_path, record(f"r{failed}", **values, **state))
        found = rows[f"r{failed}"]
        assert (found.get("experiment"), found.get("arm")) == assigned


def test_a_list_of_records_in_one_document_is_read(sqlite_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"object": "list", "data": [record("r1"), record("r2"), 7]}, indent=1))
    stats = bring(sqlite_engine, "semantic-router", tmp_path)
    assert (stats.added, stats.rejected) == (2, {"is not a record": 1})


@pytest.mark.parametrize(
    ("signals", "complexity"),
    [
        (["code:easy"], "simple"), (["math:medium"], "moderate"), (["a:easy", "b:hard", "c:medium"], "complex"),
        (["reasoning"], "reasoning"), ([], None), (None, None),
    ],
)  # fmt: skip
def test_the_hardest_signal_says_how_complex_a_request_is(
    sqlite_engine: Engine, tmp_path: Path, signals: Any, complexity: str | None
) -> None:
    rows = pulled(sqlite_engine, tmp_path, record("r", signals={"complexity": signals}), complexity_rule=None)
    assert rows["r"].get("complexity") == complexity


def test_another_field_can_be_the_complexity(sqlite_engine: Engine, tmp_path: Path) -> None:
    assert pulled(sqlite_engine, tmp_path, record("r"), complexity_key="decision")["r"]["complexity"] == "code"


@pytest.mark.parametrize(
    ("values", "error", "kind"),
    [
        ({}, False, None),
        ({"lifecycle_state": "failed"}, True, "failed"),
        ({"lifecycle_state": "aborted", "terminal_reason": "client went away"}, True, "aborted"),
        ({"lifecycle_state": "failed", "terminal_reason": "upstream status 503"}, True, "http 503"),
        ({"lifecycle_state": "failed", "response_status": 429}, True, "http 429"),
        ({"lifecycle_state": "in_progress", "duration_ms": 12}, False, None),
        ({"lifecycle_state": "unknown", "duration_ms": 0}, False, None),
    ],
)
def test_the_state_says_whether_a_call_failed(
    sqlite_engine: Engine, tmp_path: Path, values: dict[str, Any], error: bool, kind: str | None
) -> None:
    row = pulled(sqlite_engine, tmp_path, record("r", **values))["r"]
    assert (row["error"], row.get("error_type")) == (error, kind)
    assert ("response_time_ms" in row) == (not values)


@pytest.mark.parametrize(
    ("outcomes", "accuracy", "satisfaction"),
    [
        ([], None, None),
        ([outcome("underpowered")], 0.0, None),
        ([outcome("overprovisioned")], 1.0, None),
        ([outcome("failed")], None, None),
        ([outcome("good_fit", target="provider")], None, None),
        ([outcome("good_fit", target="route"), outcome("underpowered")], 0.0, None),
        ([outcome("underpowered", source="user")], None, 0.0),
        ([outcome("failed", source="user")], None, 0.0),
        ([outcome("good_fit", source="user", score=0)], None, 1.0),
        ([outcome("good_fit", source="user", score=7)], None, 1.0),
        ([outcome("unheard of", source="user")], None, None),
    ],
)
def test_outcomes_become_accuracy_and_satisfaction_by_one_rule(
    sqlite_engine: Engine, tmp_path: Path, outcomes: list[Any], accuracy: float | None, satisfaction: float | None
) -> None:
    row = pulled(sqlite_engine, tmp_path, record("r", outcomes=outcomes))["r"]
    assert (row.get("accuracy"), row.get("user_satisfaction")) == (accuracy, satisfaction)


def test_the_settings_name_whose_outcomes_are_meant(sqlite_engine: Engine, tmp_path: Path) -> None:
    reported = [
        outcome("underpowered", source="eval"),
        outcome("good_fit"),
        outcome("good_fit", source="chat", score=0.4),
    ]
    named = {"accuracy_score": "eval", "satisfaction_score": "chat"}
    row = pulled(sqlite_engine, tmp_path, record("r", outcomes=reported), **named)["r"]
    assert (row["accuracy"], row["user_satisfaction"]) == (0.0, 0.4)


def test_costs_in_another_currency_are_unknown_and_counted(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "a.jsonl", record("euro", currency="EUR"), record("dollar"), record("unsaid", currency=None),
        record("unpaid", currency="EUR", actual_cost=None), record("zero", actual_cost=0),
        record("hit", actual_cost=0, from_cache=True),
    )  # fmt: skip
    stats = bring(sqlite_engine, "semantic-router", tmp_path)
    assert stats.rejected == {}
    assert stats.unknown == {"cost_usd is in another currency than USD": 1}
    costs = {name: row.get("cost_usd") for name, row in stored(sqlite_engine).items()}
    assert costs == {"euro": None, "dollar": 0.0123, "unsaid": 0.0123, "unpaid": None, "zero": None, "hit": 0.0}


def test_what_the_router_asked_a_model_for_itself_is_overhead_and_no_selection(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    helper = {
        "prompt_helper_model": "gpt-4o-mini", "prompt_helper_prompt_tokens": 1_000_000,
        "prompt_helper_completion_tokens": 0, "prompt_helper_latency_ms": 300,
    }  # fmt: skip
    write_jsonl(tmp_path / "a.jsonl", record("r1", route_diagnostics=helper), record("r2", route_diagnostics={}))
    stats = bring(sqlite_engine, "semantic-router", tmp_path)
    assert (stats.added, stats.overhead) == (2, 1)
    with reading(sqlite_engine) as connection:
        (own,) = connection.execute(select(table_of(Overhead))).mappings()
    assert (own["request_id"], own["kind"], own["model_id"]) == ("r1:prompt-helper", "prompt-helper", "gpt-4o-mini")
    assert (own["timestamp"], own["cost_usd"]) == (START.replace(microsecond=250_000), pytest.approx(0.15))


def test_a_second_pull_adds_none(engine: Engine, tmp_path: Path) -> None:
    assert len(pulled(engine, tmp_path, record("r1"), record("r2", what_is="new"))) == 2
    assert bring(engine, "semantic-router", tmp_path).read == 0


# --- the router's own table -------------------------------------------------------------------------------------------

TABLE = """
CREATE TABLE {name} (
  id varchar(255) PRIMARY KEY, timestamp timestamp NOT NULL, request_id varchar(255), recipe text,
  decision varchar(255), decision_tier int, category varchar(255), original_model varchar(255),
  selected_model varchar(255), signals jsonb, outcomes jsonb, response_status int,
  lifecycle_state varchar(32) NOT NULL DEFAULT 'unknown', duration_ms bigint, terminal_reason text,
  route_diagnostics jsonb,
  from_cache boolean, prompt text, prompt_tokens int, cached_prompt_tokens int, cache_write_tokens int,
  completion_tokens int, actual_cost double precision, currency varchar(32), created_at timestamp DEFAULT now()
)"""
STORED = ("id", "timestamp", "recipe", "decision", "selected_model", "signals", "outcomes", "response_status",
          "lifecycle_state", "duration_ms", "from_cache", "prompt", "prompt_tokens", "completion_tokens",
          "actual_cost", "currency")  # fmt: skip


class RouterTable:
    """A table of the router's, in a database of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))

    def create(self, name: str = "router_replay_records") -> None:
        with self.engine.begin() as connection:
            connection.execute(text(TABLE.format(name=name)))

    def insert(self, *records: dict[str, Any], name: str = "router_replay_records") -> None:
        marks = ", ".join(f":{column}" for column in STORED)
        rows = [
            {column: found.get(column) for column in STORED}
            | {column: json.dumps(found[column]) if column in found else None for column in ("signals", "outcomes")}
            for found in records
        ]
        with self.engine.begin() as connection:
            connection.execute(text(f"INSERT INTO {name} ({', '.join(STORED)}) VALUES ({marks})"), rows)  # noqa: S608


@pytest.fixture
def router(postgres_server: PostgresServer) -> Iterator[RouterTable]:
    postgres_server.execute("CREATE DATABASE semantic_router")
    found = RouterTable(postgres_server.address_of("semantic_router"))
    yield found
    found.engine.dispose()
    postgres_server.execute("DROP DATABASE semantic_router WITH (FORCE)")


def test_the_table_says_the_same_as_the_files(sqlite_engine: Engine, router: RouterTable) -> None:
    router.create()
    router.insert(record("r1", outcomes=JUDGED), record("r2", lifecycle_state="failed", response_status=502))
    stats = bring(sqlite_engine, "semantic-router", router.address, team_key="recipe")
    assert stats.added == 2
    assert stored(sqlite_engine)["r1"] == WHOLE
    assert stored(sqlite_engine)["r2"]["error_type"] == "http 502"


def test_late_records_and_late_outcomes_are_taken_within_the_overlap(engine: Engine, router: RouterTable) -> None:
    router.create()
    router.insert(record("r1"))
    assert bring(engine, "semantic-router", router.address).added == 1
    again = bring(engine, "semantic-router", router.address)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 1)
    router.insert(record("late", timestamp=(START - 30 * MINUTE).isoformat()))
    with router.engine.begin() as connection:
        connection.execute(text("UPDATE router_replay_records SET outcomes = :outcomes WHERE id = 'r1'"),
                           {"outcomes": json.dumps([outcome("good_fit")])})  # fmt: skip
    third = bring(engine, "semantic-router", router.address)
    assert (third.added, third.changed, third.late) == (1, 1, 1)
    assert stored(engine)["r1"]["accuracy"] == 1.0


def test_a_table_of_another_name_and_one_that_is_not_there(sqlite_engine: Engine, router: RouterTable) -> None:
    router.create("replays")
    router.insert(record("r1"), name="replays")
    join = "&" if "?" in router.address else "?"
    assert bring(sqlite_engine, "semantic-router", f"{router.address}{join}table=replays").added == 1
    with pytest.raises(SourceUnavailable, match="router_replay_records"):
        bring(sqlite_engine, "semantic-router", router.address, since=START - timedelta(days=1))
