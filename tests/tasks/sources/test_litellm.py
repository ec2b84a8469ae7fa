"""LiteLLM's spend becomes selections: the same counts, cost and latency as a query over the source gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from threading import Thread
from typing import Any

import pytest
from adbc_driver_manager import Error
from sqlalchemy import Engine, create_engine, select, text

from models.database import reading, writing
from models.errors import SourceUnavailable, UsageError
from models.schema import PULL_STATE
from models.settings import SourceSettings
from models.tables import Overhead, PullState, Selection, table_of
from tasks.ingestion.pull import preview, pull
from tasks.ingestion.pull_stats import PullStats
from tasks.sources import litellm
from tasks.sources.litellm import LiteLLM
from tests.support import spend_logs
from tests.support.databases import PostgresServer
from tests.support.paths import ROOT
from tests.support.spend_logs import START, insert, row

SELECTION, OVERHEAD, STATE = table_of(Selection), table_of(Overhead), table_of(PullState)
NOW = START + timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def proxy_template(postgres_server: PostgresServer) -> str:
    """A database created by the proxy's own migrations."""
    postgres_server.execute("CREATE DATABASE litellm_template")
    address = postgres_server.address_of("litellm_template")
    spend_logs.migrate(address)
    return "litellm_template"


@pytest.fixture
def proxy(postgres_server: PostgresServer, proxy_template: str) -> Iterator[str]:
    """The address of a proxy's empty database."""
    name = "litellm_one"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {proxy_template}")
    yield postgres_server.address_of(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def bring(engine: Engine, address: str, since: datetime | None = None, **settings: Any) -> PullStats:
    given = SourceSettings(location=address, **settings)
    return pull(engine, "litellm", LiteLLM(address, given), given, NOW, since=since)


def stored(engine: Engine, request_id: str) -> dict[str, Any]:
    with reading(engine) as connection:
        found = connection.execute(select(SELECTION).where(SELECTION.c.request_id == request_id))
        return dict(found.mappings().one())


def rows_of(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(SELECTION).order_by(SELECTION.c.request_id)))


def ask(address: str, query: str) -> Any:
    engine = create_engine(spend_logs.driver(address))
    with engine.connect() as connection:
        found = connection.execute(text(query)).one()
    engine.dispose()
    return found


EVERY_KIND = [
    row("plain", metadata={"user_api_key_team_alias": "search"}),
    row("routed", START + MINUTE, metadata={"routing_decision": {"tier": "MEDIUM", "routed_model": "gpt-4o"}}),
    row("hit_cache_hit1788.2", START + 2 * MINUTE, cache_hit="True", spend=0.0, took_ms=12),
    row("no cache", START + 3 * MINUTE, cache_key="Cache OFF"),
    row("failed", START + 4 * MINUTE, spend=0.0, prompt_tokens=0, completion_tokens=0, status="failure",
        metadata={"status": "failure", "error_information": {"error_class": "RateLimitError", "error_code": "429"}}),
    row("retried", START + 4 * MINUTE, metadata={"attempted_retries": 1}),
    row("old", START + 5 * MINUTE, request_duration_ms=None, took_ms=1500, status=None),
    row("backwards", START + 5 * MINUTE, request_duration_ms=None, took_ms=-40),
    row("classified", START + 6 * MINUTE, spend=0.00004, metadata={"internal_call_origin": "autorouter_classifier"}),
    row("batch", START + 7 * MINUTE, call_type="aretrieve_batch", spend=1.25),
    row("file", START + 7 * MINUTE, call_type="acreate_file", spend=0.0),
    row("refused at the door", START + 8 * MINUTE, model="", spend=0.0, status="failure"),
    row("embedded", START + 9 * MINUTE, call_type="aembedding", model="text-embedding-3-small", completion_tokens=0,
        spend=0.0000024),
    row("own model", START + 10 * MINUTE, model="our-llama", custom_llm_provider="hosted_vllm", spend=0.0),
    row("unpriced", START + 11 * MINUTE, spend=0.0, prompt_tokens=1000, completion_tokens=100),
]  # fmt: skip


