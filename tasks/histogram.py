"""Latency histograms in polars: from durations to bins, to the stored bytes and back, and to percentiles."""

from __future__ import annotations

from collections.abc import Sequence

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


def pack(bins: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """One row per key with `latency_histogram` as stored, from rows of key × `bin` × `bin_count`."""
    ordered = bins.group_by(*keys, "bin").agg(pl.col("bin_count").sum()).sort(*keys, "bin")
    groups = ordered.group_by(*keys, maintain_order=True).len()
    pairs = np.empty(ordered.height, dtype=_PAIR)
    pairs["bin"] = ordered["bin"].to_numpy()
    pairs["bin_count"] = ordered["bin_count"].to_numpy()
    data = pairs.tobytes()
    ends = (groups["len"].cum_sum() * _PAIR.itemsize).to_list()
    blobs = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []
    return groups.drop("len").with_columns(pl.Series("latency_histogram", blobs, dtype=pl.Binary))


def unpack(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of key × `bin` × `bin_count` (Int64), several per key and bin where the frame has several rows per key."""
    blobs = frame["latency_histogram"]
    pairs = np.frombuffer(b"".join(blobs.to_list()), dtype=_PAIR)
    lengths = (blobs.bin.size() // _PAIR.itemsize).to_numpy()
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
