"""Convert latency histograms in bulk: durations to bins, to stored bytes and back, and to percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.ddsketch import GAMMA, LOG_GAMMA, SMALLEST_MS, ZERO_BIN

_PAIR = np.dtype([("bin", "<i4"), ("bin_count", "<u4")])


@dataclass(frozen=True)
class HistogramTable:
    """Summed histograms by key, side by side.

    Row i of `counts` belongs to row i of `keys`; its column j counts the durations of the bin with value
    `values_ms[j]`. Values ascend, and their bins are `bins`.
    """

    keys: pl.DataFrame
    bins: Any
    counts: Any

    @property
    def values_ms(self) -> Any:
        """The bins' values in ms, as in models.ddsketch.value_of."""
        inside = 2 * np.power(GAMMA, np.maximum(self.bins, _LOWEST_BIN).astype(float)) / (GAMMA + 1)
        return np.where(self.bins == ZERO_BIN, 0.0, inside)


def bin_index(value_ms: str) -> pl.Expr:
    """The bin of each duration in the named column (models.ddsketch); NULL stays NULL."""
    value = pl.col(value_ms)
    inside = (value.clip(lower_bound=SMALLEST_MS).log() / LOG_GAMMA).ceil()
    return pl.when(value < SMALLEST_MS).then(ZERO_BIN).otherwise(inside).cast(pl.Int32)


def pack(bins: pl.Series) -> pl.Series:
    """Histograms as stored, one per list of bins; a list repeats a bin once per duration, in any order."""
    lengths = bins.list.len().to_numpy()
    return _encoded(len(bins), np.repeat(np.arange(len(bins)), lengths), bins.list.explode().to_numpy(), None)


def add_histograms(histograms: pl.Series, groups: pl.Series) -> pl.Series:
    """Sums of stored histograms, one per list of `groups`, which holds the indexes of its members."""
    pairs, group_of = _pairs_of(histograms, groups)
    if len(groups) * _width(pairs) > len(pairs):
        return _encoded(len(groups), group_of, pairs["bin"], pairs["bin_count"])
    bins, counts = _table(pairs, group_of, len(groups))
    rows, columns = np.nonzero(counts)
    return _cut(len(groups), rows, bins[columns], counts[rows, columns])


def histogram_table(frame: pl.DataFrame, keys: Sequence[str]) -> HistogramTable:
    """The histograms of a frame by key, in order of first appearance; without keys all in one row.

    For few keys: it uses keys × bins of memory, some 10 kB a key.
    """
    rows = frame.select(*keys).with_row_index("_row") if keys else frame.select(pl.row_index("_row"), _all=pl.lit(0))
    groups = rows.group_by(keys or "_all", maintain_order=True).agg("_row")
    pairs, group_of = _pairs_of(frame["latency_histogram"], groups["_row"])
    return HistogramTable(groups.select(keys), *_table(pairs, group_of, groups.height))


def percentiles(frame: pl.DataFrame, keys: Sequence[str], shares: dict[str, float]) -> pl.DataFrame:
    """One row per key, in order of first appearance, with a column per name in `shares` (0..1): the percentile in ms.

    The percentile is the value at rank share × (n - 1), interpolated linearly between two ranks as in numpy and SQL's
    percentile_cont, within the histogram's 1 %; NULL if there are no durations.
    """
    found = histogram_table(frame, keys)
    until, values_ms = found.counts.cumsum(axis=1), found.values_ms
    columns = [
        pl.Series(name, _at_rank(share, until, values_ms), dtype=pl.Float64).fill_nan(None)
        for name, share in shares.items()
    ]
    return found.keys.with_columns(columns) if keys else pl.DataFrame(columns)


# ----------------------------------------------------------------------------------------------------------------------


_SPAN = 1 << 32
"""More than the number of bins: a group's index times this, plus the bin, is unique."""

_LOWEST_BIN = ZERO_BIN + 1


def _pairs_of(histograms: pl.Series, groups: pl.Series) -> tuple[Any, Any]:
    """The concatenated pairs of all histograms, and the group of each."""
    member_of = np.empty(len(histograms), dtype=np.int64)
    member_of[groups.list.explode().to_numpy()] = np.repeat(np.arange(len(groups)), groups.list.len().to_numpy())
    pairs = np.frombuffer(b"".join(histograms.to_list()), dtype=_PAIR)
    return pairs, np.repeat(member_of, (histograms.bin.size() // _PAIR.itemsize).to_numpy())


def _width(pairs: Any) -> int:
    """The columns of _table: every bin from the lowest to the highest, and the one of zero."""
    inside = pairs["bin"][pairs["bin"] != ZERO_BIN]
    return 1 + int(inside.max()) - int(inside.min()) + 1 if len(inside) else 1


def _table(pairs: Any, group_of: Any, height: int) -> tuple[Any, Any]:
    """The ascending bins, and how many durations each of the groups 0 … height - 1 has in them."""
    width = _width(pairs)
    lowest = int(pairs["bin"].max()) - width + 2 if width > 1 else _LOWEST_BIN
    column = np.maximum(pairs["bin"].astype(np.int64) - lowest + 1, 0)
    # As floats, which are exact up to 2 ** 53.
    counts = np.bincount(group_of * width + column, weights=pairs["bin_count"], minlength=height * width)
    bins = np.concatenate([[ZERO_BIN], np.arange(lowest, lowest + width - 1)])
    return bins, counts.astype(np.int64).reshape(height, width)


def _at_rank(share: float, until: Any, values_ms: Any) -> Any:
    """The value at a share of the ranks of each row; `until` counts up to each bin; nan for none."""
    total = until[:, -1]
    rank = share * np.maximum(total - 1, 0)
    below, above = (values_ms[(until > at[:, None]).argmax(axis=1)] for at in (np.floor(rank), np.ceil(rank)))
    return np.where(total > 0, below + (above - below) * (rank - np.floor(rank)), np.nan)


def _encoded(height: int, group_of: Any, bins: Any, counts: Any | None) -> pl.Series:
    """One stored histogram per group 0 … height - 1, by ascending bin; without `counts` each bin counts one."""
    numbers = group_of.astype(np.int64) * _SPAN + (bins.astype(np.int64) + _SPAN // 2)
    if counts is None:
        distinct, sums = np.unique(numbers, return_counts=True)
    else:
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        distinct = ordered[starts]
        sums = np.add.reduceat(counts[order].astype(np.int64), starts) if len(starts) else np.empty(0, dtype=np.int64)
    return _cut(height, distinct // _SPAN, distinct % _SPAN - _SPAN // 2, sums)


def _cut(height: int, group_of: Any, bins: Any, counts: Any) -> pl.Series:
    """Histograms in stored form from their pairs, which are sorted by group and bin."""
    pairs = np.empty(len(bins), dtype=_PAIR)
    pairs["bin"], pairs["bin_count"] = bins, counts
    data = pairs.tobytes()
    ends = (np.searchsorted(group_of, np.arange(height), side="right") * _PAIR.itemsize).tolist()
    blobs = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if height else []
    return pl.Series("latency_histogram", blobs, dtype=pl.Binary)
