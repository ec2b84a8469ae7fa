"""Measure how often a trend is reported where nothing has changed: the simulated router's rhythm, drawn twice.

`python -m benchmarks.trend_noise` prints the table of docs/forecast.md. Growth and the incident are taken out, and the
two periods are of different seeds. With `--spell 0.6`, response times and costs have slow spells as well: each hour's
are multiplied by a factor that correlates with the last hour's to that degree.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import polars as pl
import typer

from examples import simulated_router
from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.documents import Direction, Filters
from models.period import Level, Period
from tasks.comparison.trends import HEADLINE_METRICS, trends
from tasks.rollups.aggregate import SELECTION_SCHEMA, empty, roll_up
from tasks.rollups.query import RollupSlice

START = datetime(2026, 9, 7, tzinfo=UTC)
"""The Monday whose level the simulated router's growth is counted from."""
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
SPELL_SIZE = 0.15
NEVER = (datetime(2030, 1, 1, tzinfo=UTC),) * 2


@dataclass(frozen=True)
class Case:
    """Periods of a length, every `step` hours of the week, with those that begin `back` earlier."""

    name: str
    length: timedelta
    back: timedelta
    step: int
    draws: int


CASES = (
    Case("an hour, against the one before", HOUR, HOUR, 5, 336),
    Case("six hours, against the same a week before", 6 * HOUR, WEEK, 6, 336),
    Case("a day, against the one before", DAY, DAY, 24, 420),
    Case("a day, against the same a week before", DAY, WEEK, 24, 420),
    Case("a week, against the one before", WEEK, WEEK, 24, 140),
    Case("thirty days, against those before", 30 * DAY, 30 * DAY, 24, 70),
)


_GROWING = simulated_router._rhythm


class Found(NamedTuple):
    case: str
    metric: str
    direction: Direction


def drawn(case: Case, draw: int, spell: float) -> list[Found]:
    """Return the trends of one pair."""
    start = START + timedelta(hours=case.step * draw % (7 * 24))
    with patch.multiple(simulated_router, _rhythm=_steady, INCIDENT=NEVER):
        now = _gathered(start, case, 2 * draw, spell)
        before = _gathered(start - case.back, case, 2 * draw + 1, spell)
    return [Found(case.name, trend.metric, trend.direction) for trend in trends(now, before, "previousPeriod")]


def main(spell: float = 0.0) -> None:
    """Print how often each metric is reported as changed, out of the pairs with a verdict."""
    with ProcessPoolExecutor(2) as pool:
        reported = [
            found
            for case in CASES
            for one in pool.map(drawn, [case] * case.draws, range(case.draws), [spell] * case.draws, chunksize=10)
            for found in one
        ]
    rows = [(it.case, it.metric, it.direction.name) for it in reported]
    frame = pl.DataFrame(rows, orient="row", schema=list(Found._fields))
    names = list(HEADLINE_METRICS)
    typer.echo(f"| compared | {' | '.join(names)} | not judged |\n|---{'|--:' * (len(names) + 1)}|")
    for case in CASES:
        of_case = frame.filter(pl.col("case") == case.name)
        cells = [_share(of_case.filter(pl.col("metric") == name)) for name in names]
        unknown = float((of_case["direction"] == Direction.UNKNOWN.name).to_numpy().mean())
        typer.echo(f"| {case.name} | {' | '.join(cells)} | {unknown:.0%} |")


# ----------------------------------------------------------------------------------------------------------------------


def _share(found: pl.DataFrame) -> str:
    judged = found.filter(pl.col("direction") != Direction.UNKNOWN.name)
    if judged.is_empty():
        return "–"
    return f"{float((judged['direction'] != Direction.SAME.name).to_numpy().mean()):.1%}"


def _steady(hour: datetime) -> float:
    return float(_GROWING(hour) / 1.02 ** ((hour - START) / WEEK))


def _gathered(start: datetime, case: Case, seed: int, spell: float) -> RollupSlice:
    rows = simulate(start, start + case.length, DEFAULT_CONFIG, seed=seed).select(SELECTION_SCHEMA.keys())
    rollups = roll_up(rows, "UTC", 2000.0)
    hours, period = rollups[Level.HOUR], Period(start, start + case.length)
    if spell:
        hours = hours.join(_spells(start, case.length, seed, spell), on="bucket")
        hours = hours.with_columns(pl.col("response_time_sum_ms", "cost_sum_usd") * pl.col("factor")).drop("factor")
    minutes = rollups[Level.MINUTE] if case.length <= HOUR else empty()
    return RollupSlice(period, period, Filters(), hours, hours, minutes, None, None)


def _spells(start: datetime, length: timedelta, seed: int, spell: float) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    slow = draw.normal(0, SPELL_SIZE, round(length / HOUR))
    for hour in range(1, len(slow)):
        slow[hour] = spell * slow[hour - 1] + np.sqrt(1 - spell**2) * slow[hour]
    starts = pl.Series("bucket", [start + step * HOUR for step in range(len(slow))], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame([starts, pl.Series("factor", np.exp(slow))])


if __name__ == "__main__":
    typer.run(main)
