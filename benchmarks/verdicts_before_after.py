"""Measure the verdicts of before-and-after: on changes that do nothing, and on harm of known size.

`python -m benchmarks.verdicts_before_after --lives 200` prints the tables of docs/verdicts.md. A life is a week: it is
looked at every hour from the twelfth on. The peer is what Routewatch did before (benchmarks.fixed_looks), looked at
daily on the same streams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from statistics import mean, median
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

from benchmarks import fixed_looks
from benchmarks.verdict_lives import Kind, judged_metrics, of_100, processes
from benchmarks.verdict_streams import REAL_TRACE, autoregressive, real_trace
from models.kpis import KpiName
from models.settings import Settings
from tasks.optimizer.before_after import BeforeAfter, ReadingLimits
from tasks.optimizer.hour_grid import MATCHED_SUMS, ObservedHours
from tasks.optimizer.placebos import MATCHED_MINIMUM_HOURS
from tasks.optimizer.verify import conclude

SETTINGS = Settings()
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
LIFE_HOURS, KEEP_FROM = 168, 24
WEEKS = 26
START = datetime.fromisoformat("2026-01-05T00:00:00+00:00")

FIRM = ("better", "noWorse", "worse")


@dataclass(frozen=True)
class Life:
    """Hours (`bucket`, `complexity`, MATCHED_SUMS) with a change pretended at `at`; `end` ends the last hour."""

    hours: pl.DataFrame
    at: datetime
    end: datetime
    kind: Kind
    touched: str | None


@dataclass(frozen=True)
class Outcome:
    """What was said in the end, after how many hours, and what the placebos said of the method itself."""

    said: str
    hours: int
    spans: int = 0
    false_of_100: float | None = None


# --- streams ----------------------------------------------------------------------------------------------------------


@cache
def recorded() -> pl.DataFrame:
    """Return the real trace by hour and class. It has no errors, hits or ratings: those columns are zero."""
    target = SETTINGS.performance_metrics.of(KpiName.RESPONSE_TIME).target
    rows = real_trace()
    if rows is None:
        raise FileNotFoundError(f"the real trace is absent: {REAL_TRACE}")
    known = {
        "response_time_count": pl.col("response_time_ms").count(),
        "response_time_sum_ms": pl.col("response_time_ms").sum(),
        "over_target_count": (pl.col("response_time_ms") > target).sum(),
        "cost_count": pl.col("cost_usd").count(),
        "cost_sum_usd": pl.col("cost_usd").sum(),
        "prompt_token_count": pl.col("prompt_tokens").count(),
        "prompt_token_sum": pl.col("prompt_tokens").sum(),
    }
    hourly = rows.group_by(pl.col("timestamp").dt.truncate("1h").alias("bucket"), "complexity").agg(
        pl.len().alias("count"), **known
    )
    zeros = [pl.lit(0.0).alias(name) for name in MATCHED_SUMS if name not in hourly.columns]
    return _ordered(hourly.with_columns(zeros))


def real_lives() -> Iterator[Life]:
    """Pretend changes on days 4 to 11 of the real trace, every six hours, of all traffic and of two classes."""
    hours = recorded()
    first: datetime = hours["bucket"].min()  # type: ignore[assignment]
    last: datetime = hours["bucket"].max() + HOUR  # type: ignore[operator,assignment]
    for number in range(4 * 4, 4 * 11):
        at = first + number * 6 * HOUR
        for kind, touched in SUBJECTS:
            yield Life(hours, at, min(last, at + LIFE_HOURS * HOUR), kind, touched)


def count_of_real_lives() -> int:
    return len(range(4 * 4, 4 * 11)) * len(SUBJECTS)


def drawn(seed: int, weeks: int = WEEKS) -> pl.DataFrame:
    """Return a long trace of the real one's days, drawn in blocks of one to three, with ratings and errors made up.

    Hours of the day and classes stay; a day's neighbours come from one to three days.
    """
    draw, hours = np.random.default_rng(seed), recorded()
    first: datetime = hours["bucket"].min()  # type: ignore[assignment]
    days = hours.with_columns(day=((pl.col("bucket") - first).dt.total_hours() // 24)).partition_by(
        "day", maintain_order=True, include_key=False
    )
    parts: list[pl.DataFrame] = []
    while len(parts) < 7 * weeks:
        begin = int(draw.integers(len(days)))
        for number in range(begin, begin + int(draw.integers(1, 4))):
            shift = START + len(parts) * DAY - (first + (number % len(days)) * DAY)
            parts.append(days[number % len(days)].with_columns(pl.col("bucket") + shift))
    return _rated(_ordered(pl.concat(parts[: 7 * weeks])), draw)


def made_up(seed: int, *, alike: float, weeks: int = WEEKS) -> pl.DataFrame:
    """Return made-up hours of two classes: seasons of day and week, heavy-tailed costs, and AR(1) drift over hours.

    `alike` is the lag-1 correlation of the drift, half of which both classes share.
    """
    draw, count = np.random.default_rng(seed), weeks * 168
    number = np.arange(count)
    season = 1 + 0.6 * np.sin(2 * np.pi * number / 24) + 0.2 * (number // 24 % 7 < 5)  # noqa: PLR2004 - working days
    shared = {name: autoregressive(draw, count, alike) for name in ("slow", "accuracy", "errors", "cost")}
    frames = []
    for name, rate in (("simple", 300), ("complex", 150)):
        drift = {key: 0.18 * (both + autoregressive(draw, count, alike)) for key, both in shared.items()}
        rows = draw.poisson(rate * season)
        tails = np.clip(1 + 0.1 * draw.standard_t(3, count), 0.3, None)
        frames.append(
            pl.DataFrame({
                "bucket": pl.datetime_range(START, START + count * HOUR, "1h", closed="left", eager=True),
                "complexity": name,
                "count": rows,
                "error_count": draw.binomial(rows, _share(0.02, drift["errors"])),
                "over_target_count": draw.binomial(rows, _share(0.2, drift["slow"] + 0.2 * np.sin(number / 24))),
                "accuracy_sum": draw.binomial(rows, _share(0.93, 0.5 * drift["accuracy"])),
                "cost_sum_usd": 0.01 * rows * np.exp(drift["cost"]) * tails,
                **{f"{known}_count": rows for known in ("response_time", "cost", "accuracy", "prompt_token")},
                "response_time_sum_ms": 1000.0 * rows, "prompt_token_sum": 400 * rows,
                "cache_count": 0, "cache_hit_count": 0,
            })
        )  # fmt: skip
    return _ordered(pl.concat(frames))


# --- harm -------------------------------------------------------------------------------------------------------------

HARMS: dict[str, tuple[str, Callable[[], pl.Expr]]] = {
    "cost +15 %": ("cost_sum_usd", lambda: pl.col("cost_sum_usd") * 1.15),
    "cost +30 %": ("cost_sum_usd", lambda: pl.col("cost_sum_usd") * 1.30),
    "slow +5 points": ("over_target_count", lambda: pl.col("over_target_count") + 0.05 * pl.col("response_time_count")),
    "errors +2.5 points": ("error_count", lambda: pl.col("error_count") + 0.025 * pl.col("count")),
    "accuracy −5 points": ("accuracy_sum", lambda: pl.col("accuracy_sum") - 0.05 * pl.col("accuracy_count")),
    "slow −10 points (a help)": (
        "over_target_count", lambda: pl.col("over_target_count") - 0.10 * pl.col("response_time_count")
    ),
}  # fmt: skip

SUBJECTS: tuple[tuple[Kind, str | None], ...] = (
    ("cache_optimization", None), ("model_selection", "simple"), ("model_selection", "moderate"),
)  # fmt: skip


def changed(life: Life, name: str) -> Life:
    """Return a life with harm of a known size in the touched hours after the change."""
    column, worse = HARMS[name]
    touched = pl.col("bucket") >= life.at
    if life.touched is not None:
        touched &= pl.col("complexity") == life.touched
    value = pl.when(touched).then(worse()).otherwise(pl.col(column)).alias(column)
    return replace(life, hours=life.hours.with_columns(value.clip(lower_bound=0)))


# --- judges -----------------------------------------------------------------------------------------------------------


def by_placebos(life: Life) -> Outcome:
    """Judge a life at every hourly look, until something is decided."""
    limits = ReadingLimits(LIFE_HOURS, KEEP_FROM, 100, life.kind != "model_selection")
    judge = BeforeAfter(observed(life), judged_metrics(life.kind), limits, SETTINGS.performance_metrics, "UTC")
    placebos = judge.placebos
    lived = int((life.end - life.at) / HOUR)
    looks = range(MATCHED_MINIMUM_HOURS, lived + 1) if placebos.are_enough else (lived,)
    for hours in looks:
        reading = judge.read(hours)
        may_keep = reading.judged_hours >= KEEP_FROM
        if (said := conclude(reading, may_keep=may_keep, over=hours == lived)[0]) is not None:
            return Outcome(said, hours, placebos.spans, placebos.false_verdicts_of_100)
    raise AssertionError("a life ends with a conclusion")


def by_fixed_looks(life: Life) -> Outcome:
    """Judge a life by the peer at daily looks."""
    hours = observed(life)
    before = hours.before.filter(pl.col("bucket") >= life.at - 4 * WEEK)
    sides = [side.group_by("bucket").agg(pl.col(MATCHED_SUMS).sum()).sort("bucket") for side in (before, hours.after)]
    days = int((life.end - life.at) / DAY)
    for day in range(1, days + 1):
        seen = sides[1].filter(pl.col("bucket") < life.at + day * DAY)
        said = fixed_looks.conclusion(sides[0], seen, judged_metrics(life.kind), "UTC", seed=day, over=day == days)
        if said:
            return Outcome(said, 24 * day)
    return Outcome("undecided", 24 * days)


# --- the tables -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One life to be judged: from which stream, with what harm, and by whom."""

    stream: str
    seed: int
    harm: str | None
    peer: bool

    def run(self) -> Outcome:
        if self.stream == "real":
            life = list(real_lives())[self.seed]
        else:
            name, _, weeks = self.stream.partition(" ")
            past = int(weeks)
            made = (
                drawn(self.seed, past + 1) if name == "days" else made_up(self.seed, alike=float(name), weeks=past + 1)
            )
            kind: Kind = "model_selection" if self.seed % 2 else "cache_optimization"
            touched = "simple" if self.seed % 2 else None
            life = Life(made, START + past * WEEK, START + (past + 1) * WEEK, kind, touched)
        if self.harm:
            life = changed(life, self.harm)
        return by_fixed_looks(life) if self.peer else by_placebos(life)


