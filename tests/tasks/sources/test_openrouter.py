"""OpenRouter's single generations become selections; its sums are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.database import reading
from models.errors import UnreadableInput
from routewatch.quarantine import INTAKE_COUNT
from tests.support.pulls import MINUTE, START, bring, stored, write_csv, write_jsonl

COLUMNS = (
    "generation_id", "created_at", "cost_total", "cost_web_search", "cost_cache", "cost_file_processing",
    "byok_usage_inference", "tokens_prompt", "tokens_completion", "tokens_reasoning", "tokens_cached",
    "model_permaslug", "provider_name", "variant", "cancelled", "streamed", "user", "finish_reason_raw",
    "finish_reason_normalized", "generation_time_ms", "time_to_first_token_ms", "api_key_disabled", "api_key_name",
    "app_name",
)  # fmt: skip


def generation(name: str, **values: Any) -> dict[str, Any]:
    """A row of the export as OpenRouter writes it."""
    usual = {
        "generation_id": name, "created_at": "2026-09-07 08:00:00.123", "cost_total": "0.0042", "cost_web_search": "0",
        "cost_cache": "-0.0003", "cost_file_processing": "0", "byok_usage_inference": "0", "tokens_prompt": "900",
        "tokens_completion": "70", "tokens_reasoning": "12", "tokens_cached": "512",
        "model_permaslug": "openai/gpt-4.1-2025-04-14", "provider_name": "OpenAI", "variant": "standard",
        "cancelled": "false", "streamed": "true", "user": "", "finish_reason_raw": "stop",
        "finish_reason_normalized": "stop", "generation_time_ms": "1830", "time_to_first_token_ms": "420",
        "api_key_disabled": "false", "api_key_name": "search", "app_name": "Chat",
    }  # fmt: skip
    assert set(usual) == set(COLUMNS)
    return usual | values


def test_a_generation_becomes_a_selection_field_by_field(engine: Engine, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", generation("gen-1"))
    assert bring(engine, "openrouter", tmp_path, team_key="api_key_name", complexity_key="app_name").added == 1
    assert stored(engine) == {
        "gen-1": {
            "request_id": "gen-1", "timestamp": START.replace(microsecond=123_000), "response_time_ms": 1830.0,
            "model_id": "openai/gpt-4.1-2025-04-14", "cost_usd": 0.0042, "error": False, "prompt_tokens": 900,
            "completion_tokens": 70, "team": "search", "complexity": "Chat",
        }
    }  # fmt: skip


def test_each_kind_of_generation_is_read_for_what_it_is(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_csv(
        tmp_path / "a.csv",
        generation("own-key", cost_total="0.0001", byok_usage_inference="0.02"),
        generation("free", variant="free", cost_total="0", model_permaslug="deepseek/deepseek-r1"),
        generation("failed", finish_reason_normalized="error", finish_reason_raw="upstream_error",
                   tokens_prompt="0", tokens_completion="0", cost_total="0"),
        generation("given up", cancelled="true"),
        generation("bare", cost_total="", tokens_prompt="", tokens_completion="", generation_time_ms="",
                   model_permaslug="some/model"),
    )  # fmt: skip
    assert bring(sqlite_engine, "openrouter", tmp_path).added == 5
    rows = stored(sqlite_engine)
    assert rows["own-key"]["cost_usd"] == pytest.approx(0.0201)
    assert (rows["free"]["model_id"], rows["free"]["cost_usd"]) == ("deepseek/deepseek-r1:free", 0.0)
    assert (rows["failed"]["error"], rows["failed"]["error_type"]) == (True, "upstream_error")
    assert (rows["given up"]["error"], rows["given up"]["error_type"]) == (True, "cancelled")
    for name in ("failed", "given up"):
        assert "response_time_ms" not in rows[name]
    assert "prompt_tokens" not in rows["failed"]
    assert not rows["bare"].keys() & {"cost_usd", "prompt_tokens", "completion_tokens", "response_time_ms"}
    assert not any("cache_hit" in row for row in rows.values()), "reads of a prompt cache are no cache hits"


def test_answers_of_the_generation_endpoint_are_read_too(sqlite_engine: Engine, tmp_path: Path) -> None:
    answer = {
        "id": "gen-2", "created_at": "2026-09-07T08:00:00.500+00:00", "model": "sao10k/l3-stheno-8b",
        "total_cost": 0.001, "is_byok": True, "upstream_inference_cost": 0.01, "generation_time": 1200, "latency": 300,
        "tokens_prompt": 10, "tokens_completion": 25, "cancelled": False, "finish_reason": "stop", "router": "auto",
    }  # fmt: skip
    write_jsonl(tmp_path / "a.jsonl", {"data": answer}, answer | {"id": "gen-3", "is_byok": False})
    assert bring(sqlite_engine, "openrouter", tmp_path).added == 2
    rows = stored(sqlite_engine)
    assert rows["gen-2"]["cost_usd"] == pytest.approx(0.011)
    assert (rows["gen-3"]["cost_usd"], rows["gen-3"]["response_time_ms"]) == (0.001, 1200.0)


@pytest.mark.parametrize(
    "sums",
    [
        {"date": "2026-09-07", "model": "openai/gpt-4.1", "requests": "5", "usage": "0.015", "prompt_tokens": "50"},
        {"Model": "openai/gpt-4.1", "Spend": "$1.25"},
    ],
)
def test_sums_over_requests_are_refused_with_what_to_export_instead(
    sqlite_engine: Engine, tmp_path: Path, sums: dict[str, str]
) -> None:
    write_csv(tmp_path / "activity.csv", sums)
    with pytest.raises(UnreadableInput, match=r"activity\.csv.*add requests up.*generation_id"):
        bring(sqlite_engine, "openrouter", tmp_path / "activity.csv")
    assert stored(sqlite_engine) == {}


def test_a_second_pull_adds_none_and_a_longer_export_adds_what_is_new(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "activity.csv"
    write_csv(path, generation("1"), generation("2"))
    assert bring(engine, "openrouter", path).added == 2
    assert bring(engine, "openrouter", path).read == 0
    write_csv(path, generation("1"), generation("2", unheard_of="x"), generation("3"), generation("3"))
    again = bring(engine, "openrouter", path)
    assert (again.read, again.added, again.unchanged) == (4, 1, 3)


def test_a_row_that_cannot_be_read_is_counted_and_the_others_are_kept(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_csv(
        tmp_path / "a.csv", generation("good"), generation("late", created_at="yesterday"), generation(""),
        generation("dear", cost_total="much"),
    )  # fmt: skip
    stats = bring(sqlite_engine, "openrouter", tmp_path)
    assert stats.added == 2
    assert stats.rejected == {"timestamp is not a time": 1, "generation_id is missing": 1}
    assert stats.unknown == {"cost_usd is not a number": 1}
    assert stats.read == 4


def test_since_asks_for_the_files_again_from_a_time_on(sqlite_engine: Engine, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", generation("old"), generation("new", created_at="2026-09-07 08:05:00"))
    stats = bring(sqlite_engine, "openrouter", tmp_path, since=START + MINUTE)
    assert (list(stored(sqlite_engine)), stats.skipped.total()) == (["new"], 1)


def test_failed_calls_among_rejected_rows_are_counted_as_such(sqlite_engine: Engine, tmp_path: Path) -> None:
    failed = {"finish_reason_normalized": "error"}
    write_csv(
        tmp_path / "a.csv",
        generation("no time", created_at="", **failed),
        generation("odd time", created_at="soon", **failed),
        generation("", **failed),
        generation("", created_at="2099-01-01 00:00:00"),
        generation("no time and well", created_at=""),
    )
    assert bring(sqlite_engine, "openrouter", tmp_path).rejected.total() == 5
    with reading(sqlite_engine) as connection:
        counted = connection.execute(select(INTAKE_COUNT.c.rows, INTAKE_COUNT.c.errors)).all()
    assert (sum(it.rows for it in counted), sum(it.errors for it in counted)) == (5, 3)
