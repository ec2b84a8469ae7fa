"""Langfuse's generations become selections with their scores, by its API and from its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import polars as pl
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from models.errors import SettingsError, SourceUnavailable
from models.settings import SourceSettings
from tasks.sources.langfuse import api as langfuse_api
from tasks.sources.langfuse.source import Langfuse
from tests.support.langfuse_server import Langfuse as Server
from tests.support.langfuse_server import langfuse
from tests.support.pulls import MINUTE, START, bring, stored, write_csv, write_jsonl

SCORES: dict[str, Any] = {"accuracy_score": "right", "satisfaction_score": "thumb"}


@pytest.fixture
def server() -> Iterator[Server]:
    with langfuse() as running:
        yield running


@pytest.fixture
def older() -> Iterator[Server]:
    with langfuse(older=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=langfuse_api.ATTEMPTS, cap=True):
        yield


def stamp(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def generation(name: str, start: datetime = START, took_ms: float = 1_250.0, **values: Any) -> dict[str, Any]:
    """Return an observation as the newer API gives it."""
    usual = {
        "id": name, "traceId": f"trace-{name}", "projectId": "p", "parentObservationId": "span", "type": "GENERATION",
        "startTime": stamp(start), "endTime": stamp(start + timedelta(milliseconds=took_ms)), "name": "answer",
        "level": "DEFAULT", "statusMessage": "", "environment": "production", "userId": "u1", "sessionId": "s1",
        "metadata": {"tier": "simple", "routing": {"team": "search"}}, "providedModelName": "gpt-4o-2024-11-20",
        "usageDetails": {"input": 388, "input_cached_tokens": 512, "output": 58, "output_reasoning_tokens": 12,
                         "total": 970},
        "costDetails": {"input": 0.002, "output": 0.001, "total": 0.003}, "totalCost": 0.003, "latency": 77.0,
    }  # fmt: skip
    return usual | values


def score(of: str | None, name: str = "right", value: Any = 1.0, **values: Any) -> dict[str, Any]:
    usual = {
        "id": f"score-{of}-{name}-{value}", "name": name, "value": value, "dataType": "NUMERIC", "source": "EVAL",
        "observationId": of, "traceId": f"trace-{of}", "timestamp": stamp(START + 30 * MINUTE),
    }  # fmt: skip
    return usual | values


WHOLE = {
    "request_id": "g1", "timestamp": START, "model_id": "gpt-4o-2024-11-20", "response_time_ms": 1250.0,
    "complexity": "simple", "cost_usd": 0.003, "accuracy": 0.5, "user_satisfaction": 1.0, "error": False,
    "prompt_tokens": 900, "completion_tokens": 70, "team": "search",
}  # fmt: skip
NAMED = SCORES | {"complexity_key": "tier", "team_key": "routing.team"}
JUDGED = [score("g1", value=0.5), score("g1", "thumb", True, dataType="BOOLEAN")]


# --- the API ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["server", "older"])
def test_a_generation_with_its_scores_becomes_a_selection(
    engine: Engine, version: str, request: pytest.FixtureRequest
) -> None:
    api = request.getfixturevalue(version)
    api.observations, api.scores = [generation("g1")], JUDGED
    stats = bring(engine, "langfuse", api.address, **NAMED)
    assert (stats.read, stats.added, stats.amended) == (1, 1, 1)
    assert stored(engine) == {"g1": WHOLE}


def test_numbered_pages_of_an_older_server_are_all_read(sqlite_engine: Engine, older: Server) -> None:
    older.observations = [generation(f"g{number}", START + number * MINUTE) for number in range(250)]
    older.scores = [score(f"g{number}", value=number % 2) for number in range(150)]
    stats = bring(sqlite_engine, "langfuse", older.address, **SCORES)
    assert (stats.added, stats.amended) == (250, 150)


def test_since_leaves_no_gap_behind(server: Server) -> None:
    server.observations = [generation("between", START + 5 * MINUTE), generation("later", START + 20 * MINUTE)]
    source = Langfuse(server.address, SourceSettings(location=server.address, overlap_minutes=0))
    reached = json.dumps({"observations": START.isoformat()})
    *_, last = source.batches(reached, START + 10 * MINUTE)
    found = [row["request_id"] for batch in source.batches(last.cursor, None) for row in batch.selections.to_dicts()]
    assert found == ["between", "later"]


def test_pages_are_all_read_and_a_second_pull_adds_none(engine: Engine, server: Server) -> None:
    server.largest_page = 7
    server.observations = [generation(f"g{number}", START + number * MINUTE) for number in range(40)]
    assert bring(engine, "langfuse", server.address).added == 40
    again = bring(engine, "langfuse", server.address)
    assert (again.added, again.changed) == (0, 0)


@given(seconds=st.lists(st.integers(0, 3_000_000), max_size=60), pages=st.integers(1, 4), size=st.integers(1, 5))
def test_however_rows_lie_in_time_each_is_read_once_and_oldest_first(seconds: list[int], pages: int, size: int) -> None:
    def read(since: datetime, until: datetime) -> Iterator[list[dict[str, Any]]]:
        within = sorted((second for second in seconds if since <= at(second) < until), reverse=True)
        return ([{"second": second} for second in within[n : n + size]] for n in range(0, len(within), size))

    def at(second: int) -> datetime:
        return START + timedelta(seconds=second)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(langfuse_api, "PAGES", pages)
        windows = list(langfuse_api.windows(read, START - timedelta(days=900), at(3_000_001)))
    assert sorted(row["second"] for window in windows for row in window.rows) == sorted(seconds)
    begin = START - timedelta(days=900)
    for window in windows:
        assert all(begin <= at(row["second"]) < window.end for row in window.rows)
        begin = window.end
    assert begin == at(3_000_001)


def test_an_interrupted_pull_continues_after_the_last_window(sqlite_engine: Engine, server: Server) -> None:
    server.observations = [generation("early", START - timedelta(days=300)), generation("g1")]
    given = SourceSettings(location=server.address, overlap_minutes=0)
    batches = Langfuse(server.address, given).batches(None, None)
    first = next(batch for batch in batches if batch.selections.height)
    batches.close()  # type: ignore[attr-defined]
    rest = [
        row for batch in Langfuse(server.address, given).batches(first.cursor, None) for row in batch.selections.rows()
    ]
    assert (first.selections["request_id"].to_list(), len(rest)) == (["early"], 1)


def test_late_and_updated_rows_are_taken_within_the_overlap(engine: Engine, server: Server) -> None:
    now = datetime.now(UTC)
    unfinished = generation("g1", now - 20 * MINUTE, endTime=None, usageDetails={}, totalCost=None, costDetails={})
    server.observations = [unfinished]
    assert bring(engine, "langfuse", server.address).added == 1
    assert "response_time_ms" not in stored(engine)["g1"]
    server.observations = [generation("g1", now - 20 * MINUTE), generation("late", now - 50 * MINUTE)]
    again = bring(engine, "langfuse", server.address)
    assert (again.added, again.changed, again.late) == (1, 1, 1)
    assert stored(engine)["g1"]["response_time_ms"] == 1250.0


def test_scores_that_come_with_a_later_pull_reach_their_selection(engine: Engine, server: Server) -> None:
    server.observations = [generation("g1")]
    bring(engine, "langfuse", server.address, **NAMED)
    assert "accuracy" not in stored(engine)["g1"]
    server.scores = [score("g1", value=0.5, timestamp=stamp(datetime.now(UTC) - MINUTE)), JUDGED[1]]
    # The thumb is from before the overlap, as is one that was added with an old time: only the other is found.
    assert bring(engine, "langfuse", server.address, **NAMED).amended == 1
    assert (stored(engine)["g1"]["accuracy"], stored(engine)["g1"].get("user_satisfaction")) == (0.5, None)
    assert bring(engine, "langfuse", server.address, since=START, **NAMED).amended == 1
    assert stored(engine)["g1"] == WHOLE


def test_a_name_of_a_score_that_is_new_in_the_settings_is_read_from_the_beginning(
    sqlite_engine: Engine, server: Server
) -> None:
    server.observations, server.scores = [generation("g1")], JUDGED
    bring(sqlite_engine, "langfuse", server.address, satisfaction_score="thumb")
    assert "accuracy" not in stored(sqlite_engine)["g1"]
    bring(sqlite_engine, "langfuse", server.address, **SCORES)
    assert stored(sqlite_engine)["g1"]["accuracy"] == 0.5


@pytest.mark.parametrize("version", ["server", "older"])
def test_a_score_of_a_trace_goes_to_its_generation_where_that_is_the_only_one(
    sqlite_engine: Engine, version: str, request: pytest.FixtureRequest
) -> None:
    api = request.getfixturevalue(version)
    api.observations = [
        generation("alone"), generation("one", traceId="both"), generation("two", traceId="both"),
        generation("span", type="SPAN", traceId="trace-alone"),
    ]  # fmt: skip
    api.scores = [
        score(None, value=0.25, traceId="trace-alone"), score(None, value=0.5, traceId="both"),
        score(None, value=0.75, traceId="gone"), score(None, traceId=None, sessionId="s1"),
    ]  # fmt: skip
    stats = bring(sqlite_engine, "langfuse", api.address, **SCORES)
    accuracies = {name: row.get("accuracy") for name, row in stored(sqlite_engine).items()}
    assert accuracies == {"alone": 0.25, "one": None, "two": None}
    assert stats.skipped == {
        "is a score of a trace with several generations": 1,
        "is a score of a trace without a generation that was read": 1,
        "is a score of a session or an experiment": 1,
    }


def test_scores_on_another_scale_are_counted_unless_a_mapping_file_says_the_scale(
    sqlite_engine: Engine, server: Server, tmp_path: Path
) -> None:
    server.observations = [generation("g1"), generation("g2")]
    server.scores = [score("g1", value=4.0), score("g2", value="good", dataType="CATEGORICAL")]
    stats = bring(sqlite_engine, "langfuse", server.address, **SCORES)
    assert stats.rejected == {"score right is outside 0 to 1, or not a number": 2}
    mapping = tmp_path / "map.toml"
    mapping.write_text('[columns]\naccuracy = { from = "right", minimum = 1, maximum = 5 }\n')
    bring(sqlite_engine, "langfuse", server.address, since=START, mapping=mapping)
    assert stored(sqlite_engine)["g1"]["accuracy"] == 0.75


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_trouble_that_passes_costs_no_row(engine: Engine, server: Server) -> None:
    server.observations, server.scores = [generation("g1")], JUDGED
    server.troubles = [(429, {"retry-after": "3"}), (500, {}), "cut", (503, {}), (502, {})]
    assert bring(engine, "langfuse", server.address, **NAMED).added == 1
    assert stored(engine) == {"g1": WHOLE}


def test_a_server_that_is_busy_is_asked_again_when_it_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    server.troubles = [(429, {"retry-after": "7"})]
    source = langfuse_api.Api(server.address)
    with stamina.set_testing(False), source.opened():
        list(source.observations(START, START + MINUTE, with_metadata=False))
    assert waits == [7.0]


def test_a_time_to_wait_may_be_a_date() -> None:
    answer = httpx.Response(429, headers={"retry-after": "Mon, 07 Sep 2026 08:00:30 GMT"})
    assert langfuse_api.requested_wait_s(answer, START) == 30.0
    assert langfuse_api.requested_wait_s(httpx.Response(429), START) is None


@pytest.mark.parametrize(
    ("trouble", "reported"),
    [
        ((429, {"retry-after": "3600"}), "asks to wait 3600 s.*next pull continues"),
        ((403, {}), "403 Forbidden.*keys"),
        ("garbage", "something else than JSON"),
        ((200, {}), "something else than a page of rows"),
    ],
)
def test_persistent_errors_are_reported_without_the_keys(
    sqlite_engine: Engine, server: Server, trouble: Any, reported: str
) -> None:
    server.troubles = [trouble]
    with pytest.raises(SourceUnavailable, match=reported) as caught:
        bring(sqlite_engine, "langfuse", server.address)
    assert "sk-lf" not in str(caught.value)


def test_wrong_keys_and_an_unreachable_server_are_reported(sqlite_engine: Engine, server: Server) -> None:
    with pytest.raises(SourceUnavailable, match="401"):
        bring(sqlite_engine, "langfuse", server.address.replace("sk-lf-1", "wrong"))
    with langfuse() as gone:
        address = gone.address
    with pytest.raises(SourceUnavailable, match="refused"):
        bring(sqlite_engine, "langfuse", address)


def test_keys_may_be_in_the_environment_and_must_be_somewhere(
    sqlite_engine: Engine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = f"http://127.0.0.1:{server.port}"
    for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="LANGFUSE_PUBLIC_KEY"):
        bring(sqlite_engine, "langfuse", bare)
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
    server.observations = [generation("g1")]
    assert bring(sqlite_engine, "langfuse", bare).added == 1


# --- rows of each kind ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"level": "ERROR", "statusMessage": "Error code: 429 - rate limited"},
         {"error": True, "error_type": "http 429", "response_time_ms": None}),
        ({"level": "ERROR", "statusMessage": "openai.APITimeoutError: no answer"}, {"error_type": "APITimeoutError"}),
        ({"level": "ERROR", "statusMessage": "it broke"}, {"error": True, "error_type": None}),
        ({"level": "WARNING"}, {"error": False, "response_time_ms": 1250.0}),
        ({"endTime": None}, {"response_time_ms": None, "error": False}),
        ({"endTime": stamp(START - MINUTE)}, {"response_time_ms": None}),
        ({"totalCost": None}, {"cost_usd": 0.003}),
        ({"totalCost": 0, "providedModelName": "my-own"}, {"cost_usd": None}),
        ({"usageDetails": {}, "totalCost": None, "costDetails": {}}, {"prompt_tokens": None, "cost_usd": None}),
        ({"metadata": '{"tier": "complex"}'}, {"complexity": "complex", "team": None}),
        ({"metadata": None}, {"complexity": None}),
        ({"unheard_of": [1]}, {"cost_usd": 0.003}),
    ],
)  # fmt: skip
def test_each_field_is_read_for_what_it_is(
    sqlite_engine: Engine, tmp_path: Path, values: dict[str, Any], expected: dict[str, Any]
) -> None:
    write_jsonl(tmp_path / "a.jsonl", generation("g1", **values))
    bring(sqlite_engine, "langfuse", tmp_path, complexity_rule=None, **NAMED)
    row = stored(sqlite_engine)["g1"]
    assert {name: row.get(name) for name in expected} == expected
    assert "cache_hit" not in row, "reads of a prompt cache are no cache hits"


def test_what_contains_a_generation_is_not_counted_again(sqlite_engine: Engine, tmp_path: Path) -> None:
    kinds = ("SPAN", "AGENT", "CHAIN", "TOOL", "EMBEDDING", "EVENT")
    write_jsonl(tmp_path / "a.jsonl", *(generation(kind, type=kind) for kind in kinds), generation("g1"),
                generation("gone", is_deleted=1))  # fmt: skip
    stats = bring(sqlite_engine, "langfuse", tmp_path)
    assert list(stored(sqlite_engine)) == ["g1"]
    assert stats.skipped.total() == 7


# --- exported files ---------------------------------------------------------------------------------------------------


def exported(row: dict[str, Any]) -> dict[str, Any]:
    """As the export to blob storage writes a row."""
    times = {"startTime", "endTime", "timestamp"}
    snaked = {"".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name): (name, value)
              for name, value in row.items()}  # fmt: skip
    return {
        name: value.replace("T", " ").replace("Z", "000") if was in times and value else value
        for name, (was, value) in snaked.items()
    }


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "parquet"])
def test_exported_files_say_the_same_as_the_api(sqlite_engine: Engine, tmp_path: Path, form: str) -> None:
    observations = [exported(generation("g1")), exported(generation("span", type="SPAN"))]
    scores = [exported(score("g1", value=0.5)), exported(score("g1", "thumb", 1, dataType="BOOLEAN"))]
    for folder, rows in (("observations_v2", observations), ("scores", scores), ("traces", observations)):
        path = tmp_path / "project" / folder / f"20260907-080000.{form}"
        path.parent.mkdir(parents=True)
        if form == "jsonl":
            write_jsonl(path, *rows)
        elif form == "json":
            path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
        elif form == "csv":
            write_csv(path, *rows)
        else:
            _write_parquet(path, rows)
    (tmp_path / "project" / "manifests").mkdir()
    (tmp_path / "project" / "manifests" / "20260907-080000.json").write_text('{"files": []}')
    stats = bring(sqlite_engine, "langfuse", tmp_path, **NAMED)
    assert stored(sqlite_engine) == {"g1": WHOLE}
    assert stats.skipped == {"is a SPAN, no generation": 1}
    assert not stats.rejected
    assert bring(sqlite_engine, "langfuse", tmp_path, **NAMED).read == 0


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    """Maps as Parquet has them, lists of pairs."""
    maps = ("metadata", "usage_details", "cost_details")
    paired = [
        {
            name: [{"key": key, "value": json.dumps(item) if isinstance(item, dict) else item}
                   for key, item in value.items()] if name in maps else value
            for name, value in row.items()
        }
        for row in rows
    ]  # fmt: skip
    pl.DataFrame(paired).with_columns(
        pl.col("^(start_time|end_time|timestamp)$").str.to_datetime("%Y-%m-%d %H:%M:%S%.f")
    ).write_parquet(path)


def test_a_trace_score_in_files_finds_the_generation_that_was_read_with_it(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "observations" / "1.jsonl", exported(generation("g1")))
    write_jsonl(tmp_path / "scores" / "1.jsonl", exported(score(None, value=0.5, traceId="trace-g1")),
                exported(score(None, "unasked", traceId="trace-g1")))  # fmt: skip
    stats = bring(sqlite_engine, "langfuse", tmp_path, **SCORES)
    assert stored(sqlite_engine)["g1"]["accuracy"] == 0.5
    assert stats.skipped == {"is a score that is not asked for": 1}


def test_a_position_that_a_clock_a_year_ahead_left_is_two_days_ago() -> None:
    """Of observations and of scores; one that is right stays."""
    source = Langfuse(
        "https://pk:sk@langfuse.example",
        SourceSettings(location="https://langfuse.example", overlap_minutes=60, **SCORES),
    )
    now = datetime.now(UTC)
    for reached, expected in ((now + timedelta(days=365), 49 * 60), (now - 7 * MINUTE, 67)):
        cursor = json.dumps({"observations": reached.isoformat(), "scores": reached.isoformat()})
        assert round(source.size(cursor, None) / 60) == expected
