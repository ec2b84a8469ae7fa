"""Schedules on a Prefect server, for workers, with PostgreSQL: applied once however often, and no run lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from sqlalchemy import create_engine, select, text

from models.context import AppContext, close_engines, load_context
from models.database import reading
from models.notifications import AlertRule
from models.tables import Alert, Report, table_of
from tests.support.commands import call
from tests.support.databases import PostgresServer
from tests.support.environment import clean_environment
from tests.support.paths import ROOT
from tests.support.prefect_server import ask
from tests.support.servers import Mailbox, mailbox
from tests.support.waiting import a_free_port, status_of, until

BIN = Path(sys.executable).parent

REPORT, ALERT = table_of(Report), table_of(Alert)
FLOWS = {"hourly", "daily", "weekly", "backfill", "custom report", "decide"}

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""Prefect's own clients leave sockets to the garbage collector."""


class Site:
    """A Prefect server, a database, and the environment that commands and workers are started in."""

    def __init__(self, home: Path, address: str, inbox: Mailbox, api: str) -> None:
        self.home, self.api = home, api
        settings = home / "settings.json"
        people = {"email": ["mailto:ops@example.org"], "management": ["mailto:head@example.org"]}
        daily = {"daily": {"recipients": ["email"]}}
        settings.write_text(
            json.dumps({
                "timezone": "Europe/Berlin", "reporting": {"schedules": daily}, "delivery": {"recipients": people},
            })
        )  # fmt: skip
        self.routewatch = {
            "ROUTEWATCH_HOME": str(home), "ROUTEWATCH_DATABASE_URL": address, "ROUTEWATCH_SETTINGS": str(settings),
            "ROUTEWATCH_SMTP_HOST": "127.0.0.1", "ROUTEWATCH_SMTP_PORT": str(inbox.port),
            "ROUTEWATCH_SMTP_SECURITY": "none",
        }  # fmt: skip
        self.environment = clean_environment() | self.routewatch | {
            "PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": self.api, "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
        }  # fmt: skip
        self.inbox = inbox

    def command(self, *command: str, status: int = 0) -> str:
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deploy(self, *arguments: str, status: int = 0) -> str:
        """Run `routewatch deploy` within this process, whose Prefect uses the same server."""
        done = call(self.home, "deploy", *arguments, env=self.environment)
        assert done.returncode == status, done
        return done.stdout + done.stderr

    @contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.home / f"{command[1]}.log").open("ab") as log:
            process = subprocess.Popen(
                [BIN / command[0], *command[1:]], env=self.environment, cwd=self.home, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            status_of(process)

    def post(self, path: str, **asked: Any) -> Any:
        return ask("POST", f"{self.api}/{path}", json=asked)

    def deployment(self, flow: str) -> dict[str, Any]:
        found: dict[str, Any] = ask("GET", f"{self.api}/deployments/name/{flow}/routewatch")
        return found

    def state(self, run_id: str) -> str:
        return str(ask("GET", f"{self.api}/flow_runs/{run_id}")["state"]["type"])

    def run_daily(self, as_of: datetime) -> str:
        deployment = self.deployment("daily")["id"]
        asked = {"parameters": {"as_of": as_of.isoformat()}, "state": {"type": "SCHEDULED"}}
        return str(self.post(f"deployments/{deployment}/create_flow_run", **asked)["id"])

    def shape(self) -> dict[str, Any]:
        """Return what two ways to deploy must agree on."""
        names = {flow["id"]: flow["name"] for flow in self.post("flows/filter")}
        return {
            names[it["flow_id"]]: (
                it["id"], it["name"], it["entrypoint"], it["work_pool_name"], it["global_concurrency_limit"]["limit"]
                if it["global_concurrency_limit"] else None, it["enforce_parameter_schema"],
                [(each["id"], each["slug"], each["schedule"]["cron"], each["active"]) for each in it["schedules"]],
            )
            for it in self.post("deployments/filter")
        }  # fmt: skip


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, prefect_server: None
) -> Iterator[Site]:
    """Uses the server shared by all tests."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415 - importing Prefect takes seconds

    with mailbox() as inbox, postgres_server.database(migrated=True) as address:
        site = Site(tmp_path_factory.mktemp("site"), address, inbox, str(PREFECT_API_URL.value()))
        site.deploy()
        yield site


@pytest.fixture
def own_site(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[Site]:
    """Starts a server of its own, as an operator starts one."""
    port = a_free_port()
    with mailbox() as inbox, postgres_server.database(migrated=True) as address:
        site = Site(tmp_path, address, inbox, f"http://127.0.0.1:{port}/api")
        with site.started("prefect", "server", "start", "--port", str(port)):
            until(lambda: httpx.get(f"{site.api}/ready").is_success)
            site.command("routewatch", "deploy")
            yield site


@pytest.fixture
def ctx(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppContext]:
    """Open the site's context, in this process, which uses the site's server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - importing Prefect takes seconds

    for name, value in own_site.routewatch.items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_API_URL: own_site.api}):
        yield load_context()
    close_engines()


def test_every_flow_is_there_with_its_schedule_and_never_beside_itself(site: Site) -> None:
    assert set(site.shape()) == FLOWS
    for flow, cron, zone in (
        ("hourly", "5 * * * *", "UTC"),
        ("daily", "15 6 * * *", "Europe/Berlin"),
        ("weekly", "30 6 * * 1", "Europe/Berlin"),
    ):
        deployment = site.deployment(flow)
        [schedule] = deployment["schedules"]
        assert (schedule["slug"], schedule["active"]) == (flow, True)
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (cron, zone)
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["work_pool_name"] == "routewatch"


