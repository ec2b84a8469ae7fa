"""Helicone's exported requests become selections, each field with its meaning there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.pulls import START, bring, stored, write_csv, write_jsonl

ZERO = "00000000-0000-0000-0000-000000000000"


def request(name: str, **values: Any) -> dict[str, Any]:
    """A row as Helicone's export tool writes it."""
    usual = {
        "response_id": f"response-{name}", "response_created_at": "2026-09-07T08:00:01.412Z", "response_body": {"a": 1},
        "response_status": 200, "response_model": None, "request_id": name, "request_path": "/v1/chat/completions",
        "request_created_at": "2026-09-07T08:00:00.000Z", "request_body": {"messages": []}, "request_user_id": "u1",
        "request_properties": {"Team": "search", "Tier": "simple"}, "request_model": "gpt-4o", "model_override": None,
        "helicone_user": None, "provider": "OPENAI", "delay_ms": 1412, "time_to_first_token": 200,
        "total_tokens": 970, "prompt_tokens": 900, "prompt_cache_write_tokens": 0, "prompt_cache_read_tokens": 512,
        "completion_tokens": 70, "prompt_audio_tokens": 0, "completion_audio_tokens": 0, "cost": 0.0031,
        "prompt_id": "", "prompt_version": "", "feedback_rating": None, "country_code": "DE", "asset_ids": [],
        "scores": {}, "costUSD": 0.0029, "properties": {"Team": "search", "Tier": "simple"},
        "target_url": "https://api.openai.com/v1/chat/completions", "model": "gpt-4o-2024-11-20",
        "cache_reference_id": ZERO, "cache_enabled": True, "updated_at": "2026-09-07T08:00:02Z",
    }  # fmt: skip
    return usual | values


def pulled(engine: Engine, tmp_path: Path, *rows: dict[str, Any], **settings: Any) -> dict[str, dict[str, Any]]:
    write_jsonl(tmp_path / "export.jsonl", *rows)
    bring(engine, "helicone", tmp_path, **settings)
    return stored(engine)


def test_a_request_becomes_a_selection_field_by_field(engine: Engine, tmp_path: Path) -> None:
    rows = pulled(engine, tmp_path, request("r1", feedback_rating=True), team_key="Team", complexity_key="Tier")
    assert rows == {
        "r1": {
            "request_id": "r1", "timestamp": START, "model_id": "gpt-4o-2024-11-20", "response_time_ms": 1412.0,
            "complexity": "simple", "cost_usd": 0.0029, "cache_hit": False, "user_satisfaction": 1.0, "error": False,
            "prompt_tokens": 900, "completion_tokens": 70, "team": "search",
        }
    }  # fmt: skip


def test_csv_and_json_say_the_same_as_jsonl(sqlite_engine: Engine, tmp_path: Path) -> None:
    rows = [request("r1", scores={"right-hcone-bool": 1}, feedback_rating=False), request("r2", response_status=500)]
    write_jsonl(tmp_path / "lines" / "a.jsonl", *rows)
    bring(sqlite_engine, "helicone", tmp_path / "lines", accuracy_score="right", team_key="Team")
    first = stored(sqlite_engine)
    write_csv(tmp_path / "table" / "a.csv", *rows)
    again = bring(sqlite_engine, "helicone", tmp_path / "table", accuracy_score="right", team_key="Team")
    assert (again.read, again.unchanged) == (2, 2)
    assert stored(sqlite_engine) == first


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (200, False, None), (299, False, None), (429, True, "http 429"), (503, True, "http 503"),
        (-3, True, "cancelled"), (-1, True, "status -1"), (-4, True, "status -4"), (-2, False, None),
        (None, False, None),
    ],
)  # fmt: skip
def test_a_status_says_whether_a_call_failed(
    sqlite_engine: Engine, tmp_path: Path, status: int | None, error: bool, kind: str | None
) -> None:
    row = pulled(sqlite_engine, tmp_path, request("r", response_status=status))["r"]
    assert (row["error"], row.get("error_type")) == (error, kind)
    assert ("response_time_ms" in row) == (not error and status != -2)


@pytest.mark.parametrize(
    ("values", "hit"),
    [
        ({"cache_reference_id": "5b0c2f4e-7a11-4e6d-9d3a-1f2e3d4c5b6a"}, True),
        ({"cached": True}, True),
        ({"cached": False, "cache_enabled": None}, False),
        ({"cache_reference_id": ZERO, "cache_enabled": True}, False),
        ({"cache_reference_id": ZERO, "cache_enabled": False}, None),
        ({"cache_reference_id": None, "cache_enabled": None, "prompt_cache_read_tokens": 900}, None),
    ],
)
def test_only_the_response_cache_makes_hits_and_none_where_it_is_off(
    sqlite_engine: Engine, tmp_path: Path, values: dict[str, Any], hit: bool | None
) -> None:
    assert pulled(sqlite_engine, tmp_path, request("r", **values))["r"].get("cache_hit") is hit


