"""Whatever is fed to any entrance, whatever the clock says and the router's config holds: counting and alerting go on,
the rollups are the group-by of the table, and every row is accounted for."""

# The statements are made of this module's own names.
# ruff: noqa: S608

from __future__ import annotations

import itertools
import json
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, create_engine, delete, func, select, text
from sqlalchemy.exc import DBAPIError, StatementError

from dashboard.monitor import Monitor
from models.context import AppContext
from models.database import reading, writing
from models.errors import UnreadableInput
from models.period import Level, Period, floor_to
from models.schema import ALERT_CHECKPOINT, CONFIG, HOUR_TOTAL, ROLLUP, ROLLUP_CHECKPOINT
from models.settings import Optimizer, PerformanceMetrics, Settings, SourceSettings
from routewatch.client import RouterLog
from routewatch.gate import FIELDS, read_identifier, read_name
from routewatch.quarantine import INTAKE_COUNT, QUARANTINE
from routewatch.selection import METADATA, SELECTION, conditions
from tasks.alerts.evaluate import LATE_ARRIVAL_GRACE
from tasks.bottlenecks.detect import detect_bottlenecks
from tasks.ingestion.column_mapping import Mapping as ColumnMapping
from tasks.ingestion.file_import import import_file
from tasks.ingestion.pull import pull
from tasks.ingestion.quarantine import drop_quarantined, retry_quarantined
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.recommend import recommend
from tasks.optimizer.router_config import read_whole_config, set_by_hand
from tasks.optimizer.router_values import Setting
from tasks.rollups.aggregate import ROLLUP_COLUMNS, ROLLUP_KEYS, SELECTION_SCHEMA, empty, roll_up
from tasks.rollups.arms import ARM_KEYS, roll_up_arms
from tasks.rollups.checkpoint import RollupSettings, rollup_settings
from tasks.rollups.progress import read_backlog
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import update_rollups
from tasks.sources.registry import open_source
from tests.support.clocks import Clock
from tests.support.factories import hours
from tests.support.hostile_rows import (
    NUMBERS,
    ROW,
    ROWS,
    as_json,
    csv_of,
    jsonl_of,
    parquet_of,
    resolved,
)
from tests.support.page_server import READER, WRITER, app_context, bearing, serving
from tests.support.rollups import stored_arms, totals_of

EXAMPLES = int(os.environ.get("ROUTEWATCH_EXAMPLES", "6"))
STEPS = 20

ID = st.sampled_from(["new", "new", "new", "known", "none", "hostile"])
"""Which request id a row has: one of its own, one that was sent before, none, or one that cannot be stored."""

IDS = st.lists(ID, min_size=6, max_size=6)

JUMPS = [timedelta(**it) for it in (
    {}, {"minutes": 3}, {"hours": 2}, {"days": 3}, {"days": 400}, {"minutes": -3}, {"hours": -5}, {"days": -400},
)]  # fmt: skip
"""How far the clock is off."""

SOURCE_COLUMNS = ("timestamp", *(name for name in FIELDS if name not in ("timestamp", "request_id")))
MAPPING = '[source]\ntable = "calls"\ncursor = "n"\nid = "request_id"\n'

CONFIG_KEYS = ("cache.ttl_seconds", "cache.max_entries", "cache.eviction_policy", "routing.simple", "a.key of its own")
CONFIG_VALUES = ["600", "-1", "0", "1", "null", "true", '"lru"', "[]", "{}", "1e400", "-1e400", "9" * 400, '"\\ud800"']
ONLY_SQLITE = ["lru", "NaN", "-Infinity", "", " ", "{'a': 1}", "[1,", b"\xff", 5, 0.5, b"", "[" * 3_000]
SLOW_AND_UNCACHED = hours(*[{"response_time_ms": 5000.0, "cache_hit": False, "complexity": "simple"}] * 120)
BOTTLENECKS = detect_bottlenecks(SLOW_AND_UNCACHED, PerformanceMetrics(), "UTC")

BASES = [
    RollupSettings("UTC", 2000.0),
    RollupSettings("America/New_York", 2000.0),
    RollupSettings("Asia/Kolkata", 500.0),
]