STREAMS = {
    "real": "the real trace, 14 days",
    "days 26": "its days drawn in blocks, 26 weeks",
    "0.6 26": "made up, lag-1 .60, 26 weeks",
    "0.87 26": "made up, lag-1 .87, 26 weeks",
    "0.75 5": "made up, lag-1 .75, 5 weeks",
}


def main(
    lives: Annotated[int, typer.Option(help="Lives per stream without an effect.")] = 200,
    harmed: Annotated[int, typer.Option(help="Lives per stream and harm.")] = 60,
    peers: Annotated[int, typer.Option(help="Lives per stream that the peer judges.")] = 60,
    jobs: int = 2,
    stream: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(STREAMS)}.")] = None,
) -> None:
    """Print false verdicts, and what harm is caught."""
    with processes(jobs) as pool:
        typer.echo(
            "| stream | change | judge | lives | worse | better | no worse | neither | median hours | spans | own |"
        )
        typer.echo("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
        for name in stream or STREAMS:
            count = count_of_real_lives() if name == "real" else lives
            runs: list[tuple[str | None, bool, int]] = [(None, False, count), (None, True, min(count, peers))]
            if name != "real":
                runs += [(harm, False, harmed) for harm in HARMS]
            for harm, peer, number in runs:
                trials = [Trial(name, seed, harm, peer) for seed in range(number)]
                typer.echo(_row(trials[0], list(pool.map(Trial.run, trials, chunksize=4))))


def _row(trial: Trial, outcomes: Sequence[Outcome]) -> str:
    said, count = Counter(outcome.said for outcome in outcomes), len(outcomes)
    firm = [outcome.hours for outcome in outcomes if outcome.said in FIRM]
    own = [outcome.false_of_100 for outcome in outcomes if outcome.false_of_100 is not None]
    cells: list[Any] = [
        STREAMS[trial.stream], trial.harm or "none", "fixed 95 %, daily" if trial.peer else "placebos", count,
        *(of_100(said[name], count) for name in ("worse", "better", "noWorse")),
        of_100(count - len(firm), count), f"{median(firm):.0f}" if firm else "",
        "" if trial.peer else f"{mean(outcome.spans for outcome in outcomes):.0f}", f"{mean(own):.1f}" if own else "",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


# ----------------------------------------------------------------------------------------------------------------------


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    wanted = [pl.col(name).cast(pl.Float64) for name in MATCHED_SUMS]
    return frame.select(pl.col("bucket").cast(pl.Datetime("us", "UTC")), "complexity", *wanted).sort(
        "bucket", "complexity"
    )


def _rated(hours: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
    """Return hours in which all answers are rated, 95 of 100 as right, and one call in a hundred failed."""
    rows = hours["count"].to_numpy().astype(int)
    return hours.with_columns(
        accuracy_count=pl.col("count"),
        accuracy_sum=pl.Series(draw.binomial(rows, 0.95).astype(float)),
        error_count=pl.Series(draw.binomial(rows, 0.01).astype(float)),
    )


def _share(usual: float, drift: Any) -> Any:
    return 1 / (1 + np.exp(-(np.log(usual / (1 - usual)) + drift)))


def observed(life: Life) -> ObservedHours:
    mine = pl.lit(value=True) if life.touched is None else pl.col("complexity") == life.touched
    hours, others = life.hours.filter(mine), life.hours.filter(~mine)
    after = pl.col("bucket").is_between(life.at, life.end, closed="left")
    before = pl.col("bucket") < life.at
    return ObservedHours(
        before=hours.filter(before), after=hours.filter(after), untouched=others.filter(before | after),
        before_to=life.at, after_from=life.at, after_to=life.end,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