@pytest.mark.parametrize(
    ("values", "cost"),
    [
        ({"costUSD": 0.01, "cost": 0.02}, 0.01),
        ({"costUSD": None, "cost": 0.02}, 0.02),
        ({"costUSD": None, "cost": 0}, None),
        ({"costUSD": None, "cost": 0, "cached": True}, 0.0),
        ({"costUSD": None, "cost": 3_100_000}, None),
    ],
)
def test_a_cost_is_in_dollars_and_one_that_cannot_be_is_unknown(
    sqlite_engine: Engine, tmp_path: Path, values: dict[str, Any], cost: float | None
) -> None:
    row = request("r", model="a-model-without-a-price", provider="CUSTOM", **values)
    assert pulled(sqlite_engine, tmp_path, row)["r"].get("cost_usd") == cost


def test_a_free_answer_is_free_where_the_settings_say_so(sqlite_engine: Engine, tmp_path: Path) -> None:
    rows = pulled(sqlite_engine, tmp_path, request("r", costUSD=0, cost=0), zero_is_free=True)
    assert rows["r"]["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("scores", "accuracy"),
    [
        ({"right-hcone-bool": 1}, 1.0), ({"right-hcone-bool": 0}, 0.0), ({"right": True}, 1.0),
        ({"right": {"value": 0, "valueType": "boolean"}}, 0.0), ({"other": 1}, None), (None, None),
    ],
)  # fmt: skip
def test_a_score_that_is_true_or_false_becomes_accuracy(
    sqlite_engine: Engine, tmp_path: Path, scores: Any, accuracy: float | None
) -> None:
    rows = pulled(sqlite_engine, tmp_path, request("r", scores=scores), accuracy_score="right")
    assert rows["r"].get("accuracy") == accuracy


def test_a_number_is_a_score_only_with_a_scale(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", request("r", scores={"quality": 80}), request("s", scores={"quality": 180}))
    stats = bring(sqlite_engine, "helicone", tmp_path, accuracy_score="quality")
    assert (stats.added, stats.rejected) == (2, {})
    assert stats.unknown == {"accuracy score quality has no scale: name it in a mapping file": 2}
    mapping = tmp_path / "map.toml"
    mapping.write_text('[columns]\naccuracy = { from = "quality", minimum = 0, maximum = 100 }\n')
    stats = bring(sqlite_engine, "helicone", tmp_path, since=START, mapping=mapping)
    assert (stats.changed, stats.unknown) == (1, {"accuracy score quality is outside 0 to 100, or not a number": 1})
    assert {name: row.get("accuracy") for name, row in stored(sqlite_engine).items()} == {"r": 0.8, "s": None}


def test_a_request_without_a_models_answer_is_skipped(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "a.jsonl", request("tool", model="tool:search"), request("vector", model="vector_db"),
        request("embedded", request_path="/v1/embeddings"), request("selection"),
    )  # fmt: skip
    stats = bring(sqlite_engine, "helicone", tmp_path)
    assert list(stored(sqlite_engine)) == ["selection"]
    assert stats.skipped == {
        "is a logged event, no answer of a model": 2, "is a call of /embeddings, no answer of a model": 1,
    }  # fmt: skip


def test_an_old_export_without_most_columns_is_read(sqlite_engine: Engine, tmp_path: Path) -> None:
    old = {
        "response_id": "o1", "response_created_at": "2026-09-07T08:00:01Z", "response_status": "200",
        "request_created_at": "2026-09-07 08:00:00.000", "request_body": "{}", "request_properties": "{}",
        "request_user_id": "", "model": "gpt-4o", "prompt_tokens": "10", "completion_tokens": "5", "latency": "800",
        "cost": "0.001",
    }  # fmt: skip
    write_csv(tmp_path / "a.csv", old)
    bring(sqlite_engine, "helicone", tmp_path)
    assert stored(sqlite_engine)["o1"] == {
        "request_id": "o1", "timestamp": START, "model_id": "gpt-4o", "response_time_ms": 800.0, "cost_usd": 0.001,
        "error": False, "prompt_tokens": 10, "completion_tokens": 5, "complexity": "simple",
        "complexity_derived": True,
    }  # fmt: skip


def test_a_second_pull_adds_none_and_what_came_later_is_taken(engine: Engine, tmp_path: Path) -> None:
    assert list(pulled(engine, tmp_path, request("r1"), request("r2"))) == ["r1", "r2"]
    assert bring(engine, "helicone", tmp_path).read == 0
    late = (START - timedelta(hours=1)).isoformat()
    write_jsonl(
        tmp_path / "export.jsonl", request("late", request_created_at=late), request("r1", feedback_rating=False)
    )
    again = bring(engine, "helicone", tmp_path)
    assert (again.read, again.added, again.changed, again.late) == (2, 1, 1, 1)
    assert stored(engine)["r1"]["user_satisfaction"] == 0.0


def test_rows_with_wrong_values_are_counted_and_stop_nothing(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "a.jsonl", request("good", delay_ms=-5), request("when", request_created_at=None),
        request("what", model=None, request_model=None), request("", request_id=None, response_id=None),
        request("much", prompt_tokens="many"),
    )  # fmt: skip
    stats = bring(sqlite_engine, "helicone", tmp_path)
    assert {name: row["model_id"] for name, row in stored(sqlite_engine).items()} == {
        "good": "gpt-4o-2024-11-20", "what": "unknown", "much": "gpt-4o-2024-11-20",
    }  # fmt: skip
    assert "response_time_ms" not in stored(sqlite_engine)["good"]
    assert stats.rejected == {
        "timestamp is missing": 1, "request_id is missing": 1,
    }  # fmt: skip
    assert stats.unknown == {"prompt_tokens is not a number": 1}
