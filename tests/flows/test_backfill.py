"""A backfill on a Dask cluster of real processes equals one on threads, also when its workers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, select, text, update

from models.database import reading, writing
from models.errors import RoutewatchError, UsageError
from models.period import Level
from tasks.rollups.update import update_rollups
from tests.support.environment import clean_environment
from tests.support.factories import insert_selections
from tests.support.rollups import NOW, ROLLUP, UTC_SETTINGS, assert_rollups_are_of, stored, traffic
from tests.support.waiting import until

WORKERS = 2
TEN_DAYS = traffic(2_000)

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def cluster_in(folder: Path) -> Iterator[Any]:
    """A Dask cluster of processes, each of which works on one day at a time."""
    from distributed import LocalCluster  # noqa: PLC0415 - heavy

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        # None would still take Dask's usual port, and warn if a cluster beside this one has it.
        dashboard_address="127.0.0.1:0",
        local_directory=str(folder),
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """For tests that kill no worker."""
    with cluster_in(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def mortal_cluster(tmp_path: Path) -> Iterator[Any]:
    """One per test: a worker that is killed while it starts is not restarted."""
    with cluster_in(tmp_path / "dask") as cluster:
        yield cluster


def prepare(engine: Engine, raw: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a context on the engine's database with these selections, rolled up, and a fixed clock."""
    monkeypatch.setenv("ROUTEWATCH_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr("flows.backfill.time_of_run", lambda _: NOW)
    insert_selections(engine, raw)
    update_rollups(engine, UTC_SETTINGS, now=NOW)


def distort(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(ROLLUP).values(count=ROLLUP.c["count"] + 1))


def run() -> int:
    from flows.backfill import backfill, task_runner  # noqa: PLC0415 - importing Prefect takes seconds

    rows: int = backfill.with_options(task_runner=task_runner())()
    return rows


def has_blocked(engine: Engine, count: int) -> bool:
    """Return whether so many transactions of the database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with reading(engine) as connection:
        return int(connection.execute(text(waiting)).scalar_one()) >= count


def kill_in_the_middle(engine: Engine, cluster: Any, locked: Event, *, workers: int, when_blocked: list[int]) -> None:
    """Kill workers within the transaction of a day, which a lock blocks, each time that so many of those wait for it.

    The transactions of killed workers keep waiting: PostgreSQL notices only later that the client has gone.
    """
    with writing(engine) as connection:
        connection.execute(select(ROLLUP.c.bucket).where(ROLLUP.c.level == Level.DAY.value).with_for_update())
        locked.set()
        for count in when_blocked:
            until(partial(has_blocked, engine, count))
            for pid in pids(cluster)[:workers]:
                os.kill(pid, signal.SIGKILL)


def run_with_kills(engine: Engine, cluster: Any, *, workers: int, when_blocked: list[int]) -> int:
    locked = Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        killing = pool.submit(kill_in_the_middle, engine, cluster, locked, workers=workers, when_blocked=when_blocked)
        until(locked.is_set)
        rows = run()
        killing.result()
    return rows


def pids(cluster: Any) -> list[int]:
    return [nanny.pid for nanny in cluster.workers.values() if nanny.pid]


@pytest.mark.slow
def test_dask_gives_the_rollups_that_threads_give(
    engine: Engine, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(engine, TEN_DAYS, monkeypatch)
    results = []
    for address in ("", cluster.scheduler_address):
        monkeypatch.setenv("ROUTEWATCH_DASK_ADDRESS", address)
        distort(engine)
        assert run() == TEN_DAYS.height
        results.append({level: stored(engine, level) for level in Level})
    by_threads, by_dask = results
    for level in Level:
        assert_frame_equal(by_dask[level], by_threads[level], check_exact=False, rel_tol=1e-9)
    assert_rollups_are_of(engine, TEN_DAYS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "allowed_failures"), [(1, 3), (WORKERS, 3), (1, 0)], ids=["one", "all", "where Dask gives up at once"]
)
def test_a_worker_killed_in_the_middle_of_a_day_costs_a_repetition_and_no_wrong_number(
    postgres_engine: Engine,
    mortal_cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    killed: int,
    allowed_failures: int,
) -> None:
    prepare(postgres_engine, TEN_DAYS, monkeypatch)
    distort(postgres_engine)
    monkeypatch.setenv("ROUTEWATCH_DASK_ADDRESS", mortal_cluster.scheduler_address)
    monkeypatch.setattr(mortal_cluster.scheduler, "allowed_failures", allowed_failures)
    assert run_with_kills(postgres_engine, mortal_cluster, workers=killed, when_blocked=[WORKERS]) == TEN_DAYS.height
    assert_rollups_are_of(postgres_engine, TEN_DAYS)


@pytest.mark.slow
def test_a_day_whose_workers_die_again_and_again_is_named(
    postgres_engine: Engine, mortal_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(postgres_engine, traffic(100), monkeypatch)
    monkeypatch.setenv("ROUTEWATCH_DASK_ADDRESS", mortal_cluster.scheduler_address)
    monkeypatch.setattr(mortal_cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(RoutewatchError, match="workers of 2026-09-07 died 2 times"):
        run_with_kills(postgres_engine, mortal_cluster, workers=WORKERS, when_blocked=[1, 2])
    assert_rollups_are_of(postgres_engine, traffic(100))


@pytest.mark.slow
def test_dask_may_be_of_this_machine_alone(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(sqlite_engine, traffic(100), monkeypatch)
    distort(sqlite_engine)
    monkeypatch.setenv("ROUTEWATCH_DASK_ADDRESS", "local")
    assert run() == 100
    assert_rollups_are_of(sqlite_engine, traffic(100))


def test_a_backfill_without_any_raw_rows_does_nothing(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(sqlite_engine, TEN_DAYS.clear(), monkeypatch)
    assert run() == 0


def test_a_deployed_backfill_runs_where_the_environment_says() -> None:
    """A worker finds the flow by its module, and uses the task runner that it has there."""
    from flows.backfill import backfill  # noqa: PLC0415 - importing Prefect takes seconds

    assert type(backfill.task_runner).__name__ == "ThreadPoolTaskRunner"
    notify = "from flows.backfill import backfill; print(type(backfill.task_runner).__name__)"
    environment = clean_environment(ROUTEWATCH_DASK_ADDRESS="local")
    done = subprocess.run([sys.executable, "-c", notify], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "DaskTaskRunner"


def test_asking_for_dask_where_it_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.backfill import task_runner  # noqa: PLC0415 - importing Prefect takes seconds

    monkeypatch.setenv("ROUTEWATCH_DASK_ADDRESS", "tcp://127.0.0.1:9")
    # As if the installed package were not there: its import raises ImportError.
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(UsageError, match="prefect-dask is not installed"):
        task_runner()
