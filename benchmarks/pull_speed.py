"""Compare the first pull of a LiteLLM proxy's spend with only reading the same columns of its table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import psycopg
from sqlalchemy import Engine, text

from benchmarks.databases import Kind
from benchmarks.line import Goal, Line, seconds_of
from benchmarks.scene import Scene
from models.settings import SourceSettings
from tasks.ingestion.pull import pull
from tasks.sources.litellm import LiteLLM, query_of
from tests.support import spend_logs

GOAL = Goal(1.5, at_least=False)
NOW = datetime(2026, 11, 1, tzinfo=UTC)

_ROWS = """
INSERT INTO "LiteLLM_SpendLogs" (
    request_id, call_type, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
    request_duration_ms, model, model_group, custom_llm_provider, metadata, cache_hit, cache_key, team_id, status)
SELECT 'chatcmpl-' || md5(n::text), 'acompletion', (n % 977) * 1e-5, 140 + n % 300, 100 + n % 300, 40,
    timestamp '2026-08-01' + n * interval '2 seconds',
    timestamp '2026-08-01' + n * interval '2 seconds' + (n % 3000) * interval '1 ms', n % 3000,
    (ARRAY['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4-5', 'gemini-2.5-pro'])[1 + n % 4], 'chat', 'openai',
    jsonb_build_object(
        'status', 'success', 'user_api_key', md5(n::text) || md5((n % 100)::text), 'internal_call_origin', null,
        'error_information', null, 'applied_guardrails', '[]'::jsonb, 'user_api_key_alias', null,
        'user_api_key_team_alias', 'alias-' || n % 20, 'litellm_call_id', md5((n * 7)::text),
        'routing_decision', jsonb_build_object(
            'router_model_name', 'auto', 'tier', (ARRAY['SIMPLE', 'MEDIUM', 'COMPLEX'])[1 + n % 3], 'score', 0.3),
        'usage_object', jsonb_build_object('prompt_tokens', 100 + n % 300, 'completion_tokens', 40,
            'prompt_tokens_details', jsonb_build_object('cached_tokens', 0)),
        'cost_breakdown', jsonb_build_object('input_cost', 0.1, 'output_cost', 0.2, 'total_cost', 0.3)),
    CASE WHEN n % 10 = 0 THEN 'True' ELSE 'False' END, 'k' || n, 'team-' || n % 20, 'success'
FROM generate_series(1, :rows) AS n
"""
"""With metadata of about 700 bytes: the proxy's own has up to five kilobytes, most of them about the model."""


def lines(scene: Scene) -> Iterator[Line]:
    scene.say(f"storing {scene.rows:,} rows of spend")
    proxy = scene.databases("postgresql").make()
    address = proxy.url.set(drivername="postgresql").render_as_string(hide_password=False)
    spend_logs.migrate(address)
    with proxy.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(_ROWS), {"rows": scene.rows})
        connection.execute(text('VACUUM ANALYZE "LiteLLM_SpendLogs"'))
    source = LiteLLM(address, SourceSettings(location=address))
    peers = {"Arrow": partial(_read_arrow, source), "rows of psycopg": partial(_read_rows, source, address)}
    for kind in scene.kinds:
        scene.say(f"pull, {kind}")
        seconds = [(_pull(scene, kind, source), *(seconds_of(read) for read in peers.values()))
                   for _ in range(scene.rounds)]  # fmt: skip
        for place, peer in enumerate(peers, 1):
            ratios = tuple(it[0] / it[place] for it in seconds)
            note = f"{statistics.median(it[0] for it in seconds):.1f} s"
            name = f"pull of LiteLLM's spend, against reading it to {peer}"
            yield Line(name, kind, scene.rows, ratios, goal=GOAL, note=note)
    scene.databases("postgresql").drop(proxy)


# ----------------------------------------------------------------------------------------------------------------------


def _pull(scene: Scene, kind: Kind, source: LiteLLM) -> float:
    engine: Engine = scene.databases(kind).make()
    added: list[int] = []
    work: Callable[[], None] = lambda: added.append(  # noqa: E731
        pull(engine, "litellm", source, source.settings, NOW).added
    )
    try:
        seconds = seconds_of(work)
    finally:
        scene.databases(kind).drop(engine)
    if added != [scene.rows]:
        raise RuntimeError(f"pulled {added[0]:,} of {scene.rows:,} rows")
    return seconds


def _read_arrow(source: LiteLLM) -> None:
    with source.connected() as connection, closing(connection.cursor()) as cursor:
        cursor.execute(query_of(connection, source.settings))
        for _batch in cursor.fetch_record_batch():
            pass


def _read_rows(source: LiteLLM, address: str) -> None:
    with source.connected() as found:
        query = query_of(found, source.settings)
    with psycopg.connect(address) as connection, connection.cursor("spend") as cursor:
        cursor.itersize = 50_000
        cursor.execute(query)
        for _row in cursor:
            pass
