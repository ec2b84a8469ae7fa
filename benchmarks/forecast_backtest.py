"""Compare projections of a month's spend on rolling origins, over simulated and real demand.

`python -m benchmarks.forecast_backtest` prints the tables of docs/forecast.md. With `--libraries`, statsforecast and
statsmodels take part; they are not dependencies of the project and have to be installed separately.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import typer

from benchmarks.forecast_methods import METHODS, Method
from examples.simulated_router import DEFAULT_CONFIG, simulate
from tasks.forecasting.budget import BASIS_DAYS, MINIMUM_DAYS
from tasks.forecasting.daily_model import Floats

START, DAYS = datetime(2026, 1, 1, tzinfo=UTC), 181
FIRST_SEED = 100
"""The chosen method's parameters were set on seeds below this."""
EVERY_DAYS = 4
LATEST_START = 45
"""Recording begins on one of the first so many days of the series, so that short histories are projected too."""

REAL = Path("/work/shared/data")
LEFT = ((21, "21 and more days left"), (11, "11 to 20"), (4, "4 to 10"), (1, "1 to 3"))


class Spend(NamedTuple):
    """The spend of each day from the first on, and the change planted in it."""

    variant: str
    seed: int
    first: datetime
    by_day: Floats


class Row(NamedTuple):
    """One projection: its error and width as parts of the month's total."""

    method: str
    variant: str
    seed: int
    known: int
    left: int
    error: float
    inside: bool
    width: float


def daily_spend(seed: int) -> Floats:
    """Return the simulated router's spend of each day."""
    spent = np.zeros(DAYS)
    for first in range(0, DAYS, 30):
        start = START + timedelta(days=first)
        rows = simulate(start, start + timedelta(days=min(30, DAYS - first)), DEFAULT_CONFIG, seed=seed)
        days = (rows["timestamp"] - START).dt.total_days().to_numpy()
        spent += np.bincount(days, weights=rows["cost_usd"].fill_null(0).to_numpy(), minlength=DAYS)
    return spent


# --- what may happen to a spend ---------------------------------------------------------------------------------------


def _grown(spent: Floats, draw: np.random.Generator) -> Floats:
    return spent * 1.05 ** (np.arange(len(spent)) / 7)


def _shrunk(spent: Floats, draw: np.random.Generator) -> Floats:
    return spent * 0.93 ** (np.arange(len(spent)) / 7)


def _jumped(spent: Floats, draw: np.random.Generator) -> Floats:
    return spent * np.where(np.arange(len(spent)) < draw.integers(40, 140), 1.0, 1.6)


def _fallen(spent: Floats, draw: np.random.Generator) -> Floats:
    return spent * np.where(np.arange(len(spent)) < draw.integers(40, 140), 1.0, 0.5)


def _with_incidents(spent: Floats, draw: np.random.Generator) -> Floats:
    """Plant six days with nearly no spend, or a multiple of it."""
    factors = np.ones(len(spent))
    factors[draw.choice(np.arange(10, len(spent)), 6, replace=False)] = draw.choice([0.05, 0.3, 2.5, 4.0], 6)
    return spent * factors


def _with_holidays(spent: Floats, draw: np.random.Generator) -> Floats:
    """Cut four to eight days to a fifth, twice."""
    factors = np.ones(len(spent))
    for first in draw.choice(np.arange(20, len(spent) - 20), 2, replace=False):
        factors[first : first + draw.integers(4, 9)] = 0.2
    return spent * factors


def _wandering(spent: Floats, draw: np.random.Generator) -> Floats:
    return spent * np.exp(np.cumsum(draw.normal(0, 0.06, len(spent))))


def _sparse(spent: Floats, draw: np.random.Generator) -> Floats:
    """Return the spend of a few calls a day of very different cost."""
    return np.array([draw.lognormal(0, 1, draw.poisson(usd / 25)).sum() for usd in spent])


VARIANTS: Mapping[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "as the simulated router is: + 2 % a week": lambda spent, _: spent,
    "growth: + 7 % a week": _grown,
    "decline: − 5 % a week": _shrunk,
    "a jump to 1.6 times": _jumped,
    "a fall to half": _fallen,
    "six incident days": _with_incidents,
    "two holiday gaps": _with_holidays,
    "a level that wanders 6 % a day": _wandering,
    "a few calls a day": _sparse,
}


# --- the backtest -----------------------------------------------------------------------------------------------------


def backtest(seed: int, methods: Mapping[str, Method]) -> list[Row]:
    """Project every variant of one seed's spend, from every few days on to the end of the calendar month."""
    spent = daily_spend(seed)
    rows: list[Row] = []
    for number, (variant, change) in enumerate(VARIANTS.items()):
        draw = np.random.default_rng([seed, number])
        begins = int(draw.integers(LATEST_START))
        spend = Spend(variant, seed, START + timedelta(days=begins), change(spent, draw)[begins:])
        for now in range(MINIMUM_DAYS, len(spend.by_day), EVERY_DAYS):
            today = spend.first + timedelta(days=now)
            month = today.replace(day=1)
            following = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
            if following <= START + timedelta(days=DAYS):
                rows += _asked(
                    methods, spend, now, (max(0, (month - spend.first).days), (following - spend.first).days)
                )
    return rows