def test_deploying_again_changes_nothing_not_what_a_person_paused_either(site: Site) -> None:
    before = site.shape()
    [schedule] = site.deployment("weekly")["schedules"]
    paused = f"{site.api}/deployments/{before['weekly'][0]}/schedules/{schedule['id']}"
    httpx.patch(paused, json={"active": False}).raise_for_status()
    said = site.deploy("--pool", "routewatch", "--type", "process")
    assert "routewatch worker --pool routewatch" in said
    [after] = site.deployment("weekly")["schedules"]
    assert (after["id"], after["active"]) == (schedule["id"], False)
    httpx.patch(paused, json={"active": True}).raise_for_status()
    assert site.shape() == before


def test_prefects_own_deploy_makes_the_same_of_prefect_yaml(site: Site) -> None:
    """Except what the settings say, which it does not know."""
    before = site.shape()
    site.command("python", "-m", "prefect", "--no-prompt", "deploy", "--all")
    assert site.shape() == before
    assert site.deployment("daily")["schedules"][0]["schedule"]["timezone"] == "UTC"
    site.deploy()
    assert site.deployment("daily")["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"


def test_a_pool_of_another_kind_is_refused_and_one_of_images_needs_one(site: Site) -> None:
    said = site.deploy("--type", "docker", "--image", "routewatch:1", status=2)
    assert "the work pool 'routewatch' is of type process, not docker" in said
    assert "needs --image" in site.deploy("--pool", "images", "--type", "docker", status=2)
    site.deploy("--pool", "pods", "--type", "kubernetes", "--image", "routewatch:1")
    deployment = site.deployment("daily")
    assert (deployment["work_pool_name"], deployment["job_variables"]["image"]) == ("pods", "routewatch:1")
    site.deploy()
    assert "image" not in site.deployment("daily")["job_variables"]


def test_without_a_server_it_says_what_to_set(site: Site) -> None:
    """Nor the password in the database's address, when that server is unreachable."""
    from models.errors import UsageError  # noqa: PLC0415

    environment = {name: value for name, value in site.environment.items() if name != "PREFECT_API_URL"}
    done = call(site.home, "deploy", env=environment)
    assert (done.returncode, "set PREFECT_API_URL=" in done.stderr) == (UsageError.exit_status, True)


@pytest.mark.slow
def test_a_worker_that_is_killed_with_its_run_loses_and_doubles_nothing(own_site: Site, ctx: AppContext) -> None:
    """kill -9 of both in the middle of a daily run: it is found and logged; a later run creates its report, once."""
    from tasks.orchestration.run_monitor import monitor_runs  # noqa: PLC0415

    site, now = own_site, datetime.now(UTC)
    yesterday, before = (_due(ctx, now, days) for days in (1, 2))
    worker = ("routewatch", "worker", "--pool", "routewatch")
    stamina.instrumentation.set_on_retry_hooks([])
    locking = create_engine(ctx.engine.url)
    lock = locking.connect()
    with site.started(*worker) as process:
        made = site.run_daily(before)
        until(lambda: site.state(made) == "COMPLETED")
        assert len(site.inbox.messages) == 1
        # Blocks the run in its middle.
        lock.execute(text("LOCK TABLE rollup IN ACCESS EXCLUSIVE MODE"))
        killed = site.run_daily(yesterday)
        until(lambda: site.state(killed) == "RUNNING" and _waits_for(ctx))
        for pid in (process.pid, *_children(process.pid)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    lock.close()
    locking.dispose()
    at_once = monitor_runs(ctx, datetime.now(UTC))
    assert at_once.crashed == ()
    later = datetime.now(UTC) + timedelta(minutes=15)
    looked = monitor_runs(ctx, later)
    assert [str(run_id) for run_id in looked.crashed] == [killed]
    assert site.state(killed) == "CRASHED"
    assert ("daily", yesterday) in looked.requested
    assert monitor_runs(ctx, later).crashed == ()
    assert _alert(ctx) == ("failedFlow", "daily", "firing")
    with site.started(*worker):
        until(lambda: _alert(ctx) == ("failedFlow", "daily", "resolved"))
        until(lambda: not site.post("flow_runs/filter", flow_runs=_waiting("daily"), flows=_named("daily")))
    days = {due for _, due in (*at_once.requested, *looked.requested)}
    assert len(_reports(ctx)) == len(set(_reports(ctx))) == 1 + len(days)
    assert len(site.inbox.messages) == 1 + len(days)


def _due(ctx: AppContext, now: datetime, days: int) -> datetime:
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    zone = ZoneInfo(ctx.settings.timezone)
    day = now.astimezone(zone).date() - timedelta(days=days)
    return datetime.combine(day, time(6, 15), zone).astimezone(UTC)


def _children(pid: int) -> list[int]:
    """And theirs."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    own = [child for child, parent in pairs if parent == pid]
    return own + [later for child in own for later in _children(child)]


def _waits_for(ctx: AppContext) -> bool:
    with ctx.engine.connect() as connection:
        return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def _alert(ctx: AppContext) -> tuple[str, ...]:
    """The newest alert but for the one about times ahead of the clock: those of the simulated look are ahead."""
    with reading(ctx.engine) as connection:
        row = connection.execute(
            select(ALERT.c.rule, ALERT.c.subject, ALERT.c.state)
            .where(ALERT.c.rule != AlertRule.TIMES_AHEAD.value)
            .order_by(ALERT.c.id.desc())
            .limit(1)
        )
        return tuple(row.one())


def _reports(ctx: AppContext) -> list[datetime]:
    with reading(ctx.engine) as connection:
        return list(connection.execute(select(REPORT.c.period_start).where(REPORT.c.kind == "daily")).scalars())


def _waiting(flow: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}},
        "expected_start_time": {"before_": now},
    }


def _named(flow: str) -> dict[str, Any]:
    return {"name": {"any_": [flow]}}
