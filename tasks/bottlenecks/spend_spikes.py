"""Spikes: stretches of hours that cost far more than the same hours usually do.

What an hour usually costs is the median over the same hour of the week in the four weeks before it, or where weeks are
missing, over the same hour of the day. How far chance moves it is judged on the logarithm, because spend varies by
factors. Chance is how far so many requests of such costs scatter, and beyond that as much as hours of late have been
off; or how far the earlier same hours were from each other, where that is more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from models.documents import Hotspot, SpendSpike
from models.schema import UNKNOWN
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
"""The columns of rollups that are looked at here."""

HISTORY = timedelta(weeks=4, hours=1)
"""How far back an hour is compared; the clock may have been put back meanwhile."""

WEEKS, MINIMUM_WEEKS = 4, 3
MINIMUM_DAYS = 7
"""Of the same hour of the day, so that a Monday after a weekend is not compared with that weekend alone."""

SPIKE_DEVIATIONS = 4.0
"""So many standard deviations are beyond chance also where hundreds of hours are looked at."""
BESIDE_DEVIATIONS = 2.0
"""The same for an hour beside one that is beyond chance by itself."""
SPIKE_FACTOR = 2.0
SPIKE_MINIMUM_USD = 5.0
"""What a spike costs beyond usual at least: less than anybody's time to look into it."""
LARGEST_SPIKES = 3

CARRYING_PART = 0.2
"""A place is named where it adds, beyond its usual share, at least this part of what a spike costs beyond usual."""

MINIMUM_HOURS = 24
"""Hours with something to compare them with, below which it is not known how far chance moves an hour."""

COMPARABLE_COVERAGE = 0.8
"""An earlier hour counts where the share of its selections with a known cost is at least this part of the hour's own:
else spend would seem to have risen when it was only begun to be recorded."""

SMALLEST_USD = 0.01
"""Hours that cost less are alike; it also gives those that cost nothing a logarithm."""

_MAD_TO_SIGMA = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
_LARGEST_RESTLESSNESS, _HALVINGS = 8.0, 20
"""Hours that are apart by a factor of e^8 are not told from those further apart, nor by one of less than e^0.00001."""


@dataclass(frozen=True)
class Spike:
    """A stretch [start, end) of `hours`, and the `earlier` ones that say what it usually costs.

    `deviations` is by how many standard deviations the hour that stands out most does.
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
    """Up to three spikes of the period that `hours` are of, the largest first; `history` are the hours before it.

    `by_dimension` has at least the hours of each spike and the earlier ones by model, complexity and team. A place is
    named where it has a larger share of the spend than it usually has; its rates are spend in USD.
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
    """Up to three stretches of `hours`, the largest excess first."""
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
    """Each hour that has enough earlier ones, with what those say of it."""
    by_week = _baseline(_pairs(series, zone, range(7, 7 * WEEKS + 1, 7))).filter(pl.col("pairs") >= MINIMUM_WEEKS)
    by_day = _baseline(_pairs(series, zone, range(1, 7 * WEEKS + 1))).filter(pl.col("pairs") >= MINIMUM_DAYS)
    return pl.concat([by_week, by_day.join(by_week, on="bucket", how="anti")]).sort("bucket")


def _pairs(series: pl.DataFrame, zone: str, days: range) -> pl.DataFrame:
    """Every hour beside those of the same local time so many days before it."""
    local = pl.col("bucket").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    coverage = pl.col("cost_count") / pl.col("count")
    hours = series.select("bucket", "cost_count", usd="cost_sum_usd", squares="cost_sum_sq", known=coverage, at=local)
    moved = pl.concat([hours.with_columns(pl.col("at").dt.offset_by(f"{day}d")) for day in days])
    pairs = hours.join(moved, on="at", suffix="_earlier")
    return pairs.filter(pl.col("known_earlier") >= COMPARABLE_COVERAGE * pl.col("known"))


def _baseline(pairs: pl.DataFrame) -> pl.DataFrame:
    """Per hour its usual cost, the logarithm of its own over that, and how far chance alone moves it.

    `scatter` is by how many requests come and what each costs, `spread` by the earlier hours' distance from each other.
    """
    earlier, own = (pl.max_horizontal(pl.lit(SMALLEST_USD), name) for name in ("usd_earlier", "usd"))
    baseline = earlier.median()
    # The median of a few is off by chance as well.
    both = (1 + math.pi / (2 * pl.len())).sqrt()
    # The variance of a sum of costs, when how many come is left to chance, is the sum of their squares. An hour's own
    # counts too: what hangs on a few requests may be chance, however much it is.
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
    """The standard deviation that, beside `scatter`, makes the median hour as far off as chance would have it."""
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
    """The value whose share of the spend has grown most, with what it adds by that in USD; None within chance."""
    column = INPUT_COLUMNS[dimension]
    groups = _spend(now, column).join(_spend(then, column), on=column, how="full", coalesce=True, suffix="_earlier")
    overall, before = float(now["cost_sum_usd"].sum()), float(then["cost_sum_usd"].sum())
    if groups.height < 2 or not before or not overall:  # noqa: PLR2004
        return None
    excess = pl.col("usd") - pl.col("usd_earlier") * overall / before
    large = groups.fill_null(0).filter((pl.col("known") >= BOTTLENECK_MINIMUM_SAMPLE) & (pl.col(column) != UNKNOWN))
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
    """How far chance moves a place's spend from its share of the whole, by the squares of the costs."""
    return math.sqrt((1 - share) ** 2 * squares + share**2 * max(0.0, all_squares - squares))