Row = dict[str, Any]


REFUSED = (DBAPIError, StatementError, UnicodeError, OverflowError)
"""How the database, its driver or SQLAlchemy refuses what somebody writes by SQL."""


class World:
    """One database with everything that writes into it; it outlives the examples."""

    def __init__(self, engine: Engine, folder: Path, client: httpx.Client, ctx: AppContext, clock: Clock) -> None:
        self.engine, self.folder, self.client, self.ctx, self.clock = engine, folder, client, ctx, clock
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.log = RouterLog(engine.url.render_as_string(hide_password=False))
        self.numbers = itertools.count(1)
        (folder / "map.toml").write_text(MAPPING)
        # Of no types, as SQLite's are: a source may hold anything.
        self.source = create_engine(f"sqlite:///{folder / 'theirs.db'}")
        with self.source.begin() as connection:
            columns = ", ".join(SOURCE_COLUMNS)
            connection.exec_driver_sql(f"CREATE TABLE calls (n INTEGER PRIMARY KEY, request_id, {columns})")
        self.clear()

    def clear(self) -> None:
        self.clock.off = timedelta()
        with writing(self.engine) as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(delete(table))
        with self.source.begin() as connection:
            connection.exec_driver_sql("DELETE FROM calls")
        self.exports = self.folder / f"exports {next(self.numbers)}"
        self.exports.mkdir()

    def close(self) -> None:
        self.log.close()
        self.source.dispose()


@dataclass(frozen=True)
class Inventory:
    """What is there: the ids with whether the call failed, and the rows counted by entrance and outcome."""

    ids: dict[str, bool]
    selections: int
    aside: int
    intake: dict[tuple[str, str], tuple[int, int]]

    def counted(self, entrance: str, outcome: str, before: Inventory) -> tuple[int, int]:
        rows, errors = self.intake.get((entrance, outcome), (0, 0))
        rows_before, errors_before = before.intake.get((entrance, outcome), (0, 0))
        return rows - rows_before, errors - errors_before


def inventory_of(engine: Engine) -> Inventory:
    counted = INTAKE_COUNT.c
    sums = select(counted.entrance, counted.outcome, func.sum(counted.rows), func.sum(counted.errors))
    with reading(engine) as connection:
        # Without reading values as their columns' types: there may be any.
        rows = connection.exec_driver_sql("SELECT request_id, error FROM selection").all()
        aside = connection.execute(select(QUARANTINE.c.request_id, QUARANTINE.c.content)).all()
        intake = connection.execute(sums.group_by(counted.entrance, counted.outcome)).all()
    ids = {it.request_id: it.content.get("error") in (True, 1) for it in aside if it.request_id is not None}
    for name, error in rows:
        if name is not None:
            # Sent twice, once ahead of the clock, it is in both.
            ids[name] = ids.get(name, False) or error in (True, 1)
    sums_of: dict[tuple[str, str], tuple[int, int]] = {}
    for entrance, outcome, count, errors in intake:
        # What was rejected of a file is counted under its hash.
        key = entrance.partition(":")[0], outcome
        earlier = sums_of.get(key, (0, 0))
        sums_of[key] = earlier[0] + int(count), earlier[1] + int(errors)
    return Inventory(ids, len(rows), len(aside), sums_of)


def form_of(request_id: Any) -> str | None:
    """The id as it is stored."""
    return None if request_id is None else read_identifier(str(request_id))[0]


def is_failed(row: Row) -> bool:
    return row.get("error") is True


