"""The demo: monitor, tune and report on a simulated router, on this machine only.

Imports three weeks of its log. In the fourth week the router runs under the config that Routewatch changes: its cache
takes turns between two sizes (a switchback), and then a share of its simple requests tries a cheaper model that a
person has approved (a rollout). Mail and webhooks go to receivers that run only during the demo.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from deployments.console import note, progress, say
from deployments.demo.live import LiveRouter
from deployments.demo.summary import print_locations, print_summary, write_optimization_report
from deployments.embedded_prefect import use_embedded_prefect, without_heartbeat
from examples.receivers import HOST, mail_receiver, webhook_receiver
from examples.simulated_router import DEFAULT_CONFIG, INCIDENT, simulate
from models.attribution import Attribution
from models.context import AppContext, load_context
from models.environment import load_environment
from models.period import Period

if TYPE_CHECKING:
    import polars as pl

    from flows.report_pipeline import Outcome

ZONE = ZoneInfo("Europe/Berlin")
FIRST_DAY = datetime(2026, 9, 7, tzinfo=ZONE)
WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)
LOGGED_WEEKS = 3
MORNING = timedelta(hours=6, minutes=15)

APPROVED_KEY = "routing.simple"
APPROVED_BY, APPROVAL_NOTE = "Anna Berger", "Far cheaper, and the answers are as good."

TRAFFIC: dict[str, Any] = {"requests_per_hour": 300.0, "judged_share": 1.0, "incident_model": "titan-reason"}
"""Much of it, with every answer judged, so that both trials end within the week; the incident is of another model."""

CONFIG = DEFAULT_CONFIG | {
    "router.trials": ["split", "switchback"],
    "cache.max_entries": 400,
    "cache.ttl_seconds": 1_800,
    "cache.key_strategy": "semantic",
    "cache.eviction_policy": "lfu",
}
"""The router's own config: only the size of its cache, and the costly model of simple requests, are left to improve."""

OPTIMIZER = {
    "rollout": {"steps": [25, 50, 100], "minimumRequests": 200, "deadlineHours": 84},
    "switchback": {"blockMinutes": 60, "washOutMinutes": 5, "minimumPairs": 18, "maximumPairs": 28},
    "cacheMaxEntries": {"minimum": 100, "maximum": 800},
    "cacheTtlSeconds": {"minimum": 60, "maximum": 1_800},
}
"""Steps and blocks of a router with much traffic, and a cache that grows no further than once within the week."""

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
        "budget": {"monthlyUsd": 12_000},
        "optimizer": OPTIMIZER,
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
    for key, value in CONFIG.items():
        set_by_hand(ctx.engine, key, value, by="router", reason="the router's own default", now=FIRST_DAY)
    return ctx


def _import_log(ctx: AppContext, folder: Path) -> None:
    from tasks.ingestion.column_mapping import Mapping
    from tasks.ingestion.file_import import import_file

    note(f"1/4  Importing {LOGGED_WEEKS} weeks of the router's log, as Parquet, JSONL and CSV")
    folder.mkdir()
    for week in range(LOGGED_WEEKS):
        start = FIRST_DAY + week * WEEK
        path = _write_log(simulate(start, start + WEEK, CONFIG, **TRAFFIC), folder / f"week-{week + 1}")
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

    start = FIRST_DAY + LOGGED_WEEKS * WEEK
    router = LiveRouter(ctx, start, TRAFFIC)
    mornings = [(start + timedelta(days=day) + MORNING, daily) for day in range(8)]
    incident = [(INCIDENT[0] + timedelta(hours=hour, minutes=5), hourly) for hour in range(6)]
    runs = sorted(mornings + incident, key=itemgetter(0))
    end, outcomes, is_approved = runs[-1][0], [], False
    note("2/4  Fourth week: Routewatch tries two changes of the router and detects an incident")
    with progress("runs") as bar:
        for at, flow in runs:
            router.serve_until(at, lambda now: bar(int((now - start) / HOUR), int((end - start) / HOUR)))
            outcomes.append(flow(as_of=at))
            note(
                f"     {at.astimezone(ZONE):%A %d %B, %H:%M}: {len(outcomes[-1].receipts)} deliveries, {flow.name} run"
            )
            is_approved = is_approved or _approve_model(ctx, at + timedelta(minutes=5))
    note("3/4  Sending the last hour to the dashboard and the week to the management")
    outcomes.append(hourly(as_of=end))
    outcomes.append(weekly(as_of=end + timedelta(minutes=15)))
    return outcomes


def _approve_model(ctx: AppContext, at: datetime) -> bool:
    """Approve the cheaper model of simple requests if it is proposed, as a person would; return whether it was."""
    from models.schema import OptimizationState
    from tasks.optimizer.decisions import approve
    from tasks.optimizer.lifecycle import recommendation_of
    from tasks.optimizer.queries import list_optimizations

    for row in list_optimizations(ctx.engine):
        keys = [move.key for move in recommendation_of(row).moves]
        if row.state == OptimizationState.PROPOSED and keys == [APPROVED_KEY]:
            said = approve(ctx.engine, row.id, ctx.settings, Attribution(APPROVED_BY, APPROVAL_NOTE, at))
            note(f"     {at.astimezone(ZONE):%A %d %B, %H:%M}: {APPROVED_BY} decides. {said}")
            return True
    return False
