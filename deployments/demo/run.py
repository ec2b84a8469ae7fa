"""The demo: monitor, tune and report on a simulated router, on this machine only.

Imports three weeks of its log. In the fourth week the router runs under the config that Routewatch changes
every morning. Mail and webhooks go to receivers that run only during the demo.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from deployments.console import note, progress, say
from deployments.demo.summary import print_locations, print_summary, write_optimization_report
from deployments.embedded_prefect import use_embedded_prefect, without_heartbeat
from examples.receivers import HOST, mail_receiver, webhook_receiver
from examples.simulated_router import DEFAULT_CONFIG, INCIDENT, simulate
from models.context import AppContext, load_context
from models.environment import load_environment
from models.errors import RoutewatchError
from models.period import Period

if TYPE_CHECKING:
    import polars as pl

    from flows.report_pipeline import Outcome

ZONE = ZoneInfo("Europe/Berlin")
FIRST_DAY = datetime(2026, 9, 7, tzinfo=ZONE)
WEEK = timedelta(weeks=1)
LOGGED_WEEKS = 3
MORNING = timedelta(hours=6, minutes=15)

SECRET = "whsec_" + "cm91dGV3YXRjaC1kZW1vLXNlY3JldA=="
"""Signs only webhooks from the demo to its own receiver."""


def run_demo() -> int:
    """Run the demo from scratch in its own folder and print a summary; return the exit status."""
    # The demo sets all paths: it reads and writes no files of the user.
    home = (load_environment().home / "demo").absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with mail_receiver(home / "inbox") as inbox, webhook_receiver(home / "webhooks", SECRET) as hook:
        _set_environment(home, inbox.port, hook.port)
        use_embedded_prefect(home)
        ctx = _prepared()
        _import_log(ctx, home / "router-log")
        with without_heartbeat():
            outcomes = _watch(ctx)
        note("4/4  Results")
        before = Period(FIRST_DAY + 2 * WEEK, FIRST_DAY + 3 * WEEK, ZONE.key)
        after = Period(FIRST_DAY + 3 * WEEK + timedelta(days=3), FIRST_DAY + 4 * WEEK, ZONE.key)
        print_summary(ctx, before, after, outcomes)
        write_optimization_report(ctx, home, Period(FIRST_DAY, FIRST_DAY + 4 * WEEK + MORNING, ZONE.key))
        print_locations(home, outcomes, inbox, hook)
    undelivered = [receipt for outcome in outcomes for receipt in outcome.receipts if receipt.state != "sent"]
    return int(bool(undelivered or hook.refused))


# ----------------------------------------------------------------------------------------------------------------------


def _set_environment(home: Path, mail_port: int, hook_port: int) -> None:
    settings = {
        "timezone": ZONE.key,
        "budget": {"monthlyUsd": 4_000},
        "monitoring": {"alerting": {"channels": ["console", "webhook", "dashboard", "email"]}},
        "delivery": {
            "allowPrivateAddresses": True,
            "recipients": {
                "email": ["mailto:oncall@example.org"],
                "webhook": [f"http://{HOST}:{hook_port}/routewatch"],
                "management": ["mailto:head@example.org"],
            },
        },
    }
    path = home / "settings.json"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("ROUTEWATCH_")]:
        del os.environ[name]
    os.environ |= {
        "ROUTEWATCH_HOME": str(home),
        "ROUTEWATCH_SETTINGS": str(path),
        "ROUTEWATCH_SMTP_HOST": HOST,
        "ROUTEWATCH_SMTP_PORT": str(mail_port),
        "ROUTEWATCH_SMTP_SECURITY": "none",
        "ROUTEWATCH_MAIL_FROM": "Routewatch <routewatch@example.org>",
        "ROUTEWATCH_WEBHOOK_SECRET": SECRET,
    }


def _prepared() -> AppContext:
    """Create a database with the router's first config."""
    from models.database import migrate
    from tasks.optimizer.router_config import set_by_hand

    migrate(load_environment().database_address)
    ctx = load_context()
    for key, value in DEFAULT_CONFIG.items():
        set_by_hand(ctx.engine, key, value, by="router", reason="the router's own default", now=FIRST_DAY)
    return ctx


def _import_log(ctx: AppContext, folder: Path) -> None:
    from tasks.ingestion.column_mapping import Mapping
    from tasks.ingestion.file_import import import_file

    note(f"1/4  Importing {LOGGED_WEEKS} weeks of the router's log, as Parquet, JSONL and CSV")
    folder.mkdir()
    for week in range(LOGGED_WEEKS):
        start = FIRST_DAY + week * WEEK
        path = _write_log(simulate(start, start + WEEK, DEFAULT_CONFIG), folder / f"week-{week + 1}")
        with progress(f"importing {path.name}") as bar:
            result = import_file(
                ctx.engine,
                path,
                mapping=Mapping(),
                zone=ZONE.key,
                rejects_folder=ctx.environment.home / "rejects",
                progress=bar,
            )
        say(f"{result.path}: {result.read:,} rows read, {result.added:,} added, {result.rejected:,} rejected")


def _write_log(rows: pl.DataFrame, stem: Path) -> Path:
    """Write one week of the log, each week in another format."""
    import polars as pl

    as_text = rows.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
    if stem.name.endswith("1"):
        rows.write_parquet(stem.with_suffix(".parquet"))
        return stem.with_suffix(".parquet")
    if stem.name.endswith("2"):
        as_text.write_ndjson(stem.with_suffix(".jsonl"))
        return stem.with_suffix(".jsonl")
    as_text.write_csv(stem.with_suffix(".csv"))
    return stem.with_suffix(".csv")


def _watch(ctx: AppContext) -> list[Outcome]:
    """Run the daily flow each morning of a week, and the hourly flow in each hour of an incident.

    Then run the last hourly and the weekly flow. Returns the outcomes of all runs.
    """
    from flows.daily import daily
    from flows.hourly import hourly
    from flows.weekly import weekly

    served_until = FIRST_DAY + LOGGED_WEEKS * WEEK
    mornings = [(served_until + timedelta(days=day) + MORNING, daily) for day in range(8)]
    incident = [(INCIDENT[0] + timedelta(hours=hour, minutes=5), hourly) for hour in range(6)]
    runs = sorted(mornings + incident, key=itemgetter(0))
    outcomes = []
    note("2/4  Fourth week: Routewatch tunes the router every morning and detects an incident")
    with progress("runs") as bar:
        for done, (at, flow) in enumerate(runs, start=1):
            _serve(ctx, served_until, at)
            served_until = at
            outcomes.append(flow(as_of=at))
            note(
                f"     {at.astimezone(ZONE):%A %d %B, %H:%M}: {len(outcomes[-1].receipts)} deliveries, {flow.name} run"
            )
            bar(done, len(runs))
    note("3/4  Sending the last hour to the dashboard and the week to the management")
    outcomes.append(hourly(as_of=served_until))
    outcomes.append(weekly(as_of=served_until + timedelta(minutes=15)))
    return outcomes


def _serve(ctx: AppContext, start: datetime, end: datetime) -> None:
    """Simulate the router: read its config from the table, select models, and record each selection."""
    from routewatch import RouterLog
    from tasks.optimizer.router_config import read_config

    config = {key: setting.value for key, setting in read_config(ctx.engine).items()}
    with RouterLog(capacity=100_000) as log:
        for row in simulate(start, end, config).iter_rows(named=True):
            log.record_selection(**row)
    if log.counts.written != log.counts.recorded:
        raise RoutewatchError(f"the router's log lost selections: {log.counts}")