def _asked(methods: Mapping[str, Method], spend: Spend, now: int, month: tuple[int, int]) -> Iterator[Row]:
    """Yield each method's projection of one month, of which `now` days since the first are known."""
    start, end = month
    total, rest = float(spend.by_day[start:end].sum()), float(spend.by_day[now:end].sum())
    known = spend.by_day[max(0, now - BASIS_DAYS) : now]
    weekday = (spend.first + timedelta(days=now - len(known))).weekday()
    for name, method in methods.items():
        if total > 0:
            forecast = method(known, weekday, now - start, end - now)
            low, high = max(0.0, forecast.low), forecast.high
            error, inside = abs(forecast.estimate - rest) / total, low <= rest <= high
            yield Row(name, spend.variant, spend.seed, len(known), end - now, error, inside, (high - low) / total)


def real_demand() -> dict[str, Floats]:
    """Return the spend of two weeks of three models, 200,000 requests, from Monday on; empty without the data."""
    counts, traffic = REAL / "servegen_10min_counts.parquet", REAL / "servegen_14d.parquet"
    if not (counts.exists() and traffic.exists()):
        return {}
    asked = pl.read_parquet(counts).with_columns(day=pl.col("seconds_since_start") // 86_400)
    by_day = asked.group_by("model_id", "day").agg(pl.col("requests").sum()).sort("day")
    demand = {
        model: by_day.filter(pl.col("model_id") == model)["requests"].to_numpy().astype(np.float64)
        for model in ("m-small", "m-mid", "m-large")
    }
    local = pl.col("timestamp").dt.convert_time_zone("Asia/Shanghai").dt.date()
    usd = pl.read_parquet(traffic).group_by(day=local).agg(pl.col("cost_usd").sum()).sort("day")["cost_usd"]
    return {**demand, "cost of all": usd.to_numpy()}


def backtest_real(methods: Mapping[str, Method]) -> list[Row]:
    """Project the two weeks as a month in which recording began, from every day on."""
    monday = datetime(2026, 9, 7, tzinfo=UTC)
    return [
        row
        for name, demand in real_demand().items()
        for now in range(MINIMUM_DAYS, len(demand))
        for row in _asked(methods, Spend(name, 0, monday, demand), now, (0, len(demand)))
    ]


# --- tables -----------------------------------------------------------------------------------------------------------


def by_time_left(rows: pl.DataFrame) -> str:
    """Format the mean error ± its standard deviation over seeds, the coverage of the interval, and its mean width."""
    lines = [f"| method | {' | '.join(label for _, label in LEFT)} |", "|---" + "|---:" * len(LEFT) + "|"]
    for name, of_method in rows.group_by("method", maintain_order=True):
        cells = []
        longer = 10_000
        for least, _ in LEFT:
            part = of_method.filter(pl.col("left").is_between(least, longer, closed="left"))
            cells.append(_cell(part))
            longer = least
        lines.append(f"| {name[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_variant(rows: pl.DataFrame) -> str:
    """Return mean error and coverage of the interval for each method."""
    methods = rows["method"].unique(maintain_order=True).to_list()
    lines = [f"| spend | {' | '.join(methods)} |", "|---" + "|---:" * len(methods) + "|"]
    for variant, part in rows.group_by("variant", maintain_order=True):
        of_methods = (part.filter(pl.col("method") == name) for name in methods)
        cells = [f"{_mean(it, 'error'):.1%}, {_mean(it, 'inside'):.0%}" for it in of_methods]
        lines.append(f"| {variant[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(part: pl.DataFrame) -> str:
    if part.is_empty():
        return ""
    by_seed = part.group_by("seed").agg(pl.col("error", "inside").mean())
    error, inside = (
        f" ± {100 * float(np.std(by_seed[name].to_numpy(), ddof=1)):.{digits}f}" if by_seed.height > 1 else ""
        for name, digits in (("error", 1), ("inside", 0))
    )
    held = f"{_mean(part, 'inside'):.0%}{inside} in {_mean(part, 'width'):.0%}"
    return f"{_mean(part, 'error'):.1%}{error}, {held}"


def _mean(part: pl.DataFrame, column: str) -> float:
    return float(part[column].to_numpy().mean())


def main(seeds: int = 10, libraries: bool = False) -> None:
    """Backtest every method and print the tables: error of the month's total, coverage of the 80 % interval, width."""
    methods = {**METHODS}
    if libraries:
        others: Any = importlib.import_module("benchmarks.forecast_libraries")
        methods |= others.METHODS
    warnings.simplefilter("ignore")
    with ProcessPoolExecutor(2) as pool:
        forecast = list(pool.map(_backtest_of, range(FIRST_SEED, FIRST_SEED + seeds), [libraries] * seeds))
    simulated = _frame([row for rows in forecast for row in rows])
    typer.echo(f"Simulated, {seeds} seeds\n\n{by_time_left(simulated)}\n\n{by_variant(simulated)}")
    if real := backtest_real(methods):
        frame = _frame(real)
        typer.echo(f"\nReal demand, two weeks\n\n{by_time_left(frame)}\n\n{by_variant(frame)}")


def _backtest_of(seed: int, libraries: bool) -> list[Row]:
    """Runs in a process of its own, which imports the libraries itself."""
    warnings.simplefilter("ignore")
    others: Any = importlib.import_module("benchmarks.forecast_libraries") if libraries else None
    return backtest(seed, {**METHODS, **(others.METHODS if others else {})})


def _frame(rows: list[Row]) -> pl.DataFrame:
    order = {name: number for number, name in enumerate(dict.fromkeys(row.method for row in rows))}
    frame = pl.DataFrame(rows, orient="row", schema=list(Row._fields))
    return frame.sort(pl.col("method").replace_strict(order), maintain_order=True)


if __name__ == "__main__":
    typer.run(main)
