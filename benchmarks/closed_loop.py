"""Run the loop on the simulated router: sixty days with and without it, with a planted harmful change.

`python -m benchmarks.closed_loop --seeds 20` prints a table; docs/loop.md tells what comes of it.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import typer
from sqlalchemy import Engine, insert, select

from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.attribution import Attribution
from models.database import migrate, open_database, reading, writing
from models.documents import ConfigChangeProposal, Recommendation
from models.kpis import LOWER_IS_BETTER, KpiName
from models.period import Level
from models.settings import Settings
from models.tables import ConfigChange, Selection, table_of
from tasks.kpis.cost_efficiency import measure_efficiency
from tasks.kpis.measures import kpis
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.decisions import approve
from tasks.optimizer.lifecycle import Step, propose
from tasks.optimizer.queries import list_optimizations, pending
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.optimizer.verify import verify
from tasks.reporting.collect import collect_material
from tasks.reporting.request import scheduled
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.totals import total
from tasks.rollups.update import update_rollups

START = datetime(2026, 9, 7, tzinfo=UTC)
DAYS, JUDGED_DAYS = 60, 14
DAY, MORNING = timedelta(days=1), timedelta(hours=6, minutes=15)
PLANTED_ON = 20
SETTINGS = Settings()

HARMS: tuple[dict[str, Any], ...] = ({"routing.complex": "swift-mini"}, {"cache.ttl_seconds": 60})
"""A model that is wrong on every fourth complex question, or a cache with a TTL of a minute, alternating by seed."""

Values = dict[KpiName, float]


@dataclass
class Run:
    """The result of one seed: the KPIs of the last two weeks with and without the loop, and what the loop did."""

    seed: int
    off: Values
    on: Values
    harm: str = ""
    harm_state: str = "never applied"
    harm_days: float | None = None
    states: Counter[str] = field(default_factory=Counter)
    applied: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    last_change: datetime = START


def run(seed: int, days: int = DAYS, planted_on: int = PLANTED_ON) -> Run:
    """Run one seed: the same demand twice, once under the config that the loop changes."""
    end = START + days * DAY
    judged = end - JUDGED_DAYS * DAY
    off = _kpis(_complete(simulate(judged, end, DEFAULT_CONFIG, seed=seed)))
    with tempfile.TemporaryDirectory() as folder:
        engine = _prepared(Path(folder))
        served = [_live(engine, day, seed, planted_on) for day in range(days)]
        on = _kpis(pl.concat(served).filter(pl.col("timestamp") >= judged))
        reported = _result_line(engine, Run(seed, off, on))
        engine.dispose()
    return reported


def runs(seeds: range, days: int = DAYS) -> list[Run]:
    """Run all seeds, two at a time."""
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(run, seeds, [days] * len(seeds)))


def worse_by(result: Run) -> dict[KpiName, float]:
    """Return by how much each KPI is worse with the loop, in its unit; negative where it is better."""
    return {
        name: (result.on[name] - result.off[name]) * (1 if name in LOWER_IS_BETTER else -1)
        for name in result.on
        if name in result.off
    }


def shortest_wait(result: Run) -> timedelta | None:
    """Return the shortest time between two changes of one key, reverts aside; None if no key was changed twice."""
    waits = [later - earlier for times in result.applied.values() for earlier, later in pairwise(sorted(times))]
    return min(waits, default=None)


def main(seeds: int = 20, days: int = DAYS) -> None:
    """Run the seeds and print what the loop did in each; exits with 1 if a harmful change stayed."""
    logging.disable()
    titles = (*KpiName, "planted", "reverted after", "kept", "reverted", "shortest wait of a key", "last change")
    typer.echo(f"| seed | {' | '.join(titles)} |")
    typer.echo("|--:" * (1 + len(KpiName)) + "|---" + "|--:" * (len(titles) - len(KpiName) - 1) + "|")
    stayed = 0
    for result in runs(range(seeds), days):
        worse = worse_by(result)
        cells = [_cell(name, -worse[name]) if name in worse else "" for name in KpiName]
        after = "" if result.harm_days is None else f"{result.harm_days:.0f} days"
        day = (result.last_change - START).days
        kept, back = result.states["kept"], result.states["reverted"]
        wait = shortest_wait(result)
        waited = "" if wait is None else f"{wait / timedelta(hours=1):.0f} h"
        last = (result.harm, after, str(kept), str(back), waited, f"day {day}")
        typer.echo(f"| {result.seed} | {' | '.join((*cells, *last))} |")
        stayed += result.harm_state != "reverted"
    raise typer.Exit(int(stayed > 0))


# ----------------------------------------------------------------------------------------------------------------------


def _cell(name: KpiName, better_by: float) -> str:
    """Say by how much a KPI is better with the loop."""
    return f"{better_by:+,.0f} ms" if name is KpiName.RESPONSE_TIME else f"{100 * better_by:+.2f} pp"


def _prepared(folder: Path) -> Engine:
    address = f"sqlite:///{folder}/loop.db"
    migrate(address)
    engine = open_database(address)
    for key, value in DEFAULT_CONFIG.items():
        set_by_hand(engine, key, value, by="router", reason="default", now=START)
    return engine


def _live(engine: Engine, day: int, seed: int, planted_on: int) -> pl.DataFrame:
    """Run one day: the router serves from morning to morning, then the daily flow runs."""
    morning = START + day * DAY + MORNING
    config = {key: setting.value for key, setting in read_config(engine).items()}
    start = START if day == 0 else morning - DAY
    rows = _complete(simulate(start, morning, config, seed=seed))
    with writing(engine) as connection:
        names = ["request_id", *SELECTION_SCHEMA]
        connection.execute(insert(table_of(Selection)), rows.select(names).to_dicts())
    update_rollups(engine, rollup_settings(SETTINGS), now=morning)
    verify(engine, SETTINGS, morning)
    _decide_daily(engine, morning)
    for optimization_id, label in pending(engine):
        if " model_selection " in label:
            approve(engine, optimization_id, SETTINGS, Attribution("person", "looks good", morning))
    if day == planted_on:
        _plant(engine, HARMS[seed % len(HARMS)], morning)
    return rows


def _decide_daily(engine: Engine, morning: datetime) -> None:
    request, _ = scheduled("daily", SETTINGS, morning)
    material = collect_material(engine, request, SETTINGS, morning)
    evidence = DecisionContext(material.current.period, material.current.last_selection_at, morning)
    apply(engine, material.recommendations, SETTINGS, evidence)


def _plant(engine: Engine, harm: dict[str, Any], now: datetime) -> None:
    """Apply a bad recommendation, approved by somebody in a hurry."""
    config = read_config(engine)
    moves = tuple(
        ConfigChangeProposal(key=key, from_value=config[key].value, to_value=value, version=config[key].version)
        for key, value in harm.items()
    )
    kind: Any = "model_selection" if next(iter(harm)).startswith("routing.") else "cache_optimization"
    item = Recommendation(
        type=kind,
        bottleneck="planted",
        description="planted",
        impact="high",
        effort="low",
        auto_apply=False,
        moves=moves,
    )
    values = {
        "type": kind, "subject": "planted", "recommendation": item.model_dump(mode="json", by_alias=True),
        "period_start": now - DAY, "period_end": now,
    }  # fmt: skip
    with writing(engine) as connection:
        optimization_id = propose(connection, values, Step("person", "planted", now))
    approve(engine, optimization_id, SETTINGS, Attribution("person", "in a hurry", now))


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    """Return served rows with every column of a selection; what the router does not say is NULL."""
    missing = {name: kind for name, kind in SELECTION_SCHEMA.items() if name not in rows.columns}
    return rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in missing.items())


def _kpis(rows: pl.DataFrame) -> Values:
    limits = SETTINGS.performance_metrics
    hours = roll_up(rows.select(SELECTION_SCHEMA.keys()), "UTC", limits.of(KpiName.RESPONSE_TIME).target)[Level.HOUR]
    measured = kpis(total(hours), measure_efficiency(hours, limits), limits)
    return {kpi.name: kpi.value for kpi in measured if kpi.value is not None}


def _result_line(engine: Engine, result: Run) -> Run:
    with reading(engine) as connection:
        changes = connection.execute(select(table_of(ConfigChange)).order_by(table_of(ConfigChange).c.id)).fetchall()
    for change in changes:
        if change.optimization_id is not None:
            result.last_change = max(result.last_change, change.changed_at)
            if change.reverted_by != change.id:
                result.applied[change.key].append(change.changed_at)
    for row in list_optimizations(engine):
        if row.subject == "planted":
            result.harm, result.harm_state = ", ".join(HARMS[result.seed % len(HARMS)]), row.state
            if row.applied_at is not None:
                result.harm_days = (row.updated_at - row.applied_at) / DAY
        else:
            result.states[row.state] += 1
    return result


if __name__ == "__main__":
    typer.run(main)