class Hostility(RuleBasedStateMachine):
    """Feeds one world; the ledger has every id that an entrance has taken, with whether its call must be failed."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.world.clear()
        self.ledger: dict[str, bool] = {}
        self.sent: list[str] = []
        self.rollup_settings = BASES[0]

    @property
    def now(self) -> datetime:
        return self.world.clock.now(UTC)

    # --- the entrances ------------------------------------------------------------------------------------------------

    @rule(rows=ROWS, ids=IDS, kind=st.sampled_from(["csv", "jsonl", "parquet"]), data=st.data())
    def import_a_file(self, rows: list[Row], ids: list[str], kind: str, data: st.DataObject) -> None:
        given, before = self.identified(rows, ids), self.inventory()
        # A file that is imported again replaces its counts: each is another.
        given[0] = given[0] | {"note": f"file {next(self.world.numbers)}"}
        kinds = {"timestamp": "instant", "cost_usd": "number", "response_time_ms": "number"}
        if kind == "parquet" and data.draw(st.booleans(), label="texts only"):
            kinds = {}
        content = parquet_of(given, kinds) if kind == "parquet" else csv_of(given) if kind == "csv" else jsonl_of(given)
        path = self.world.folder / f"import {next(self.world.numbers)}.{kind}"
        path.write_bytes(content)
        if kind == "jsonl" and not {"timestamp"} <= given[0].keys():
            # A file without the columns of a selection is refused as a whole.
            given[0] = given[0] | {"timestamp": None, "model_id": None}
            path.write_bytes(jsonl_of(given))
        try:
            result = import_file(
                self.world.engine, path, mapping=ColumnMapping(), zone="UTC", rejects_folder=self.world.folder,
                ingestion=self.world.ctx.settings.ingestion,
            )  # fmt: skip
        except UnreadableInput:
            assert self.inventory() == before
            return
        finally:
            path.unlink()
        assert result.read == len(given)
        assert result.added + result.already_there + result.rejected + result.set_aside == result.read
        assert sum(count for _, count in result.reasons) == result.rejected
        self.account("import", given, before, refused=result.rejected, added=result.added, aside=result.set_aside)

    @rule(rows=ROWS, ids=IDS)
    def post_selections(self, rows: list[Row], ids: list[str]) -> None:
        given, before = self.identified(rows, ids), self.inventory()
        body = json.dumps(given, default=as_json).encode()
        headers = bearing(WRITER) | {"Content-Type": "application/json"}
        answer = self.world.client.post("/selections", content=body, headers=headers)
        assert answer.status_code in (200, 207), answer.text
        results = answer.json()["results"]
        assert len(results) == len(given)
        for row, result in zip(given, results, strict=True):
            if result["status"] == "refused":
                assert result["error"]
            else:
                row["request_id"] = result["requestId"]
        statuses = [it["status"] for it in results]
        self.account(
            "http", given, before, refused=statuses.count("refused"), added=statuses.count("created"),
            aside=statuses.count("setAside"),
        )  # fmt: skip

    @rule(rows=ROWS, ids=IDS)
    def record_by_router_log(self, rows: list[Row], ids: list[str]) -> None:
        given, before, log = self.identified(rows, ids), self.inventory(), self.world.log
        refused_before = log.counts.refused
        for row in given:
            values: Any = {"model_id": None} | row
            row["request_id"] = log.record_selection(**values)
        assert log.flush(20)
        told = sum(row["request_id"] is None for row in given)
        # Without an id here the log has refused it, and there is nothing to look for.
        refused = log.counts.refused - refused_before
        assert refused == told
        self.account("routerLog", given, before, refused=refused)

    @rule(rows=ROWS, sizes=st.lists(st.sampled_from(NUMBERS), min_size=6, max_size=6))
    def send_spans(self, rows: list[Row], sizes: list[Any]) -> None:
        before = self.inventory()
        given = resolved(rows, self.now)
        spans, sent = [], []
        for row, size in zip(given, sizes, strict=False):
            trace, number = secrets.token_hex(16), secrets.token_hex(8)
            spans.append(span_of(row, size, trace, number))
            sent.append({"request_id": f"otel:{trace}:{number}", "error": row.get("error")})
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, default=as_json)
        headers = bearing(WRITER) | {"Content-Type": "application/json"}
        answer = self.world.client.post("/v1/traces", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        refused = int(answer.json().get("partialSuccess", {}).get("rejectedSpans", 0))
        self.account("otel", sent, before, refused=refused)

    @rule(rows=ROWS, ids=IDS, has_other_encoding=st.booleans())
    def pull_a_table(self, rows: list[Row], ids: list[str], has_other_encoding: bool) -> None:
        given, before = self.identified(rows, ids), self.inventory()
        insertion = f"INSERT INTO calls (request_id, {', '.join(SOURCE_COLUMNS)})"
        marks = ", ".join("?" * (1 + len(SOURCE_COLUMNS)))
        with self.world.source.begin() as connection:
            for row in given:
                values = tuple(as_sqlite(row.get(name)) for name in ("request_id", *SOURCE_COLUMNS))
                connection.exec_driver_sql(f"{insertion} VALUES ({marks})", values)
            if has_other_encoding:
                # As a program in another encoding writes it.
                connection.exec_driver_sql("UPDATE calls SET team = CAST(x'636166e9' AS TEXT) WHERE team = 'caf\u00e9'")
        location = f"sqlite:///{self.world.folder / 'theirs.db'}"
        self.pull(
            given, before, SourceSettings(kind="table", location=location, mapping=self.world.folder / "map.toml")
        )

    @rule(rows=ROWS, ids=IDS, kind=st.sampled_from(["jsonl", "csv"]))
    def pull_export_files(self, rows: list[Row], ids: list[str], kind: str) -> None:
        given, before = self.identified(rows, ids), self.inventory()
        if kind == "jsonl":
            given[0] = {"timestamp": None, "model_id": None, "request_id": None} | given[0]
        folder = self.world.exports / "files"
        folder.mkdir(exist_ok=True)
        path = folder / f"{next(self.world.numbers):06}.{kind}"
        path.write_bytes((csv_of if kind == "csv" else jsonl_of)(given))
        self.pull(given, before, SourceSettings(kind="table", location=str(folder)), name="files")

    @rule(rows=ROWS, ids=IDS)
    def pull_an_export(self, rows: list[Row], ids: list[str]) -> None:
        """The export of a gateway, with values where it has them."""
        given, before = self.identified(rows, ids), self.inventory()
        lines = [
            {"generation_id": row["request_id"], "created_at": row.get("timestamp"), "cost_total": row.get("cost_usd"),
             "model_permaslug": row.get("model_id"), "generation_time_ms": row.get("response_time_ms"),
             "tokens_prompt": row.get("prompt_tokens"), "tokens_completion": row.get("completion_tokens"),
             "finish_reason_normalized": "error" if is_failed(row) else "stop", "api_key_name": row.get("team"),
             "finish_reason_raw": row.get("error_type")}
            for row in given
        ]  # fmt: skip
        folder = self.world.exports / "openrouter"
        folder.mkdir(exist_ok=True)
        (folder / f"{next(self.world.numbers):06}.jsonl").write_bytes(jsonl_of(lines))
        source = SourceSettings(kind="openrouter", location=str(folder), team_key="api_key_name")
        self.pull(given, before, source, name="openrouter")

    def pull(self, given: list[Row], before: Inventory, source: SourceSettings, name: str = "table") -> None:
        engine, ingestion = self.world.engine, self.world.ctx.settings.ingestion
        stats = pull(engine, name, open_source(str(source.kind), source), source, self.now, ingestion=ingestion)
        assert stats.read == stats.selections + stats.skipped.total() + stats.rejected.total() + stats.set_aside
        # The last word on an id is the source's.
        for row in given:
            self.ledger.pop(form_of(row["request_id"]) or "", None)
        refused = stats.rejected.total()
        self.account(name, given, before, refused=refused, added=stats.added, aside=stats.set_aside, is_upsert=True)

    @rule(row=ROW, kind=ID)
    def insert_by_sql(self, row: Row, kind: str) -> None:
        """Whoever writes SQL is refused by the table, or his row is one like every other."""
        [given], before = self.identified([row], [kind]), self.inventory()
        names, marks = ", ".join(given), ", ".join(f":{name}" for name in given)
        statement = text(f"INSERT INTO selection ({names}) VALUES ({marks})")
        refused = 0
        try:
            with writing(self.world.engine) as connection:
                connection.execute(statement, {name: as_sql(it, self.world.is_sqlite) for name, it in given.items()})
        except REFUSED:
            refused = 1
        after = self.inventory()
        assert after.selections - before.selections == 1 - refused
        self.enter([given], before, after)

    @rule(row=ROW, kind=st.sampled_from(["new", "none"]))
    def plant(self, row: Row, kind: str) -> None:
        """A row as of before the table had its conditions, or of a damaged file."""
        [given], before = self.identified([row], [kind]), self.inventory()
        given = {"timestamp": self.now.isoformat(), "model_id": "planted", "error": True} | given
        with unchecked(self.world.engine) as execute:
            planted = execute("INSERT INTO selection", given)
        after = self.inventory()
        assert after.selections - before.selections == planted
        self.enter([given], before, after)

    @rule(data=st.data(), row=ROW, is_checked=st.booleans())
    def change_by_sql(self, data: st.DataObject, row: Row, is_checked: bool) -> None:
        with reading(self.world.engine) as connection:
            ids = [it[0] for it in connection.exec_driver_sql("SELECT id FROM selection ORDER BY id")]
            names = dict(tuple(it) for it in connection.exec_driver_sql("SELECT id, request_id FROM selection"))
        if not ids:
            return
        number = data.draw(st.sampled_from(ids))
        [values] = resolved([row], self.now)
        if not values:
            return
        self.ledger.pop(names[number] or "", None)
        if not is_checked:
            with unchecked(self.world.engine) as execute:
                execute(f"UPDATE selection {number}", values)
        else:
            changes = ", ".join(f"{name} = :{name}" for name in values)
            with suppress(*REFUSED), writing(self.world.engine) as it:
                found = {name: as_sql(value, self.world.is_sqlite) for name, value in values.items()}
                it.execute(text(f"UPDATE selection SET {changes} WHERE id = {number}"), found)
        after = self.inventory()
        if names[number] is not None:
            self.ledger[names[number]] = False
        self.check_ledger(after)

    # --- the clock, and what is done at it ----------------------------------------------------------------------------

    @rule(off=st.sampled_from(JUMPS))
    def set_the_clock(self, off: timedelta) -> None:
        self.world.clock.off = off

    @rule(off=st.sampled_from(JUMPS))
    def turn(self, off: timedelta) -> None:
        """The monitor's turn, after the clock jumped or not."""
        self.world.clock.off = off
        monitor, now = Monitor(self.world.ctx), self.now
        monitor.watch(now)
        monitor.evaluate(now)
        self.rollup_settings = rollup_settings(self.world.ctx.settings)
        self.check_counting()
        with reading(self.world.engine) as connection:
            until = connection.scalar(select(ALERT_CHECKPOINT.c.evaluated_until))
        assert until == floor_to(Level.MINUTE, now - LATE_ARRIVAL_GRACE, "UTC"), "alerting stands where the clock is"
        answer = self.world.client.get("/readyz", headers=bearing(READER))
        assert answer.status_code == 200, answer.text

    @rule(base=st.sampled_from(BASES), acts_as=st.sampled_from(JUMPS))
    def count(self, base: RollupSettings, acts_as: timedelta) -> None:
        """An update by hand, under other rollup settings, and as of another time."""
        self.rollup_settings = base
        ingestion = self.world.ctx.settings.ingestion
        update_rollups(self.world.engine, base, now=self.now + acts_as, ingestion=ingestion)
        self.check_counting()
        assert reconcile(self.world.engine) == 0

    @rule(acts_as=st.sampled_from(JUMPS), data=st.data())
    def retry_the_quarantine(self, acts_as: timedelta, data: st.DataObject) -> None:
        before = self.inventory()
        self.forgive_twice_sent()
        number = data.draw(st.sampled_from([None, *self.aside()]))
        result = retry_quarantined(self.world.engine, number, self.now + acts_as)
        after = self.inventory()
        assert after.selections - before.selections == result.restored
        assert before.aside - after.aside == result.restored + result.already_there
        self.check_ledger(after)

    @rule(data=st.data())
    def drop_of_the_quarantine(self, data: st.DataObject) -> None:
        before = self.inventory()
        self.forgive_twice_sent()
        number = data.draw(st.sampled_from([None, *self.aside()]))
        dropped = drop_quarantined(self.world.engine, number, self.now)
        after = self.inventory()
        assert before.aside - after.aside == dropped
        assert sum(after.counted(it, "dropped", before)[0] for it, outcome in after.intake if outcome == "dropped") == (
            dropped
        )
        for lost in before.ids.keys() - after.ids.keys():
            self.ledger.pop(lost, None)
        self.check_ledger(after)

    @rule(key=st.sampled_from(CONFIG_KEYS), value=st.sampled_from([*CONFIG_VALUES, *ONLY_SQLITE]), mends=st.booleans())
    def configure(self, key: str, value: Any, mends: bool) -> None:
        """The router writes anything into its config; it is read, changes are previewed, and a person sets it right."""
        is_sqlite, engine = self.world.is_sqlite, self.world.engine
        if not is_sqlite and value in ONLY_SQLITE:
            return
        insertion = text(
            "INSERT INTO config (key, value, version, updated_at, updated_by)"
            f" VALUES (:key, {':value' if is_sqlite else 'CAST(:value AS json)'}, 1, '2026-09-07 00:00:00.000000', 'r')"
        )
        with writing(engine) as connection:
            connection.execute(delete(CONFIG).where(CONFIG.c.key == key))
            connection.execute(insertion, {"key": key, "value": value})
        found = read_whole_config(engine)
        assert key in found
        items = recommend(BOTTLENECKS, SLOW_AND_UNCACHED, {}, found, Optimizer())
        context = DecisionContext(Period(self.now - timedelta(days=1), self.now), last_selection_at=None, now=self.now)
        assert len(apply(engine, items, Settings(), context, dry_run=True)) == len(items)
        if mends:
            set_by_hand(engine, key, 600, by="ops", reason="mended", now=self.now)
            content = read_whole_config(engine)[key]
            assert isinstance(content, Setting)
            assert content.value == 600

    # --- what holds ---------------------------------------------------------------------------------------------------

    def check_counting(self) -> None:
        """Nothing waits, and the rollups are the group-by of what is in the table."""
        engine = self.world.engine
        with reading(engine) as connection:
            backlog = read_backlog(connection)
            raw = connection.execute(select(*SELECTION.c[tuple(SELECTION_SCHEMA)])).fetchall()
            stored = connection.execute(select(ROLLUP.c.level, *ROLLUP.c[ROLLUP_COLUMNS])).fetchall()
            minutes_from = connection.scalar(select(ROLLUP_CHECKPOINT.c.minutes_from))
        assert (backlog.rows, backlog.has_changes) == (0, False)
        frame = pl.DataFrame(raw, schema=SELECTION_SCHEMA, orient="row").with_columns(
            pl.col(name).map_elements(one_form, return_dtype=pl.String, skip_nulls=False)
            for name in ("model_id", "complexity", "team", "experiment", "arm")
        )
        frame = frame.with_columns(pl.col("model_id").fill_null("unknown"))
        base = self.rollup_settings
        expected = roll_up(frame, base.zone, base.target_ms, minutes_from=minutes_from)
        levels = {str(level): expected[level] for level in Level} | {HOUR_TOTAL: totals_of(expected[Level.HOUR])}
        for level, rollups in levels.items():
            found = pl.DataFrame([row[1:] for row in stored if row[0] == level], schema=empty().schema, orient="row")
            by_key = found.sort(ROLLUP_KEYS), rollups.sort(ROLLUP_KEYS)
            assert_frame_equal(*by_key, check_exact=False, rel_tol=1e-9, abs_tol=1e-6)
        arms = roll_up_arms(frame, base.zone, base.target_ms)
        assert_frame_equal(stored_arms(engine), arms.sort(ARM_KEYS), check_exact=False, rel_tol=1e-9, abs_tol=1e-6)
        self.check_ledger(self.inventory())

    def account(
        self,
        entrance: str,
        rows: Sequence[Row],
        before: Inventory,
        *,
        refused: int,
        added: int | None = None,
        aside: int | None = None,
        is_upsert: bool = False,
    ) -> None:
        """Compare what an entrance told with what is there: each row is, or was refused and counted."""
        after = self.inventory()
        counted, errors = after.counted(entrance, "rejected", before)
        assert counted == refused, "the counts by reason say what the entrance told"
        missing = [row for row in rows if form_of(row.get("request_id")) not in after.ids and not is_anonymous(row)]
        assert len(missing) <= refused, f"not refused, and not there: {missing}"
        anonymous = len([row for row in rows if is_anonymous(row)])
        assert errors >= sum(map(is_failed, missing)), "failed calls are counted as such"
        if added is not None:
            assert after.selections - before.selections == added
        new_aside = after.counted(entrance, "setAside", before)[0]
        assert after.aside - before.aside == new_aside
        if aside is not None:
            assert new_aside <= aside
        if not is_upsert:
            grown = after.selections - before.selections + new_aside
            assert grown + refused <= len(rows)
            assert anonymous <= len(rows)
        self.enter(rows, before, after)

    def enter(self, rows: Sequence[Row], before: Inventory, after: Inventory) -> None:
        """Enter the rows that are there: from now on they stay."""
        forms = [form_of(row.get("request_id")) for row in rows]
        for row, form in zip(rows, forms, strict=True):
            if form is not None and form in after.ids:
                is_first = form not in before.ids and forms.count(form) == 1
                self.ledger[form] = (is_first and is_failed(row)) or self.ledger.get(form, False)
        self.check_ledger(after)

    def check_ledger(self, found: Inventory) -> None:
        """Every row that was taken is there, and its call is still a failed one."""
        assert self.ledger.keys() - found.ids.keys() == set()
        assert [it for it, failed in self.ledger.items() if failed and not found.ids[it]] == []

    # --- help ---------------------------------------------------------------------------------------------------------

    def forgive_twice_sent(self) -> None:
        """Of a call that is in the table and in the quarantine, the table's row is the one that stays."""
        with reading(self.world.engine) as connection:
            twice = connection.scalars(select(QUARANTINE.c.request_id).where(QUARANTINE.c.request_id.is_not(None)))
            stored = {it[0] for it in connection.exec_driver_sql("SELECT request_id FROM selection")}
            for name in set(twice) & stored & self.ledger.keys():
                self.ledger[name] = False

    def inventory(self) -> Inventory:
        return inventory_of(self.world.engine)

    def aside(self) -> list[int]:
        with reading(self.world.engine) as connection:
            return list(connection.scalars(select(QUARANTINE.c.id).order_by(QUARANTINE.c.id)))

    def identified(self, rows: Sequence[Row], kinds: Sequence[str]) -> list[Row]:
        """The rows with their instants written, and a request id each as `kinds` says."""
        found = []
        for row, kind in zip(resolved(rows, self.now), kinds, strict=False):
            name: str | None = f"r{next(self.world.numbers)}"
            if kind == "known" and self.sent:
                name = self.sent[-1]
            elif kind == "none":
                name = None
            elif kind == "hostile":
                name = f"{name}\0\u202e" + "x" * 300
            if name is not None:
                self.sent.append(name)
            found.append(row | {"request_id": name})
        return found