ASSIGNED: dict[str, tuple[dict[str, Any], tuple[Any, Any, Any]]] = {
    "said by the caller": (
        {"metadata": {"spend_logs_metadata": {"experiment": "rollout-12", "arm": "candidate", "unit_bucket": 7}}},
        ("rollout-12", "candidate", 7),
    ),
    "by the proxy": (
        {"metadata": {
            "online_model_experiment_id": "support-v1", "online_model_experiment_variant": "control",
            "online_model_experiment_assignment_key": "hmac of a user", "online_model_experiment_bucket": 9999,
        }},
        ("support-v1", "control", int(md5(b"hmac of a user", usedforsecurity=False).hexdigest()[:8], 16) % 64),
    ),
    "by the proxy, nested": (
        {"metadata": {"spend_logs_metadata": {
            "online_model_experiment_id": "support-v1", "online_model_experiment_variant": "candidate",
        }}},
        ("support-v1", "candidate", None),
    ),
    "by tags": ({"request_tags": ["app:x", "experiment:e1", "arm:b"]}, ("e1", "b", None)),
    "only half of it": (
        {"request_tags": ["experiment:e1"], "metadata": {"spend_logs_metadata": {"arm": "b"}}}, (None,) * 3
    ),
    "the caller before the tags": (
        {"request_tags": ["experiment:e1", "arm:b"],
         "metadata": {"spend_logs_metadata": {"experiment": "e2", "arm": "c", "unit_bucket": "64"}}},
        ("e2", "c", None),
    ),
    "tags that are none": ({"request_tags": {"experiment": "e1"}}, (None,) * 3),
    "nothing": ({}, (None,) * 3),
}  # fmt: skip


def test_arms_are_read_where_a_proxy_says_them(engine: Engine, proxy: str) -> None:
    """A failed call stays in the arm that it was assigned to, in its bucket 0."""
    failed = {"experiment": "rollout-12", "arm": "candidate", "unit_bucket": 0}
    lost = row("failed", status="failure", spend=0.0, prompt_tokens=0, metadata={"spend_logs_metadata": failed})
    insert(proxy, [*(row(name, **values) for name, (values, _) in ASSIGNED.items()), lost])
    stats = bring(engine, proxy)
    for name, (_, expected) in ASSIGNED.items():
        found = stored(engine, name)
        assert (found["experiment"], found["arm"], found["unit_bucket"]) == expected, name
    found = stored(engine, "failed")
    assert {name: found[name] for name in failed} == failed
    assert (found["error"], found["prompt_tokens"]) == (True, None)
    assert stats.unknown == {"unit_bucket is above 63": 1}


