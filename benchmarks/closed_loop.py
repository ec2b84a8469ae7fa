"""Run the loop on the simulated router: two weeks with and without it, with a planted harmful change.

The router's cost and time drift from hour to hour (AR(1)), with and without the loop alike. It obeys rollouts and
takes turns, as it names in `router.trials`, so that a model is tried on a share of its class and a cache in blocks.
`python -m benchmarks.closed_loop --seeds 20` prints a table; docs/loop.md tells what comes of it.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import typer
from sqlalchemy import Engine, insert, select

from benchmarks.verdict_lives import processes
from benchmarks.verdict_streams import drift
from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.attribution import Attribution
from models.database import migrate, open_database, reading, writing
from models.documents import ConfigChangeProposal, Recommendation
from models.kpis import LOWER_IS_BETTER, KpiName
from models.period import Level
from models.schema import TRIAL, TrialState
from models.settings import Settings
from models.tables import ConfigChange, Selection, table_of
from tasks.kpis.cost_efficiency import measure_efficiency
from tasks.kpis.measures import kpis
from tasks.optimizer.apply import DecisionContext, apply
from tasks.optimizer.decisions import approve
from tasks.optimizer.lifecycle import Step, propose
from tasks.optimizer.queries import list_optimizations, pending
from tasks.optimizer.router_config import read_config, set_by_hand
from tasks.optimizer.switchback_timetable import flip_due
from tasks.optimizer.trials import ROUTER_TRIALS_KEY
from tasks.optimizer.verify import verify
from tasks.reporting.collect import collect_material
from tasks.reporting.request import scheduled
from tasks.rollups.aggregate import SELECTION_SCHEMA, roll_up
from tasks.rollups.checkpoint import rollup_settings
from tasks.rollups.totals import total
from tasks.rollups.update import update_rollups

START = datetime(2026, 9, 7, tzinfo=UTC)
DAYS, JUDGED_DAYS = 14, 3
DAY, MORNING = timedelta(days=1), timedelta(hours=6, minutes=15)
PLANTED_ON = 0
"""The harm is planted on the first morning from this day on at which nothing is tried."""
TRIALS = ("split", "switchback")
"""What the router can do, as it says in its config."""
REQUESTS_PER_HOUR = 420.0
"""About 10,000 requests a day."""
SPAN = timedelta(hours=2)
"""A block of a switchback; at its start the config may change, and every trial is looked at."""
CORRELATION, DEVIATION = 0.8, 0.15
"""Of the levels of cost and time from hour to hour."""
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
    harm_verdict: str = ""
    states: Counter[str] = field(default_factory=Counter)
    conclusions: Counter[str] = field(default_factory=Counter)
    applied: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    last_change: datetime = START


@dataclass(frozen=True)
class Router:
    """The simulated router of one seed: how many requests come, what it can do, and how its levels drift by hour."""

    seed: int
    trials: tuple[str, ...]
    requests_per_hour: float
    levels: pl.DataFrame

    def serve(self, start: datetime, end: datetime, config: Mapping[str, Any]) -> pl.DataFrame:
        """Return the selections of a span with every column; what the router does not say is NULL."""
        rows = simulate(start, end, config, seed=self.seed, requests_per_hour=self.requests_per_hour)
        hour = pl.col("timestamp").dt.truncate("1h").alias("hour")
        drifted = rows.with_columns(hour).join(self.levels, on="hour", how="left", maintain_order="left")
        return _complete(
            drifted.with_columns(
                response_time_ms=(pl.col("response_time_ms") * pl.col("time_level")).round(1),
                cost_usd=(pl.col("cost_usd") * pl.col("cost_level")).round(6),
            ).drop("hour", "time_level", "cost_level")
        )


def router_of(
    seed: int,
    days: int,
    *,
    trials: tuple[str, ...] = TRIALS,
    requests_per_hour: float = REQUESTS_PER_HOUR,
    deviation: float = DEVIATION,
) -> Router:
    random, hours = np.random.default_rng([seed, 5]), (days + 1) * 24
    time, cost = (drift(random, hours, CORRELATION, deviation) for _ in range(2))
    span = pl.datetime_range(START, START + (hours - 1) * timedelta(hours=1), "1h", eager=True)
    levels = pl.DataFrame({"hour": span.dt.cast_time_unit("us"), "time_level": time, "cost_level": cost})
    return Router(seed, trials, requests_per_hour, levels)


def run(seed: int, days: int = DAYS, planted_on: int = PLANTED_ON, **kind: Any) -> Run:
    """Run one seed: the same demand twice, once under the config that the loop changes. `kind` is of `router_of`."""
    end = START + days * DAY
    judged = end - JUDGED_DAYS * DAY
    router = router_of(seed, days, **kind)
    off = _kpis(router.serve(max(START, judged), end, DEFAULT_CONFIG))
    with tempfile.TemporaryDirectory() as folder:
        engine = _prepared(Path(folder), router.trials)
        served = [_live(engine, day, router, planted_on) for day in range(days)]
        on = _kpis(pl.concat(served).filter(pl.col("timestamp") >= judged))
        reported = _result_line(engine, Run(seed, off, on))
        engine.dispose()
    return reported


def runs(seeds: range, days: int = DAYS, **kind: Any) -> Iterator[Run]:
    """Run all seeds, two at a time."""
    with processes() as pool:
        yield from pool.map(partial(_run_quietly, days=days, **kind), seeds)


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


def main(
    seeds: int = 20, days: int = DAYS, requests_per_hour: float = REQUESTS_PER_HOUR, trials: str = ",".join(TRIALS)
) -> None:
    """Run the seeds and print what the loop did in each; exits with 1 if a harmful change stayed."""
    logging.disable()
    titles = (
        *KpiName, "planted", "taken back after", "verdict", "better", "no worse", "worse", "undecided",
        "shortest wait of a key", "last change",
    )  # fmt: skip
    typer.echo(f"| seed | {' | '.join(titles)} |")
    typer.echo("|--:" * (1 + len(KpiName)) + "|---" + "|--:" * (len(titles) - len(KpiName) - 1) + "|")
    stayed = 0
    kind = {"trials": tuple(filter(None, trials.split(","))), "requests_per_hour": requests_per_hour}
    for result in runs(range(seeds), days, **kind):
        worse = worse_by(result)
        cells = [_cell(name, -worse[name]) if name in worse else "" for name in KpiName]
        after = "" if result.harm_days is None else f"{result.harm_days:.0f} days"
        day = (result.last_change - START).days
        said = [result.conclusions[name] for name in ("better", "noWorse", "worse")]
        undecided = sum(result.conclusions.values()) - sum(said)
        wait = shortest_wait(result)
        waited = "" if wait is None else f"{wait / timedelta(hours=1):.0f} h"
        last = (result.harm, after, result.harm_verdict, *map(str, (*said, undecided)), waited, f"day {day}")
        typer.echo(f"| {result.seed} | {' | '.join((*cells, *last))} |")
        stayed += result.harm_state != "reverted"
    raise typer.Exit(int(stayed > 0))


# ----------------------------------------------------------------------------------------------------------------------


def _run_quietly(seed: int, **kind: Any) -> Run:
    logging.disable()
    return run(seed, **kind)


def _cell(name: KpiName, better_by: float) -> str:
    """Say by how much a KPI is better with the loop."""
    return f"{better_by:+,.0f} ms" if name is KpiName.RESPONSE_TIME else f"{100 * better_by:+.2f} pp"


def _prepared(folder: Path, trials: tuple[str, ...]) -> Engine:
    address = f"sqlite:///{folder}/loop.db"
    migrate(address)
    engine = open_database(address)
    for key, value in (DEFAULT_CONFIG | {ROUTER_TRIALS_KEY: list(trials)}).items():
        set_by_hand(engine, key, value, by="router", reason="default", now=START)
    return engine


def _live(engine: Engine, day: int, router: Router, planted_on: int) -> pl.DataFrame:
    """Run one day: the router serves from morning to morning, then the daily flow runs.

    While something is tried, the timetable flips at the whole hours that blocks begin at, and trials are looked at.
    """
    morning = START + day * DAY + MORNING
    start = START if day == 0 else morning - DAY
    served = []
    for begin, end in pairwise(_cuts(start, morning) if trials_under_way(engine) else [start, morning]):
        flip_due(engine, SETTINGS, begin)
        config = {key: setting.value for key, setting in read_config(engine).items()}
        rows = router.serve(begin, end, config)
        served.append(rows)
        _store(engine, rows, end)
        if end < morning:
            verify(engine, SETTINGS, end, early=True)
    verify(engine, SETTINGS, morning)
    if day >= planted_on and not trials_under_way(engine) and not _is_planted(engine):
        _plant(engine, HARMS[router.seed % len(HARMS)], morning)
    _decide_daily(engine, morning)
    for optimization_id, label in pending(engine):
        if " model_selection " in label:
            approve(engine, optimization_id, SETTINGS, Attribution("person", "looks good", morning))
    return pl.concat(served)


def _cuts(start: datetime, end: datetime) -> list[datetime]:
    """Return the start, every other whole hour from the one after it on, and the end."""
    first = start.replace(minute=0) + timedelta(hours=1)
    within = [first + number * SPAN for number in range(int((end - first) / SPAN) + 1)]
    return [start, *(it for it in within if it < end), end]


def trials_under_way(engine: Engine) -> bool:
    with reading(engine) as connection:
        return bool(connection.scalar(select(TRIAL.c.id).where(TRIAL.c.state == TrialState.RUNNING).limit(1)))


def _is_planted(engine: Engine) -> bool:
    return any(row.subject == "planted" for row in list_optimizations(engine))


def _store(engine: Engine, rows: pl.DataFrame, now: datetime) -> None:
    with writing(engine) as connection:
        names = ["request_id", *SELECTION_SCHEMA]
        connection.execute(insert(table_of(Selection)), rows.select(names).to_dicts())
    update_rollups(engine, rollup_settings(SETTINGS), now=now)


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
    seen: set[tuple[str, int]] = set()
    for change in changes:
        if change.optimization_id is not None:
            result.last_change = max(result.last_change, change.changed_at)
            # Steps and flips of one trial are one change.
            if change.reverted_by != change.id and (change.key, change.optimization_id) not in seen:
                seen.add((change.key, change.optimization_id))
                result.applied[change.key].append(change.changed_at)
    for row in list_optimizations(engine):
        conclusion = str((row.verdict or {}).get("conclusion") or "")
        if row.subject == "planted":
            result.harm, result.harm_state = ", ".join(HARMS[result.seed % len(HARMS)]), row.state
            result.harm_verdict = conclusion
            if row.applied_at is not None:
                result.harm_days = (row.updated_at - row.applied_at) / DAY
        else:
            result.states[row.state] += 1
            if conclusion:
                result.conclusions[conclusion] += 1
    return result


if __name__ == "__main__":
    typer.run(main)