def is_anonymous(row: Row) -> bool:
    return row.get("request_id") is None


def one_form(name: str | None) -> str | None:
    return None if name is None else read_name(name)[0]


def as_sqlite(value: Any) -> Any:
    """A value as a table of a user's may hold it."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, list | dict):
        return json.dumps(value).encode()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return float(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def as_sql(value: Any, is_sqlite: bool) -> Any:
    """A value as somebody binds it to a statement."""
    if isinstance(value, datetime) and is_sqlite:
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return json.dumps(value) if isinstance(value, list | dict) else value


@contextmanager
def unchecked(engine: Engine) -> Iterator[Callable[[str, Row], int]]:
    """Write past the conditions of the table; the function returns how many rows it wrote."""
    is_sqlite = engine.dialect.name == "sqlite"

    def execute(what: str, row: Row) -> int:
        values = {name: as_sqlite(it) if is_sqlite else as_sql(it, is_sqlite=False) for name, it in row.items()}
        mark = "?" if is_sqlite else "%s"
        verb, table, *number = what.replace("INTO ", "").split()
        if verb == "INSERT":
            statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join([mark] * len(values))})"
        else:
            statement = f"UPDATE {table} SET {', '.join(f'{it} = {mark}' for it in values)} WHERE id = {number[0]}"
        cursor = connection.cursor()
        try:
            cursor.execute(statement, tuple(values.values()))
        except Exception:  # noqa: BLE001 - a column that is never NULL, or of a type, takes not everything either
            connection.rollback()
            return 0
        return 1

    connection: Any = engine.raw_connection()
    with closing(connection):
        cursor = connection.cursor()
        names = conditions(engine.dialect.name)
        if is_sqlite:
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        else:
            cursor.execute("ALTER TABLE selection " + ", ".join(f"DROP CONSTRAINT ck_selection_{it}" for it in names))
            connection.commit()
        yield execute
        if not is_sqlite:
            added = (f"ADD CONSTRAINT ck_selection_{name} CHECK ({it}) NOT VALID" for name, it in names.items())
            cursor.execute("ALTER TABLE selection " + ", ".join(added))
        connection.commit()
        if is_sqlite:
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def span_of(row: Row, size: Any, trace: str, number: str) -> dict[str, Any]:
    """A span of a model call, with the row's values where a span has them."""
    named = {
        "gen_ai.request.model": row.get("model_id"), "gen_ai.usage.cost": row.get("cost_usd"),
        "gen_ai.usage.input_tokens": row.get("prompt_tokens"), "gen_ai.usage.output_tokens": size,
        "routewatch.cache_hit": row.get("cache_hit"), "error.type": row.get("error_type"),
        "routewatch.accuracy": row.get("accuracy"), "routewatch.experiment": row.get("experiment"),
        "routewatch.arm": row.get("arm"), "routewatch.unit_bucket": row.get("unit_bucket"),
    }  # fmt: skip
    attributes = [{"key": name, "value": any_value(it)} for name, it in named.items()]
    attributes.append({"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}})
    return {
        "traceId": trace, "spanId": number, "name": "chat", "startTimeUnixNano": nanoseconds(row.get("timestamp")),
        "endTimeUnixNano": nanoseconds(size), "attributes": attributes, "status": {"code": 2 if is_failed(row) else 0},
    }  # fmt: skip


def nanoseconds(value: Any) -> str:
    """The protocol has 64 bits without a sign for an instant, and no other form of one."""
    if isinstance(value, datetime):
        value = value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 10**9
    fits = isinstance(value, int | float) and 0 <= value < 2**64
    return str(int(value) if fits else 0)


def any_value(value: Any) -> dict[str, Any]:
    """A value as OpenTelemetry's JSON has it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and abs(value) < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, int | float):
        special = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
        return {"doubleValue": special.get(str(float(value)), float(value))}
    return {"stringValue": as_json(value)} if isinstance(value, str) else {}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    ctx = app_context(engine, tmp_path)
    with serving(ctx) as client:
        clock = Clock.of_all_modules(monkeypatch)
        world = World(engine, tmp_path, client, ctx, clock)
        yield world
        world.close()
        monkeypatch.undo()


def test_nothing_that_is_fed_stops_counting_and_everything_is_accounted_for(world: World) -> None:
    class Machine(Hostility):
        pass

    Machine.world = world
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_state_machine_as_test(
            Machine,
            settings=settings(
                deadline=None, max_examples=EXAMPLES, stateful_step_count=STEPS, print_blob=True,
                # The same ones at every change; others where many are asked for.
                derandomize="ROUTEWATCH_EXAMPLES" not in os.environ,
                # A failure is shown as it was found: to shrink it takes minutes.
                suppress_health_check=list(HealthCheck), phases=[Phase.generate], report_multiple_bugs=False,
            ),
        )  # fmt: skip
