"""Detect spend spikes: consecutive hours that cost far more than their baseline.

An hour's baseline is the median over the same hour of the week in the four weeks before it, or if weeks are missing,
over the same hour of the day. Its random variation is estimated on the logarithm, because spend varies by factors. The
variation is the scatter of so many requests with such costs, plus the recent deviation of hours from their baseline; or
the spread of the earlier same hours, if that is larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from models.documents import Hotspot, SpendSpike
from models.schema import COLLECTIVE
from tasks.bottlenecks.hotspots import (
    BOTTLENECK_MINIMUM_SAMPLE,
    INPUT_COLUMNS,
    PARTS,
    ROUNDING,
    Dimension,
    is_significant,
    merge_intervals,
)

SPENDING = ("count", "cost_count", "cost_sum_usd", "cost_sum_sq")
"""The columns of rollups that are used here."""

HISTORY = timedelta(weeks=4, hours=1)
"""How far back an hour is compared; includes an hour for clock changes."""

WEEKS, MINIMUM_WEEKS = 4, 3
MINIMUM_DAYS = 7
"""Minimum days of the same hour of the day, so that a Monday is not compared with a weekend alone."""

SPIKE_DEVIATIONS = 4.0
"""Standard deviations that are significant even among hundreds of evaluated hours."""
BESIDE_DEVIATIONS = 2.0
"""The same for an hour adjacent to a significant one."""
SPIKE_FACTOR = 2.0
SPIKE_MINIMUM_USD = 5.0
"""Minimum excess of a spike over the baseline: a smaller one is not worth investigating."""
LARGEST_SPIKES = 3

CARRYING_PART = 0.2
"""A hotspot is named if its excess over its baseline share is at least this part of the spike's excess."""

MINIMUM_HOURS = 24
"""Minimum number of hours with a baseline to estimate the random variation of an hour."""

COMPARABLE_COVERAGE = 0.8
"""An earlier hour counts if the share of its selections with a known cost is at least this part of the hour's own:
otherwise spend would seem to rise when it only began to be recorded."""

SMALLEST_USD = 0.01
"""Floor of an hour's cost, so that an hour without cost has a logarithm."""

_MAD_TO_SIGMA = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
_LARGEST_RESTLESSNESS, _HALVINGS = 8.0, 20
"""Bounds of the logarithmic deviation: factors beyond e^8 or below e^0.00001 are not distinguished."""


@dataclass(frozen=True)
class Spike:
    """A span [start, end) of `hours`, and the `earlier` ones that form its baseline.

    `deviations` is the largest deviation of an hour in standard deviations.
    """

    start: datetime
    end: datetime
    hours: tuple[datetime, ...]
    sample: int
    cost_usd: float
    usual_cost_usd: float
    deviations: float
    earlier: tuple[datetime, ...]

    @property
    def excess_usd(self) -> float:
        return self.cost_usd - self.usual_cost_usd


def spend_spikes(hours: pl.DataFrame, history: pl.DataFrame, zone: str, by_dimension: pl.DataFrame) -> list[SpendSpike]:
    """Up to three spikes in the period of `hours`, the largest first; `history` are the hours before it.

    `by_dimension` has at least the hours of each spike and the earlier ones by model, complexity and team. A hotspot is
    named if its share of the spend is larger than in its baseline; its rates are spend in USD.
    """
    return [
        SpendSpike(
            severity="medium",
            sample=spike.sample,
            affected=spike.sample,
            start=spike.start,
            end=spike.end,
            cost_usd=spike.cost_usd,
            usual_cost_usd=spike.usual_cost_usd,
            where=_hotspots(spike, by_dimension),
        )
        for spike in find_spikes(hours, history, zone)
    ]


def find_spikes(hours: pl.DataFrame, history: pl.DataFrame, zone: str) -> list[Spike]:
    """Up to three spans of `hours`, the largest excess first."""
    compared = _compared(pl.concat([_by_hour(history), _by_hour(hours)]), zone)
    if compared.height < MINIMUM_HOURS:
        return []
    error = pl.max_horizontal((pl.col("scatter") ** 2 + _restlessness(compared) ** 2).sqrt(), "spread")
    high = compared.with_columns(deviations=pl.col("deviation") / error).filter(
        pl.col("bucket").is_in(hours["bucket"].unique().implode()),
        pl.col("deviations") > BESIDE_DEVIATIONS,
        pl.col("usd") > SPIKE_FACTOR * pl.col("usual_usd"),
    )
    spikes = [_spike(high, *interval) for interval in merge_intervals(high["bucket"].to_list())]
    new_spikes = (
        spike for spike in spikes if spike.deviations > SPIKE_DEVIATIONS and spike.excess_usd >= SPIKE_MINIMUM_USD
    )
    return sorted(new_spikes, key=lambda spike: -spike.excess_usd)[:LARGEST_SPIKES]


# ----------------------------------------------------------------------------------------------------------------------


def _by_hour(rollups: pl.DataFrame) -> pl.DataFrame:
    """The hours with a known cost: an hour without is unknown, not free."""
    summed = rollups.group_by("bucket").agg(pl.col(SPENDING).sum())
    return summed.filter(pl.col("cost_count") > 0)