def test_rows_of_every_kind_become_what_they_are(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    stats = bring(engine, proxy)

    assert (stats.read, stats.added, stats.overhead) == (15, 11, 2)
    assert stats.skipped == {"acreate_file, without cost": 1, "no model was called, without cost": 1}
    assert stats.rejected == {}

    plain = stored(engine, "plain")
    assert (plain["timestamp"], plain["model_id"], plain["team"]) == (START, "gpt-4o", "search")
    assert (plain["response_time_ms"], plain["cost_usd"], plain["cost_priced_on"]) == (800, 0.00123, None)
    assert (plain["prompt_tokens"], plain["completion_tokens"], plain["error"]) == (120, 40, False)
    assert (plain["cache_hit"], plain["accuracy"], plain["user_satisfaction"]) == (False, None, None)
    assert (plain["complexity"], plain["complexity_derived"]) == ("simple", True)

    routed = stored(engine, "routed")
    assert (routed["complexity"], routed["complexity_derived"], routed["team"]) == ("moderate", None, "team-1")

    hit = stored(engine, "hit_cache_hit1788.2")
    assert (hit["cache_hit"], hit["cost_usd"], hit["response_time_ms"]) == (True, 0, 12)
    assert stored(engine, "no cache")["cache_hit"] is None

    failed = stored(engine, "failed")
    assert (failed["error"], failed["error_type"], failed["response_time_ms"]) == (True, "RateLimitError", None)
    assert (failed["prompt_tokens"], failed["completion_tokens"], failed["complexity"]) == (None, None, None)

    assert stored(engine, "old")["response_time_ms"] == 1500
    assert stored(engine, "backwards")["response_time_ms"] is None
    assert stored(engine, "embedded")["cost_usd"] == 0.0000024


def test_the_routers_own_calls_are_no_selections_but_their_cost_is_kept(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    bring(engine, proxy)
    with reading(engine) as connection:
        found = connection.execute(select(OVERHEAD).order_by(OVERHEAD.c.request_id)).all()
    assert [(it.request_id, it.kind, it.cost_usd, it.source) for it in found] == [
        ("batch", "aretrieve_batch", 1.25, "litellm"),
        ("classified", "autorouter_classifier", 0.00004, "litellm"),
    ]


def test_counts_cost_and_latency_are_those_of_a_query_over_the_source(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    insert(proxy, (row(f"more-{n}", START + n * MINUTE, spend=n / 7919, took_ms=n) for n in range(1, 400)))
    bring(engine, proxy)
    source = ask(proxy, """
        SELECT sum(spend) AS spend,
               sum(COALESCE(request_duration_ms, EXTRACT(EPOCH FROM "endTime" - "startTime") * 1000))
                   FILTER (WHERE COALESCE(status, 'success') = 'success' AND "endTime" >= "startTime"
                           AND call_type IN ('acompletion', 'aembedding') AND model <> ''
                           AND metadata ->> 'internal_call_origin' IS NULL) AS took,
               count(*) FILTER (WHERE call_type IN ('acompletion', 'aembedding') AND model <> ''
                                AND metadata ->> 'internal_call_origin' IS NULL) AS calls
        FROM "LiteLLM_SpendLogs"
    """)  # fmt: skip
    with reading(engine) as connection:
        ours = connection.execute(text("SELECT count(*) AS calls, sum(response_time_ms) AS took FROM selection")).one()
        recorded = connection.execute(
            text("SELECT sum(cost_usd) FROM selection WHERE cost_priced_on IS NULL")
        ).scalar_one()
        overhead = connection.execute(text("SELECT sum(cost_usd) FROM overhead")).scalar_one()
    assert ours.calls == source.calls == 410
    assert ours.took == pytest.approx(float(source.took))
    assert recorded + overhead == pytest.approx(source.spend, abs=0.005)
    assert recorded + overhead == pytest.approx(source.spend, rel=1e-12)


def test_a_cost_of_0_for_an_answer_is_unknown_and_priced_by_the_list_where_there_is_one(
    engine: Engine, proxy: str
) -> None:
    insert(proxy, EVERY_KIND)
    stats = bring(engine, proxy)
    unpriced = stored(engine, "unpriced")
    # 1,000 tokens at 2.50 and 100 at 10.00 USD a million.
    assert (unpriced["cost_usd"], unpriced["cost_priced_on"]) == (0.0035, date(2026, 9, 7))
    own = stored(engine, "own model")
    assert (own["cost_usd"], own["cost_priced_on"]) == (None, None)
    assert (stats.priced, stats.unknown_models) == (1, {"our-llama": 1})


def test_a_cost_of_0_is_free_where_the_settings_say_so(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    bring(engine, proxy, zero_is_free=True)
    assert stored(engine, "own model")["cost_usd"] == 0


def test_a_second_pull_adds_none(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    bring(engine, proxy)
    before = rows_of(engine)
    again = bring(engine, proxy)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 11)
    assert rows_of(engine) == before
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM selection_change")).scalar_one() == 0


def test_a_late_row_arrives_with_the_next_pull(engine: Engine, proxy: str) -> None:
    insert(proxy, [row("first"), row("second", START + 60 * MINUTE)])
    bring(engine, proxy)
    insert(proxy, [row("late", START + 20 * MINUTE), row("third", START + 61 * MINUTE)])
    stats = bring(engine, proxy)
    assert (stats.added, stats.late, stats.latest_by) == (2, 1, 40 * MINUTE)
    assert stored(engine, "late")["timestamp"] == START + 20 * MINUTE


def test_a_row_that_arrives_nearly_too_late_is_reported(
    sqlite_engine: Engine, proxy: str, caplog: pytest.LogCaptureFixture
) -> None:
    insert(proxy, [row("newest", START + 60 * MINUTE)])
    bring(sqlite_engine, proxy)
    insert(proxy, [row("late", START + 5 * MINUTE)])
    bring(sqlite_engine, proxy)
    assert "a row came 55 minutes late, and 60 are read again: raise overlapMinutes" in caplog.text


def test_everything_from_a_time_on_is_read_again_when_asked_for(engine: Engine, proxy: str) -> None:
    insert(proxy, [row("newest", START + timedelta(days=1))])
    bring(engine, proxy)
    insert(proxy, [row("much too late", START)])
    assert bring(engine, proxy).added == 0
    assert bring(engine, proxy, since=START).added == 1


def test_a_row_from_a_clock_that_is_ahead_does_not_hide_those_that_follow(sqlite_engine: Engine, proxy: str) -> None:
    ahead = datetime.now(UTC) + timedelta(days=30)
    insert(proxy, [row("ahead", ahead)])
    bring(sqlite_engine, proxy)
    insert(proxy, [row("now", datetime.now(UTC) - 5 * MINUTE)])
    assert bring(sqlite_engine, proxy).added == 1


def test_a_position_that_a_clock_a_year_ahead_left_hides_no_row(sqlite_engine: Engine, proxy: str) -> None:
    now = datetime.now(UTC)
    insert(proxy, [row("one", now - 60 * MINUTE)])
    bring(sqlite_engine, proxy)
    with writing(sqlite_engine) as connection:
        ahead = (now + timedelta(days=365)).isoformat()
        connection.execute(PULL_STATE.update().values(cursor=json.dumps({"startTime": ahead})))
    insert(proxy, [row("two", now - 90 * MINUTE)])
    pulled = bring(sqlite_engine, proxy)
    assert (pulled.added, pulled.changed) == (1, 0)
    insert(proxy, [row("three", now - 5 * MINUTE)])
    assert bring(sqlite_engine, proxy).added == 1


def test_a_row_that_the_proxy_changes_is_changed_and_what_others_added_stays(engine: Engine, proxy: str) -> None:
    insert(proxy, [row("one")])
    bring(engine, proxy)
    with writing(engine) as connection:
        connection.execute(SELECTION.update().values(accuracy=0.9))
    owner = create_engine(spend_logs.driver(proxy))
    with owner.begin() as connection:
        connection.execute(text('UPDATE "LiteLLM_SpendLogs" SET spend = 0.5'))
    owner.dispose()
    stats = bring(engine, proxy)
    assert (stats.added, stats.changed) == (0, 1)
    one = stored(engine, "one")
    assert (one["cost_usd"], one["accuracy"]) == (0.5, 0.9)


def test_a_recorded_cost_replaces_a_derived_one_and_never_the_other_way_round(engine: Engine, proxy: str) -> None:
    insert(proxy, [row("one", spend=0.0)])
    bring(engine, proxy)
    assert stored(engine, "one")["cost_priced_on"] == date(2026, 9, 7)
    owner = create_engine(spend_logs.driver(proxy))
    for spend, expected in ((0.75, 0.75), (0.0, 0.75)):
        with owner.begin() as connection:
            connection.execute(text('UPDATE "LiteLLM_SpendLogs" SET spend = :spend'), {"spend": spend})
        bring(engine, proxy)
        one = stored(engine, "one")
        assert (one["cost_usd"], one["cost_priced_on"]) == (expected, None)
    owner.dispose()


def test_a_pull_in_many_batches_gives_what_one_gives(
    engine: Engine, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many rows of the same instant: the order within it is the id's.
    insert(proxy, (row(f"r{n:03}", START + (n // 10) * MINUTE) for n in range(95)))
    monkeypatch.setattr(litellm, "BATCH_ROWS", 7)
    stats = bring(engine, proxy)
    assert (stats.read, stats.added) == (95, 95)


def test_a_pull_that_dies_in_the_middle_continues_where_it_stopped(
    engine: Engine, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(proxy, (row(f"r{n:03}", START + n * timedelta(hours=2)) for n in range(60)))
    monkeypatch.setattr(litellm, "BATCH_ROWS", 10)
    settings = SourceSettings(location=proxy)
    source = LiteLLM(proxy, settings)
    seen: list[int] = []

    def die(done: int, of: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(engine, "litellm", source, settings, NOW, progress=die)
    assert len(rows_of(engine)) == 30
    again = pull(engine, "litellm", source, settings, NOW)
    # The newest one that was there is within the overlap.
    assert (again.read, again.added) == (31, 30)


def test_an_older_proxy_without_the_newer_columns_is_read(engine: Engine, postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE litellm_old")
    address = postgres_server.address_of("litellm_old")
    spend_logs.migrate(address, until="20250326162113")
    owner = create_engine(spend_logs.driver(address))
    with owner.begin() as connection:
        connection.execute(
            text("""INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, spend, "startTime", "endTime", model)
                    VALUES ('old', 'acompletion', 0.25, '2026-09-07 08:00:00.250', '2026-09-07 08:00:01', 'gpt-4')""")
        )
    owner.dispose()
    bring(engine, address)
    old = stored(engine, "old")
    assert (old["timestamp"], old["response_time_ms"]) == (START + timedelta(milliseconds=250), 750)
    assert (old["cost_usd"], old["cache_hit"], old["team"], old["error"]) == (0.25, None, None, False)
    postgres_server.execute("DROP DATABASE litellm_old WITH (FORCE)")


def test_the_role_that_the_documentation_makes_is_enough(engine: Engine, proxy: str) -> None:
    page = (ROOT / "docs/sources/litellm.md").read_text()
    (statements,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    insert(proxy, [row("one")])
    owner = create_engine(spend_logs.driver(proxy), isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.execute(text(statements))
    try:
        assert bring(engine, proxy.replace("//postgres:", "//routewatch_reader:")).added == 1
    finally:
        with owner.connect() as connection:
            connection.execute(text("DROP OWNED BY routewatch_reader"))
            connection.execute(text("DROP ROLE routewatch_reader"))
        owner.dispose()


def test_a_team_or_complexity_of_ones_own_is_read_from_where_the_settings_say(engine: Engine, proxy: str) -> None:
    insert(proxy, [row("one", metadata={"ours": "hard", "user_api_key_alias": "batch job's"})])
    bring(engine, proxy, complexity_key="ours", team_key="user_api_key_alias")
    one = stored(engine, "one")
    assert (one["complexity"], one["complexity_derived"], one["team"]) == ("hard", None, "batch job's")


def test_values_that_a_selection_cannot_have_are_counted_by_reason(engine: Engine, proxy: str) -> None:
    insert(proxy, [row("good"), row("negative", spend=-0.5), row("long", model="m" * 500)])
    stats = bring(engine, proxy)
    assert (stats.added, stats.rejected) == (3, {})
    assert stats.unknown == {"cost_usd is negative": 1, "model_id is longer than 200 characters": 1}
    assert stored(engine, "long")["model_id"] == "unknown"


def test_a_preview_writes_nothing(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    settings = SourceSettings(location=proxy)
    seen = preview("litellm", LiteLLM(proxy, settings), settings)
    assert (seen.stats.read, seen.rows.height, seen.stats.coverage["cost_usd"]) == (15, 5, 9)
    assert rows_of(engine) == []
    with reading(engine) as connection:
        assert connection.execute(select(STATE)).all() == []


def test_an_unreachable_address_is_reported_without_its_password(sqlite_engine: Engine) -> None:
    with pytest.raises(
        SourceUnavailable, match=r"cannot pull from postgresql://me:\*\*\*@127.0.0.1:9/litellm"
    ) as reported:
        bring(sqlite_engine, "postgresql://me:hidden@127.0.0.1:9/litellm?connect_timeout=2")
    assert "hidden" not in str(reported.value)


def test_a_database_without_the_table_is_reported(sqlite_engine: Engine, postgres_address: str) -> None:
    with pytest.raises(SourceUnavailable, match="LiteLLM_SpendLogs"):
        bring(sqlite_engine, postgres_address)


@pytest.mark.parametrize("location", ["mysql://host/litellm", "nowhere", "var/spend.jsonl"])
def test_an_address_of_another_kind_is_refused(location: str) -> None:
    with pytest.raises(UsageError):
        LiteLLM(location, SourceSettings(location=location))


def test_two_pulls_at_once_store_each_row_once(postgres_engine: Engine, proxy: str) -> None:
    insert(proxy, (row(f"r{n:04}", START + n * timedelta(seconds=1)) for n in range(2_000)))
    tallies: list[PullStats] = []
    threads = [Thread(target=lambda: tallies.append(bring(postgres_engine, proxy))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tallies) == 3
    assert sum(stats.added for stats in tallies) == len(rows_of(postgres_engine)) == 2_000


def test_the_record_of_a_pull_states_what_it_found(engine: Engine, proxy: str) -> None:
    insert(proxy, EVERY_KIND)
    bring(engine, proxy)
    with reading(engine) as connection:
        state = connection.execute(select(STATE)).one()
    assert (state.source, state.kind, state.pulled_at) == ("litellm", "litellm", NOW)
    assert json.loads(state.cursor) == {"startTime": (START + 11 * MINUTE).isoformat()}
    assert (state.last["read"], state.last["added"], state.last["unknownModels"]) == (15, 11, {"our-llama": 1})


def test_the_source_is_never_written_to(engine: Engine, proxy: str) -> None:
    """The connection itself refuses: no statement has to be trusted not to write."""
    source = LiteLLM(proxy, SourceSettings(location=proxy))
    with (
        source.connected() as connection,
        connection.cursor() as cursor,
        pytest.raises(Error, match="read-only transaction"),
    ):
        cursor.execute('DELETE FROM "LiteLLM_SpendLogs"')
