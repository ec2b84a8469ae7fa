"""For any order of writers, updates, changes and crashes, the rollups are the group-by of the rows."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from polars.testing import assert_frame_equal
from sqlalchemy import Connection, Engine, delete, select, update

from models.database import open_database, reading, writing
from models.period import EARLIEST, Level
from models.schema import HOUR_TOTAL
from models.tables import ArmRollup, Rollup, RollupCheckpoint, Selection, SelectionChange, table_of
from tasks.retention.purge import retain
from tasks.rollups import store as shelve
from tasks.rollups import update as update_module
from tasks.rollups.aggregate import ROLLUP_COLUMNS, ROLLUP_KEYS, SELECTION_SCHEMA, empty, roll_up
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.reconcile import reconcile
from tasks.rollups.update import update_rollups
from tasks.rollups.watermark import find_watermark
from tests.support.databases import migrated_sqlite
from tests.support.rollups import assert_arms_are_of, totals_of

SELECTION, ROLLUP, ARM_ROLLUP = table_of(Selection), table_of(Rollup), table_of(ArmRollup)
START = datetime(2026, 10, 31, 20, tzinfo=UTC)
"""The clocks of New York go back ten hours later."""

NOW = START + timedelta(hours=30)
BASES = (
    RollupSettings("UTC", 2000.0),
    RollupSettings("America/New_York", 2000.0),
    RollupSettings("Asia/Kolkata", 500.0),
)

EXAMPLES = int(os.environ.get("ROUTEWATCH_EXAMPLES", "15"))

ROW = st.fixed_dictionaries(
    {
        "timestamp": st.integers(0, 60 * 60 * 40).map(lambda s: START + timedelta(seconds=s)),
        "model_id": st.sampled_from(["a", "b"]),
        "complexity": st.sampled_from([None, "simple"]),
        "team": st.sampled_from([None, "red"]),
        "response_time_ms": st.sampled_from([None, 0.0, 12.5, 700.0, 2000.0, 9000.0]),
        "cost_usd": st.sampled_from([None, 0.0, 0.5, 1.25]),
        "cache_hit": st.sampled_from([None, True, False]),
        "accuracy": st.sampled_from([None, 0.5, 1.0]),
        "error": st.booleans(),
        "prompt_tokens": st.sampled_from([None, 0, 10, 100_000]),
        "experiment": st.sampled_from([None, "rollout-1", "NULL", "theirs"]),
        "arm": st.sampled_from([None, "baseline", "candidate"]),
        "unit_bucket": st.sampled_from([None, 0, 63]),
    }
)


class Killed(BaseException):
    """Stands for a process that ends in the middle of an update."""


class Folding(RuleBasedStateMachine):
    """One database; its address is set by the test."""

    engine: Engine
    is_postgres = False

    @initialize()
    def begin(self) -> None:
        with writing(self.engine) as connection:
            for model in (Rollup, ArmRollup, Selection, SelectionChange, RollupCheckpoint):
                connection.execute(delete(table_of(model)))
        self.rollup_settings = BASES[0]
        self.early: tuple[Connection, Any] | None = None
        self.is_settled = False
        self.removed = pl.DataFrame(schema=SELECTION_SCHEMA)
        """Rows that were committed and rolled up, and that retention has removed."""

    @rule(rows=st.lists(ROW, min_size=1, max_size=8))
    def write(self, rows: list[dict[str, Any]]) -> None:
        with writing(self.engine) as connection:
            connection.execute(SELECTION.insert(), rows)
        self.is_settled = False

    @precondition(lambda self: self.is_postgres and self.early is None)
    @rule(row=ROW)
    def take_an_id_early(self, row: dict[str, Any]) -> None:
        connection = self.engine.connect()
        transaction = connection.begin()
        connection.execute(SELECTION.insert(), [row])
        self.early = (connection, transaction)

    @precondition(lambda self: self.early is not None)
    @rule(keeps=st.booleans())
    def commit_late(self, keeps: bool) -> None:
        assert self.early is not None
        connection, transaction = self.early
        transaction.commit() if keeps else transaction.rollback()
        connection.close()
        self.early = None
        self.is_settled = False

    @rule(data=st.data())
    def change_rows(self, data: st.DataObject) -> None:
        with reading(self.engine) as connection:
            raw_from = connection.scalar(select(table_of(RollupCheckpoint).c.raw_from))
            kept = SELECTION.c.timestamp >= (raw_from or EARLIEST)
            ids = connection.execute(select(SELECTION.c.id).where(kept).order_by(SELECTION.c.id)).scalars().all()
        if not ids:
            return
        chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
        values = data.draw(ROW)
        # A row moved to a time whose rows are gone cannot be counted there; the update says so.
        if raw_from is not None and values["timestamp"] < raw_from:
            values["timestamp"] = raw_from
        changed = {name: values[name] for name in data.draw(st.sets(st.sampled_from(sorted(values)), min_size=1))}
        with writing(self.engine) as connection:
            connection.execute(update(SELECTION).where(SELECTION.c.id.in_(chosen)).values(changed))
        self.is_settled = False

    @rule(rollup_settings=st.sampled_from(BASES))
    def fold(self, rollup_settings: RollupSettings) -> None:
        """Once rows are gone, their rollups cannot be rebuilt under other settings: they stay."""
        self.rollup_settings = rollup_settings if self.removed.is_empty() else self.rollup_settings
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(update_module, "find_watermark", partial(find_watermark, patience_s=0.0))
            result = update_rollups(self.engine, self.rollup_settings, now=NOW)
        assert bool(result.held_by) == (self.early is not None)
        self.is_settled = self.early is None

    @precondition(lambda self: self.early is None)
    @rule(after=st.integers(0, 3))
    def die_while_folding(self, after: int) -> None:
        calls = itertools.count()

        def add(connection: Connection, level: Level, rollups: pl.DataFrame) -> None:
            shelve.add_rollups(connection, level, rollups)
            if next(calls) == after:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(update_module, "add_rollups", add)
            try:
                update_rollups(self.engine, self.rollup_settings, now=NOW)
            except Killed:
                return
        self.is_settled = True

    @precondition(lambda self: self.is_settled)
    @rule(quarters=st.integers(-2, 4))
    def retain(self, quarters: int) -> None:
        before, kept_from = self.committed(with_id=True), self.raw_from()
        retain(self.engine, raw_kept=timedelta(hours=1), now=START + timedelta(hours=12 * quarters))
        left, raw_from = self.committed(with_id=True), self.raw_from()
        gone = before.join(left, on="id", how="anti")
        assert gone.filter((pl.col("timestamp") < raw_from).not_().fill_null(True)).is_empty()
        if raw_from != kept_from:
            # With a clock that is set back, what came late stays until it is that time again.
            assert left.filter(pl.col("timestamp") < raw_from).is_empty()
        self.removed = pl.concat([self.removed, gone.drop("id")])

    @precondition(lambda self: self.is_settled)
    @rule(data=st.data())
    def lose_an_hour_and_reconcile(self, data: st.DataObject) -> None:
        hour = ROLLUP.c.level == Level.HOUR.value
        with reading(self.engine) as connection:
            raw_from = connection.scalar(select(table_of(RollupCheckpoint).c.raw_from))
            stored = connection.execute(select(ROLLUP.c.bucket).where(hour).distinct()).scalars().all()
        buckets = [bucket for bucket in stored if raw_from is None or bucket >= raw_from]
        if buckets:
            lost = data.draw(st.sampled_from(sorted(buckets)))
            with writing(self.engine) as connection:
                connection.execute(delete(ROLLUP).where(hour, ROLLUP.c.bucket == lost))
                connection.execute(delete(ARM_ROLLUP).where(ARM_ROLLUP.c.bucket == lost))
            assert reconcile(self.engine) == 1
            with writing(self.engine) as connection:
                arms = connection.execute(delete(ARM_ROLLUP).where(ARM_ROLLUP.c.bucket == lost)).rowcount
            assert reconcile(self.engine) == bool(arms)
        assert reconcile(self.engine) == 0

    @invariant()
    def rollups_are_the_group_by(self) -> None:
        if not getattr(self, "is_settled", False):
            return
        with reading(self.engine) as connection:
            stored = connection.execute(select(ROLLUP.c.level, *ROLLUP.c[ROLLUP_COLUMNS])).fetchall()
            minutes_from = connection.scalar(select(table_of(RollupCheckpoint).c.minutes_from))
        raw = pl.concat([self.committed(), self.removed])
        expected = roll_up(raw, self.rollup_settings.zone, self.rollup_settings.target_ms, minutes_from=minutes_from)
        for level, rollups in (
            {str(level): expected[level] for level in Level} | {HOUR_TOTAL: totals_of(expected[Level.HOUR])}
        ).items():
            found = [row[1:] for row in stored if row[0] == level]
            frame = pl.DataFrame(found, schema=empty().schema, orient="row")
            assert_frame_equal(frame.sort(ROLLUP_KEYS), rollups.sort(ROLLUP_KEYS), check_exact=False, rel_tol=1e-9)
        assert_arms_are_of(self.engine, raw, self.rollup_settings)

    def raw_from(self) -> datetime | None:
        with reading(self.engine) as connection:
            found: datetime | None = connection.scalar(select(table_of(RollupCheckpoint).c.raw_from))
        return found

    def committed(self, *, with_id: bool = False) -> pl.DataFrame:
        schema = {"id": pl.Int64, **SELECTION_SCHEMA} if with_id else SELECTION_SCHEMA
        with reading(self.engine) as connection:
            rows = connection.execute(select(*SELECTION.c[tuple(schema)])).fetchall()
        return pl.DataFrame(rows, schema=schema, orient="row")

    def teardown(self) -> None:
        if getattr(self, "early", None) is not None:
            assert self.early is not None
            self.early[1].rollback()
            self.early[0].close()


@pytest.fixture
def file_engine() -> Iterator[Engine]:
    with TemporaryDirectory() as folder:
        engine = open_database(migrated_sqlite(Path(folder)))
        yield engine
        engine.dispose()


@pytest.mark.parametrize("database", ["file", "postgres"])
def test_rollups_equal_the_group_by_whatever_happened(database: str, request: pytest.FixtureRequest) -> None:
    class Machine(Folding):
        engine = request.getfixturevalue(f"{database}_engine")
        is_postgres = database == "postgres"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_state_machine_as_test(
            Machine,
            settings=settings(
                deadline=None, max_examples=EXAMPLES, stateful_step_count=15, suppress_health_check=list(HealthCheck)
            ),
        )
