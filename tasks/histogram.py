"""Latency histograms in polars: from durations to bins, to the stored bytes and back, and to percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from models.sketch import GAMMA, LOG_GAMMA, SMALLEST_MS, ZERO_BIN

_PAIR = np.dtype([("bin", "<i4"), ("bin_count", "<u4")])


def bin_index(value_ms: str) -> pl.Expr:
    """The bin of each duration in the named column (models.sketch); NULL stays NULL."""
    value = pl.col(value_ms)
    inside = (value.clip(lower_bound=SMALLEST_MS).log() / LOG_GAMMA).ceil()
    return pl.when(value < SMALLEST_MS).then(ZERO_BIN).otherwise(inside).cast(pl.Int32)


def bin_value_ms() -> pl.Expr:
    """The duration in ms that stands for the column `bin`."""
    inside = 2 * pl.lit(GAMMA).pow(pl.col("bin")) / (GAMMA + 1)
    return pl.when(pl.col("bin") == ZERO_BIN).then(0.0).otherwise(inside)


def pack(bins: pl.Series) -> pl.Series:
    """Histograms as stored, one per list of bins; a bin stands in its list once per duration, in any order."""
    lengths = bins.list.len().to_numpy()
    return _encoded(len(bins), np.repeat(np.arange(len(bins)), lengths), bins.list.explode().to_numpy(), None)


def add_up(histograms: pl.Series, groups: pl.Series) -> pl.Series:
    """Sums of stored histograms, one per list of `groups`, which names its members by their place."""
    member_of = np.empty(len(histograms), dtype=np.int64)
    member_of[groups.list.explode().to_numpy()] = np.repeat(np.arange(len(groups)), groups.list.len().to_numpy())
    pairs, lengths = _decoded(histograms)
    return _encoded(len(groups), np.repeat(member_of, lengths), pairs["bin"], pairs["bin_count"])


def unpack(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of key × `bin` × `bin_count` (Int64), several per key and bin where the frame has several rows per key."""
    pairs, lengths = _decoded(frame["latency_histogram"])
    rows = np.repeat(np.arange(frame.height), lengths)
    return frame.select(pl.row_index("_row"), *keys)[rows].select(
        *keys,
        pl.Series("bin", pairs["bin"].astype(np.int32)),
        pl.Series("bin_count", pairs["bin_count"].astype(np.int64)),
    )


def percentiles(frame: pl.DataFrame, keys: Sequence[str], shares: dict[str, float]) -> pl.DataFrame:
    """One row per key with a column per name in `shares` (0..1): the percentile in ms.

    The value at rank share × (n - 1) is meant, interpolated linearly between two ranks as numpy and SQL's
    percentile_cont do, and found within the histogram's 1 %; NULL where nothing was timed.
    """
    by = list(keys) or ["_all"]
    frame = frame if keys else frame.with_columns(_all=pl.lit(0))
    bins = unpack(frame, by).group_by(*by, "bin").agg(pl.col("bin_count").sum()).sort(*by, "bin")
    running = bins.with_columns(
        total=pl.col("bin_count").sum().over(by), upto=pl.col("bin_count").cum_sum().over(by), value_ms=bin_value_ms()
    )
    found = running.group_by(*by, maintain_order=True).agg(
        _at_rank(share * (pl.col("total").first() - 1)).alias(name) for name, share in shares.items()
    )
    result = frame.select(by).unique(maintain_order=True).join(found, on=by, how="left", nulls_equal=True)
    return result if keys else result.drop("_all")


def _at_rank(rank: pl.Expr) -> pl.Expr:
    """The value at a rank, counted from 0, of the bins of a group in rising order."""
    below = pl.col("value_ms").filter(pl.col("upto") > rank.floor()).first()
    above = pl.col("value_ms").filter(pl.col("upto") > rank.ceil()).first()
    return below + (above - below) * (rank - rank.floor())


_SPAN = 1 << 32
"""More than there are bins: a group's place times this, plus the bin, is a number of its own."""


def _decoded(histograms: pl.Series) -> tuple[Any, Any]:
    """The pairs of all histograms behind one another, and how many each has."""
    pairs = np.frombuffer(b"".join(histograms.to_list()), dtype=_PAIR)
    return pairs, (histograms.bin.size() // _PAIR.itemsize).to_numpy()


def _encoded(height: int, group_of: Any, bins: Any, counts: Any | None) -> pl.Series:
    """One stored histogram per group 0 … height - 1, by rising bin; without `counts` each bin counts one."""
    numbers = group_of.astype(np.int64) * _SPAN + (bins.astype(np.int64) + _SPAN // 2)
    if counts is None:
        distinct, sums = np.unique(numbers, return_counts=True)
    else:
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        distinct = ordered[starts]
        sums = np.add.reduceat(counts[order].astype(np.int64), starts) if len(starts) else np.empty(0, dtype=np.int64)
    pairs = np.empty(len(distinct), dtype=_PAIR)
    pairs["bin"], pairs["bin_count"] = distinct % _SPAN - _SPAN // 2, sums
    data = pairs.tobytes()
    ends = (np.searchsorted(distinct // _SPAN, np.arange(height), side="right") * _PAIR.itemsize).tolist()
    blobs = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if height else []
    return pl.Series("latency_histogram", blobs, dtype=pl.Binary)
