"""A LiteLLM proxy's database for the tests: the schema of its own migrations, and rows as the proxy writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

START = datetime(2026, 9, 7, 8, 0, tzinfo=UTC)

COLUMNS = (
    "request_id", "call_type", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime", "endTime",
    "request_duration_ms", "model", "model_group", "custom_llm_provider", "metadata", "cache_hit", "cache_key",
    "team_id", "status", "request_tags",
)  # fmt: skip


def migrations() -> list[Path]:
    """The proxy's migrations, oldest first."""
    spec = find_spec("litellm_proxy_extras")
    assert spec is not None
    assert spec.origin is not None
    return sorted(Path(spec.origin).parent.glob("migrations/*/migration.sql"))


def migrate(address: str, *, until: str | None = None) -> None:
    """Apply all of them, or those up to the one whose name begins with `until`."""
    engine = create_engine(driver(address), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for path in migrations():
            connection.exec_driver_sql(path.read_text())
            if until is not None and path.parent.name.startswith(until):
                break
    engine.dispose()


def driver(address: str) -> str:
    return address.replace("postgresql://", "postgresql+psycopg://", 1)


def row(request_id: str, at: datetime = START, **values: Any) -> dict[str, Any]:
    """A call that succeeded in 800 ms, as the proxy stores it; `metadata` adds to what it usually has."""
    metadata = {
        "status": "success", "internal_call_origin": None, "routing_decision": None, "error_information": None,
        "user_api_key_team_alias": None, "usage_object": {"prompt_tokens_details": None},
    }  # fmt: skip
    took = timedelta(milliseconds=values.pop("took_ms", 800))
    tokens = {"prompt_tokens": 120, "completion_tokens": 40} | values
    return {
        "request_id": request_id,
        "call_type": "acompletion",
        "spend": 0.00123,
        "total_tokens": tokens["prompt_tokens"] + tokens["completion_tokens"],
        "startTime": at,
        "endTime": at + took,
        "request_duration_ms": int(took / timedelta(milliseconds=1)),
        "model": "gpt-4o",
        "model_group": "chat",
        "custom_llm_provider": "openai",
        "cache_hit": "False",
        "cache_key": "a1b2",
        "team_id": "team-1",
        "status": "success",
        **tokens,
        "metadata": json.dumps(metadata | values.get("metadata", {})),
        "request_tags": json.dumps(values.get("request_tags", [])),
    }


def insert(address: str, rows: Iterable[dict[str, Any]]) -> None:
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    documents = ("metadata", "request_tags")
    marks = ", ".join(f"CAST(:{name} AS jsonb)" if name in documents else f":{name}" for name in COLUMNS)
    stored = [{name: _naive(line[name]) for name in COLUMNS} for line in rows]
    engine = create_engine(driver(address))
    with engine.begin() as connection:
        connection.execute(text(f'INSERT INTO "LiteLLM_SpendLogs" ({names}) VALUES ({marks})'), stored)  # noqa: S608
    engine.dispose()


def _naive(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
