"""A row that a source rejects says whether its call failed, where the record tells, and counts near its neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from models.database import reading
from routewatch.quarantine import INTAKE_COUNT
from tests.support.pulls import START, bring, write_jsonl

WHEN = "2026-09-07T08:00:00Z"
ODD_TIMES = ("soon", "NaN", None, "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", {"a": 1})

SOURCES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "openrouter": ("created_at", {"id": "{}", "model": "m", "cancelled": False}, {"cancelled": True}),
    "semantic-router": ("timestamp", {"id": "{}", "selected_model": "m"}, {"response_status": 503}),
    "helicone": (
        "request_created_at",
        {"request_id": "{}", "model": "m", "request_path": "/v1/chat/completions", "response_status": 200},
        {"response_status": 429},
    ),
    "langfuse": ("startTime", {"id": "{}", "type": "GENERATION", "model": "m"}, {"level": "ERROR"}),
    "table": ("timestamp", {"request_id": "{}", "model_id": "m", "error": False}, {"error": True}),
}


def counted(engine: Engine) -> dict[str, tuple[int, int, Any]]:
    with reading(engine) as connection:
        rows = connection.execute(select(INTAKE_COUNT).where(INTAKE_COUNT.c.outcome == "rejected"))
        return {row.reason: (row.rows, row.errors, row.hour) for row in rows}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_rejected_row_is_counted_as_the_failed_call_that_it_was(
    sqlite_engine: Engine, tmp_path: Path, kind: str
) -> None:
    when, usual, failed = SOURCES[kind]

    def row(name: str, at: Any, **values: Any) -> dict[str, Any]:
        return {key: it.format(name) if it == "{}" else it for key, it in usual.items()} | {when: at} | values

    odd = [row(f"{number}", at, **failed) for number, at in enumerate(ODD_TIMES)]
    fine = [row(f"fine {number}", at) for number, at in enumerate(ODD_TIMES)]
    write_jsonl(tmp_path / "a.jsonl", row("good", WHEN), *odd, *fine)
    stats = bring(sqlite_engine, kind, tmp_path)
    assert (stats.added, stats.rejected.total()) == (1, 2 * len(ODD_TIMES))
    found = counted(sqlite_engine).values()
    assert [sum(each) for each in list(zip(*found, strict=True))[:2]] == [2 * len(ODD_TIMES), len(ODD_TIMES)]
    assert {hour for _, _, hour in found} == {START}