def _compared(series: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Each hour with enough earlier ones, with its baseline."""
    by_week = _baseline(_pairs(series, zone, range(7, 7 * WEEKS + 1, 7))).filter(pl.col("pairs") >= MINIMUM_WEEKS)
    by_day = _baseline(_pairs(series, zone, range(1, 7 * WEEKS + 1))).filter(pl.col("pairs") >= MINIMUM_DAYS)
    return pl.concat([by_week, by_day.join(by_week, on="bucket", how="anti")]).sort("bucket")


def _pairs(series: pl.DataFrame, zone: str, days: range) -> pl.DataFrame:
    """Join every hour with those of the same local time so many days before."""
    local = pl.col("bucket").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    coverage = pl.col("cost_count") / pl.col("count")
    hours = series.select("bucket", "cost_count", usd="cost_sum_usd", squares="cost_sum_sq", known=coverage, at=local)
    moved = pl.concat([hours.with_columns(pl.col("at").dt.offset_by(f"{day}d")) for day in days])
    pairs = hours.join(moved, on="at", suffix="_earlier")
    return pairs.filter(pl.col("known_earlier") >= COMPARABLE_COVERAGE * pl.col("known"))


def _baseline(pairs: pl.DataFrame) -> pl.DataFrame:
    """Per hour its baseline cost, the logarithm of its own over that, and its random variation.

    `scatter` is by how many requests come and what each costs, `spread` by the earlier hours' distance from each other.
    """
    earlier, own = (pl.max_horizontal(pl.lit(SMALLEST_USD), name) for name in ("usd_earlier", "usd"))
    baseline = earlier.median()
    # The median of a few has a random error as well.
    both = (1 + math.pi / (2 * pl.len())).sqrt()
    # The variance of a sum of costs of a random number of requests is the sum of their squares. An hour's own counts
    # too: a cost that depends on a few requests may be random, however large it is.
    scatter = pl.max_horizontal(
        both * pl.col("squares_earlier").mean().sqrt() / baseline, pl.col("squares").first().sqrt() / own.first()
    )
    return pairs.group_by("bucket").agg(
        pl.col("usd", "cost_count").first(),
        usual_usd=pl.col("usd_earlier").median(),
        deviation=(own.first() / baseline).log(),
        scatter=scatter,
        spread=both * _MAD_TO_SIGMA * (earlier / baseline).log().abs().median(),
        earlier="bucket_earlier",
        pairs=pl.len(),
    )


def _restlessness(compared: pl.DataFrame) -> float:
    """The standard deviation that, added to `scatter`, explains the deviation of the median hour."""
    deviation, scatter = compared["deviation"].abs(), compared["scatter"]

    def is_too_small(extra: float) -> bool:
        return float((deviation / (scatter**2 + extra**2).sqrt()).median() or 0.0) > 1 / _MAD_TO_SIGMA  # type: ignore[arg-type]

    low, high = 0.0, _LARGEST_RESTLESSNESS
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_small(middle) else (low, middle)
    return high


def _spike(high: pl.DataFrame, start: datetime, end: datetime) -> Spike:
    here = high.filter(pl.col("bucket").is_between(start, end, closed="left"))
    return Spike(
        start=start,
        end=end,
        hours=tuple(here["bucket"]),
        sample=int(here["cost_count"].sum()),
        cost_usd=float(here["usd"].sum()),
        usual_cost_usd=float(here["usual_usd"].sum()),
        deviations=max(here["deviations"]),
        earlier=tuple(here["earlier"].explode().unique().sort()),
    )


def _hotspots(spike: Spike, by_dimension: pl.DataFrame) -> tuple[Hotspot, ...]:
    now = by_dimension.filter(pl.col("bucket").is_between(spike.start, spike.end, closed="left"))
    then = by_dimension.filter(pl.col("bucket").is_in(spike.earlier))
    found = [hotspot for dimension in PARTS if (hotspot := _hotspot(now, then, dimension))]
    carrying = [(excess, hotspot) for excess, hotspot in found if excess >= CARRYING_PART * spike.excess_usd]
    return tuple(hotspot for _, hotspot in sorted(carrying, key=lambda item: -item[0]))


def _hotspot(now: pl.DataFrame, then: pl.DataFrame, dimension: Dimension) -> tuple[float, Hotspot] | None:
    """The value whose share of the spend has grown most, with what it adds by that in USD; None if not significant."""
    column = INPUT_COLUMNS[dimension]
    groups = _spend(now, column).join(_spend(then, column), on=column, how="full", coalesce=True, suffix="_earlier")
    overall, before = float(now["cost_sum_usd"].sum()), float(then["cost_sum_usd"].sum())
    if groups.height < 2 or not before or not overall:  # noqa: PLR2004
        return None
    excess = pl.col("usd") - pl.col("usd_earlier") * overall / before
    large = groups.fill_null(0).filter(
        (pl.col("known") >= BOTTLENECK_MINIMUM_SAMPLE) & ~pl.col(column).is_in(list(COLLECTIVE))
    )
    if large.is_empty():
        return None
    row = large.with_columns(excess=excess).sort("excess", column).row(-1, named=True)
    share = row["usd_earlier"] / before
    error = math.hypot(
        _error(share, row["squares"], float(now["cost_sum_sq"].sum())),
        _error(share, row["squares_earlier"], float(then["cost_sum_sq"].sum())) * overall / before,
    )
    if row["excess"] <= overall * ROUNDING or not is_significant(row["excess"], error, large.height):
        return None
    return row["excess"], Hotspot(
        dimension=dimension,
        value=row[column],
        rate=row["usd"],
        affected=row["known"],
        share=row["usd"] / overall,
        rate_without=max(0.0, overall - row["usd"]),
    )


def _spend(rollups: pl.DataFrame, column: str) -> pl.DataFrame:
    return rollups.group_by(column).agg(
        usd=pl.col("cost_sum_usd").sum(), known=pl.col("cost_count").sum(), squares=pl.col("cost_sum_sq").sum()
    )


def _error(share: float, squares: float, all_squares: float) -> float:
    """The standard deviation of a value's spend around its share of the total, from the squares of the costs."""
    return math.sqrt((1 - share) ** 2 * squares + share**2 * max(0.0, all_squares - squares))
