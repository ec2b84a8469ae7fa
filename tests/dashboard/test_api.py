"""The page's server answers programs as documented, and refuses those without the right token."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from dashboard.app import create_app
from models.database import open_database, writing
from models.tables import PullState, Report, table_of
from tasks.optimizer.router_config import set_by_hand
from tests.support.databases import PostgresServer, migrated_sqlite
from tests.support.page_server import READER, WRITER, app_context, bearing, filled, serving
from tests.support.paths import ROOT


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    """For tests that write to the database."""
    with serving(filled(engine, tmp_path)) as client:
        client.headers.update(bearing(READER))
        yield client


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """For tests that only read: they share a server."""
    home = tmp_path_factory.mktemp("page")
    with ExitStack() as opened:
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            address = opened.enter_context(server.database(migrated=True))
        else:
            address = migrated_sqlite(home)
        engine = open_database(address)
        opened.callback(engine.dispose)
        client = opened.enter_context(serving(filled(engine, home)))
        client.headers.update(bearing(READER))
        yield client


def test_the_summary_has_the_documents_shape_and_its_numbers(reader: httpx.Client) -> None:
    said = reader.get("/summary", params={"range": "6h"}).json()
    assert set(said) >= {"overview", "modelPerformance", "trends", "recommendations"}
    assert said["overview"]["totalSelections"] == 200
    assert said["overview"]["errorRate"] == pytest.approx(0.02)
    assert said["overview"]["cacheHitRate"] == pytest.approx(0.25)
    assert said["modelPerformance"]["swift"]["count"] == 100
    only = reader.get("/summary", params={"range": "6h", "model": "atlas"}).json()
    assert only["overview"]["totalSelections"] == 100


def test_a_summary_of_nothing_is_unknown_and_not_zero(reader: httpx.Client) -> None:
    said = reader.get("/summary", params={"range": "15m", "team": "nobody"}).json()
    assert said["overview"] == {
        "totalSelections": 0, "averageResponseTime": None, "cacheHitRate": None, "totalCost": None, "errorRate": None,
    }  # fmt: skip


def test_the_config_is_sent_once_and_then_only_when_it_has_changed(client: httpx.Client, engine: Engine) -> None:
    first = client.get("/config")
    assert first.json()["values"] == {"cache.ttl_seconds": 900}
    same = {"If-None-Match": first.headers["etag"]}
    assert client.get("/config", headers=same).status_code == 304
    set_by_hand(engine, "cache.ttl_seconds", 1_800, by="ops", reason="longer", now=datetime.now(UTC))
    assert client.get("/config", headers=same).json()["versions"] == {"cache.ttl_seconds": 2}


def test_a_router_of_any_language_is_told_how_to_split_the_requests(client: httpx.Client, engine: Engine) -> None:
    """By the value of the key, and by a hash that it can check: here as the rule says it, from the answer alone."""
    value = {"candidate": "swift", "percent": 20, "salt": "9f2c", "by": "user", "experiment": "rollout-12"}
    set_by_hand(engine, "rollout.simple", value, by="ops", reason="try it", now=datetime.now(UTC))
    told = client.get("/config").json()
    assert told["values"]["rollout.simple"] == value
    assert "n * 100 < percent * 4294967296" in told["assignment"]["rule"]
    assert len(told["assignment"]["examples"]) > 3
    for it in told["assignment"]["examples"]:
        digest = hmac.new(it["salt"].encode(), it["unit"].encode(), "sha256").digest()
        assert it["digest"] == digest.hex()
        assert it["n"] == struct.unpack(">I", digest[:4])[0]
        assert it["candidateAbove"] == it["n"] * 100 / 4294967296
        assert it["unitBucket"] == digest[4] % 64


def test_a_value_that_cannot_be_read_is_named_beside_the_others(client: httpx.Client, engine: Engine) -> None:
    set_by_hand(engine, "cache.max_entries", 10**15, by="ops", reason="longer", now=datetime.now(UTC))
    with writing(engine) as connection:
        connection.execute(text("UPDATE config SET value = '-1e999' WHERE key = 'cache.ttl_seconds'"))
    told = client.get("/config").json()
    assert told["values"] == {"cache.max_entries": 10**15}
    assert "routewatch config set cache.ttl_seconds" in told["unreadable"]["cache.ttl_seconds"]


def test_reports_are_listed_with_the_files_that_are_there(reader: httpx.Client) -> None:
    [listed] = reader.get("/reports").json()["reports"]
    assert set(listed["files"]) == {"html", "pdf", "zip", "json"}
    assert reader.get(listed["document"]).json()["template"] == "performance"
    assert reader.get(listed["files"]["pdf"]).content.startswith(b"%PDF")
    page = reader.get(listed["files"]["html"])
    assert "sandbox" in page.headers["content-security-policy"]
    assert reader.get("/reports/99").status_code == 404
    assert reader.get(f"/reports/{listed['id']}/files/csv").status_code == 404


def test_prometheus_can_read_the_metrics(reader: httpx.Client) -> None:
    reader.get("/healthz")
    families = {family.name: family for family in text_string_to_metric_families(reader.get("/metrics").text)}
    counted = {it.labels["model"]: it.value for it in families["routewatch_selections_counted"].samples}
    assert counted == {"atlas": 100, "swift": 100}
    kpis = {sample.labels["kpi"] for sample in families["routewatch_kpi"].samples}
    assert {"responseTime", "cacheHitRate", "errorRate"} <= kpis
    assert "selectionAccuracy" not in kpis
    assert {sample.labels["severity"] for sample in families["routewatch_alerts_firing"].samples} == {
        "warning",
        "critical",
    }
    assert {it.labels["state"] for it in families["routewatch_optimizations"].samples} >= {"proposed", "kept"}
    assert any(it.labels["route"] == "/healthz" for it in families["routewatch_http_requests"].samples)


def test_the_metrics_show_the_age_of_reports_and_pulls(client: httpx.Client, engine: Engine) -> None:
    now = datetime.now(UTC)
    report = {
        "kind": "daily", "template": "performance", "period_start": now, "period_end": now, "parameters_hash": "h",
        "parameters": {}, "document": {}, "created_at": now - timedelta(hours=2),
    }  # fmt: skip
    with writing(engine) as connection:
        connection.execute(table_of(Report).insert(), report)
        connection.execute(
            table_of(PullState).insert(),
            [{"source": "litellm", "kind": "litellm", "pulled_at": now - timedelta(hours=1)},
             {"source": "never", "kind": "table", "pulled_at": None}],
        )  # fmt: skip
    families = {it.name: it for it in text_string_to_metric_families(client.get("/metrics").text)}
    reports = {it.labels["kind"]: it.value for it in families["routewatch_report_age_seconds"].samples}
    pulls = {it.labels["source"]: it.value for it in families["routewatch_pull_age_seconds"].samples}
    assert reports["daily"] == pytest.approx(7_200, abs=60)
    assert pulls == {"litellm": pytest.approx(3_600, abs=60)}


def test_every_metric_is_documented(reader: httpx.Client) -> None:
    page = (ROOT / "docs/api.md").read_text()
    reader.get("/healthz")
    families = text_string_to_metric_families(reader.get("/metrics").text)
    # When each counter was created is reported by the library.
    shown = {it.name for it in families if not it.name.endswith("_created")}
    assert [name for name in sorted(shown) if f"`{name}`" not in page and f"`{name}_total`" not in page] == []


def test_it_is_ready_once_selections_are_counted(reader: httpx.Client) -> None:
    assert reader.get("/readyz").json() == {"status": "ok"}


def test_a_token_is_for_what_it_is_for(reader: httpx.Client) -> None:
    """A wrong token opens nothing, one for writing does not read; only the liveness check is open to everybody."""
    for path in ("/summary", "/config", "/reports", "/metrics", "/readyz", "/"):
        wrong = reader.get(path, headers=bearing("no-such-token-no-such-token"))
        assert wrong.status_code in (401, 303), path
        assert reader.get(path, headers=bearing(WRITER)).status_code == 403, path
    assert reader.post("/selections", json=[]).status_code == 403
    assert httpx.get(reader.base_url.join("/healthz")).json() == {"status": "ok"}


WORDS = ("24h", "1h", "", "null", "../../etc/passwd", "'; DROP TABLE selection; --", "\u202e")
ODD = st.one_of(st.text(max_size=30), st.integers().map(str), st.sampled_from(WORDS))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_asked_is_answered_as_documented(client: httpx.Client, data: st.DataObject) -> None:
    """No 5xx, no status that the interface does not document, and each error a problem that says what is wrong."""
    paths = client.get("/openapi.json").json()["paths"]
    path = data.draw(st.sampled_from(sorted(paths)))
    method = data.draw(st.sampled_from(sorted(paths[path])))
    operation = paths[path][method]
    names = [it["name"] for it in operation.get("parameters", []) if it["in"] == "query"]
    query = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys([*names, "unknown"], ODD)))
    for part in [it["name"] for it in operation.get("parameters", []) if it["in"] == "path"]:
        drawn = data.draw(st.sampled_from(["1", "0", "-1", "99999999999999999999", "x", "%00", "html", "pdf"]))
        path = path.replace("{" + part + "}", drawn)
    body = data.draw(st.sampled_from([b"", b"{", b"[]", b"null", b'{"modelId": 7}', b'[{"modelId": "m"}]', b"\xff"]))
    token = data.draw(st.sampled_from([READER, WRITER, "wrong-wrong-wrong-wrong"]))
    answer = client.request(
        method.upper(), path, params=query, headers=bearing(token),
        content=body if method == "post" else None,
    )  # fmt: skip
    assert answer.status_code < 500
    assert str(answer.status_code) in operation["responses"], (method, path, query, answer.status_code)
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 400:
        assert kind in operation["responses"][str(answer.status_code)]["content"], (method, path)
    if kind == "application/problem+json":
        assert set(answer.json()) >= {"title", "status", "detail"}


def test_the_interface_is_described(sqlite_engine: Engine, tmp_path: Path) -> None:
    """Each operation has a summary and the errors that it may answer."""
    described = create_app(app_context(sqlite_engine, tmp_path)).openapi()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            assert path == "/healthz" or {"401", "403"} <= set(operation["responses"]), path
